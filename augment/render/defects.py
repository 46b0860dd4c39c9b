"""Defects as changes of the material, so that shading, highlights and shadows follow as on a real part.

Each function takes (rng, material, strength) and returns the damaged material; `strength` is 1, and larger
where a first attempt could hardly be seen. Nothing here draws a mask: `scene` derives it from what changed.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from augment.render.breakage import glass_break, glass_crack, local_tone
from augment.render.noise import (
    blur,
    box_distance,
    coverage,
    fractal_noise,
    local_grid,
    smooth_noise,
    streaks,
    voronoi,
)
from augment.render.optics import Material
from augment.render.shapes import blob, draw_lines, place, place_on_edge, shard, walk
from augment.render.surfaces import vary


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
    grey = _contrasting(rng, local_tone(material, groove), 0.2 * strength)
    depth = np.float32(rng.uniform(1.5, 3.5) * strength) * unit
    marked = material.under(groove * 0.8, albedo=(grey, grey, grey), gloss=material.gloss + 0.15)
    burr = np.maximum(blur(groove, 1.4 * unit) - groove, 0)
    return replace(marked, height=material.height - depth * blur(groove, 0.5 * unit) + depth * burr)


def crack(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A dark, jagged, branching line that narrows to its ends, with a lit rim; it follows the grain."""
    if material.clear:
        return glass_crack(rng, material, strength)
    if material.grain is not None:
        return _crack_along(rng, material, strength)
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


