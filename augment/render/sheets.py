"""Sheet goods and ground tiles: knitted fabric, glass, paper, printed labels, ferrite tiles.

Each function draws one specimen: (design, rng, size) -> Material, as in `surfaces`.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from augment.render.noise import (
    Field,
    blur,
    box_distance,
    coverage,
    fractal_noise,
    local_grid,
    pixel_grid,
    smooth_noise,
    streaks,
)
from augment.render.optics import Material, flat
from augment.render.surfaces import cardboard, conveyor, plastic, vary

YARNS = [
    (0.78, 0.76, 0.72),
    (0.24, 0.30, 0.42),
    (0.20, 0.20, 0.22),
    (0.58, 0.22, 0.20),
    (0.42, 0.46, 0.36),
    (0.66, 0.56, 0.42),
]
_LETTERS = "ABCDEFGHKLMNPRSTUVXYZ0123456789-/."
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_PLAIN)


def knitted_fabric(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """Stocking stitch or rib: columns of slanted loops, hairy yarn, shadow between the loops."""
    unit = size / 256
    wale = design.uniform(9, 22) * unit
    course = wale * design.uniform(0.62, 0.85)
    turn = design.choice([0, np.pi / 2]) + rng.normal(0, 0.05)
    u, v = local_grid(size, tuple(rng.uniform(0.4, 0.6, 2) * size), turn)
    u = u + np.float32(0.07 * wale) * smooth_noise(rng, size, 3 * wale)
    v = v + np.float32(0.10 * wale) * smooth_noise(rng, size, 3 * wale)
    column = np.round(u / np.float32(wale))
    a = u / np.float32(wale) - column
    leg = np.abs(a)
    s = v / np.float32(course) + np.float32(design.uniform(1.3, 1.8)) * leg
    row = np.floor(s)
    oval = ((leg - 0.25) / 0.28) ** 2 + ((s - row - 0.5) / 0.60) ** 2
    dome = np.sqrt(np.maximum(1 - oval, 0)).astype(np.float32)
    twist = np.sin(2 * np.pi * (1.5 * s + np.sign(a) * 6 * leg)).astype(np.float32)
    hair = streaks(rng, size, 7 * unit, 1.2 * unit, rng.uniform(0, np.pi))
    rib = np.float32(0)
    if design.random() < 0.35:
        rib = np.cos(np.pi * column / np.float32(design.integers(2, 4))).astype(np.float32)
    uneven = 1 + 0.05 * smooth_noise(rng, size, wale) + 0.03 * smooth_noise(rng, size, 60 * unit)
    tone = (0.30 + 0.62 * dome**0.7 + 0.05 * twist * dome + 0.06 * hair + 0.05 * rib) * uneven
    yarn = vary(design, YARNS)
    stripe = np.zeros((size, size, 1), np.float32)
    if design.random() < 0.3:
        stripe[..., 0] = (row % int(design.integers(6, 14))) < int(design.integers(2, 5))
    colour = yarn + stripe * (vary(design, YARNS) - yarn)
    depth = np.float32(0.26 * wale)
    return Material(
        albedo=np.clip(tone[..., None] * colour, 0.01, 1.1).astype(np.float32),
        height=blur(depth * dome + 1.2 * np.float32(unit) * rib, 0.5 * unit)
        + np.float32(0.25 * unit) * hair * dome,
        gloss=np.zeros((size, size), np.float32),
        part=np.ones((size, size), bool),
        grain=float(turn),
    )


def glass(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """A flat pane: a blurred backdrop bent by the waves of the glass, and lamps mirrored in its face."""
    unit = size / 256
    x, y = pixel_grid(size)
    wave = np.float32(design.uniform(1, 8) * unit) * blur(
        smooth_noise(rng, size, design.uniform(35, 100) * unit), 3 * unit
    )
    du = cv2.Sobel(wave, cv2.CV_32F, 1, 0, ksize=3)
    dv = cv2.Sobel(wave, cv2.CV_32F, 0, 1, ksize=3)

    base = vary(design, [(0.80, 0.82, 0.83), (0.45, 0.50, 0.53), (0.22, 0.25, 0.27), (0.10, 0.12, 0.14)])
    backdrop = np.broadcast_to(base, (size, size, 3)).astype(np.float32)
    shift = rng.normal(0, 6, 2) * unit
    for _ in range(int(design.integers(1, 5))):
        centre = design.uniform(0, 1, 2) * size + shift
        p, q = local_grid(size, tuple(centre), design.choice([0, np.pi / 2]) + design.normal(0, 0.15))
        shape = box_distance(p, q, design.uniform(8, 90) * unit, design.uniform(20, 160) * unit, 4 * unit)
        tint = vary(
            design, [(0.9, 0.9, 0.9), (0.08, 0.09, 0.1), (0.45, 0.42, 0.38), (0.25, 0.38, 0.45)], 0.06
        )
        strength = design.uniform(0.25, 0.8)
        backdrop = backdrop + (strength * coverage(shape, design.uniform(3, 30) * unit))[..., None] * (
            tint - backdrop
        )
    bend = np.float32(design.uniform(2, 8))
    seen = cv2.remap(backdrop, x + bend * du, y + bend * dv, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    tint = np.float32([0.93, 1.0, 0.97]) ** np.float32(design.uniform(0, 1.5))

    mirror = np.zeros((size, size), np.float32)
    angle = design.uniform(0, np.pi)
    for _ in range(int(design.integers(0, 3))):
        p, q = local_grid(size, tuple(design.uniform(0, 1, 2) * size + 2 * shift), angle)
        p, q = p + bend * du, q + bend * dv
        lamp = box_distance(p, q, design.uniform(4, 30) * unit, design.uniform(60, 300) * unit, 3 * unit)
        mirror += np.float32(design.uniform(0.1, 0.5)) * coverage(lamp, design.uniform(2, 14) * unit)
    haze = 0.012 * fractal_noise(rng, size, 50 * unit, 4)
    dust = np.clip(smooth_noise(rng, size, 1.6 * unit) - 3.3, 0, 1) * np.float32(design.uniform(0, 0.5))
    pane = Material(
        albedo=np.clip(seen * tint + (mirror + haze + dust)[..., None], 0.01, 1.2).astype(np.float32),
        height=np.float32(0.02) * wave,
        gloss=np.full((size, size), design.uniform(0.1, 0.4), np.float32),
        part=np.ones((size, size), bool),
        clear=True,
    )
    if design.random() > 0.35:
        return pane
    p, _ = local_grid(size, (size / 2, size / 2), design.choice(4) * np.pi / 2 + rng.normal(0, 0.03))
    edge = p - np.float32(size * design.uniform(0.25, 0.42)) + np.float32(rng.normal(0, 2) * unit)
    ground = conveyor(design, rng, size)
    pane = pane.under(coverage(edge, 1.5 * unit), height=3 * unit)
    pane = pane.under(coverage(-edge, 1.2 * unit), albedo=ground.albedo, height=0, gloss=0)
    rim = coverage(np.abs(edge + np.float32(2.2 * unit)) - np.float32(2 * unit), 1.5 * unit)
    green = vary(design, [(0.10, 0.30, 0.25), (0.35, 0.55, 0.50), (0.15, 0.20, 0.22)])
    pane = pane.under(0.85 * rim, albedo=green * (1 + 0.2 * smooth_noise(rng, size, 6 * unit))[..., None])
    inside = edge < 0
    return replace(pane, part=inside, brittle=inside & (edge > -6 * unit))


def _text(design: np.random.Generator, canvas: np.ndarray, left: float, base: float, height: float) -> None:
    """Write a line of random letters on uint8 `canvas`, `height` px tall, from (left, base)."""
    count = int(design.integers(4, 16))
    words = "".join(design.choice(list(_LETTERS + "  "), count))
    font = _FONTS[int(design.integers(len(_FONTS)))]
    scale = height / (9.5 if font == cv2.FONT_HERSHEY_PLAIN else 21.0)
    weight = max(1, round(height * design.uniform(0.07, 0.2)))
    cv2.putText(canvas, words, (int(left), int(base)), font, scale, 255, weight, cv2.LINE_AA)


def _artwork(design: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Ink of a label as uint8 (height, width, 2): black print, and the areas of a spot colour."""
    ink, spot = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    pad = max(3, round(0.06 * min(width, height)))
    if design.random() < 0.5:
        cv2.rectangle(ink, (pad // 2, pad // 2), (width - pad // 2, height - pad // 2), 255, max(1, pad // 6))
    if design.random() < 0.6:
        band = int(height * design.uniform(0.12, 0.3))
        cv2.rectangle(spot, (0, 0), (width, band), 255, -1)
    y = float(pad + 0.1 * height)
    while y < height - pad:
        tall = height * design.choice([0.055, 0.08, 0.14], p=[0.45, 0.35, 0.2])
        kind = design.random()
        if kind < 0.62:
            _text(design, ink, pad, y + tall, tall)
            if design.random() < 0.5:
                _text(design, ink, 0.6 * width, y + tall, tall)
        elif kind < 0.82:
            tall = height * design.uniform(0.14, 0.24)
            x, bar = float(pad), max(1.0, width / 130)
            while x < width * 0.8:
                wide = bar * design.integers(1, 4)
                cv2.rectangle(ink, (round(x), round(y)), (round(x + wide), round(y + tall)), 255, -1)
                x += wide + bar * design.integers(1, 4)
        elif kind < 0.92:
            tall = height * 0.24
            cells = np.kron(design.random((12, 12)) < 0.5, np.ones((4, 4))).astype(np.uint8) * 255
            side = int(tall)
            left = int(design.uniform(0.1, 0.7) * width)
            top = min(int(y), height - side)
            room = ink[top : top + side, left : left + side]
            room[:] = cv2.resize(cells, (side, side), interpolation=cv2.INTER_NEAREST)[:, : room.shape[1]]
        else:
            cv2.line(ink, (pad, round(y)), (width - pad, round(y)), 255, max(1, pad // 8))
        y += tall * design.uniform(1.25, 1.9)
    return np.stack([ink, spot], -1)


def _paper_tone(rng: np.random.Generator, size: int, strength: float) -> tuple[Field, Field]:
    """Tone about 1 and height in pixels of a sheet of paper."""
    unit = size / 256
    fibres = sum(streaks(rng, size, 9 * unit, 1.2 * unit, a) for a in rng.uniform(0, np.pi, 3)) / 1.7
    clouds = fractal_noise(rng, size, 14 * unit, 3)
    waves = smooth_noise(rng, size, 90 * unit)
    tone = 1 + np.float32(strength) * (0.02 * fibres + 0.018 * clouds) + 0.012 * waves
    return tone.astype(np.float32), (np.float32(unit) * (0.07 * strength * fibres + 1.2 * waves)).astype(
        np.float32
    )


def paper(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """A sheet of paper or thin card: fibres, clouds, cockle; some printed or ruled."""
    unit = size / 256
    tone, height = _paper_tone(rng, size, design.uniform(0.4, 1.8))
    colours = [
        (0.90, 0.89, 0.86),
        (0.82, 0.78, 0.68),
        (0.70, 0.58, 0.42),
        (0.60, 0.66, 0.70),
        (0.45, 0.45, 0.46),
    ]
    bare = (tone[..., None] * vary(design, colours)).astype(np.float32)
    sheet = Material(
        albedo=bare,
        height=height,
        gloss=np.full((size, size), design.choice([0, 0.03, 0.12]), np.float32),
        part=np.ones((size, size), bool),
    )
    if design.random() < 0.45:
        return sheet
    turn = design.choice([0, np.pi / 2]) + rng.normal(0, 0.03)
    frame = local_grid(size, tuple(size / 2 + rng.normal(0, 4, 2) * unit), turn)
    half = (size * design.uniform(0.4, 0.9), size * design.uniform(0.4, 0.9))
    return _printed(design, rng, sheet, frame, half, np.ones_like(tone))


def _printed(
    design: np.random.Generator,
    rng: np.random.Generator,
    sheet: Material,
    frame: tuple[Field, Field],
    half: tuple[float, float],
    inside: Field,
) -> Material:
    """`sheet` with random artwork printed in a box of `half` extents about the origin of `frame`."""
    unit = sheet.unit
    artwork = _artwork(design, max(64, round(4 * half[0])), max(64, round(4 * half[1])))
    shift = rng.normal(0, 1.5, 2) * unit
    u, v = (2 * (frame[axis] + np.float32(half[axis] + shift[axis])) for axis in (0, 1))
    laid = cv2.remap(cv2.GaussianBlur(artwork, (0, 0), 1.2), u, v, cv2.INTER_LINEAR)
    laid = laid.astype(np.float32) / 255 * inside[..., None]
    patchy = np.clip(0.93 + 0.07 * smooth_noise(rng, sheet.size, 1.5 * unit), 0, 1)
    black = vary(design, [(0.06, 0.06, 0.07), (0.08, 0.10, 0.25), (0.12, 0.10, 0.09)], 0.01)
    spot = vary(design, [(0.70, 0.10, 0.10), (0.10, 0.25, 0.60), (0.90, 0.65, 0.05), (0.10, 0.45, 0.25)])
    printed = sheet.under(laid[..., 1] * patchy, albedo=spot)
    printed = printed.under(0.95 * laid[..., 0] * patchy, albedo=black)
    return replace(printed, unprinted=sheet.albedo)


def printed_label(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """A label with text, codes and a colour band, stuck on board or plastic, or filling the picture."""
    unit = size / 256
    ground = (cardboard, plastic, conveyor)[int(design.integers(3))](design, rng, size)
    fills = design.random() < 0.3
    half_w, half_h = size * design.uniform(0.3, 0.44), size * design.uniform(0.22, 0.4)
    if fills:
        half_w = half_h = size * 0.8
    turn = rng.normal(0, 0.05)
    x, y = local_grid(size, tuple(size / 2 + rng.normal(0, 4, 2) * unit), turn)
    outline = box_distance(x, y, half_w, half_h, design.uniform(1, 12) * unit).astype(np.float32)
    tone, relief = _paper_tone(rng, size, design.uniform(0.2, 0.9))
    stock = vary(design, [(0.90, 0.90, 0.88), (0.86, 0.84, 0.76), (0.80, 0.68, 0.25), (0.65, 0.67, 0.68)])
    inside = coverage(outline)
    sheet = ground.under(
        inside,
        albedo=(tone[..., None] * stock).astype(np.float32),
        height=blur(ground.height, 3 * unit) * 0.5 + relief * 0.4 + np.float32(1.6 * unit),
        gloss=design.choice([0.02, 0.1, 0.25]),
    )
    sheet = replace(sheet, part=outline < 0, brittle=None)
    return _printed(design, rng, sheet, (x, y), (half_w, half_h), inside)


def ferrite_tile(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """A ground ferrite or ceramic segment: faint grinding lines, soft uneven light, sometimes its edges.

    The curve of the segment, seen under a low lamp, is a broad run of light across the grain; it is painted,
    since the height of the whole part would dwarf that of its defects.
    """
    unit = size / 256
    turn = np.pi / 2 + design.choice([0, np.pi / 2], p=[0.75, 0.25])
    angle = turn + design.normal(0, 0.02) + rng.normal(0, 0.02)
    along, across = local_grid(size, (size / 2, size / 2), angle)
    fine = streaks(rng, size, design.uniform(25, 160) * unit, 1.1 * unit, angle)
    lines = streaks(rng, size, design.uniform(120, 500) * unit, design.uniform(1.5, 4) * unit, angle)
    bands = streaks(rng, size, 1200 * unit, design.uniform(12, 50) * unit, angle)
    burnished = np.clip(streaks(rng, size, 90 * unit, 1.4 * unit, angle) - 1.9, 0, 2)
    clouds = fractal_noise(rng, size, design.uniform(30, 100) * unit, 4, 0.6)
    grit = smooth_noise(rng, size, 1.3 * unit)
    strength = np.float32(design.uniform(0.35, 1.3))
    tone = 1 + strength * (0.045 * fine + 0.04 * lines + 0.03 * bands + 0.12 * burnished)
    tone = tone + 0.05 * clouds + 0.03 * grit
    crest, spread = design.normal(0, 0.25) + rng.normal(0, 0.05), design.uniform(0.35, 1.2)
    curve = np.exp(-(((across / size - np.float32(crest)) / np.float32(spread)) ** 2))
    curve = curve * (1 + np.float32(rng.normal(0, 0.25)) * along / size)
    pools = 1 + np.float32(design.uniform(0, 0.22)) * smooth_noise(rng, size, 80 * unit)
    tone = tone * (np.float32(1) + np.float32(design.uniform(0.2, 0.8)) * (curve - 0.8)) * pools
    smudge = np.clip(smooth_noise(rng, size, 28 * unit) - design.uniform(0.9, 2.6), 0, 1)
    tone = tone * (
        1 - np.float32(0.25) * smudge * (0.7 + 0.3 * streaks(rng, size, 12 * unit, 3 * unit, angle))
    )
    grey = np.float32(design.uniform(0.16, 0.52))
    tile = flat(size, (grey, grey, grey))
    tile = replace(
        tile,
        albedo=(tile.albedo * np.maximum(tone, 0.15)[..., None]).astype(np.float32),
        height=np.float32(0.10 * unit) * strength * (fine + 0.7 * lines) + np.float32(0.12 * unit) * grit,
        gloss=np.clip(np.float32(design.uniform(0, 0.12)) * (1 + 0.3 * fine), 0, 1),
        grain=float(angle),
    )
    visible = design.random()
    if visible < 0.35:
        return tile
    half = size * design.uniform(0.40, 0.52)
    tall = size * (2 if visible < 0.75 else design.uniform(0.40, 0.52))
    wobble = 0.35 * unit * smooth_noise(rng, size, 6 * unit) + 0.9 * unit * smooth_noise(rng, size, 40 * unit)
    offset = rng.normal(0, 0.03, 2) * size
    edge = box_distance(along - np.float32(offset[0]), across - np.float32(offset[1]), tall, half, 2 * unit)
    edge = (edge + wobble).astype(np.float32)
    chamfer = coverage(np.abs(edge + np.float32(3.5 * unit)) - np.float32(2.5 * unit), 2 * unit)
    lit = np.float32(design.uniform(-0.35, 0.8)) * (1 + 0.4 * streaks(rng, size, 20 * unit, 3 * unit, angle))
    tile = tile.under(chamfer, albedo=tile.albedo * (1 + lit)[..., None])
    beyond = np.float32(design.uniform(0.02, 0.12)) * (1 + 0.3 * smooth_noise(rng, size, 30 * unit))
    tile = tile.under(
        coverage(-edge, 1.5 * unit), albedo=np.repeat(beyond[..., None], 3, 2), height=-3 * unit, gloss=0
    )
    inside = edge < 0
    return replace(tile, part=inside, brittle=inside & (edge > -5 * unit))
