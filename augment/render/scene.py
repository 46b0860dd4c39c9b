"""One rendered inspection picture, with and without its defect, and the exact mask between the two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from augment.errors import TargetError, suggest
from augment.render import assemblies, defects, objects, surfaces
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
}
"""Every defect that can lie on any material; `missing part` is the assemblies' own."""


@dataclass(frozen=True)
class Kind:
    """What can be rendered: its builder, its usual defects, the light, whether it can lack a component."""

    build: Callable[..., Material]
    defects: tuple[str, ...]
    dome: bool = False
    omits: bool = False


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

KINDS: dict[str, Kind] = {
    "brushed metal": Kind(surfaces.brushed_metal, (*_METAL, "misprint")),
    "cast metal": Kind(surfaces.cast_metal, _METAL),
    "wood": Kind(surfaces.wood, (*_SOFT, "crack", "dent", "chipped")),
    "leather": Kind(surfaces.leather, (*_SOFT, "crack", "dent")),
    "fabric": Kind(surfaces.fabric, _SOFT),
    "ceramic tile": Kind(surfaces.ceramic, _HARD),
    "stone": Kind(surfaces.stone, _HARD),
    "plastic": Kind(surfaces.plastic, (*_HARD, "dent", "burn", "blowhole")),
    "cardboard": Kind(surfaces.cardboard, (*_SOFT, "dent")),
    "circuit board": Kind(
        assemblies.circuit_board,
        ("scratch", "burn", "contamination", "thread", "misprint", "stain", MISSING),
        omits=True,
    ),
    "mesh": Kind(assemblies.mesh, ("contamination", "thread", "burn", "stain", MISSING), omits=True),
    "bottle": Kind(
        objects.bottle, ("chipped", "contamination", "crack", "scratch", "thread", "stain"), dome=True
    ),
    "washer": Kind(objects.washer, (*_METAL, "misprint")),
    "nut": Kind(objects.nut, _METAL),
    "screw": Kind(objects.screw, ("scratch", "dent", "contamination", "thread", "burn", "chipped", "stain")),
    "capsule": Kind(objects.capsule, (*_SOFT, "crack", "dent", "chipped")),
    "chip": Kind(assemblies.chip, (*_HARD, "burn", "blowhole", MISSING), omits=True),
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
    rng: np.random.Generator, size: int = 256, kind: str | None = None, defect: str | None = None
) -> Scene:
    """Render one specimen of `kind` with `defect`; what is None is drawn at random.

    The clean picture depends on the generator and the kind alone, not on the defect.

    Args:
        rng: the only source of chance; the same state gives the same bytes.
        size: side in pixels, at least 64.
        kind: a key of `KINDS`.
        defect: one of the kind's defects, any of `DEFECTS`, or "good" for none.

    Raises:
        TargetError: no such kind or defect, or one the kind cannot have.
    """
    seeds = rng.integers(2**63, size=4)
    choice, wear = np.random.default_rng(seeds[0]), np.random.default_rng(seeds[3])
    kind = kind if kind is not None else str(choice.choice(sorted(KINDS)))
    if kind not in KINDS:
        raise TargetError(f"Nothing called '{kind}' can be rendered. {suggest(kind, KINDS)}")
    defect = defect if defect is not None else str(wear.choice(KINDS[kind].defects))
    allowed = {*DEFECTS, GOOD, *([MISSING] if KINDS[kind].omits else [])}
    if defect not in allowed:
        raise TargetError(f"A {kind} cannot be rendered with '{defect}'. {suggest(defect, allowed)}")
    return _render(seeds, size, kind, defect, wear)


def _render(seeds: np.ndarray, size: int, kind: str, defect: str, wear: np.random.Generator) -> Scene:
    build = KINDS[kind].build
    material = build(np.random.default_rng(seeds[1]), size)
    optics = np.random.default_rng(seeds[2])
    light, camera = Light.draw(optics, KINDS[kind].dome), Camera.draw(optics, size)

    def photograph(subject: Material) -> np.ndarray:
        return camera.expose(light.shade(subject))

    clean = photograph(material)
    if defect == GOOD:
        return Scene(clean, clean, np.zeros((size, size), bool), kind, defect)
    if defect == MISSING:
        image = photograph(build(np.random.default_rng(seeds[1]), size, omit=True))
        mask = changed(image, clean)
    else:
        for strength in (1.0, 1.5, 2.2, 3.0, 4.0):
            damaged = DEFECTS[defect](wear, material, strength)
            image = photograph(damaged if defect in _LOOSE else _confine(damaged, material))
            mask = changed(image, clean)
            if mask.sum() >= _LEAST * (size / 256) ** 2:
                break
    return Scene(np.where(mask[..., None], image, clean), clean, mask, kind, defect)


def _confine(damaged: Material, material: Material) -> Material:
    """`damaged` on the part, `material` beside it."""
    part = material.part.astype(np.float32)
    return material.under(blur(part, 0.6), damaged.albedo, damaged.height, damaged.gloss)


def changed(image: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Where two pictures uint8 (S, S, 3) differ visibly: bool (S, S), without specks and pinholes."""
    difference = np.abs(image.astype(np.float32) - clean).max(axis=2)
    mask = (blur(difference, 0.8) > _VISIBLE).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= 6
    keep[0] = False
    return keep[labels]
