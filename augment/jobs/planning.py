"""Which good image and which target masks go into synthetic image number i."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.data.foreground import Foreground, find_foreground
from augment.data.images import image_size, list_images, read_image, read_mask, read_sample, to_rgb
from augment.data.lending import elongation, lent
from augment.data.masks import PackedMasks, read_mask_folder, resize_mask, with_margin
from augment.data.mixing import mixed, second_place
from augment.data.places import Parts, at_same_scale, best_place, light_around
from augment.data.sample import Sample, Target
from augment.data.windows import Window, window_around
from augment.jobs.limits import LEAST_DEFECTS
from augment.jobs.painting import FEATHER_SHARE, Piece
from augment.jobs.several import draw_number, is_apart
from augment.metrics.likeness import describe, distances
from augment.recipe import Recipe
from augment.training import step_generator
from augment.workspace import Run, trained_names

log = logging.getLogger(__name__)
_ATTEMPTS = 10  # at a place that is free, for each further defect
_SOURCES, _ALIKE = 8, 1.25  # good images tried, and how much brighter or darker one may be
_SECONDS, _SAME_COLOUR = 3, 24.0  # second defects tried; grey levels by which one's mean may differ
_AS_LONG = float(np.log(2.0))  # by which two defects' elongations may differ, of which one lends its looks
_APART = 1.05  # times as far from a training defect as two of these are, of a start: painting changes that
_PLACES = 8  # tried for a start that is as far
_DARK = 8.0  # grey levels that are added before two lights are compared


@dataclass(frozen=True)
class Part:
    """One defect of an image: what is painted, the file of its mask, and the images that show the defect."""

    piece: Piece
    mask_source: str
    example: Path | None  # None: it starts from noise
    second: Path | None = (
        None  # the image of another defect, whose looks the start has too, or in place of its own
    )


@dataclass(frozen=True)
class _Start:
    """What a defect is painted from.

    Attributes:
        example: uint8 (h, w, 3), its window with a real defect in it; None: noise.
        second: as in `Part`.
        distance: from the training defect that it is most like; infinite: not wanted.
    """

    example: np.ndarray | None = None
    second: Path | None = None
    distance: float = np.inf


@dataclass(frozen=True)
class Plan:
    """What goes into one image, and where it comes from.

    Attributes:
        source: the good image.
        shape: its (H, W).
        parts: its defects, in the order they are painted.
        foreground: the user's own masks of parts that their places depend on.
    """

    source: Path
    shape: tuple[int, int]
    parts: tuple[Part, ...]
    foreground: tuple[Path, ...] = ()

    @property
    def pieces(self) -> list[Piece]:
        """The windows to paint, in order."""
        return [part.piece for part in self.parts]

    @property
    def mask_source(self) -> str:
        """The file of the first defect's mask."""
        return self.parts[0].mask_source

    @property
    def mask(self) -> np.ndarray:
        """bool (H, W), all target masks."""
        mask = np.zeros(self.shape, dtype=bool)
        for piece in self.pieces:
            mask[piece.window.slices] |= piece.mask
        return mask

    def is_of(self, entry: Mapping[str, Any]) -> bool:
        """Whether a manifest's line tells of the same source and target masks."""
        then = entry["source"], entry["mask_source"], entry["target_pixels"]
        return then == (str(self.source), self.mask_source, sum(int(p.mask.sum()) for p in self.pieces))

    def image(self) -> np.ndarray:
        """uint8 (H, W) or (H, W, 3), the good image, read again: a batch of large ones is not held."""
        return read_image(self.source)


