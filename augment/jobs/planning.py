"""Which good image and which target mask go into synthetic image number i."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augment.data.foreground import Foreground, find_foreground
from augment.data.images import read_image, read_sample, to_rgb
from augment.data.masks import read_mask_folder, resize_mask
from augment.data.places import Parts, best_place
from augment.data.sample import Sample, Target
from augment.jobs.painting import PaintJob
from augment.recipe import Recipe
from augment.training import step_generator
from augment.workspace import Run


@dataclass(frozen=True)
class Plan:
    """What goes into one image, and where it comes from."""

    job: PaintJob
    source: Path
    mask_source: str


@dataclass(frozen=True)
class Planner:
    """Chooses source image and target mask of image number i."""

    target: Target
    masks: list[np.ndarray]
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
        trained = fit_run.info()["training"]
        samples = [sample for sample in target.samples if target.name_of(sample) in trained]
        folder = recipe.synthesize.masks.folder
        foreground = find_foreground(target.category, recipe.synthesize.masks.foreground)
        if folder is not None:
            masks = read_mask_folder(Path(folder))
            names = [f"{folder} #{i}" for i in range(len(masks))]
            return cls(target, masks, names, [], True, recipe, seed, samples, foreground)
        masks = [read_sample(sample)[1] for sample in samples]
        names, images = [str(sample.mask) for sample in samples], [sample.image for sample in samples]
        return cls(target, masks, names, images, False, recipe, seed, samples, foreground)

    def plan(self, index: int, attempt: int = 0) -> Plan:
        """The plan of one image; depends on the seed, the target, `index` and `attempt` alone.

        Attempt 0 is the first; another is wanted for each time the image was dropped. Images of one source
        and mask (the recipe's `samples_per_source`) differ in their noise.
        """
        name, again = zlib.crc32(self.target.key.encode()), (attempt,) if attempt else ()
        numbers, shared = (name, index, *again), index // self.recipe.synthesize.samples_per_source
        rng = np.random.default_rng([self.seed, name, shared, *again])
        good = self.target.category.train_good
        source = good[rng.integers(len(good))].image
        image = read_image(source)
        choice = shared % len(self.masks) if self.is_exact else int(rng.integers(len(self.masks)))
        config = self.recipe.synthesize.masks
        example = None
        if self.is_exact:
            mask = resize_mask(self.masks[choice], image.shape[:2])
        else:
            shown = to_rgb(read_image(self.images[choice]))
            parts = None
            if self.foreground.is_object:
                here = self.foreground.mask(image, source)
                parts = Parts(self.foreground.mask(shown, self.images[choice]), here, self.foreground)
            place = best_place(self.masks[choice], shown, to_rgb(image), config, rng, parts)
            mask = place.mask
            if self.recipe.synthesize.starts_from_examples:
                example = place.moved(shown, to_rgb(image))
        job = PaintJob(image, mask, step_generator(self.seed, *numbers), example=example)
        return Plan(job, source, self.mask_names[choice])
