"""One rendered inspection picture, with and without its defect, and the exact mask between the two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from augment.errors import TargetError, suggest
from augment.render import assemblies, breakage, defects, objects, sheets, surfaces, vessels
from augment.render.noise import blur
from augment.render.optics import Camera, Light, Material

MISSING = "missing part"
GOOD = "good"

DEFECTS: dict[str, Callable[[np.random.Generator, Material, float], Material]] = {
    "scratch": defects.scratch,
    "crack": defects.crack,
    "dent": defects.dent,
    "hole": defects.hole,
    "stain": defects.stain,
    "contamination": defects.contamination,
    "chipped": defects.chipped,
    "thread": defects.thread,
    "burn": defects.burn,
    "blowhole": defects.blowhole,
    "misprint": defects.misprint,
    "bend": breakage.bend,
    "fray": breakage.fray,
    "blister": breakage.blister,
    "break": breakage.broken_off,
}
"""Every defect that can lie on any material; `missing part` is the assemblies' own."""


@dataclass(frozen=True)
class Kind:
    """What can be rendered, with which defects, under what light and camera.

    Attributes:
        build: (design, rng, size) -> Material.
        defects: those drawn when none is asked for, named twice where twice as likely.
        dome: under an almost shadowless light.
        omits: `build` takes `omit`, to leave a component out.
        bends: `build` takes `bend`, a generator that draws how a component is bent.
        grey: seen by a monochrome camera.
    """

    build: Callable[..., Material]
    defects: tuple[str, ...]
    dome: bool = False
    omits: bool = False
    bends: bool = False
    grey: bool = False


_SOFT = ("hole", "stain", "contamination", "thread", "burn", "misprint", "scratch")
_HARD = ("scratch", "crack", "stain", "contamination", "chipped", "thread", "hole", "misprint")
_METAL = (
    "scratch",
    "crack",
    "dent",
    "stain",
    "contamination",
    "thread",
    "burn",
    "blowhole",
    "hole",
    "chipped",
)
_CLOTH = ("hole", "stain", "contamination", "thread", "burn")
_TILE = (
    "crack",
    "crack",
    "blowhole",
    "blowhole",
    "break",
    "break",
    "chipped",
    "scratch",
    "stain",
    "contamination",
)

KINDS: dict[str, Kind] = {
    "brushed metal": Kind(surfaces.brushed_metal, (*_METAL, "misprint", "break")),
    "cast metal": Kind(surfaces.cast_metal, (*_METAL, "blister", "break")),
    "wood": Kind(surfaces.wood, (*_SOFT, "crack", "dent", "chipped", "blister")),
    "leather": Kind(surfaces.leather, (*_SOFT, "crack", "dent", "bend", "blister")),
    "fabric": Kind(surfaces.fabric, (*_SOFT, "fray", "fray")),
    "knitted fabric": Kind(sheets.knitted_fabric, (*_CLOTH, "fray", "fray")),
    "ceramic tile": Kind(surfaces.ceramic, (*_HARD, "blister", "break")),
    "ferrite tile": Kind(sheets.ferrite_tile, _TILE, grey=True),
    "stone": Kind(surfaces.stone, (*_HARD, "break")),
    "glass": Kind(sheets.glass, ("scratch", "crack", "chipped", "stain", "contamination", "thread")),
    "plastic": Kind(surfaces.plastic, (*_HARD, "dent", "burn", "blowhole", "blister", "break")),
    "cardboard": Kind(surfaces.cardboard, (*_SOFT, "dent", "bend", "fray")),
    "paper": Kind(sheets.paper, (*_SOFT, "bend", "fray")),
    "printed label": Kind(
        sheets.printed_label,
        ("misprint", "misprint", "bend", "blister", "scratch", "stain", "contamination", "hole"),
    ),
    "circuit board": Kind(
        assemblies.circuit_board,
        ("scratch", "burn", "contamination", "thread", "misprint", "stain", MISSING),
        omits=True,
    ),
    "mesh": Kind(
        assemblies.mesh, ("contamination", "thread", "burn", "stain", "bend", MISSING), omits=True, bends=True
    ),
    "pin header": Kind(
        assemblies.pin_header,
        ("bend", "bend", "contamination", "thread", "scratch", "burn", MISSING),
        omits=True,
        bends=True,
    ),
    "bottle": Kind(
        objects.bottle, ("chipped", "contamination", "crack", "scratch", "thread", "stain"), dome=True
    ),
    "bottle mouth": Kind(
        vessels.bottle_mouth,
        ("break", "break", "chipped", "contamination", "contamination", "crack", "thread", "stain"),
        dome=True,
    ),
    "washer": Kind(objects.washer, (*_METAL, "misprint", "blister", "break")),
    "nut": Kind(objects.nut, (*_METAL, "break")),
    "screw": Kind(
        objects.screw,
        ("scratch", "dent", "contamination", "thread", "burn", "chipped", "stain", "bend"),
        bends=True,
    ),
    "capsule": Kind(objects.capsule, (*_SOFT, "crack", "dent", "chipped", "blister")),
    "chip": Kind(assemblies.chip, (*_HARD, "burn", "blowhole", "bend", MISSING), omits=True, bends=True),
    "cable": Kind(
        assemblies.cable, ("scratch", "contamination", "thread", "burn", "stain", "hole", MISSING), omits=True
    ),
}