@dataclass(frozen=True)
class Planner:
    """Chooses source image and target masks of image number i."""

    target: Target
    masks: Sequence[np.ndarray]
    mask_names: list[str]
    images: list[Path]  # the training images of the masks; none of the user's own masks
    is_exact: bool  # the user's own masks are used as they are
    recipe: Recipe
    seed: int
    training: list[Sample]  # what the fit has seen
    foreground: Foreground

    @classmethod
    def of(cls, target: Target, fit_run: Run, recipe: Recipe, seed: int) -> Planner:
        """Masks of the fit's own training images, or of the user's folder."""
        trained = trained_names(fit_run.info(), target.defect)
        samples = [sample for sample in target.samples if target.name_of(sample) in trained]
        folder = recipe.synthesize.masks.folder
        foreground = find_foreground(target.category, recipe.synthesize.masks.foreground)
        if folder is not None:
            masks = PackedMasks(read_mask_folder(Path(folder)))
            names = [str(path) for path in list_images(Path(folder))]
            return cls(target, masks, names, [], True, recipe, seed, samples, foreground)
        masks = PackedMasks(read_mask(sample.mask, image_size(sample.image)) for sample in samples)
        names, images = [str(sample.mask) for sample in samples], [sample.image for sample in samples]
        return cls(target, masks, names, images, False, recipe, seed, samples, foreground)

    def plan(self, index: int, attempt: int = 0) -> Plan:
        """The plan of one image; depends on the seed, the target, `index` and `attempt` alone.

        Attempt 0 is the first; another is wanted for each time the image was dropped. Images of one source
        and mask (the recipe's `samples_per_source`) differ in their noise.
        """
        name, again = zlib.crc32(self.target.key.encode()), (attempt,) if attempt else ()
        shared = index // self.recipe.synthesize.samples_per_source
        rng = np.random.default_rng([self.seed, name, shared, *again])
        good = self.target.category.train_good
        first = int(rng.integers(len(good)))
        choice = shared % len(self.masks) if self.is_exact else int(rng.integers(len(self.masks)))
        others = np.random.default_rng([self.seed, name, shared, attempt, 0, 1])
        source, image = self._source(first, choice, others)
        generator = step_generator(self.seed, name, index, *again)
        parts = [self._part(image, source, choice, rng, self._mixing(shared, attempt, 0), generator)]
        limits = self.recipe.synthesize.defects_per_image
        wanted = draw_number(limits, np.random.default_rng([self.seed, name, shared, *again, 0, 0]))
        for number in range(1, wanted):
            rng = np.random.default_rng([self.seed, name, shared, attempt, number])
            generator = step_generator(self.seed, name, index, attempt, number)
            mixing = self._mixing(shared, attempt, number)
            part = self._further(image, source, parts, shared + number, rng, mixing, generator)
            if part is None:
                log.warning(
                    "%s: image %d has %d defects, not %d: no place is left that is free of the others.",
                    self.target.key,
                    index,
                    number,
                    wanted,
                )
                break
            parts.append(part)
        foreground = () if self.is_exact else tuple(self.foreground.own_for(source))
        return Plan(source, image.shape[:2], tuple(parts), foreground)

    def _mixing(self, shared: int, attempt: int, number: int) -> np.random.Generator:
        """What decides on the second training defect of defect number so many of an image."""
        name = zlib.crc32(self.target.key.encode())
        return np.random.default_rng([self.seed, name, shared, attempt, number, 2])

    def _source(self, first: int, choice: int, rng: np.random.Generator) -> tuple[Path, np.ndarray]:
        """The good image to paint on: of a texture one that is lit as the training image is, near the defect.

        A hole in a bright tile is no hole of a dark one. Of up to 8 images drawn, the first that is within a
        quarter as bright there is taken, or else the one most alike. What surrounds a part is no measure.
        """
        good = [sample.image for sample in self.target.category.train_good]
        if self.is_exact or self.foreground.is_object:
            return good[first], read_image(good[first])
        mask = self.masks[choice]
        wanted = light_around(read_image(self.images[choice]), mask)
        least, chosen = np.inf, None
        for index in (first, *rng.integers(len(good), size=_SOURCES - 1)):
            image = read_image(good[index])
            gap = abs(np.log((light_around(image, mask) + _DARK) / (wanted + _DARK)))
            if gap < least:
                least, chosen = gap, (good[index], image)
            if gap <= np.log(_ALIKE):
                break
        return chosen

    def _further(
        self,
        image: np.ndarray,
        source: Path,
        parts: Sequence[Part],
        following: int,
        rng: np.random.Generator,
        mixing: np.random.Generator,
        generator: torch.Generator,
    ) -> Part | None:
        """A defect apart from those before, of the user's own masks the following; None: no place is free."""
        others, count = [part.piece for part in parts], len(self.masks)
        for again in range(_ATTEMPTS):
            choice = (following + again) % count if self.is_exact else int(rng.integers(count))
            part = self._part(image, source, choice, rng, mixing, generator)
            if is_apart(part.piece, others):
                return part
        return None

    def _part(
        self,
        image: np.ndarray,
        source: Path,
        choice: int,
        rng: np.random.Generator,
        mixing: np.random.Generator,
        generator: torch.Generator,
    ) -> Part:
        """A defect made from one of the masks, on the image `source`; `mixing` decides on others' looks.

        Where none of the looks that it may have is far enough from the training defects (`_apart`), another
        place is drawn, a few times; the farthest counts.
        """
        synthesize, name = self.recipe.synthesize, self.mask_names[choice]
        if self.is_exact:
            mask = resize_mask(self.masks[choice], image.shape[:2])
            window, start = window_around(mask, self.recipe.window), _Start()
            cut = image[window.slices].copy(), mask[window.slices].copy()
            if synthesize.starts_from_examples:
                example, path = self._lent(*cut, self._lender(cut[1], mixing))
                start = self._apart(*cut, _Start(example, path), [path], mixing)
            return Part(Piece(window, mask.shape, *cut, generator, None, start.example), name, start.second)
        drawn = []
        for _ in range(_PLACES):
            drawn.append(self._drawn(image, source, choice, rng, mixing, generator))
            if drawn[-1][1].distance >= self._least:
                break
        piece, start = max(drawn, key=lambda one: one[1].distance)
        return Part(piece, name, self.images[choice], start.second)

    def _drawn(
        self,
        image: np.ndarray,
        source: Path,
        choice: int,
        rng: np.random.Generator,
        mixing: np.random.Generator,
        generator: torch.Generator,
    ) -> tuple[Piece, _Start]:
        """One of the masks at a place of its own, and what is painted there starts from (see `_part`)."""
        synthesize = self.recipe.synthesize
        shown, trained, parts = self._trained(choice, image, source)
        place = best_place(trained, shown, to_rgb(image), synthesize.masks, rng, parts)
        mask = with_margin(place.mask, synthesize.feather, FEATHER_SHARE)
        part, overhang = None, 1.0
        if parts is not None:
            overhang = parts.allowed(trained, parts.move(image.shape[:2]))
            mask &= place.mask | parts.here
        window, start = window_around(mask, self.recipe.window), _Start()
        cut = image[window.slices].copy(), mask[window.slices].copy()
        if synthesize.starts_from_examples:
            lending, lender = mixing.spawn(1)[0], None
            if lending.random() < synthesize.lending:
                lender = self._lender(cut[1], lending, but=choice)
            if lender is not None:
                start = _Start(*self._lent(*cut, lender))
            else:
                start = _Start(place.moved(shown, to_rgb(image), window.slices))
                if mixing.random() < synthesize.mixing:
                    start = self._mixed(start.example, mask, window, choice, image, source, mixing)
            tried = [self.images[choice], *([] if lender is None else [start.second])]
            start = self._apart(*cut, start, tried, lending)
        part = None if parts is None else parts.here[window.slices].copy()
        return Piece(window, mask.shape, *cut, generator, None, start.example, part, overhang), start

    def _lent(self, image: np.ndarray, mask: np.ndarray, number: int) -> tuple[np.ndarray, Path]:
        """An image that shows a training defect all over a mask, and where that one is from.

        Of a texture, lit as it is there.
        """
        sample = self.training[number]
        shown, trained = read_sample(sample)
        light = 1.0
        if not self.foreground.is_object:
            light = (light_around(image, mask) + _DARK) / (light_around(shown, trained) + _DARK)
        return lent(to_rgb(image), mask, to_rgb(shown), trained, light), sample.image

    def _apart(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        start: _Start,
        tried: Sequence[Path | None],
        rng: np.random.Generator,
    ) -> _Start:
        """A start, or another where it is nearer to a training defect than two of these are to each other.

        The looks of others, but for those `tried`, are lent to the mask until one start is not; else the
        farthest one is taken. What is painted is as near as its start, give or take a little.
        """
        if self._least == 0:
            return start
        farthest = replace(start, distance=self._nearness(image, mask, start.example))
        for number in rng.permutation(self._alike(mask)).tolist():
            if farthest.distance >= self._least:
                break
            if self.training[number].image not in tried:
                other = _Start(*self._lent(image, mask, number))
                other = replace(other, distance=self._nearness(image, mask, other.example))
                farthest = max(farthest, other, key=lambda one: one.distance)
        return farthest

    def _nearness(self, image: np.ndarray, mask: np.ndarray, example: np.ndarray) -> float:
        """How far the training defects are from one that shows `example` in a mask, on an image."""
        shown = np.where(mask[..., None], example, to_rgb(image))
        return float(distances(describe(shown, mask), self.described).min())

    @cached_property
    def described(self) -> list[np.ndarray]:
        """What the training defects look like (see `augment.metrics.likeness`)."""
        return [describe(*read_sample(sample)) for sample in self.training]

    @cached_property
    def _least(self) -> float:
        """How far a start has to be: a little more than the two training defects that are most alike.

        Of one or two, 0: what their distance is says little.
        """
        synthesize = self.recipe.synthesize
        if not (synthesize.apart and synthesize.starts_from_examples) or len(self.training) < LEAST_DEFECTS:
            return 0.0
        gaps = [np.delete(distances(one, self.described), i) for i, one in enumerate(self.described)]
        return _APART * float(np.min(gaps))

    def _lender(self, mask: np.ndarray, rng: np.random.Generator, but: int | None = None) -> int | None:
        """A training defect (`but` that one) whose looks may be lent to a mask. None: there is no other."""
        alike = [number for number in self._alike(mask) if number != but]
        return alike[int(rng.integers(len(alike)))] if alike else None

    def _alike(self, mask: np.ndarray) -> list[int]:
        """The training defects about as long for their width as a mask; else as near as there are.

        A crack would lie across a spot in stripes.
        """
        gaps = np.abs(self._elongations - np.log(elongation(mask)))
        return np.flatnonzero(gaps <= max(_AS_LONG, gaps.min())).tolist()

    @cached_property
    def _elongations(self) -> np.ndarray:
        """The logarithm of how long each training defect is for its width."""
        return np.log([elongation(read_mask(sample.mask)) for sample in self.training])

    def _trained(
        self, choice: int, image: np.ndarray, source: Path
    ) -> tuple[np.ndarray, np.ndarray, Parts | None]:
        """A training image and its mask, to be carried onto `image`, and where the parts are in both."""
        shown, mask = to_rgb(read_image(self.images[choice])), self.masks[choice]
        if not self.foreground.is_object:
            return *at_same_scale(shown, mask, image.shape[:2]), None
        there = self.foreground.mask(shown, self.images[choice])
        return shown, mask, Parts(there, self.foreground.mask(image, source), self.foreground)

    def _mixed(
        self,
        example: np.ndarray,
        mask: np.ndarray,
        window: Window,
        choice: int,
        image: np.ndarray,
        source: Path,
        rng: np.random.Generator,
    ) -> _Start:
        """A start in part of which a second defect of much the same colour shows, and that one's image.

        Of the others, the first that also suits the place, if any; of a texture, lit as the first one is.
        """
        inside = mask[window.slices]
        colour, light = example[inside].mean(axis=0), light_around(example, inside) + _DARK
        lights = [1.0 if self.foreground.is_object else light / (its + _DARK) for _, its in self._looks]
        gaps = [
            np.abs(its * ratio - colour).max() for (its, _), ratio in zip(self._looks, lights, strict=True)
        ]
        others = [number for number in range(len(self.masks)) if number != choice]
        alike = [other for other in rng.permutation(others).tolist() if gaps[other] <= _SAME_COLOUR]
        for other in alike[:_SECONDS]:
            shown, trained, parts = self._trained(other, image, source)
            place = second_place(trained, mask, self.recipe.synthesize.masks, rng, parts)
            if place is not None:
                shown = np.clip(shown * lights[other], 0, 255).astype(np.uint8)
                moved, shared = place.moved(shown, to_rgb(image), window.slices), place.mask[window.slices]
                return _Start(mixed(example, moved, shared & inside, rng), self.images[other])
        return _Start(example)

    @cached_property
    def _looks(self) -> list[tuple[np.ndarray, float]]:
        """Of each training defect its mean colour (3,) and how light it is around it, in grey levels."""
        looks = []
        for path, mask in zip(self.images, self.masks, strict=True):
            image = to_rgb(read_image(path))
            looks.append((image[mask].mean(axis=0), light_around(image, mask)))
        return looks
