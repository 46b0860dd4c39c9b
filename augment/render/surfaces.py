"""Surfaces that fill the picture: metal, wood, leather, cloth, ceramic, stone, plastic, cardboard.

Each function draws one specimen: (design, rng, size) -> Material. `design` draws what a series of specimens
shares (colour, coarseness), `rng` what is the specimen's own. Lengths are scaled by size / 256, so that a
specimen looks alike at any size.
"""

from __future__ import annotations

import numpy as np

from augment.render.noise import (
    blur,
    box_distance,
    coverage,
    fractal_noise,
    local_grid,
    per_label,
    pixel_grid,
    smooth_noise,
    streaks,
    voronoi,
)
from augment.render.optics import Material


def vary(
    rng: np.random.Generator, colours: list[tuple[float, float, float]], spread: float = 0.04
) -> np.ndarray:
    """One of `colours`, a little lighter or darker and a little off in hue; float32 (3,)."""
    colour = np.array(colours[rng.integers(len(colours))])
    return np.clip(colour * rng.uniform(0.85, 1.15) + rng.normal(0, spread * 0.4, 3), 0.02, 0.97).astype(
        np.float32
    )


def _tinted(colour: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return (colour * factor[..., None]).astype(np.float32)


METALS = [(0.55, 0.56, 0.58), (0.68, 0.68, 0.67), (0.36, 0.37, 0.39), (0.62, 0.54, 0.40), (0.60, 0.42, 0.33)]


def brushed_metal(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """Ground or brushed sheet: fine parallel lines, broad bands, a sheen across the grain."""
    unit = size / 256
    angle = design.choice([0, np.pi / 2]) + design.normal(0, 0.1) + rng.normal(0, 0.02)
    strength = design.uniform(0.6, 1.4)
    fine = streaks(rng, size, design.uniform(50, 160) * unit, 1.1 * unit, angle)
    coarse = streaks(rng, size, design.uniform(150, 500) * unit, design.uniform(3, 7) * unit, angle)
    bands = streaks(rng, size, 900 * unit, design.uniform(25, 70) * unit, angle)
    clouds = fractal_noise(rng, size, 90 * unit, 4)
    tone = 1 + strength * (0.07 * fine + 0.045 * coarse + 0.06 * bands) + 0.03 * clouds
    return Material(
        albedo=_tinted(vary(design, METALS, 0.015), tone),
        height=np.float32(0.22 * strength * unit) * (fine + 0.5 * coarse),
        gloss=np.clip(np.float32(design.uniform(0.05, 0.3)) * (1 + 0.25 * fine), 0, 1),
        part=np.ones((size, size), bool),
    )


def cast_metal(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """Cast, sand-blasted or sintered metal: a matt grain, dark pits, clouds."""
    unit = size / 256
    grain = fractal_noise(rng, size, design.uniform(2.5, 9) * unit, 3, 0.75)
    clouds = fractal_noise(rng, size, 110 * unit, 4)
    pits = np.clip(smooth_noise(rng, size, 2.5 * unit) - design.uniform(2.2, 3.0), 0, 1)
    tone = 1 + 0.06 * grain + 0.05 * clouds - 0.6 * pits
    return Material(
        albedo=_tinted(vary(design, [*METALS[:3], (0.45, 0.44, 0.42), (0.30, 0.28, 0.27)]), tone),
        height=np.float32(design.uniform(0.25, 0.7) * unit) * grain - 2 * unit * pits,
        gloss=np.clip(np.float32(design.uniform(0.02, 0.15)) * (1 + 0.5 * grain), 0, 1),
        part=np.ones((size, size), bool),
    )


def wood(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """A planed board: wavering growth rings, fibres, pores, sometimes a knot."""
    unit = size / 256
    angle = design.choice([0, np.pi / 2]) + rng.normal(0, 0.08)
    along, across = local_grid(size, tuple(rng.uniform(0.2, 0.8, 2) * size), angle)
    across = across + 7 * unit * streaks(rng, size, 420 * unit, 80 * unit, angle)
    across = across + 0.6 * unit * streaks(rng, size, 110 * unit, 8 * unit, angle)
    knot = np.float32(0)
    if rng.random() < 0.35:
        near = np.exp(-((along / (40 * unit)) ** 2) - (across / (16 * unit)) ** 2)
        across = across + np.sign(across) * 14 * unit * near
        knot = np.exp(-((along / (11 * unit)) ** 2) - (across / (13 * unit)) ** 2)
    phase = across / (design.uniform(9, 26) * unit)
    saw = phase - np.floor(phase)
    rings = blur(np.float32(saw**2.2), 0.7 * unit) * (1 + 0.25 * smooth_noise(rng, size, 60 * unit))
    fibre = streaks(rng, size, 45 * unit, 1.2 * unit, angle)
    pores = np.clip(streaks(rng, size, 14 * unit, 1.3 * unit, angle) - design.uniform(1.4, 2.2), 0, 1)
    tone = 1.05 - design.uniform(0.12, 0.35) * rings + 0.045 * fibre - 0.35 * pores - 0.5 * knot
    tone += 0.04 * fractal_noise(rng, size, 100 * unit, 3)
    browns = [(0.74, 0.56, 0.37), (0.62, 0.42, 0.25), (0.80, 0.68, 0.50), (0.42, 0.27, 0.17)]
    colour = vary(design, browns)
    albedo = np.clip(tone, 0.1, 1.3)[..., None] ** np.float32([0.85, 1.0, 1.25]) * colour
    return Material(
        albedo=albedo.astype(np.float32),
        height=(0.14 * fibre - 0.9 * pores - 0.25 * rings).astype(np.float32) * unit,
        gloss=np.full((size, size), design.uniform(0.0, 0.1), np.float32),
        part=np.ones((size, size), bool),
        grain=float(angle),
    )


def leather(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """Grained hide: pebbles of uneven size between soft creases."""
    unit = size / 256
    _, border = voronoi(rng, size, design.uniform(6, 13) * unit)
    _, fine = voronoi(rng, size, design.uniform(3.5, 5) * unit)
    dome = 1 - np.exp(-border / np.float32(1.8 * unit))
    pebble = blur(dome * (0.75 + 0.25 * np.minimum(fine / (1.5 * unit), 1)), 0.7 * unit)
    folds = fractal_noise(rng, size, 45 * unit, 3)
    colours = [
        (0.30, 0.18, 0.11),
        (0.13, 0.12, 0.12),
        (0.52, 0.34, 0.20),
        (0.42, 0.12, 0.10),
        (0.62, 0.52, 0.40),
    ]
    tone = 0.72 + 0.36 * pebble + 0.05 * folds + 0.03 * smooth_noise(rng, size, 1)
    return Material(
        albedo=_tinted(vary(design, colours), tone),
        height=np.float32(unit) * (design.uniform(1.2, 2.4) * pebble + 0.8 * folds).astype(np.float32),
        gloss=np.float32(design.uniform(0.05, 0.22)) * pebble.astype(np.float32),
        part=np.ones((size, size), bool),
    )


def fabric(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """Plain or twill weave: two sets of yarns over and under each other."""
    unit = size / 256
    pitch = design.uniform(5, 13) * unit
    turn = design.normal(0, 0.1) + rng.normal(0, 0.03)
    u, v = local_grid(size, (size / 2, size / 2), turn)
    u = (u + 0.9 * unit * smooth_noise(rng, size, 40 * unit)) / pitch
    v = (v + 0.9 * unit * smooth_noise(rng, size, 40 * unit)) / pitch
    column, row = np.floor(u), np.floor(v)
    period, over = (2, 1) if design.random() < 0.5 else (4, 2)
    warp_above = (column + row) % period < over
    across_warp, across_weft = np.abs(u - column - 0.5), np.abs(v - row - 0.5)
    roundness = np.where(warp_above, across_warp, across_weft)
    along = np.where(warp_above, across_weft, across_warp)
    yarn = np.sqrt(np.maximum(1 - (2 * roundness) ** 2, 0)) * (1 - 0.9 * along**2)
    twist = np.sin(2 * np.pi * (u + np.where(warp_above, 1, -1) * v) * 1.5) * np.float32(0.06)
    jitter = rng.normal(1, 0.05, 997).astype(np.float32)
    tone = np.where(warp_above, per_label(column.astype(int), jitter), per_label(row.astype(int), jitter))
    tone = tone * (0.55 + 0.5 * yarn + twist + 0.04 * smooth_noise(rng, size, 1.5))
    warp = vary(
        rng,
        [(0.72, 0.70, 0.66), (0.30, 0.35, 0.45), (0.25, 0.25, 0.26), (0.60, 0.50, 0.36), (0.55, 0.2, 0.2)],
    )
    weft = warp * np.float32(design.uniform(0.75, 1.1))
    return Material(
        albedo=(tone[..., None] * np.where(warp_above[..., None], warp, weft)).astype(np.float32),
        height=blur((yarn * pitch * 0.28).astype(np.float32), 0.6 * unit),
        gloss=np.zeros((size, size), np.float32),
        part=np.ones((size, size), bool),
        grain=float(turn),
    )


def ceramic(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """Glazed tiles, with or without grout joints in view; some speckled."""
    unit = size / 256
    colours = [
        (0.85, 0.84, 0.81),
        (0.70, 0.74, 0.76),
        (0.30, 0.42, 0.50),
        (0.55, 0.32, 0.24),
        (0.25, 0.26, 0.28),
    ]
    speckle = np.clip(smooth_noise(rng, size, design.uniform(1.5, 3.5) * unit) - design.uniform(1.2, 3), 0, 1)
    tone = 1 + 0.025 * fractal_noise(rng, size, 80 * unit, 4) - design.uniform(0, 0.5) * speckle
    tile = Material(
        albedo=_tinted(vary(design, colours), tone),
        height=np.float32(design.uniform(0.02, 0.2) * unit) * fractal_noise(rng, size, 25 * unit, 2),
        gloss=np.full((size, size), design.uniform(0.15, 0.5), np.float32),
        part=np.ones((size, size), bool),
    )
    if design.random() < 0.5:
        return tile
    pitch = design.uniform(90, 220) * unit
    u, v = local_grid(size, tuple(rng.uniform(0, 1, 2) * size), rng.normal(0, 0.05))
    u, v = (u + 20 * pitch) % pitch - pitch / 2, (v + 20 * pitch) % pitch - pitch / 2
    joint = box_distance(u, v, pitch / 2 - 3 * unit, pitch / 2 - 3 * unit, 3 * unit)
    edge = np.float32(2 * unit) * (np.clip(-joint / (4 * unit), 0, 1) - 1)
    tile = tile.under(np.ones_like(joint), height=tile.height + edge)
    gritty = (0.5 * smooth_noise(rng, size, 1.5 * unit) - 3) * unit
    grey = np.float32(design.uniform(0.3, 0.75))
    return tile.under(coverage(-joint), albedo=(grey, grey, grey), height=gritty, gloss=0)


def stone(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """Granite or terrazzo: coloured chips of several sizes in a binder, polished."""
    unit = size / 256
    base = vary(design, [(0.75, 0.73, 0.70), (0.45, 0.44, 0.44), (0.62, 0.56, 0.50), (0.25, 0.26, 0.28)])
    palette = np.clip(
        base
        + design.normal(0, design.uniform(0.06, 0.2), (7, 1))
        + design.normal(0, design.uniform(0.005, 0.05), (7, 3)),
        0.05,
        0.95,
    )
    warp = design.uniform(0.8, 2) * unit
    albedo = np.broadcast_to(base, (size, size, 3)).astype(np.float32)
    for cell, share in ((design.uniform(4, 7), 0.55), (design.uniform(10, 34), design.uniform(0.25, 0.7))):
        labels, border = voronoi(rng, size, cell * unit)
        chosen = per_label(labels, design.random(401) < share)
        inside = border + warp * smooth_noise(rng, size, 5 * unit) - design.uniform(0.5, 2.5) * unit
        alpha = (coverage(-inside, 1.2 * unit) * chosen)[..., None]
        colours = palette[rng.integers(7, size=401)].astype(np.float32)
        albedo = albedo + alpha * (per_label(labels, colours) - albedo)
    albedo = albedo * (1 + 0.05 * fractal_noise(rng, size, 8 * unit, 3)[..., None])
    return Material(
        albedo=albedo.astype(np.float32),
        height=np.float32(0.15 * unit) * smooth_noise(rng, size, 2 * unit),
        gloss=np.full((size, size), design.uniform(0.0, 0.25), np.float32),
        part=np.ones((size, size), bool),
    )


def plastic(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """A moulded part: spark-eroded grain, sometimes ribs, a saturated colour."""
    unit = size / 256
    colours = [(0.12, 0.12, 0.13), (0.80, 0.79, 0.75), (0.15, 0.28, 0.55), (0.65, 0.14, 0.12)]
    colours += [(0.85, 0.62, 0.12), (0.18, 0.42, 0.28), (0.45, 0.46, 0.48)]
    grain = fractal_noise(rng, size, design.uniform(1.5, 4.5) * unit, 2, 0.7)
    height = np.float32(design.uniform(0.1, 0.55) * unit) * grain
    if design.random() < 0.4:
        u, _ = local_grid(size, (size / 2, size / 2), design.choice([0, np.pi / 2]) + rng.normal(0, 0.03))
        pitch = design.uniform(18, 60) * unit
        wave = np.sin(2 * np.pi * u / pitch)
        height = height + np.float32(design.uniform(1, 2.5) * unit) * np.tanh(3 * wave)
    tone = 1 + 0.02 * grain + 0.02 * fractal_noise(rng, size, 120 * unit, 2)
    return Material(
        albedo=_tinted(vary(design, colours, 0.08), tone),
        height=height.astype(np.float32),
        gloss=np.full((size, size), design.uniform(0.05, 0.4), np.float32),
        part=np.ones((size, size), bool),
    )


def cardboard(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """Paper or board: random fibres, flecks, the faint waves of the flutes beneath."""
    unit = size / 256
    fibres = sum(streaks(rng, size, 16 * unit, 1.4 * unit, a) for a in rng.uniform(0, np.pi, 4)) / 2
    flecks = np.clip(streaks(rng, size, 6 * unit, 1.5 * unit, design.uniform(0, np.pi)) - 2.4, 0, 1)
    u, _ = local_grid(size, (size / 2, size / 2), design.choice([0, np.pi / 2]) + rng.normal(0, 0.03))
    flutes = np.sin(2 * np.pi * u / (design.uniform(16, 26) * unit)) * design.choice(
        [0, design.uniform(0.3, 1)]
    )
    tone = 1 + 0.035 * fibres + 0.02 * flutes + 0.04 * fractal_noise(rng, size, 30 * unit, 4) - 0.3 * flecks
    colours = [(0.66, 0.51, 0.35), (0.72, 0.60, 0.45), (0.88, 0.87, 0.84), (0.55, 0.53, 0.50)]
    return Material(
        albedo=_tinted(vary(design, colours), tone),
        height=(0.1 * fibres + 0.5 * flutes).astype(np.float32) * unit,
        gloss=np.zeros((size, size), np.float32),
        part=np.ones((size, size), bool),
    )


def conveyor(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """The plain ground on which single parts lie: light box, grey plate, dark mat."""
    unit = size / 256
    colours = [
        (0.93, 0.93, 0.92),
        (0.80, 0.80, 0.80),
        (0.48, 0.49, 0.50),
        (0.10, 0.10, 0.11),
        (0.16, 0.22, 0.30),
    ]
    x, _ = pixel_grid(size)
    tone = (
        1
        + 0.02 * fractal_noise(rng, size, 100 * unit, 3)
        + np.float32(design.normal(0, 0.05)) * (x / size - 0.5)
    )
    grain = smooth_noise(rng, size, design.uniform(1.2, 3) * unit) * np.float32(design.choice([0, 0.3]))
    return Material(
        albedo=_tinted(vary(design, colours), tone + 0.03 * grain),
        height=grain * np.float32(unit),
        gloss=np.zeros((size, size), np.float32),
        part=np.zeros((size, size), bool),
    )
