"""Things put together of components, one of which can be left out or bent: board, chip, cable, mesh, pins.

Each function draws one specimen: (design, rng, size, omit=False) -> Material. `design` draws what a series of
specimens shares, `rng` what is the specimen's own. With the same generators, `omit` gives the very same
specimen with one component missing; `bend`, where there is one, gives it with one component bent, as far and
whereto that generator draws.
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
    smooth_noise,
    streaks,
)
from augment.render.objects import pose
from augment.render.optics import Material, flat
from augment.render.surfaces import METALS, conveyor, vary

SOLDER = (0.62, 0.63, 0.64)
GOLD = (0.72, 0.58, 0.30)


def _print_marks(rng: np.random.Generator, x: Field, y: Field, width: float, height: float) -> Field:
    """Coverage of a short line of letter-like marks, centred on the origin."""
    size = x.shape[0]
    count = int(rng.integers(3, 7))
    glyphs = np.zeros((9, 6 * count), np.float32)
    for k in range(count):
        glyphs[1:8, 6 * k + 1 : 6 * k + 5] = np.kron(rng.random((4, 2)) < 0.6, np.ones((2, 2)))[:7]
    glyphs = cv2.resize(glyphs, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    u = (x / np.float32(width) + 0.5) * glyphs.shape[1]
    v = (y / np.float32(height) + 0.5) * glyphs.shape[0]
    marks = cv2.remap(glyphs, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
    return blur(marks, 0.4 * size / 256)


def circuit_board(
    design: np.random.Generator, rng: np.random.Generator, size: int, omit: bool = False
) -> Material:
    """Solder mask over traces and vias, small components on pads, a white print."""
    unit = size / 256
    pitch = design.uniform(24, 40) * unit
    mask_colour = vary(
        design, [(0.07, 0.30, 0.16), (0.08, 0.16, 0.34), (0.10, 0.10, 0.11), (0.40, 0.08, 0.08)]
    )
    board = flat(size, mask_colour, gloss=design.uniform(0.05, 0.2))
    weave = np.float32(0.05) * smooth_noise(rng, size, 2.5 * unit)
    board = replace(board, albedo=board.albedo * (1 + weave)[..., None])
    turn = design.choice([0, np.pi / 2]) + rng.normal(0, 0.02)
    corner = size / 2 + rng.normal(0, 3, 2) * unit
    x, y = local_grid(size, tuple(corner), turn)

    copper = np.zeros((size, size), np.uint8)
    to_picture = 16 * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    for _ in range(design.integers(8, 18)):
        points = [design.integers(-1, 10, 2) * pitch]
        for _ in range(4):
            way = design.integers(8) * np.pi / 4
            step = design.integers(1, 4) * pitch * np.float32([np.cos(way), np.sin(way)])
            points.append(points[-1] + step)
        lines = np.int32((np.array(points) - size / 2) @ to_picture + 16 * corner)
        cv2.polylines(
            copper, [lines], False, 255, max(1, round(design.uniform(1.5, 4) * unit)), cv2.LINE_AA, 4
        )
    copper = copper.astype(np.float32) / 255
    board = board.under(0.5 * copper, albedo=mask_colour * 1.7 + 0.04)
    board = board.under(np.ones_like(copper), height=1.2 * unit * blur(copper, 0.7 * unit))
    for _ in range(design.integers(4, 14)):
        cx, cy = (design.integers(0, 9, 2) + 0.5 * design.integers(0, 2, 2)) * pitch - size / 2
        r = np.hypot(x - cx, y - cy)
        board = board.under(coverage(r - 4.5 * unit), albedo=design.choice([SOLDER, GOLD]), gloss=0.3)
        board = board.under(coverage(r - 1.9 * unit), albedo=(0.03, 0.03, 0.03), height=-2, gloss=0)

    count = int(design.integers(4, 9))
    reach = int(0.45 * size / (1.75 * pitch))
    cells = [(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)]
    lost = int(rng.integers(count))
    for index, cell in enumerate(design.permutation(cells)[:count]):
        centre = cell * 1.75 * pitch + design.uniform(-0.2, 0.2, 2) * pitch
        u, v = x - np.float32(centre[0]), y - np.float32(centre[1])
        if design.random() < 0.5:
            u, v = v, -u
        board = _component(design, rng, board, u, v, pitch, omit and index == lost)
    return board


def _component(
    design: np.random.Generator,
    rng: np.random.Generator,
    board: Material,
    u: Field,
    v: Field,
    pitch: float,
    absent: bool,
) -> Material:
    """Solder a small component to `board` at the origin of (u, v); `absent` leaves its bare pads."""
    unit = board.unit
    half = pitch * design.uniform(0.32, 0.6)
    wide = half * design.uniform(0.45, 0.8)
    body = vary(design, [(0.06, 0.06, 0.07), (0.10, 0.10, 0.11), (0.55, 0.42, 0.30), (0.62, 0.60, 0.55)])
    tall = np.float32(design.uniform(3, 8)) * unit
    marks = _print_marks(design, u, v, 1.3 * half, 0.8 * wide)
    grain = 1 + 0.04 * smooth_noise(rng, board.size, 1.5 * unit)
    pads = box_distance(np.abs(u) - half, v, 0.32 * half, wide * 1.05, 1.0)
    silk = np.abs(box_distance(u, v, 1.5 * half, 1.4 * wide)) - 0.7 * unit
    board = board.under(0.85 * coverage(silk), albedo=(0.82, 0.82, 0.80))
    board = board.under(coverage(pads), albedo=SOLDER, height=1.2 * unit, gloss=0.45)
    if absent:
        return board
    part = box_distance(u, v, half, wide * 0.92, 1.2 * unit)
    height = tall * np.clip(-part / (2 * unit), 0, 1)
    board = board.under(coverage(part), albedo=(body * grain[..., None]), height=height, gloss=0.12)
    caps = coverage(np.maximum(part, half * 0.68 - np.abs(u)))
    board = board.under(caps, albedo=SOLDER, gloss=0.4)
    return board.under(0.8 * marks * coverage(part + 3 * unit), albedo=(0.7, 0.7, 0.68))


def chip(
    design: np.random.Generator,
    rng: np.random.Generator,
    size: int,
    omit: bool = False,
    bend: np.random.Generator | None = None,
) -> Material:
    """A moulded IC package with leads on two or four sides, a pin-one dot and a print."""
    unit = size / 256
    x, y = pose(rng, size, 0.04)
    half_w, half_h = size * design.uniform(0.2, 0.3), size * design.uniform(0.15, 0.26)
    count = int(design.integers(4, 9))
    lead_length, lead_width = design.uniform(14, 26) * unit, 0.42 * 2 * half_w / count
    quad = design.random() < 0.4
    lost_side, lost = int(rng.integers(4 if quad else 2)), int(rng.integers(count))
    leads = np.full((size, size), 1e3, np.float32)
    for side in range(4 if quad else 2):
        flipped = side >= 2
        u, v = (y, x) if flipped else (x, y)
        reach, span = (half_w, half_h) if flipped else (half_h, half_w)
        sign = -1 if side % 2 else 1
        for k in range(count):
            if omit and side == lost_side and k == lost:
                continue
            at = (2 * (k + 0.5) / count - 1) * span
            width = lead_width * span / half_w
            aside = np.float32(at)
            if bend is not None and side == lost_side and k == lost:
                lean = bend.choice([-1, 1]) * bend.uniform(0.35, 0.9)
                aside = aside + np.float32(lean) * np.maximum(
                    sign * v - np.float32(reach + 0.15 * lead_length), 0
                )
            lead = box_distance(u - aside, sign * v - np.float32(reach), width / 2, lead_length, 1.0)
            np.minimum(leads, lead, out=leads)
    package = box_distance(x, y, half_w, half_h, 3 * unit)
    tall = design.uniform(8, 14) * unit
    ground = conveyor(design, rng, size)
    shine = 1 + 0.06 * smooth_noise(rng, size, 3 * unit)
    metal = vary(design, METALS[:2])
    out = np.clip(-package / lead_length, -1, 0)
    part = ground.under(
        coverage(leads), albedo=metal * shine[..., None], height=(5 + 4 * out) * unit, gloss=0.35
    )
    grain = fractal_noise(rng, size, 2.5 * unit, 2, 0.7)
    body = vary(design, [(0.09, 0.09, 0.10), (0.14, 0.14, 0.15), (0.20, 0.19, 0.18)], 0.01)
    part = part.under(
        coverage(package),
        albedo=body * (1 + 0.08 * grain)[..., None],
        height=tall * np.clip(-package / (5 * unit), 0, 1) + 0.2 * unit * grain,
        gloss=design.uniform(0.05, 0.15),
    )
    dot = np.hypot(x + half_w - 13 * unit, y + half_h - 13 * unit) - 5 * unit
    part = part.under(coverage(dot), albedo=body * 0.6, height=tall - 1.5 * unit)
    ink = np.float32(design.uniform(0.45, 0.8))
    for row in (-0.3, 0.25):
        marks = _print_marks(design, x, y - np.float32(row * half_h), 1.3 * half_w, 0.32 * half_h)
        part = part.under(0.85 * marks, albedo=(ink, ink, ink))
    return replace(part, part=np.minimum(package, leads) < 0)


def cable(design: np.random.Generator, rng: np.random.Generator, size: int, omit: bool = False) -> Material:
    """A cut cable end-on: jacket, insulated cores, copper strands."""
    unit = size / 256
    x, y = pose(rng, size)
    outer = size * design.uniform(0.34, 0.43)
    cores = int(design.integers(3, 5))
    jacket = vary(design, [(0.80, 0.80, 0.78), (0.12, 0.12, 0.13), (0.50, 0.50, 0.50), (0.75, 0.45, 0.12)])
    ground = conveyor(design, rng, size)
    oval = (np.hypot(x, y * design.uniform(1, 1.06)) - outer).astype(np.float32)
    saw = streaks(rng, size, 60 * unit, 1.5 * unit, design.uniform(0, np.pi))
    part = ground.under(
        coverage(oval),
        albedo=jacket * (1 + 0.04 * saw)[..., None],
        height=6 * unit * np.clip(-oval / (4 * unit), 0, 1) + 0.25 * unit * saw,
        gloss=0.08,
    )
    colours = design.permutation(
        np.float32(
            [(0.20, 0.42, 0.65), (0.42, 0.25, 0.14), (0.70, 0.66, 0.15), (0.25, 0.5, 0.25), (0.6, 0.6, 0.6)]
        )
    )
    fit = np.sin(np.pi / cores)
    core_radius = (outer - 9 * unit) * fit / (1 + fit)
    lost = int(rng.integers(cores))
    for k in range(cores):
        a = 2 * np.pi * k / cores
        ring = outer - 9 * unit - core_radius
        u, v = x - np.float32(ring * np.cos(a)), y - np.float32(ring * np.sin(a))
        r = np.hypot(u, v) - np.float32(core_radius * design.uniform(0.9, 0.98))
        strands = _strands(design, rng, size, u, v, core_radius * design.uniform(0.5, 0.62))
        copper = np.float32([0.66, 0.40, 0.26]) * design.uniform(0.85, 1.15)
        if omit and k == lost:
            part = part.under(coverage(r, 2 * unit), albedo=jacket * 0.2, height=-4 * unit, gloss=0)
            continue
        part = part.under(coverage(np.abs(r) - unit), albedo=jacket * 0.35, height=3 * unit)
        insulation = colours[k] * (1 + 0.05 * saw)[..., None]
        part = part.under(
            coverage(r + unit), albedo=insulation, height=6 * unit + 0.2 * unit * saw, gloss=0.1
        )
        hole = np.hypot(u, v) - np.float32(core_radius * 0.62)
        part = part.under(coverage(hole), albedo=copper * 0.18, height=3 * unit)
        part = part.under(np.minimum(strands, 1), albedo=copper, height=(3 + 4 * strands) * unit, gloss=0.3)
    return replace(part, part=oval < 0)


def _strands(
    design: np.random.Generator, rng: np.random.Generator, size: int, u: Field, v: Field, radius: float
) -> Field:
    """Dome-shaped coverage of a bundle of wire ends packed in a circle about the origin."""
    wire = radius / design.uniform(3.2, 4.6)
    row = np.round(v / np.float32(wire * 1.78))
    du = (u + wire * (row % 2)) / np.float32(2.05 * wire)
    du = (du - np.round(du)) * np.float32(2.05 * wire)
    dv = v - row * np.float32(wire * 1.78)
    dome = np.sqrt(np.maximum(1 - (du**2 + dv**2) / np.float32(wire**2), 0))
    wear = 1 + 0.12 * smooth_noise(rng, size, 5 * size / 256)
    return (dome * wear * (np.hypot(u, v) < radius)).astype(np.float32)


def mesh(
    design: np.random.Generator,
    rng: np.random.Generator,
    size: int,
    omit: bool = False,
    bend: np.random.Generator | None = None,
) -> Material:
    """A woven or welded wire grid over a plain ground."""
    unit = size / 256
    pitch = design.uniform(16, 40) * unit
    wire = pitch * design.uniform(0.09, 0.2)
    turn = design.choice([0, np.pi / 4]) + rng.normal(0, 0.05)
    x, y = local_grid(size, tuple(size * rng.uniform(0.4, 0.6, 2)), turn)
    x = x + 0.5 * unit * smooth_noise(rng, size, 60 * unit)
    y = y + 0.5 * unit * smooth_noise(rng, size, 60 * unit)
    if bend is not None:
        at_x, at_y = bend.uniform(-0.3, 0.3, 2) * size
        near = np.exp(-(((x - at_x) / (1.1 * pitch)) ** 2) - ((y - at_y) / (0.9 * pitch)) ** 2)
        push = pitch * bend.uniform(0.3, 0.55) * near.astype(np.float32)
        way = bend.uniform(0, 2 * np.pi)
        x, y = x + push * np.float32(np.cos(way)), y + push * np.float32(np.sin(way))
    woven = np.float32(design.random() < 0.6)
    ground = conveyor(design, rng, size)
    colour = vary(design, [*METALS, (0.12, 0.12, 0.13)])
    row, column = np.round(y / pitch), np.round(x / pitch)
    part, wires = ground, np.zeros((size, size), bool)
    lost_at, lost_to = rng.integers(-1, 2, 2), rng.integers(1, 4)
    tint = 1 + 0.05 * streaks(rng, size, 30 * unit, 1.5 * unit, 0)
    for across, along, line in ((y, x, row), (x, y, column)):
        offset = across - line * np.float32(pitch)
        distance = np.abs(offset) - np.float32(wire)
        if omit and across is y:
            gone = (
                (line == lost_at[0])
                & (along > (lost_at[1] - 0.5) * pitch)
                & (along < (lost_at[1] + lost_to - 0.5) * pitch)
            )
            distance = np.where(gone, np.float32(9), distance)
        wave = np.cos(np.pi * along / np.float32(pitch)) * np.where(line % 2 == 0, 1, -1)
        wave = wave * (1 if across is y else -1)
        lift = np.float32(2.2 * wire) + woven * np.float32(wire) * wave
        height = (lift + np.sqrt(np.maximum(wire**2 - offset**2, 0))).astype(np.float32)
        alpha = coverage(distance) * (height >= part.height - 0.5)
        part = part.under(
            alpha, albedo=colour * tint[..., None], height=height, gloss=design.uniform(0.15, 0.3)
        )
        wires |= distance < 0
    return replace(part, part=wires)


def pin_header(
    design: np.random.Generator,
    rng: np.random.Generator,
    size: int,
    omit: bool = False,
    bend: np.random.Generator | None = None,
) -> Material:
    """A connector from its side: a row of square or round pins standing out of a moulded block."""
    unit = size / 256
    centre = size * (0.5 + rng.uniform(-0.04, 0.04, 2))
    turn = design.choice([0, np.pi / 2, np.pi]) + rng.normal(0, 0.04)
    x, y = local_grid(size, tuple(centre), turn)
    count = int(design.integers(4, 11))
    half = size * design.uniform(0.3, 0.42)
    pitch = 2 * half / count
    width = pitch * design.uniform(0.12, 0.26)
    reach = size * design.uniform(0.22, 0.36)
    body_top, body = size * design.uniform(0.06, 0.12), size * design.uniform(0.08, 0.14)
    lost = int(rng.integers(count))
    play = rng.normal(0, 0.006, count)
    pins = np.full((size, size), 1e3, np.float32)
    round_off = np.full((size, size), 1e3, np.float32)
    for k in range(count):
        if omit and k == lost:
            continue
        out = np.maximum(np.float32(body_top) - y, 0)
        aside = np.float32((k + 0.5) * pitch - half) + np.float32(play[k]) * out
        tip = np.float32(0)
        if bend is not None and k == lost:
            lean = np.float32(bend.choice([-1, 1]) * bend.uniform(0.18, 0.75))
            knee = np.maximum(out - np.float32(bend.uniform(0.15, 0.6) * reach), 0)
            aside = aside + lean * knee * knee / (knee + np.float32(4 * unit))
            tip = np.float32(bend.uniform(0, 0.12) * reach)
        offset = x - aside
        taper = np.clip((out - (reach + body_top - tip - 5 * unit)) / (5 * unit), 0, 1) * np.float32(
            0.4 * width
        )
        pin = np.maximum(np.abs(offset) - np.float32(width) + taper, out - np.float32(reach + body_top) + tip)
        nearer = pin < pins
        pins, round_off = np.where(nearer, pin, pins), np.where(nearer, np.abs(offset), round_off)
    ground = conveyor(design, rng, size)
    metal = vary(design, [GOLD, SOLDER, (0.70, 0.62, 0.42), (0.55, 0.55, 0.56)], 0.015)
    drawn = streaks(rng, size, 40 * unit, 1.2 * unit, turn + np.pi / 2)
    section = np.sqrt(np.maximum(1 - (round_off / np.float32(width)) ** 2, 0)) * np.float32(width)
    section = section if design.random() < 0.5 else np.minimum(section, np.float32(0.5 * width)) * 2
    part = ground.under(
        coverage(pins),
        albedo=(metal * (1 + 0.06 * drawn)[..., None]).astype(np.float32),
        height=(section + np.float32(4 * unit)).astype(np.float32),
        gloss=design.uniform(0.2, 0.45),
    )
    block = box_distance(x, y - np.float32(body_top), half + 0.2 * pitch, body, 2 * unit)
    notch = np.abs((x + half) / np.float32(pitch) - np.round((x + half) / np.float32(pitch))) * np.float32(
        pitch
    )
    grain = fractal_noise(rng, size, 2.2 * unit, 2, 0.7)
    plastic = vary(
        design, [(0.07, 0.07, 0.08), (0.13, 0.13, 0.14), (0.80, 0.78, 0.72), (0.15, 0.25, 0.5)], 0.02
    )
    groove = np.float32(3 * unit) * coverage(notch - np.float32(1.2 * unit), 2 * unit)
    part = part.under(
        coverage(block),
        albedo=(plastic * (1 + 0.05 * grain)[..., None]).astype(np.float32),
        height=(12 * unit * np.clip(-block / (3 * unit), 0, 1) + 0.25 * unit * grain - groove).astype(
            np.float32
        ),
        gloss=design.uniform(0.05, 0.2),
    )
    return replace(part, part=np.minimum(block, pins) < 0)
