"""Defects of shape and of coats: bend, fray, blister, break, and how glass breaks.

As in `defects`, each function takes (rng, material, strength) and returns the damaged material.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from augment.render.noise import (
    Field,
    blur,
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
from augment.render.shapes import Point, blob, draw_lines, place, place_on_edge, shard, walk


def local_tone(material: Material, alpha: Field) -> np.ndarray:
    """Mean colour (3,) of the material under `alpha`."""
    return (material.albedo * alpha[..., None]).sum((0, 1)) / (alpha.sum() + np.float32(1e-6))


def bend(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A crease where the material was folded and laid flat again: a ridge with slopes, worn along its top.

    Wires, pins and shanks are bent by their own builders.
    """
    unit = material.unit
    size = material.size
    heading = rng.uniform(0, np.pi) if material.grain is None else material.grain + rng.normal(0, 0.15)
    x, y = local_grid(size, place(rng, material, 25 * unit), heading)
    y = y + np.float32(0.012 / unit) * x * x * np.float32(rng.normal(0, 0.25))
    y = y + np.float32(0.8 * unit) * smooth_noise(rng, size, 18 * unit)
    half = rng.uniform(28, 80) * unit
    fade = np.clip(1.6 - 1.6 * np.abs(x) / np.float32(half), 0, 1)
    fade = fade * fade * (3 - 2 * fade)
    side = np.float32(rng.uniform(3, 9)) * unit
    rise = np.float32(rng.choice([-1, 1]) * rng.uniform(2, 4.5) * strength) * unit
    far = np.where(y > 0, side, side * np.float32(rng.uniform(0.5, 2.5)))
    ridge = np.exp(-np.abs(y) / far) * fade
    worn = np.exp(-((y / np.float32(1.1 * unit)) ** 2)) * fade
    worn = worn * np.clip(0.7 + 0.5 * smooth_noise(rng, size, 3 * unit), 0, 1)
    lighter = material.albedo + np.float32(0.16) * (1 - material.albedo)
    marked = material.under(np.clip(worn * 0.8 * strength, 0, 1), albedo=lighter, gloss=0.02)
    return replace(marked, height=material.height + rise * blur(ridge.astype(np.float32), 0.7 * unit))