def _crack_along(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A thin crack that runs along the grain, now and then jumping across it, wider here and there."""
    unit = material.unit
    across = rng.random() < 0.15
    heading = material.grain + (np.pi / 2 if across else 0) + rng.choice([0, np.pi]) + rng.normal(0, 0.12)
    length = rng.uniform(50, 260) * unit
    trunk = walk(
        rng, place(rng, material, 8 * unit), heading, length, 2.5 * unit, rng.uniform(0.15, 0.5), 0.02
    )
    jumps = rng.normal(0, 1, len(trunk)) * (rng.random(len(trunk)) < 0.06) * rng.uniform(0, 4) * unit
    trunk = trunk + np.cumsum(jumps)[:, None] * (-np.sin(heading), np.cos(heading))
    widest = rng.uniform(0.6, 1.9) * unit * strength**0.6
    swell = np.interp(np.arange(len(trunk)), np.linspace(0, len(trunk), 9), rng.uniform(0.35, 1.3, 9))
    taper = np.minimum(1, np.minimum(np.arange(len(trunk)), np.arange(len(trunk))[::-1]) / 6 + 0.2)
    paths, widths = [trunk], [widest * swell * taper]
    for _ in range(int(rng.choice([0, 1, 2], p=[0.55, 0.3, 0.15]))):
        way = heading + rng.choice([-1, 1]) * rng.uniform(0.2, 0.8)
        branch = walk(rng, (0, 0), way, rng.uniform(10, 40) * unit, 2.5 * unit, 0.4, 0.05)
        paths.append(branch - branch[0] + trunk[int(rng.integers(len(trunk)))])
        widths.append(0.5 * widest * np.linspace(1, 0.2, len(branch)))
    gap = draw_lines(material.size, paths, widths)
    murk = np.float32(rng.uniform(0.12, 0.55) / strength)
    halo = blur(gap, 1.6 * unit) * np.clip(0.5 + smooth_noise(rng, material.size, 12 * unit), 0, 1)
    crumbled = material.under(np.clip(0.7 * halo, 0, 0.4), albedo=material.albedo * 0.7)
    opened = crumbled.under(np.minimum(gap * 1.1, 1), albedo=material.albedo * murk, gloss=0)
    lifted = 1.5 * unit * np.float32(strength) * (0.5 * blur(gap, 3 * unit) - blur(gap, 0.8 * unit))
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
    """A punched, drilled or torn hole: a worn rim, the far wall lit, darker towards the bottom."""
    unit = material.unit
    size = material.size
    radius = rng.uniform(5, 20) * unit * strength**0.5
    roughness = rng.choice([0.03, 0.12, 0.22])
    depth = blob(rng, size, place(rng, material, radius), radius, roughness)
    depth = depth + np.float32(0.5 * unit) * smooth_noise(rng, size, 2.5 * unit)
    inside = coverage(-depth, 1.6 * unit)
    worn = np.exp(-((depth / np.float32(rng.uniform(1.5, 4) * unit)) ** 2)) * (
        0.6 + 0.4 * smooth_noise(rng, size, 5 * unit)
    )
    bottom = np.float32(rng.uniform(0.04, 0.22))
    fall = bottom + (0.5 - bottom) * np.exp(-np.maximum(depth, 0) / np.float32(rng.uniform(1.5, 4) * unit))
    rough = fall * (1 + 0.15 * fractal_noise(rng, size, 4 * unit, 3))
    frayed = material.under(np.clip(0.35 * worn, 0, 1), albedo=material.albedo * 0.6, gloss=0)
    torn = frayed.under(inside, albedo=material.albedo * np.maximum(rough, 0.02)[..., None], gloss=0)
    burr = 0.9 * unit * np.exp(-((depth / np.float32(2.2 * unit)) ** 2))
    floor = np.minimum(depth, np.float32(7 * unit))
    return replace(torn, height=material.height + burr - 1.6 * np.maximum(floor, 0))


def stain(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A dried liquid: it multiplies the colour, darkest at its rim, and kills the gloss; it may have run."""
    unit = material.unit
    size = material.size
    centre = np.array(place(rng, material, 15 * unit))
    radius = rng.uniform(12, 42) * unit
    depth = blob(rng, size, tuple(centre), radius, 0.22)
    for _ in range(int(rng.integers(0, 5))):
        near = tuple(centre + rng.normal(0, 0.9 * radius, 2))
        np.maximum(depth, blob(rng, size, near, radius * rng.uniform(0.08, 0.35), 0.15), out=depth)
    wicked = np.float32(0 if material.grain is None else 2.5 * unit)
    if wicked:
        depth = depth + wicked * streaks(rng, size, 16 * unit, 1.6 * unit, material.grain)
    wet = coverage(-depth, rng.uniform(1.5, 14) * unit)
    rim = wet * np.exp(-((depth / np.float32(rng.uniform(1.5, 6) * unit)) ** 2))
    tint = vary(rng, [(0.62, 0.48, 0.32), (0.42, 0.42, 0.42), (0.55, 0.62, 0.48), (0.50, 0.32, 0.30)])
    if local_tone(material, wet).mean() < 0.22:
        tint = 1 + 1.6 * np.float32(strength) * (1 - tint) + 0.5
    clouds = np.clip(0.62 + 0.25 * fractal_noise(rng, size, 0.7 * radius, 4, 0.6), 0.1, 1)
    amount = np.clip(wet * clouds * rng.uniform(0.4, 1) * strength + rng.uniform(0.1, 0.5) * rim, 0, 1)
    film = np.float32(0.03) * (tint.mean() > 1)
    return material.under(amount, albedo=material.albedo * tint + film, gloss=material.gloss * 0.4)


def contamination(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """Foreign matter lying on the part: chips, crumbs or a smear of paste, with its own relief and shadow."""
    if material.opening is not None and rng.random() < 0.75:
        return _over_opening(rng, material, strength)
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
    contrast = np.abs(colour - local_tone(material, alpha)).max()
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


def _over_opening(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """Matter over or in a mouth: a torn scrap, a membrane across it, a wad of fluff, or drops."""
    unit = material.unit
    size = material.size
    rows, columns = np.nonzero(material.opening)
    reach = np.float32(np.sqrt(len(rows) / np.pi))
    middle = np.array([columns.mean(), rows.mean()])
    centre = tuple(middle + rng.normal(0, 0.35, 2) * reach)
    inside = blur(material.opening.astype(np.float32), 1.2 * unit)
    form = rng.choice(4, p=[0.4, 0.2, 0.2, 0.2])
    grain = fractal_noise(rng, size, rng.uniform(2, 6) * unit, 3, 0.75)
    clouds = fractal_noise(rng, size, 0.5 * reach, 3)
    if form == 0:
        radius = rng.uniform(0.25, 0.8) * reach
        depth = shard(rng, size, centre, radius, int(rng.integers(3, 7))) + 0.05 * radius * smooth_noise(
            rng, size, 0.3 * radius
        )
        alpha = coverage(-depth, 1.5 * unit)
    elif form == 1:
        depth = blob(rng, size, tuple(middle), rng.uniform(0.75, 1.3) * reach, 0.05)
        alpha = coverage(-depth, 2.5 * unit) * np.float32(rng.uniform(0.3, 0.85))
    elif form == 2:
        depth = blob(rng, size, centre, rng.uniform(0.15, 0.6) * reach, 0.3)
        alpha = coverage(-depth, 5 * unit) * np.clip(0.8 + 0.25 * grain, 0, 1)
    else:
        depth = np.full((size, size), -1e3, np.float32)
        for _ in range(int(rng.integers(1, 5))):
            near = tuple(centre + rng.normal(0, 0.2, 2) * reach)
            np.maximum(depth, blob(rng, size, near, rng.uniform(0.06, 0.22) * reach, 0.05), out=depth)
        rim = np.exp(-((depth / np.float32(2.2 * unit)) ** 2))
        alpha = np.clip(rim + 0.4 * coverage(-depth, 3 * unit), 0, 1) * np.float32(rng.uniform(0.4, 0.9))
    over = rng.uniform(0, 14) * unit if form in (0, 2) else 0.0
    allowed = (
        np.maximum(inside, coverage(1e3 * (blur(inside, over + 0.4) < 0.12) - 1, unit)) if over else inside
    )
    alpha = (alpha * allowed).astype(np.float32)
    colours = [
        (0.38, 0.35, 0.33),
        (0.26, 0.24, 0.24),
        (0.62, 0.60, 0.56),
        (0.42, 0.28, 0.16),
        (0.30, 0.34, 0.28),
    ]
    colour = vary(rng, colours, 0.015)
    apart = np.abs(colour - local_tone(material, alpha)).max()
    if apart < 0.10 * strength:
        colour = colour + np.float32(0.25 if colour.mean() < 0.4 else -0.25)
    tone = (1 + 0.13 * grain + 0.14 * clouds)[..., None]
    relief = 0.5 * unit * grain + 1.5 * unit * np.clip(depth / (4 * unit), 0, 1)
    return material.under(
        alpha,
        albedo=np.clip(colour * tone, 0.01, 1).astype(np.float32),
        height=relief,
        gloss=rng.choice([0, 0.15]),
    )


def chipped(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A broken edge: shell-shaped facets, each with its own tilt, some of them flashing in the light."""
    if material.clear:
        return glass_break(rng, material, strength)
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
    bare = np.clip(0.06 + local_tone(material, broken), 0, 0.6) * np.maximum(tone, 0.1)[..., None]
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
    grey = _contrasting(rng, local_tone(material, line), 0.25 * strength)
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
    """One or a few small gas pits: dark round cups with one lit rim."""
    unit = material.unit
    centre = place(rng, material, 14 * unit)
    depth = np.full((material.size, material.size), -1e3, np.float32)
    for index in range(int(rng.choice([1, 2, 3, 6], p=[0.5, 0.2, 0.15, 0.15]))):
        near = tuple(centre + (index > 0) * rng.normal(0, 9, 2) * unit)
        radius = rng.uniform(2, 6.5 if index == 0 else 4) * unit * strength**0.5
        np.maximum(depth, blob(rng, material.size, near, radius, rng.uniform(0.04, 0.14)), out=depth)
    cup = np.clip(depth / (3 * unit), 0, 1)
    murk = np.float32(rng.uniform(0.12, 0.45) / strength)
    grit = murk * (1 + 0.2 * smooth_noise(rng, material.size, 1.8 * unit))[..., None]
    pitted = material.under(
        coverage(-depth, 1.8 * unit) * (0.5 + 0.45 * cup),
        albedo=material.albedo * np.maximum(grit, 0.03),
        gloss=0,
    )
    return replace(pitted, height=material.height - 3.5 * unit * np.float32(strength) * blur(cup, 0.6 * unit))


def misprint(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """Ink where none belongs: smeared bars of a print, or spatter; print smeared, doubled or left out."""
    if material.unprinted is not None and rng.random() < 0.75:
        damaged = _spoiled_print(rng, material)
        if np.abs(damaged.albedo - material.albedo).max(2).sum() > 40 * material.unit**2:
            return damaged
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
    tone = local_tone(material, ink)
    colour = vary(rng, [(0.08, 0.08, 0.10), (0.10, 0.16, 0.40), (0.60, 0.10, 0.10), (0.85, 0.85, 0.83)])
    if np.abs(colour - tone).max() < 0.25 * strength:
        colour = np.float32(0.85 if tone.mean() < 0.5 else 0.07) + np.zeros(3, np.float32)
    return material.under(ink * patchy * 0.9, albedo=colour, gloss=0.05)


def _spoiled_print(rng: np.random.Generator, material: Material) -> Material:
    """The material's own print gone wrong in one place: left out in a streak, doubled, or smeared."""
    unit = material.unit
    size = material.size
    ink = np.abs(material.albedo - material.unprinted).max(2)
    near = replace(material, part=material.part & (ink > 0.15))
    at = place(rng, near if near.part.any() else material, 0)
    angle = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.08)
    x, y = local_grid(size, at, angle)
    spread = 1 + 0.25 * smooth_noise(rng, size, 9 * unit)
    half_w, half_h = rng.uniform(18, 60) * unit, rng.uniform(5, 22) * unit
    zone = coverage(
        box_distance(x * spread, y * spread, half_w, half_h, 4 * unit).astype(np.float32), 6 * unit
    )
    form = rng.choice(3)
    bare = material.unprinted
    if form == 0:
        worn = np.clip(0.9 + 0.5 * streaks(rng, size, 25 * unit, 1.5 * unit, angle), 0, 1)
        return material.under(zone * worn, albedo=bare)
    share = material.albedo / np.maximum(bare, 0.02)
    if form == 1:
        way, far = rng.uniform(0, 2 * np.pi), rng.uniform(2.5, 7) * unit
        ghost = _shifted(share, far * np.cos(way), far * np.sin(way))
    else:
        steps = [_shifted(share, k * unit * np.cos(angle), k * unit * np.sin(angle)) for k in range(0, 15, 2)]
        ghost = np.minimum(sum(steps) / len(steps), share)
    return material.under(
        zone * np.float32(rng.uniform(0.6, 1)), albedo=material.albedo * np.minimum(ghost, 1)
    )


def _shifted(picture: np.ndarray, dx: float, dy: float) -> np.ndarray:
    move = np.float32([[1, 0, dx], [0, 1, dy]])
    return cv2.warpAffine(picture, move, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