_LOOSE = ("contamination", "thread")
"""Defects that lie on the part and may hang over its edge."""
_VISIBLE = 9.0
"""Grey levels of 255 by which a pixel must differ to count as changed."""
_LEAST = 24
"""Changed pixels, at 256 px, under which a defect is painted anew and stronger."""
_STRENGTHS = (1.0, 1.5, 2.2, 3.0, 4.0)


@dataclass(frozen=True)
class Scene:
    """A picture and its twin without the defect.

    Attributes:
        image: uint8 (S, S, 3), with the defect.
        clean: uint8 (S, S, 3); equal to `image` bit for bit outside `mask`.
        mask: bool (S, S), where the defect visibly changes the picture; empty for "good".
        category: what is shown, a key of `KINDS`.
        defect: what befell it, or "good".
    """

    image: np.ndarray
    clean: np.ndarray
    mask: np.ndarray
    category: str
    defect: str


def render_scene(
    rng: np.random.Generator,
    size: int = 256,
    kind: str | None = None,
    defect: str | None = None,
    series: int | None = None,
) -> Scene:
    """Render one specimen of `kind` with `defect`; what is None is drawn at random.

    The clean picture does not depend on the defect: the same state of `rng` gives the same `clean`.

    Args:
        rng: the source of chance; the same state gives the same bytes.
        size: side in pixels, at least 64.
        kind: a key of `KINDS`.
        defect: "good" for none, any of `DEFECTS`, or "missing part" where the kind has components.
        series: specimens of one series (>= 0) are of one design, under one light and one camera.

    Raises:
        TargetError: no such kind or defect, or one the kind cannot have.
    """
    choice_seed, series_seed, specimen_seed, wear_seed = (int(seed) for seed in rng.integers(2**63, size=4))
    if kind is None:
        kind = str(np.random.default_rng(choice_seed).choice(sorted(KINDS)))
    elif kind not in KINDS:
        raise TargetError(f"Nothing called '{kind}' can be rendered. {suggest(kind, KINDS)}")
    wear = np.random.default_rng(wear_seed)
    allowed = {*DEFECTS, GOOD, *([MISSING] if KINDS[kind].omits else [])}
    if defect is None:
        defect = str(wear.choice(KINDS[kind].defects))
    elif defect not in allowed:
        raise TargetError(f"A {kind} cannot be rendered with '{defect}'. {suggest(defect, allowed)}")
    series = series_seed if series is None else series

    def specimen(**options: bool | np.random.Generator) -> Material:
        design = np.random.default_rng([series, 0])
        return KINDS[kind].build(design, np.random.default_rng([specimen_seed, 0]), size, **options)

    station = np.random.default_rng([series, 1])
    light = Light.draw(station, KINDS[kind].dome)
    camera = Camera.draw(station, np.random.default_rng([specimen_seed, 1]), size)
    if KINDS[kind].grey:
        camera = replace(camera, grey=True, noise=camera.noise[..., :1])
    material = specimen()
    clean = camera.expose(light.shade(material))
    mask = np.zeros((size, size), bool)
    if defect == GOOD:
        return Scene(clean, clean, mask, kind, defect)
    for strength in _STRENGTHS:
        if defect == MISSING:
            damaged = specimen(omit=True)
        elif defect == "bend" and KINDS[kind].bends:
            damaged = specimen(bend=wear)
        else:
            damaged = _damage(wear, material, defect, strength)
        image = camera.expose(light.shade(damaged))
        mask = changed(image, clean)
        if mask.sum() >= _LEAST * (size / 256) ** 2:
            break
    return Scene(np.where(mask[..., None], image, clean), clean, mask, kind, defect)


def _damage(rng: np.random.Generator, material: Material, defect: str, strength: float) -> Material:
    """`material` with a defect that stays on the part, unless it is of the kind that lies on top."""
    damaged = DEFECTS[defect](rng, material, strength)
    if defect in _LOOSE:
        return damaged
    part = blur(material.part.astype(np.float32), 0.6)
    return material.under(part, damaged.albedo, damaged.height, damaged.gloss)


def changed(image: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Where two pictures uint8 (S, S, 3) differ visibly: bool (S, S), without specks and pinholes."""
    difference = np.abs(image.astype(np.float32) - clean).max(axis=2)
    mask = (blur(difference, 0.8) > _VISIBLE).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= 6
    keep[0] = False
    return keep[labels]
