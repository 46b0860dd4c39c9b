"""Single parts on a plain ground: bottle mouth, washer, nut, screw, capsule.

Each function draws one specimen in its own pose: (design, rng, size) -> Material, with the part's own
pixels in `Material.part`; `design` draws what a series shares, `rng` what is the specimen's own.
Profiles are heights over the ground; the light of `optics` does the rest.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from augment.render.noise import (
    Field,
    blur,
    box_distance,
    coverage,
    fractal_noise,
    local_grid,
    polygon_distance,
    smooth_noise,
)
from augment.render.optics import Material, flat
from augment.render.shapes import ring_arc
from augment.render.surfaces import METALS, conveyor, vary


def pose(rng: np.random.Generator, size: int, wander: float = 0.05) -> tuple[Field, Field]:
    """Local coordinates of a part lying near the middle, turned at random."""
    centre = size * (0.5 + rng.uniform(-wander, wander, 2))
    return local_grid(size, (centre[0], centre[1]), rng.uniform(0, 2 * np.pi))


def _bevel(distance: Field, width: float, thickness: float) -> Field:
    """Height of a plate `thickness` thick whose edge is rounded over `width` px."""
    inside = np.clip(-distance / np.float32(width), 0, 1)
    return np.float32(thickness) * np.sqrt(np.maximum(1 - (1 - inside) ** 2, 0))


def _worn(rng: np.random.Generator, size: int, amount: float = 0.04) -> Field:
    unit = size / 256
    return 1 + np.float32(amount) * (
        fractal_noise(rng, size, 35 * unit, 4) + np.float32(0.6) * smooth_noise(rng, size, 1.4 * unit)
    )


def _ring(radius: Field, at: float, width: float) -> Field:
    return np.exp(-(((radius - np.float32(at)) / np.float32(width)) ** 2))


_GLASS_RINGS = (
    (0.970, 0.018, -0.35),
    (0.915, 0.035, 0.45),
    (0.868, 0.018, -0.30),
    (0.838, 0.013, 0.85),
    (0.800, 0.030, -0.20),
    (0.752, 0.016, 0.30),
    (0.690, 0.035, -0.30),
    (0.632, 0.014, 0.30),
    (0.598, 0.010, 0.25),
)
"""Where the wall of a bottle, seen along its axis, is lighter or darker: radius, width, strength."""


def bottle(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """A glass bottle from above on a light box: dark concentric rings around the black mouth.

    The wall is refracted light, not relief, so it is painted as a radial profile and lies flat.
    """
    unit = size / 256
    x, y = pose(rng, size, 0.012)
    outer = np.float32(size * design.uniform(0.42, 0.46))
    off_x, off_y = np.float32(rng.normal(0, 1.2, 2) * unit)
    r_out = np.hypot(x, y) / outer
    r = np.hypot(x - off_x, y - off_y) / outer
    east, south = x / (r_out * outer + 1), y / (r_out * outer + 1)

    arc = partial(ring_arc, rng, east, south)

    shifts, gains = design.normal(0, 0.006, len(_GLASS_RINGS)), design.uniform(0.7, 1.3, len(_GLASS_RINGS))
    radii = np.linspace(0, 1.1, 400)
    profile = np.ones_like(radii)
    for (at, width, strength), shift, gain in zip(_GLASS_RINGS, shifts, gains, strict=True):
        profile += strength * gain * _ring(radii, at + shift, width)
    wobble = r + 0.004 * smooth_noise(rng, size, 40 * unit)
    tone = np.interp(wobble, radii, profile).astype(np.float32)
    seeds = np.clip((0.06 - np.abs(r - 0.56)) * 40, 0, 1) * smooth_noise(rng, size, 2 * unit)
    tone = tone * (1 + 0.14 * seeds + 0.06 * smooth_noise(rng, size, 25 * unit))
    tone = tone * (0.92 + 0.16 * arc(1.4))
    glass = vary(design, [(0.20, 0.20, 0.24), (0.17, 0.21, 0.20), (0.24, 0.18, 0.14)], 0.02)
    albedo = tone[..., None] * glass

    rim = vary(design, [(0.72, 0.38, 0.20), (0.80, 0.50, 0.25), (0.45, 0.50, 0.52)])
    lip = np.zeros_like(r)
    for _ in range(rng.integers(3, 6)):
        at, width = rng.choice([0.70, 0.745, 0.765]), rng.uniform(0.006, 0.014)
        lip += rng.uniform(0.3, 1) * _ring(wobble, at, width) * arc(rng.uniform(0.3, 1.3))
    albedo = albedo + np.clip(lip, 0, 1)[..., None] * (rim - albedo)
    for _ in range(rng.integers(2, 6)):
        at, width = rng.choice([0.60, 0.66, 0.74, 0.80]), rng.uniform(0.006, 0.012)
        glint = rng.uniform(0.3, 0.75) * _ring(wobble, at, width) * arc(rng.uniform(0.03, 0.15))
        albedo = albedo + glint[..., None]

    mouth = coverage((r - np.float32(design.uniform(0.485, 0.51))) * outer, 1.5 * unit)
    lit_bottom = 0.06 * np.exp(-((x - 6 * off_y) ** 2 + (y + 6 * off_x) ** 2) / (0.05 * outer * outer))
    hollow = (0.28 * glass + lit_bottom[..., None]) * (1 + 0.05 * smooth_noise(rng, size, 30 * unit))[
        ..., None
    ]
    albedo = albedo + mouth[..., None] * (hollow - albedo)
    albedo = albedo + _ring(r, 0.505, 0.008)[..., None] * np.float32([0.22, 0.10, 0.07])

    fade = 1 - 0.3 * np.exp(-np.maximum(r_out - 1, 0) * np.float32(22))
    white = flat(size, np.float32([1, 1, 1]) * design.uniform(1.05, 1.25))
    ground = replace(white, albedo=white.albedo * fade[..., None])
    seen = ground.under(coverage((r_out - 1) * outer, 4 * unit), albedo=albedo, gloss=0.02)
    return replace(seen, part=r_out < 0.99, brittle=(r > 0.515) & (r_out < 0.985))


def washer(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """A flat metal or rubber ring, turned or stamped."""
    unit = size / 256
    x, y = pose(rng, size)
    r = np.hypot(x, y)
    outer = size * design.uniform(0.28, 0.43)
    inner = outer * design.uniform(0.35, 0.72)
    distance = np.maximum(r - outer, inner - r).astype(np.float32)
    ground = conveyor(design, rng, size)
    rubber = design.random() < 0.25
    turned = np.interp(r, np.arange(size), blur(rng.standard_normal((1, size)).astype(np.float32), 0.8)[0])
    tone = _worn(rng, size) * (1 + (0 if rubber else 0.05) * turned)
    colour = vary(design, [(0.12, 0.12, 0.12), (0.45, 0.14, 0.10)] if rubber else METALS)
    height = _bevel(distance, 4 * unit, design.uniform(5, 12) * unit) + np.float32(0.25 * unit) * turned
    ring = ground.under(
        coverage(distance),
        albedo=(tone[..., None] * colour).astype(np.float32),
        height=height.astype(np.float32),
        gloss=0.05 if rubber else design.uniform(0.1, 0.35),
    )
    return replace(ring, part=distance < 0)


def nut(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """A hexagon nut: chamfered corners, threaded bore."""
    unit = size / 256
    x, y = pose(rng, size)
    r = np.hypot(x, y)
    width = size * design.uniform(0.27, 0.36)
    bore = width * design.uniform(0.45, 0.6)
    hexagon = polygon_distance(x, y, width, 6)
    distance = np.maximum(hexagon, bore - r).astype(np.float32)
    thick = design.uniform(14, 24) * unit
    height = _bevel(hexagon, 3 * unit, thick) - np.maximum(r - 0.97 * width, 0) * np.float32(0.7)
    height -= np.clip(bore + 7 * unit - r, 0, 7 * unit) * np.float32(0.8)
    tone = _worn(rng, size, 0.05) * (1 + 0.04 * smooth_noise(rng, size, 2 * unit))
    ground = conveyor(design, rng, size)
    angle = np.arctan2(y, x)
    thread = 0.5 + 0.5 * np.sin((bore - r) / (2.2 * unit) + angle)
    wall = coverage(np.maximum(r - bore, bore - 9 * unit - r).astype(np.float32))
    metal = vary(design, METALS)
    ground = ground.under(wall, albedo=(thread[..., None] * 0.6 * metal).astype(np.float32), height=0)
    part = ground.under(
        coverage(distance),
        albedo=(tone[..., None] * metal).astype(np.float32),
        height=np.maximum(height, 0).astype(np.float32),
        gloss=design.uniform(0.1, 0.3),
    )
    return replace(part, part=distance < 0)


def screw(
    design: np.random.Generator, rng: np.random.Generator, size: int, bend: np.random.Generator | None = None
) -> Material:
    """A screw lying on its side: head, shank, thread, tip; `bend` draws how its shank is bent, if it is."""
    unit = size / 256
    x, y = pose(rng, size, 0.03)
    length, radius = size * design.uniform(0.34, 0.4), size * design.uniform(0.035, 0.055)
    if bend is not None:
        past = np.maximum(x - np.float32(bend.uniform(-0.3, 0.3) * length), 0)
        lean = np.float32(bend.choice([-1, 1]) * bend.uniform(0.15, 0.45))
        y = y + lean * past * past / (past + np.float32(0.15 * length))
    pitch = design.uniform(7, 11) * unit
    tip = np.clip((length - x) / (0.18 * 2 * length), 0, 1)
    ridge = np.abs(((x + 0.28 * y) / pitch) % 1 - 0.5) * 2
    threaded = x > -0.35 * length
    reach = radius * (tip**0.7) * np.where(threaded, 0.82 + 0.32 * ridge, 0.95)
    shank = np.maximum(np.abs(y) - reach, np.maximum(-x - 0.9 * length, x - length)).astype(np.float32)
    head_radius = radius * design.uniform(1.9, 2.4)
    flare = np.clip((x + length) / (1.3 * radius), 0, 1)
    head_reach = head_radius * (1 - 0.55 * flare)
    head = np.maximum(np.abs(y) - head_reach, np.maximum(-x - length, x + length - 1.5 * radius)).astype(
        np.float32
    )
    distance = np.minimum(shank, head)
    reach = np.where(head < shank, head_reach, reach)
    height = np.sqrt(np.maximum(reach**2 - y**2, 0)) * 0.9
    ground = conveyor(design, rng, size)
    tone = _worn(rng, size, 0.05) * np.where(threaded & (head > 0), 0.75 + 0.4 * ridge, 1)
    part = ground.under(
        coverage(distance),
        albedo=(tone[..., None] * vary(design, [*METALS, (0.16, 0.16, 0.17)])).astype(np.float32),
        height=blur(height.astype(np.float32), 0.6 * unit),
        gloss=design.uniform(0.15, 0.4),
    )
    return replace(part, part=distance < 0)


def capsule(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """A two-coloured gelatine capsule or a coated tablet, with a printed band."""
    unit = size / 256
    x, y = pose(rng, size, 0.04)
    radius, half = size * design.uniform(0.11, 0.17), size * design.uniform(0.3, 0.38)
    cap = np.where(x > 0, 1.04, 1.0)
    distance = box_distance(x, y / cap, half, radius, radius).astype(np.float32)
    height = np.sqrt(np.maximum(radius**2 - np.minimum(distance + radius, radius) ** 2, 0)) * 0.8
    colours = [
        (0.85, 0.83, 0.78),
        (0.80, 0.22, 0.14),
        (0.20, 0.45, 0.62),
        (0.90, 0.65, 0.18),
        (0.25, 0.5, 0.3),
    ]
    left, right = vary(design, colours), vary(design, colours)
    albedo = np.where((x > 0)[..., None], right, left) * _worn(rng, size, 0.012)[..., None]
    print_at = (np.abs(y) < 0.22 * radius) & (np.abs(x + 0.5 * half) < 0.22 * half)
    glyphs = np.float32(print_at) * (np.sin(x / (1.3 * unit)) * np.sin(x / (2.9 * unit) + 1) > -0.1)
    albedo = albedo * (1 - 0.65 * blur(np.float32(glyphs), 0.6 * unit)[..., None])
    ground = conveyor(design, rng, size)
    part = ground.under(
        coverage(distance),
        albedo=albedo.astype(np.float32),
        height=height.astype(np.float32),
        gloss=design.uniform(0.3, 0.7),
    )
    return replace(part, part=distance < 0)
