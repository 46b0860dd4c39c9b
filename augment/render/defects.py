"""Defects as changes of the material, so that shading, highlights and shadows follow as on a real part.

Each function takes (rng, material, strength) and returns the damaged material; `strength` is 1, and larger
where a first attempt could hardly be seen. Nothing here draws a mask: `scene` derives it from what changed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from augment.render.noise import Field, blur, coverage, fractal_noise, smooth_noise, streaks, voronoi
from augment.render.optics import Material
from augment.render.shapes import blob, draw_lines, place, place_on_edge, shard, walk
from augment.render.surfaces import vary


def _local_tone(material: Material, alpha: Field) -> np.ndarray:
    """Mean colour (3,) of the material under `alpha`."""
    return (material.albedo * alpha[..., None]).sum((0, 1)) / (alpha.sum() + np.float32(1e-6))


def _contrasting(rng: np.random.Generator, tone: np.ndarray, least: float = 0.18) -> float:
    """A grey level in [0.02, 1.1] clearly lighter or darker than the colour `tone`."""
    level = float(np.mean(tone))
    step = rng.uniform(least, max(0.45, least))
    lighter = rng.random() < 0.5
    if level + step > 1.1:
        lighter = False
    elif level - step < 0.02:
        lighter = True
    return float(np.clip(level + step if lighter else level - step, 0.02, 1.1))


def scratch(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """One to four grooves, nearly straight, tapering, with bright bare bottoms or dull ones."""
    unit = material.unit
    centre = place(rng, material, 12 * unit)
    heading = rng.uniform(0, np.pi)
    paths, widths = [], []
    for _ in range(rng.integers(1, 5)):
        start = centre + rng.normal(0, 7, 2) * unit
        path = walk(
            rng, start, heading + rng.normal(0, 0.12), rng.uniform(30, 150) * unit, 3 * unit, 0.03, 0.025
        )
        taper = np.sin(np.pi * np.linspace(0.08, 0.92, len(path)))
        paths.append(path)
        widths.append(taper * rng.uniform(0.8, 2.4) * unit * strength**0.5)
    groove = draw_lines(material.size, paths, widths)
    skip = np.clip(1.25 + 0.6 * smooth_noise(rng, material.size, 9 * unit), 0, 1)
    groove = groove * skip
    grey = _contrasting(rng, _local_tone(material, groove), 0.2 * strength)
    depth = np.float32(rng.uniform(1.5, 3.5) * strength) * unit
    marked = material.under(groove * 0.8, albedo=(grey, grey, grey), gloss=material.gloss + 0.15)
    burr = np.maximum(blur(groove, 1.4 * unit) - groove, 0)
    return replace(marked, height=material.height - depth * blur(groove, 0.5 * unit) + depth * burr)


def crack(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A dark, jagged, branching line that narrows to its ends, with a lit rim."""
    unit = material.unit
    centre = place(rng, material, 20 * unit)
    heading = rng.uniform(0, 2 * np.pi)
    trunk = walk(rng, centre, heading, rng.uniform(60, 200) * unit, 3 * unit, rng.uniform(0.35, 0.75), 0.1)
    widest = rng.uniform(0.9, 3.0) * unit * strength**0.5
    ends = np.linspace(0.1, 0.9, len(trunk))
    paths, widths = [trunk], [widest * np.sin(np.pi * ends) ** 0.7 * rng.uniform(0.5, 1.2, len(trunk))]
    for _ in range(rng.integers(0, 4)):
        root = trunk[rng.integers(len(trunk) // 4, len(trunk))]
        branch = walk(
            rng,
            (0, 0),
            heading + rng.choice([-1, 1]) * rng.uniform(0.4, 1.0),
            rng.uniform(12, 50) * unit,
            3 * unit,
            0.5,
            0.1,
        )
        paths.append(branch - branch[0] + root)
        widths.append(0.6 * widest * np.linspace(1, 0.2, len(branch)))
    gap = draw_lines(material.size, paths, widths)
    murk = np.float32(rng.uniform(0.06, 0.3) / strength)
    opened = material.under(np.minimum(gap * 1.15, 1), albedo=material.albedo * murk, gloss=0)
    lifted = 2.2 * unit * np.float32(strength) * (0.5 * blur(gap, 3 * unit) - blur(gap, 0.8 * unit))
    return replace(opened, height=material.height + lifted)


def dent(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A smooth hollow with a raised rim: only the shading and a highlight give it away."""
    unit = material.unit
    centre = place(rng, material, 22 * unit)
    radius = rng.uniform(9, 30) * unit
    depth = blob(rng, material.size, centre, radius, 0.06)
    bowl = np.clip(depth / np.float32(radius), 0, 1)
    bowl = bowl * bowl * (3 - 2 * bowl)
    rim = np.exp(-((depth / np.float32(0.25 * radius)) ** 2))
    sag = np.float32(rng.uniform(0.35, 0.6) * radius * strength)
    bruised = material.under(0.5 * bowl, gloss=material.gloss + 0.25, albedo=material.albedo * 0.85)
    return replace(bruised, height=material.height - sag * bowl + 0.12 * sag * rim)


def hole(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A round or torn hole: black inside, the far wall lit, the edge broken."""
    unit = material.unit
    radius = rng.uniform(5, 20) * unit * strength**0.5
    depth = blob(rng, material.size, place(rng, material, radius), radius, rng.choice([0.02, 0.12]))
    inside = coverage(-depth, 1.5 * unit)
    floor = np.minimum(depth, np.float32(7 * unit))
    torn = material.under(inside, albedo=material.albedo * 0.14, gloss=0)
    burr = 0.9 * unit * np.exp(-((depth / np.float32(2.2 * unit)) ** 2))
    return replace(torn, height=material.height + burr - 1.6 * np.maximum(floor, 0))


def stain(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A dried liquid: it multiplies the colour, darkest at its rim, and kills the gloss."""
    unit = material.unit
    radius = rng.uniform(12, 42) * unit
    depth = blob(rng, material.size, place(rng, material, 15 * unit), radius, 0.22)
    wet = coverage(-depth, rng.uniform(1.5, 8) * unit)
    rim = wet * np.exp(-((depth / np.float32(rng.uniform(2, 6) * unit)) ** 2))
    tint = vary(rng, [(0.62, 0.48, 0.32), (0.42, 0.42, 0.42), (0.55, 0.62, 0.48), (0.50, 0.32, 0.30)])
    if _local_tone(material, wet).mean() < 0.22:
        tint = 1 + 1.6 * np.float32(strength) * (1 - tint) + 0.5
    clouds = 0.75 + 0.12 * fractal_noise(rng, material.size, 20 * unit, 3)
    amount = np.clip(wet * clouds * rng.uniform(0.5, 1) * strength + 0.35 * rim, 0, 1)
    film = np.float32(0.03) * (tint.mean() > 1)
    return material.under(amount, albedo=material.albedo * tint + film, gloss=material.gloss * 0.4)


def contamination(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """Foreign matter lying on the part: chips, crumbs or a smear of paste, with its own relief and shadow."""
    unit = material.unit
    size = material.size
    centre = place(rng, material, 14 * unit)
    depth = np.full((size, size), -1e3, np.float32)
    for _ in range(rng.integers(1, 4)):
        near = tuple(centre + rng.normal(0, 12, 2) * unit)
        radius = rng.uniform(5, 24) * unit
        piece = blob(rng, size, near, radius, 0.15) if rng.random() < 0.5 else shard(rng, size, near, radius)
        np.maximum(depth, piece, out=depth)
    alpha = coverage(-depth, 1.3 * unit)
    grain = fractal_noise(rng, size, rng.uniform(2, 7) * unit, 3, 0.7)
    colours = [
        (0.45, 0.40, 0.33),
        (0.20, 0.17, 0.15),
        (0.72, 0.70, 0.66),
        (0.50, 0.26, 0.12),
        (0.35, 0.40, 0.30),
    ]
    colour = vary(rng, colours, 0.015)
    contrast = np.abs(colour - _local_tone(material, alpha)).max()
    if contrast < 0.12 * strength:
        colour = colour + np.float32(0.28 if colour.mean() < 0.5 else -0.28)
    tall = np.float32(rng.uniform(2.5, 8)) * unit
    lump = tall * np.clip(depth / np.float32(5 * unit), 0, 1) ** 0.6 + 0.5 * unit * grain
    return material.under(
        alpha,
        albedo=np.clip(colour * (1 + 0.16 * grain)[..., None], 0.01, 1),
        height=blur(material.height, 3 * unit) + lump,
        gloss=rng.choice([0, 0.25]),
    )


def chipped(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A broken edge: shell-shaped facets, each with its own tilt, some of them flashing in the light."""
    unit = material.unit
    size = material.size
    x, y = place_on_edge(rng, material)
    radius = rng.uniform(13, 34) * unit * strength**0.3
    inward = np.array([size / 2 - x, size / 2 - y])
    centre = tuple((x, y) + 0.4 * radius * inward / (np.hypot(*inward) + 1))
    splinter = shard(rng, size, centre, 0.9 * radius, int(rng.integers(4, 7)))
    depth = np.maximum(blob(rng, size, centre, radius, 0.16), splinter)
    zone = material.part if material.brittle is None else material.brittle
    outside = 12 * unit * (0.5 - blur(zone.astype(np.float32), unit))
    broken = coverage(np.maximum(-depth, outside), 1.6 * unit)

    bend = 0.22 * radius * smooth_noise(rng, size, 0.8 * radius)
    labels, border = voronoi(rng, size, rng.uniform(0.55, 1.0) * radius)
    rows, columns = np.indices((size, size), np.float32)
    shift = np.int32(np.clip(columns + bend, 0, size - 1)), np.int32(np.clip(rows + bend, 0, size - 1))
    labels, border = labels[shift[1], shift[0]], border[shift[1], shift[0]]
    lean = rng.normal(0, 1, (101, 2)).astype(np.float32)[labels % 101]
    slope = (lean[..., 0] * (columns - centre[0]) + lean[..., 1] * (rows - centre[1])) / np.float32(radius)
    ripple = np.sin(np.hypot(columns - x, rows - y) * (0.9 / unit) + lean[..., 0])
    level = rng.choice([0.35, 0.6, 0.9, 1.3, 2.2], 101, p=[0.25, 0.3, 0.25, 0.13, 0.07]).astype(np.float32)
    flash = np.clip(smooth_noise(rng, size, 5 * unit) - 1.3, 0, 1) * np.clip(slope, 0, 1)
    tone = level[labels % 101] * (1 + 0.45 * slope + 0.06 * ripple)
    seam = np.exp(-border / np.float32(0.9 * unit)) * np.clip(smooth_noise(rng, size, 12 * unit), 0, 1)
    bare = np.clip(0.06 + _local_tone(material, broken), 0, 0.6) * np.maximum(tone, 0.1)[..., None]
    light = np.clip(bare + (0.25 * seam + 0.7 * flash)[..., None], 0, 1)
    lost = 6 * unit * np.clip(depth / (8 * unit), 0, 1)
    sunk = blur(material.height, 2 * unit) - lost + unit * (4 * np.tanh(slope) + 0.2 * ripple)
    return material.under(broken, albedo=light, height=blur(sunk, unit), gloss=0.3)


def thread(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A loose fibre or hair lying in curls, round in section, with a thin shadow."""
    unit = material.unit
    centre = place(rng, material, 20 * unit)
    path = walk(
        rng, centre, rng.uniform(0, 6.3), rng.uniform(60, 220) * unit, 3 * unit, 0.02, rng.uniform(0.06, 0.22)
    )
    width = np.full(len(path), rng.uniform(1.2, 2.8) * unit * strength**0.5)
    line = draw_lines(material.size, [path], [width])
    grey = _contrasting(rng, _local_tone(material, line), 0.25 * strength)
    colour = np.clip(grey * (1 + rng.normal(0, 0.12, 3)), 0, 1)
    raised = material.height + 3.5 * unit * blur(line, 0.6 * unit)
    return replace(material.under(line, albedo=colour, gloss=0.05), height=raised)


def burn(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A scorch mark: char in the middle, brown further out, no gloss, slightly sunk."""
    unit = material.unit
    radius = rng.uniform(14, 38) * unit
    depth = blob(rng, material.size, place(rng, material, 15 * unit), radius, 0.2)
    heat = np.clip((depth + 6 * unit) / np.float32(radius), 0, 1) ** 1.2
    heat = np.clip(heat * (1.3 + 0.2 * smooth_noise(rng, material.size, 4 * unit)) * strength, 0, 1)
    fade = np.exp(-heat[..., None] * np.float32([2.0, 2.8, 3.6]))
    ash = 0.10 * np.clip(heat - 0.6, 0, 1)[..., None] * (material.albedo.mean() < 0.2)
    bubbles = 0.8 * unit * heat * fractal_noise(rng, material.size, 4 * unit, 2)
    return replace(
        material,
        albedo=material.albedo * fade + ash * 3,
        height=material.height + bubbles - 2 * unit * heat,
        gloss=material.gloss * (1 - heat),
    )


def blowhole(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A few small gas pits: dark cups with one lit rim."""
    unit = material.unit
    centre = place(rng, material, 14 * unit)
    depth = np.full((material.size, material.size), -1e3, np.float32)
    for _ in range(rng.integers(1, 7)):
        near = tuple(centre + rng.normal(0, 9, 2) * unit)
        np.maximum(
            depth, blob(rng, material.size, near, rng.uniform(2, 6) * unit * strength**0.5, 0.1), out=depth
        )
    cup = np.clip(depth / (3 * unit), 0, 1)
    pitted = material.under(
        coverage(-depth, 1.5 * unit) * (0.45 + 0.5 * cup), albedo=material.albedo * 0.15, gloss=0
    )
    return replace(pitted, height=material.height - 4.5 * unit * np.float32(strength) * blur(cup, 0.5 * unit))


def misprint(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """Ink where none belongs: smeared bars of a print, or spatter."""
    unit = material.unit
    size = material.size
    x, y = place(rng, material, 16 * unit)
    angle = rng.uniform(0, np.pi)
    if rng.random() < 0.5:
        dx, dy = np.cos(angle), np.sin(angle)
        paths = [
            np.array([[-dy, dx], [dy, -dx]]) * rng.uniform(4, 9) * unit + (x + k * dx, y + k * dy)
            for k in np.arange(-4, 5) * rng.uniform(3.5, 6) * unit
        ]
        ink = draw_lines(size, paths, [np.full(2, rng.uniform(1, 3) * unit) for _ in paths])
        ink = np.clip(ink + 0.6 * blur(np.roll(ink, int(4 * unit), rng.integers(2)), 1.5 * unit), 0, 1)
    else:
        depth = blob(rng, size, (x, y), rng.uniform(4, 10) * unit, 0.2)
        for _ in range(rng.integers(2, 9)):
            near = tuple(np.float32([x, y]) + rng.normal(0, 14, 2) * unit)
            np.maximum(depth, blob(rng, size, near, rng.uniform(1.2, 3.5) * unit, 0.1), out=depth)
        ink = coverage(-depth, 1.2 * unit)
    patchy = np.clip(0.9 + 0.12 * streaks(rng, size, 20 * unit, 2 * unit, angle), 0, 1)
    tone = _local_tone(material, ink)
    colour = vary(rng, [(0.08, 0.08, 0.10), (0.10, 0.16, 0.40), (0.60, 0.10, 0.10), (0.85, 0.85, 0.83)])
    if np.abs(colour - tone).max() < 0.25 * strength:
        colour = np.float32(0.85 if tone.mean() < 0.5 else 0.07) + np.zeros(3, np.float32)
    return material.under(ink * patchy * 0.9, albedo=colour, gloss=0.05)
