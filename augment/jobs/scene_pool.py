"""Rendered scenes to pretrain on: rendered by all cores, encoded once, kept on disk."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from augment.backbones.backbone import Backbone
from augment.data.images import list_images, read_image, to_rgb
from augment.data.masks import random_mask
from augment.data.windows import crop, random_window
from augment.errors import DataError
from augment.functional.masks import latent_mask
from augment.jobs.painting import as_tensor
from augment.progress import Progress
from augment.recipe import Recipe
from augment.render.scene import KINDS, Scene, render_scene
from augment.workspace import atomic_path

CODEC, POOL, TRAIN = range(3)  # the stages of a pretraining, as numbers in random seeds
FEW = 64  # windows that are rendered sooner than other processes start


@dataclass(frozen=True)
class ScenePool:
    """Encoded scenes: latents float16 (C, h, w), masks uint8 (1, h, w), prompts as token ids.

    N scenes with and without their defect; after them, without one only, windows of the user's own images.
    """

    clean: np.ndarray  # (N + own, C, h, w)
    defect: np.ndarray  # (N, C, h, w)
    mask: np.ndarray  # (N, 1, h, w)
    kinds: np.ndarray  # (N + own,) row of `prompts`
    prompts: Tensor  # (kinds, 2, L): the background and the defect prompt of each kind of scene
    masked_prompt: Tensor  # (L,)
    holes: Tensor  # (M, 1, h, w) random masks


def prepare_pool(
    backbone: Backbone, recipe: Recipe, work: Path, seed: int, images: Sequence[Path], progress: Progress
) -> ScenePool:
    """Render and encode the scenes the U-Net learns from (once; kept in `work`).

    Windows of the user's good images join the clean ones.
    """
    path, config, size = work / "pool.npz", recipe.pretrain, recipe.backbone.resolution
    grid = (size // config.patch, size // config.patch)
    known = [*vocabulary(recipe), *map(partial(_own_prompts, recipe), images)]
    if not path.exists():
        row_of = {pair: row for row, pair in enumerate(known)}
        template = recipe.fit.defect_prompt.replace("sks ", "")
        latents: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        masks, kinds, waiting = [], [], []

        def encode() -> None:
            for store, attribute in zip(latents, ("clean", "image"), strict=True):
                pictures = as_tensor([getattr(scene, attribute) for scene in waiting])
                store.append(backbone.encode_images(pictures).cpu().numpy().astype(np.float16))
            pixels = torch.from_numpy(np.stack([scene.mask for scene in waiting]))[:, None]
            masks.append(latent_mask(pixels, grid).numpy().astype(np.uint8))
            waiting.clear()

        scenes = render_windows(seed, POOL, config.pool, size)
        for scene in progress(scenes, total=config.pool, desc="render the pool", unit="scene"):
            background = recipe.fit.background_prompt.format(category=scene.category)
            kinds.append(row_of[background, template.format(category=scene.category, defect=scene.defect)])
            waiting.append(scene)
            if len(waiting) == 32:
                encode()
        if waiting:
            encode()
        for row, folder in enumerate(images, start=len(known) - len(images)):
            for pictures in _windows_of(folder, config.images // len(images), size, seed, progress):
                latents[0].append(
                    backbone.encode_images(as_tensor(pictures)).cpu().numpy().astype(np.float16)
                )
                kinds += [row] * len(pictures)
        clean, defect = (np.concatenate(store) for store in latents)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, clean=clean, defect=defect, mask=np.concatenate(masks), kinds=np.array(kinds))
    stored = np.load(path)
    rng = np.random.default_rng([seed, POOL])
    holes = torch.from_numpy(np.stack([random_mask((size, size), rng) for _ in range(512)]))[:, None]

    def ids(texts: list[str]) -> Tensor:
        options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        return backbone.tokenizer(texts, max_length=backbone.tokenizer.model_max_length, **options).input_ids

    prompts = torch.stack([ids([pair[part] for pair in known]) for part in (0, 1)], dim=1)
    return ScenePool(
        stored["clean"], stored["defect"], stored["mask"], stored["kinds"], prompts.to(backbone.device),
        ids([recipe.fit.masked_prompt])[0].to(backbone.device), latent_mask(holes, grid),
    )  # fmt: skip


def _own_prompts(recipe: Recipe, folder: Path) -> tuple[str, str]:
    """The prompts of a folder of the user's images; it has no defect, so both are the background's."""
    prompt = recipe.fit.background_prompt.format(category=folder.resolve().name.replace("_", " "))
    return prompt, prompt


def _windows_of(
    folder: Path, count: int, size: int, seed: int, progress: Progress
) -> Iterator[list[np.ndarray]]:
    """`count` random windows of a folder's images as (size, size, 3) uint8, in lists of up to 32."""
    files = list_images(folder) if folder.is_dir() else []
    if not files:
        raise DataError(f"{folder} holds no images to pretrain on. Name a folder of good images.")
    rng = np.random.default_rng([seed, POOL, *folder.name.encode()])
    waiting: list[np.ndarray] = []
    for index in progress(range(count), desc=f"windows of {folder.name}", unit="window"):
        image = to_rgb(read_image(files[index % len(files)]))
        waiting.append(crop(image, random_window(image.shape[:2], size // 2, rng), size))
        if len(waiting) == 32 or index == count - 1:
            yield waiting
            waiting = []


def vocabulary(recipe: Recipe) -> list[tuple[str, str]]:
    """(background prompt, defect prompt) of everything that can be rendered."""
    pairs = [
        (kind, defect) for kind, entry in KINDS.items() for defect in sorted({*entry.defects, "missing part"})
    ]
    template = recipe.fit.defect_prompt.replace("sks ", "")
    return [
        (recipe.fit.background_prompt.format(category=kind), template.format(category=kind, defect=defect))
        for kind, defect in pairs
    ]


def render_window(task: tuple[int, int, int, int]) -> Scene:
    """One scene, or (one time in three) a window of it around its defect, as a fit sees it."""
    seed, stage, index, size = task
    cv2.setNumThreads(1)
    rng = np.random.default_rng([seed, stage, index])
    scene = render_scene(rng, size)
    if rng.random() > 1 / 3 or not scene.mask.any():
        return scene
    rows, columns = np.nonzero(scene.mask.any(1))[0], np.nonzero(scene.mask.any(0))[0]
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    side = int(np.clip(extent * rng.uniform(1.3, 2.5), size // 2, size))
    top = int(rng.integers(max(0, rows[-1] + 1 - side), min(rows[0], size - side) + 1))
    left = int(rng.integers(max(0, columns[-1] + 1 - side), min(columns[0], size - side) + 1))

    def grown(picture: np.ndarray, interpolation: int) -> np.ndarray:
        return cv2.resize(
            picture[top : top + side, left : left + side], (size, size), interpolation=interpolation
        )

    mask = grown(scene.mask.astype(np.uint8), cv2.INTER_NEAREST).astype(bool)
    image, clean = grown(scene.image, cv2.INTER_CUBIC), grown(scene.clean, cv2.INTER_CUBIC)
    return Scene(image, clean, mask, scene.category, scene.defect)


def render_windows(seed: int, stage: int, count: int, size: int) -> Iterator[Scene]:
    """`count` rendered windows in a fixed order, rendered by all cores; a few by this process alone."""
    tasks = [(seed, stage, index, size) for index in range(count)]
    if count <= FEW:
        yield from map(render_window, tasks)
        return
    with multiprocessing.get_context("spawn").Pool() as workers:
        yield from workers.imap(render_window, tasks, chunksize=8)