def fray(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A torn place, drawn out along the yarns, with loose fibres standing across and out of it."""
    unit = material.unit
    size = material.size
    heading = rng.uniform(0, np.pi) if material.grain is None else material.grain + rng.choice([0, np.pi / 2])
    centre = place(rng, material, 16 * unit)
    x, y = local_grid(size, centre, heading + rng.normal(0, 0.08))
    length, width = rng.uniform(10, 30) * unit, rng.uniform(4, 12) * unit * strength**0.5
    ragged = 0.22 * smooth_noise(rng, size, 5 * unit) + 0.10 * smooth_noise(rng, size, 1.8 * unit)
    depth = (1 - np.hypot(x / np.float32(length), y / np.float32(width)) + ragged).astype(np.float32)
    torn = coverage(-depth * np.float32(width), 1.6 * unit)
    loosened = np.exp(-np.maximum(-depth, 0) * 2.2).astype(np.float32) * (1 - torn)
    tone = local_tone(material, torn)
    murk = 0.10 + 0.05 * smooth_noise(rng, size, 3 * unit)
    fuzz = 1 + 0.22 * streaks(rng, size, 9 * unit, 1.2 * unit, heading + np.pi / 2)
    opened = material.under(0.55 * loosened, albedo=(tone * (1.12 * fuzz)[..., None]).astype(np.float32))
    opened = opened.under(
        torn, albedo=(tone * np.maximum(murk, 0.03)[..., None]).astype(np.float32), height=-3 * unit, gloss=0
    )
    smooth = blur(material.height, 2 * unit)
    opened = replace(
        opened, height=opened.height + loosened * (smooth - opened.height) * 0.6 + 1.5 * unit * loosened
    )
    paths, widths = [], []
    for _ in range(int(rng.integers(30, 70) * strength**0.5)):
        along = rng.uniform(-1, 1)
        side = rng.choice([-1, 1])
        local = np.array([along * length, side * width * np.sqrt(1 - along**2) * rng.uniform(0.7, 1.3)])
        c, s = np.cos(heading), np.sin(heading)
        root = np.array([c * local[0] - s * local[1], s * local[0] + c * local[1]]) + centre
        way = heading + side * np.pi / 2 * rng.choice([-1, 1], p=[0.65, 0.35]) + rng.normal(0, 0.55)
        path = walk(rng, (0, 0), way, rng.uniform(6, 24) * unit, 1.5 * unit, 0.05, 0.17)
        paths.append(path - path[0] + root)
        widths.append(np.linspace(rng.uniform(0.8, 1.7), 0.5, len(path)) * unit)
    fibres = draw_lines(size, paths, widths)
    fibre = np.clip(tone * 1.4 + 0.08, 0, 1)
    raised = opened.under(0.9 * fibres, albedo=fibre * np.float32(0.9 + 0.2 * rng.random()), gloss=0)
    return replace(raised, height=np.maximum(raised.height, smooth * fibres) + 2.5 * unit * fibres)


def blister(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """Bubbles under a coat: smooth domes that shine on the side of the lamp; some have burst."""
    unit = material.unit
    size = material.size
    centre = np.array(place(rng, material, 20 * unit))
    dome = np.zeros((size, size), np.float32)
    skin, rim, crater = (np.zeros((size, size), np.float32) for _ in range(3))
    for index in range(int(rng.choice([1, 2, 3, 5, 8], p=[0.4, 0.2, 0.15, 0.15, 0.1]))):
        radius = rng.uniform(6, 20) * unit / (1 if index == 0 else rng.uniform(1.2, 3))
        at: Point = tuple(centre + (0 if index == 0 else 1) * rng.normal(0, 20, 2) * unit)
        depth = blob(rng, size, at, radius, 0.05)
        inside = np.clip(depth / np.float32(radius), 0, 1)
        bulge = np.sqrt(np.maximum(1 - (1 - inside) ** 2, 0)) ** 1.3
        np.maximum(dome, np.float32(rng.uniform(0.35, 0.6) * radius * strength) * bulge, out=dome)
        np.maximum(skin, coverage(-depth, 2 * unit), out=skin)
        np.maximum(rim, np.exp(-((depth / np.float32(1.6 * unit)) ** 2)), out=rim)
        if rng.random() < 0.22:
            burst = blob(rng, size, at, radius * rng.uniform(0.3, 0.6), 0.18)
            np.maximum(crater, coverage(-burst, 1.5 * unit), out=crater)
    thinned = material.albedo * np.float32(rng.uniform(0.88, 1.12)) + np.float32(0.03)
    raised = material.under(skin * 0.8, albedo=thinned, gloss=material.gloss * 0.7 + 0.22)
    raised = raised.under(0.30 * rim * strength / 2, albedo=material.albedo * 0.55)
    calm = material.height + skin * (blur(material.height, 2.5 * unit) - material.height) * 0.6
    raised = replace(raised, height=calm + blur(dome, 0.8 * unit))
    base = material.albedo * (0.45 + 0.08 * smooth_noise(rng, size, 2 * unit))[..., None]
    return raised.under(crater, albedo=base, height=material.height - unit, gloss=0)


def broken_off(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A piece gone from the edge: the rough, darker, shelly fracture beneath, crisply outlined."""
    if material.clear:
        return glass_break(rng, material, strength)
    unit = material.unit
    size = material.size
    depth = _bitten(rng, material, rng.uniform(10, 34) * unit * strength**0.3)
    gone = coverage(-depth, 1.3 * unit)
    tone = local_tone(material, gone)
    coarse = fractal_noise(rng, size, rng.uniform(5, 12) * unit, 4, 0.75)
    ridges = np.abs(fractal_noise(rng, size, rng.uniform(9, 22) * unit, 3, 0.6))
    shell = np.sin(
        depth * np.float32(rng.uniform(0.35, 0.9)) / unit + 1.6 * smooth_noise(rng, size, 9 * unit)
    )
    dark = np.float32(rng.uniform(0.30, 0.75) / strength**0.5)
    deep = np.clip(depth / np.float32(12 * unit), 0, 1)
    rough = dark * (1 + 0.13 * coarse - 0.22 * np.exp(-ridges * 7) + 0.06 * shell - 0.25 * deep)
    lip = np.exp(-(((depth - np.float32(0.8 * unit)) / np.float32(0.9 * unit)) ** 2))
    lip = np.clip(lip * smooth_noise(rng, size, 9 * unit), 0, 1) * np.float32(0.22)
    albedo = np.clip(tone * np.maximum(rough, 0.05)[..., None] + lip[..., None], 0.01, 1)
    floor = -np.float32(rng.uniform(3, 6)) * unit * np.clip(depth / (7 * unit), 0, 1) ** 0.7
    relief = floor + unit * (0.45 * coarse + 0.8 * np.minimum(ridges, 1.5) + 0.35 * shell)
    below = blur(material.height, 3 * unit) + relief
    return material.under(gone, albedo=albedo.astype(np.float32), height=below, gloss=0.03)


def _bitten(rng: np.random.Generator, material: Material, radius: float) -> Field:
    """Depth in pixels of a bite out of the part's edge, drawn out along that edge; negative outside it."""
    size, unit = material.size, material.unit
    x, y = place_on_edge(rng, material)
    if material.brittle is None and material.part.all():
        x, y = ((x, 0.0), (x, size - 1.0), (0.0, y), (size - 1.0, y))[int(rng.integers(4))]
    solid = blur(material.part.astype(np.float32), 5 * unit)
    row, column = int(y), int(x)
    gx = float(solid[row, min(column + 1, size - 1)] - solid[row, max(column - 1, 0)])
    gy = float(solid[min(row + 1, size - 1), column] - solid[max(row - 1, 0), column])
    if np.hypot(gx, gy) < 1e-4:
        ways = ((x, (1, 0)), (size - x, (-1, 0)), (y, (0, 1)), (size - y, (0, -1)))
        gx, gy = min(ways, key=lambda way: way[0])[1]
    normal = float(np.arctan2(gy, gx))
    u, v = local_grid(size, (x, y), normal + rng.normal(0, 0.15))
    long = radius * rng.uniform(0.8, 2.0)
    reach = radius * rng.uniform(0.35, 0.95)
    ellipse = (1 - np.hypot(u / np.float32(reach), v / np.float32(long))) * np.float32(min(reach, long))
    corners = shard(rng, size, (x, y), 0.8 * radius, int(rng.integers(4, 7)))
    jagged = 0.10 * radius * fractal_noise(rng, size, 0.5 * radius, 4, 0.6)
    return (np.maximum(ellipse, corners) + jagged).astype(np.float32)


def glass_break(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """Broken glass: curved fracture faces, dark or clear, that flash where they catch the backlight."""
    unit = material.unit
    size = material.size
    at = place_on_edge(rng, material)
    large = rng.random() < 0.5
    radius = (rng.uniform(26, 58) if large else rng.uniform(10, 24)) * unit * strength**0.3
    x, y = local_grid(size, at, rng.uniform(0, 2 * np.pi))
    zone = np.maximum(
        blob(rng, size, at, 0.8 * radius, 0.16), shard(rng, size, at, radius, int(rng.integers(4, 7)))
    )
    edge = material.part if material.brittle is None else material.brittle
    reach = blur(edge.astype(np.float32), 0.8 * unit)
    if material.opening is not None:
        jut = 0.5 + 0.5 * np.tanh(2 * smooth_noise(rng, size, 0.45 * radius))
        ring = np.float32(7 * unit) * jut
        away = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 3)
        reach = np.maximum(reach, coverage((away - ring) * material.opening + 1e3 * ~material.opening, unit))
    broken = coverage(-zone, 1.4 * unit) * reach

    spin = np.arctan2(y, x).astype(np.float32)
    r = np.hypot(x, y)
    swirl = 0.45 * smooth_noise(rng, size, 1.2 * radius)
    count = int(rng.integers(2, 6))
    sector = (spin + swirl) * np.float32(count / (2 * np.pi))
    shell = r / np.float32(rng.uniform(0.35, 0.7) * radius) + 0.5 * smooth_noise(rng, size, 0.8 * radius)
    faces = np.int32(np.floor(sector) % count) * 31 + np.int32(np.floor(shell + 9)) * 7
    labels, _ = voronoi(rng, size, rng.uniform(0.6, 1.1) * radius)
    px, py = pixel_grid(size)
    bent = np.float32(0.3 * radius)
    to_x = np.clip(px + bent * smooth_noise(rng, size, 0.9 * radius), 0, size - 1)
    to_y = np.clip(py + bent * smooth_noise(rng, size, 0.9 * radius), 0, size - 1)
    faces = faces + labels[np.int32(to_y), np.int32(to_x)] * 13
    seam = np.zeros((size, size), np.float32)
    seam[:, 1:] = faces[:, 1:] != faces[:, :-1]
    seam[1:] = np.maximum(seam[1:], faces[1:] != faces[:-1])
    seam = blur(seam, rng.uniform(0.5, 0.9) * unit)

    tilt = rng.normal(0, 1, (101, 2)).astype(np.float32)
    slope = (per_label(faces, tilt[:, 0]) * x + per_label(faces, tilt[:, 1]) * y) / np.float32(radius)
    pitch = np.float32(rng.uniform(0.5, 1.1)) / unit
    hackle = np.sin(r * pitch + 2 * smooth_noise(rng, size, 12 * unit))
    level = rng.choice([0.3, 0.55, 0.85, 1.3, 2.2], 101, p=[0.24, 0.30, 0.26, 0.13, 0.07]).astype(np.float32)
    fall = np.clip(slope, -1.2, 1.2) + 0.25 * smooth_noise(rng, size, 0.3 * radius)
    tone = blur(per_label(faces, level) * (1 + 0.55 * fall + 0.05 * hackle), 0.6 * unit)
    ridged = 1 - np.abs(fractal_noise(rng, size, rng.uniform(9, 20) * unit, 3, 0.55))
    glow = np.clip(ridged - rng.uniform(0.6, 0.9), 0, 0.4) * 3
    here = np.clip(smooth_noise(rng, size, 0.5 * radius) - rng.uniform(0.2, 1.2), 0, 1)
    glow = glow * here * np.float32(rng.uniform(0.5, 1.6))
    spark = (
        seam * np.clip(smooth_noise(rng, size, 12 * unit) - 0.2, 0, 1.2) * np.float32(rng.uniform(0.2, 0.8))
    )
    warm = np.float32([1.0, 0.66, 0.36]) if rng.random() < 0.6 else np.float32([0.75, 0.95, 1.0])
    mix = np.clip(0.45 + 0.6 * smooth_noise(rng, size, 16 * unit), 0, 1)[..., None]
    flash = (glow + spark)[..., None] * (1 + mix * (warm - 1))
    body = np.clip(local_tone(material, broken), 0.04, 0.7)
    albedo = body * np.clip(tone, 0.08, 3)[..., None] + flash
    if rng.random() < 0.4:
        albedo = albedo + (0.5 if large else 0.25) * (blur(albedo.astype(np.float32), 4 * unit) - albedo)
    height = material.height + unit * (1.5 * np.tanh(slope) - 2 * np.clip(zone / (8 * unit), 0, 1))
    return material.under(
        broken, albedo=np.clip(albedo, 0.01, 1.1).astype(np.float32), height=blur(height, unit), gloss=0.15
    )


def glass_crack(rng: np.random.Generator, material: Material, strength: float) -> Material:
    """A crack in glass: a long smooth curve, a bright thread on one side and shadow on the other."""
    unit = material.unit
    size = material.size
    centre = place(rng, material, 10 * unit)
    heading = rng.uniform(0, 2 * np.pi)
    paths, widths = [], []
    for turn in (0.0, *rng.uniform(-0.8, 0.8, rng.integers(0, 4))):
        path = walk(
            rng,
            (0, 0),
            heading + turn,
            rng.uniform(40, 140) * unit,
            2.5 * unit,
            0.03,
            rng.uniform(0.01, 0.07),
        )
        paths.append(path - path[0] + centre)
        taper = np.linspace(1, 0.35, len(path)) * rng.uniform(0.6, 1.6) * strength**0.5
        widths.append(taper * unit)
    line = draw_lines(size, paths, widths)
    ahead = np.float32(
        [[1, 0, 1.2 * unit * np.cos(heading + 1.57)], [0, 1, 1.2 * unit * np.sin(heading + 1.57)]]
    )
    dark = cv2.warpAffine(line, ahead, (size, size))
    sheen = blur(
        cv2.warpAffine(line, 4 * ahead - 3 * np.float32([[1, 0, 0], [0, 1, 0]]), (size, size)), 4 * unit
    )
    gleam = np.clip(0.55 + 0.5 * smooth_noise(rng, size, 16 * unit), 0.05, 1)
    tone = float(local_tone(material, line).mean())
    bright = np.float32(min(1.0, tone + 0.45 * strength))
    cracked = material.under(0.55 * dark, albedo=material.albedo * 0.35, gloss=0)
    cracked = cracked.under(np.clip(1.5 * sheen * gleam, 0, 0.35), albedo=(bright, bright, bright))
    return cracked.under(np.clip(line * gleam * 1.1, 0, 1), albedo=(bright, bright, bright), gloss=0.2)
