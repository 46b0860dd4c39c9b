"""Mouths of glass vessels from above, under a backlight: bottles, jars, vials.

Glass before a light box shows no relief, only refraction: dark rings where the wall turns the light away,
light ones where it lets it through, coloured glints where it mirrors the room. So the wall is painted as a
radial profile, drawn anew for each design, and lies flat.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from augment.render.noise import blur, coverage, fractal_noise, smooth_noise
from augment.render.objects import pose
from augment.render.optics import Material, flat
from augment.render.shapes import ring_arc
from augment.render.surfaces import vary

_TINTS = [
    (0.16, 0.17, 0.20),
    (0.13, 0.20, 0.17),
    (0.22, 0.14, 0.08),
    (0.30, 0.33, 0.36),
    (0.10, 0.10, 0.12),
    (0.24, 0.30, 0.24),
]
_GLINTS = [(0.90, 0.50, 0.22), (0.95, 0.75, 0.45), (0.55, 0.75, 0.90), (0.85, 0.88, 0.90), (0.50, 0.80, 0.60)]


def bottle_mouth(design: np.random.Generator, rng: np.random.Generator, size: int) -> Material:
    """The rim of a vessel on a light box: rings of dark and light glass, glints, a dark or a lit mouth."""
    unit = size / 256
    x, y = pose(rng, size, 0.03)
    zoom = design.choice([1.0, design.uniform(1.2, 1.7)], p=[0.75, 0.25])
    outer = np.float32(size * design.uniform(0.34, 0.47) * zoom)
    if zoom > 1:
        shift = np.float32(design.uniform(0.2, 0.45) * outer * np.array([1, 0]))
        x, y = x + shift[0], y + shift[1]
    off_x, off_y = np.float32(rng.normal(0, 0.010, 2) * outer)
    r_out = np.hypot(x, y) / outer
    r = np.hypot(x - off_x, y - off_y) / outer
    east, south = x / (r_out * outer + 1), y / (r_out * outer + 1)

    arc = partial(ring_arc, rng, east, south)

    inner = design.uniform(0.38, 0.68)
    radii = np.linspace(0, 1.2, 700)
    profile = np.ones_like(radii)
    at = inner + 0.02
    while at < 1:
        width = design.uniform(0.006, 0.035)
        profile += (
            design.choice([-0.45, 0.5, 1.1], p=[0.5, 0.35, 0.15])
            * design.uniform(0.4, 1.2)
            * np.exp(-(((radii - at) / width) ** 2))
        )
        at += width + design.uniform(0.012, 0.06)
    shoulder = design.uniform(-0.4, 0.5)
    profile *= 1 + shoulder * np.clip((radii - inner) / (1 - inner), 0, 1)
    wobble = r + np.float32(0.003) * smooth_noise(rng, size, 30 * unit) * np.float32(design.uniform(0.5, 1.8))
    tone = np.interp(wobble, radii, np.maximum(profile, 0.12)).astype(np.float32)
    spin = np.arctan2(y, x).astype(np.float32)
    uneven = sum(
        np.float32(rng.normal(0, 0.07)) * np.cos(k * spin + np.float32(rng.uniform(0, 6.3)))
        for k in (1, 2, 3, 5)
    )
    seedy = np.clip(1 - np.abs(r - np.float32(inner + 0.07)) * 12, 0, 1) * smooth_noise(rng, size, 1.8 * unit)
    tone = tone * (1 + uneven + 0.10 * seedy + 0.05 * smooth_noise(rng, size, 20 * unit))
    glass = vary(design, _TINTS, 0.02) * np.float32(design.uniform(0.7, 1.4))
    albedo = tone[..., None] * glass

    colour = vary(design, _GLINTS)
    tracks = design.uniform(inner + 0.03, 0.92, int(design.integers(2, 6)))
    for _ in range(int(rng.integers(4, 10))):
        track, width = rng.choice(tracks) + rng.normal(0, 0.004), rng.uniform(0.004, 0.012)
        band = np.exp(-(((wobble - np.float32(track)) / np.float32(width)) ** 2))
        lit = rng.uniform(0.25, 0.95) * band * arc(rng.uniform(0.15, 1.3))
        tinted = colour * (0.75 + 0.5 * rng.random())
        albedo = albedo + np.clip(lit, 0, 1)[..., None] * (tinted - albedo)
    for _ in range(int(rng.integers(2, 9))):
        track, width = rng.choice(tracks) + rng.normal(0, 0.012), rng.uniform(0.003, 0.010)
        band = np.exp(-(((wobble - np.float32(track)) / np.float32(width)) ** 2))
        glint = rng.uniform(0.4, 1.0) * band * arc(rng.uniform(0.02, 0.12))
        albedo = albedo + glint[..., None] * (0.6 + 0.4 * colour)

    through = design.random() < 0.18
    deep = np.float32(design.uniform(0.55, 0.9) if through else design.uniform(0.03, 0.22))
    base = np.float32([1, 1, 1]) * deep if through else glass * deep * 2
    bottom = np.hypot(x - 3 * off_x, y - 3 * off_y) / (outer * np.float32(inner))
    lens = np.float32(design.uniform(0, 0.07)) * np.exp(
        -((bottom / np.float32(design.uniform(0.2, 0.7))) ** 2)
    )
    ripple = 1 - np.float32(0.12 * design.random()) * np.exp(-(((bottom - 0.75) / 0.05) ** 2))
    hollow = base * (ripple * (1 + 0.05 * smooth_noise(rng, size, 30 * unit)))[..., None] + lens[..., None]
    mouth = coverage((r - np.float32(inner)) * outer, design.uniform(1.2, 3) * unit)
    albedo = albedo + mouth[..., None] * (hollow - albedo)
    lip = np.exp(-(((r - np.float32(inner)) / np.float32(0.009)) ** 2)) * (0.5 + 0.5 * arc(2.0))
    albedo = albedo + (np.float32(design.uniform(0, 0.6)) * lip)[..., None] * (0.5 * colour - albedo)

    bright = design.uniform(0.92, 1.25)
    fade = 1 - np.float32(design.uniform(0.1, 0.45)) * np.exp(-np.maximum(r_out - 1, 0) * np.float32(22))
    fade = fade * (1 + 0.01 * fractal_noise(rng, size, 120 * unit, 2))
    white = flat(size, np.float32([1, 1, 1]) * bright)
    ground = replace(white, albedo=white.albedo * fade[..., None])
    edge = design.uniform(1.5, 5) * unit
    seen = ground.under(coverage((r_out - 1) * outer, edge), albedo=albedo.astype(np.float32), gloss=0.02)
    opening = r < inner - 0.01
    return replace(
        seen,
        albedo=blur(seen.albedo, design.uniform(0, 0.7) * unit),
        part=r_out < 0.985,
        brittle=(r > inner + 0.01) & (r_out < 0.98),
        clear=True,
        opening=opening,
    )
