"""Training the bundled backbone from scratch on rendered scenes.

Three stages, each resumed where it was left: the codec (components, then its decoder), the pool of encoded
scenes, and the U-Net with its text encoder. The loss is the paper's two-term loss (Eq. 5) on scenes with a
defect, and plain denoising (Eq. 2) on scenes without one, so that the base knows backgrounds as well.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.backbone import Backbone
from augment.backbones.build import build_backbone, save_backbone
from augment.data.masks import random_mask
from augment.devices import choose_device, choose_dtype
from augment.functional.masks import latent_mask
from augment.functional.noising import add_noise, mask_latents, prediction_target
from augment.progress import Progress, no_progress
from augment.recipe import Recipe
from augment.render.scene import KINDS, Scene, render_scene
from augment.training import Trainer, step_generator
from augment.workspace import atomic_path, atomic_write_json

log = logging.getLogger(__name__)
_CODEC, _POOL, _TRAIN = range(3)  # the stages, as numbers in random seeds


@dataclass(frozen=True)
class PretrainResult:
    """What a pretraining left.

    Attributes:
        folder: the backbone, in diffusers' layout.
        steps: optimizer steps of the U-Net so far.
        loss: mean loss of the last 100 steps.
        done: all the recipe's steps are made.
        sheet: picture of the codec's and the U-Net's work.
    """

    folder: Path
    steps: int
    loss: float
    done: bool
    sheet: Path


def pretrain(
    recipe: Recipe,
    output: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    minutes: float | None = None,
    progress: Progress = no_progress,
) -> PretrainResult:
    """Train a backbone into `output`; call again to continue.

    Args:
        recipe: its `pretrain` section, and `backbone.resolution`.
        output: folder of the backbone; unfinished work lies in `output/work`.
        seed: of everything.
        device, dtype: as for `load_backbone`.
        minutes: stop (resumable, and with a usable backbone written) after this long.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    config, size = recipe.pretrain, recipe.backbone.resolution
    torch_device = choose_device(device)
    texts = [prompt for pair in _vocabulary(recipe) for prompt in pair]
    backbone = build_backbone(
        config,
        texts,
        resolution=size,
        device=torch_device,
        autocast_dtype=choose_dtype(dtype, torch_device),
        seed=seed,
    )
    work = output / "work"
    work.mkdir(parents=True, exist_ok=True)
    _prepare_codec(backbone, recipe, work, seed, progress)
    pool = _prepare_pool(backbone, recipe, work, seed, progress)
    trained = nn.ModuleDict({"unet": backbone.unet, "text_encoder": backbone.text_encoder}).train()
    trainer = Trainer(
        trained,
        learning_rate=config.learning_rate,
        weight_decay=0.01,
        warmup_steps=config.warmup_steps,
        decay_steps=config.steps,
        ema_decay=config.ema_decay,
    )
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    with progress(total=config.steps, desc="pretrain", unit="step") as bar:
        bar.update(trainer.step_count)
        while trainer.step_count < config.steps and (deadline is None or time.monotonic() < deadline):
            loss = trainer.step(
                lambda step: _loss(backbone, pool, config.batch_size, step_generator(seed, _TRAIN, step))
            )
            bar.update(1)
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            if trainer.step_count % config.checkpoint_every == 0:
                trainer.save(checkpoint)
                log.info(
                    "step %d, loss %.4f",
                    trainer.step_count,
                    np.mean(trainer.losses[-config.checkpoint_every :]),
                )
    trainer.save(checkpoint)
    trained.eval()
    with trainer.averaged():
        save_backbone(backbone, output)
        sheet = _sheet(backbone, recipe, output / "work" / "sheet.png", seed)
    recent = float(np.mean(trainer.losses[-100:])) if trainer.losses else float("nan")
    facts = {
        "steps": trainer.step_count,
        "loss": recent,
        "seed": seed,
        "scenes": len(pool.clean),
        "recipe": recipe.to_dict(),
    }
    atomic_write_json(output / "pretrain.json", facts)
    return PretrainResult(output, trainer.step_count, recent, trainer.step_count >= config.steps, sheet)


@dataclass(frozen=True)
class _Pool:
    """Encoded scenes: latents float16 (N, C, h, w), masks uint8 (N, 1, h, w), prompts as token ids."""

    clean: np.ndarray
    defect: np.ndarray
    mask: np.ndarray
    kinds: np.ndarray  # (N,) row of `prompts`
    prompts: Tensor  # (kinds, 2, L): the background and the defect prompt of each kind of scene
    masked_prompt: Tensor  # (L,)
    holes: Tensor  # (M, 1, h, w) random masks


def _vocabulary(recipe: Recipe) -> list[tuple[str, str]]:
    """(background prompt, defect prompt) of everything that can be rendered."""
    pairs = [
        (kind, defect) for kind, entry in KINDS.items() for defect in sorted({*entry.defects, "missing part"})
    ]
    template = recipe.fit.defect_prompt.replace("sks ", "")
    return [
        (recipe.fit.background_prompt.format(category=kind), template.format(category=kind, defect=defect))
        for kind, defect in pairs
    ]


def _render_window(task: tuple[int, int, int, int]) -> Scene:
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


def _scenes(seed: int, stage: int, count: int, size: int) -> Iterator[Scene]:
    """`count` rendered windows, rendered by all cores, in a fixed order."""
    tasks = [(seed, stage, index, size) for index in range(count)]
    with multiprocessing.get_context("spawn").Pool() as workers:
        yield from workers.imap(_render_window, tasks, chunksize=8)


def _as_tensor(pictures: list[np.ndarray]) -> Tensor:
    """uint8 (H, W, 3) pictures -> (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 255


def _prepare_codec(backbone: Backbone, recipe: Recipe, work: Path, seed: int, progress: Progress) -> None:
    """Components of rendered blocks, then the decoder's learned part, on latents with a little noise."""
    path, config, codec = work / "codec.pt", recipe.pretrain, backbone.autoencoder
    if path.exists():
        codec.load_state_dict(torch.load(path, weights_only=True))
        return
    scenes = _scenes(seed, _CODEC, config.codec_images, recipe.backbone.resolution)
    bar = progress(scenes, total=config.codec_images, desc="render for the codec", unit="scene")
    images = torch.from_numpy(np.stack([scene.image for scene in bar])).movedim(-1, 1)
    codec.fit_components(images[:: max(1, len(images) // 200)].to(backbone.device) / 127.5 - 1)
    codec.mend.requires_grad_(True)
    trainer = Trainer(codec.mend, learning_rate=2e-3, warmup_steps=20, decay_steps=config.codec_steps)
    side = min(128, recipe.backbone.resolution)

    def loss_of(step: int) -> Tensor:
        generator = step_generator(seed, _CODEC, step)
        rows = torch.randint(len(images), (16,), generator=generator)
        top, left = (
            int(v)
            for v in torch.randint((images.shape[-1] - side) // config.patch + 1, (2,), generator=generator)
        )
        top, left = top * config.patch, left * config.patch
        x = images[rows, :, top : top + side, left : left + side].to(backbone.device) / 127.5 - 1
        z = codec.encode(x)
        level = 0.15 * torch.rand(len(x), 1, 1, 1, generator=generator)
        z = z + (level * torch.randn(z.shape, generator=generator)).to(z)
        return (codec.decode(z) - x).abs().mean()

    for _ in progress(range(config.codec_steps), desc="train the decoder", unit="step"):
        trainer.step(loss_of)
    codec.mend.requires_grad_(False)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(codec.state_dict(), file)


def _prepare_pool(backbone: Backbone, recipe: Recipe, work: Path, seed: int, progress: Progress) -> _Pool:
    """Render and encode the scenes the U-Net learns from (once; kept in `work`)."""
    path, config, size = work / "pool.npz", recipe.pretrain, recipe.backbone.resolution
    grid = (size // config.patch, size // config.patch)
    vocabulary = _vocabulary(recipe)
    if not path.exists():
        row_of = {pair: row for row, pair in enumerate(vocabulary)}
        template = recipe.fit.defect_prompt.replace("sks ", "")
        latents: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        masks, kinds, waiting = [], [], []

        def encode() -> None:
            for store, attribute in zip(latents, ("clean", "image"), strict=True):
                pictures = _as_tensor([getattr(scene, attribute) for scene in waiting])
                store.append(backbone.encode_images(pictures).cpu().numpy().astype(np.float16))
            pixels = torch.from_numpy(np.stack([scene.mask for scene in waiting]))[:, None]
            masks.append(latent_mask(pixels, grid).numpy().astype(np.uint8))
            waiting.clear()

        scenes = _scenes(seed, _POOL, config.pool, size)
        for scene in progress(scenes, total=config.pool, desc="render the pool", unit="scene"):
            background = recipe.fit.background_prompt.format(category=scene.category)
            kinds.append(row_of[background, template.format(category=scene.category, defect=scene.defect)])
            waiting.append(scene)
            if len(waiting) == 32:
                encode()
        if waiting:
            encode()
        clean, defect = (np.concatenate(store) for store in latents)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, clean=clean, defect=defect, mask=np.concatenate(masks), kinds=np.array(kinds))
    stored = np.load(path)
    rng = np.random.default_rng([seed, _POOL])
    holes = torch.from_numpy(np.stack([random_mask((size, size), rng) for _ in range(512)]))[:, None]

    def ids(texts: list[str]) -> Tensor:
        options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
        return backbone.tokenizer(texts, max_length=backbone.tokenizer.model_max_length, **options).input_ids

    prompts = torch.stack([ids([pair[part] for pair in vocabulary]) for part in (0, 1)], dim=1)
    return _Pool(
        stored["clean"], stored["defect"], stored["mask"], stored["kinds"], prompts.to(backbone.device),
        ids([recipe.fit.masked_prompt])[0].to(backbone.device), latent_mask(holes, grid),
    )  # fmt: skip


def _loss(backbone: Backbone, pool: _Pool, batch_size: int, generator: torch.Generator) -> Tensor:
    """The loss of one batch: half defects under C_1, a quarter holes under C_2, a quarter plain backgrounds.

    A defect row counts its whole window, cells of the defect up to eight times as much as the others: the
    regulariser's row (Eq. 5, second term) and the plain row (Eq. 2) learn the background.
    """
    device = backbone.device
    n_defect, n_hole = batch_size // 2, batch_size // 4
    rows = torch.randint(len(pool.clean), (batch_size,), generator=generator).numpy()
    z_0 = torch.from_numpy(pool.clean[rows])
    z_0[:n_defect] = torch.from_numpy(pool.defect[rows[:n_defect]])
    m = torch.from_numpy(pool.mask[rows]).float()
    m[n_defect:] = pool.holes[torch.randint(len(pool.holes), (batch_size - n_defect,), generator=generator)]
    z_0, m = z_0.float().to(device), m.to(device)

    eps = torch.randn(z_0.shape, generator=generator).to(device)
    t = torch.randint(len(backbone.alphas_cumprod), (batch_size,), generator=generator).to(device)
    a_t = backbone.alphas_cumprod[t].view(-1, 1, 1, 1)
    target = prediction_target(z_0, eps, a_t, backbone.prediction_type)
    z_t = add_noise(z_0, eps, a_t)  # Eq. (1), (6)
    hole = slice(n_defect, n_defect + n_hole)
    z_t[hole] = mask_latents(z_t[hole], m[hole])  # Eq. (7)

    background, defect = pool.prompts[torch.from_numpy(pool.kinds[rows]).to(device)].unbind(1)
    first = torch.cat(
        [defect[:n_defect], pool.masked_prompt.expand(n_hole, -1), background[n_defect + n_hole :]]
    )
    condition = torch.cat([backbone.text_encoder(ids)[0] for ids in (first, background)], dim=1)
    prediction = backbone.predict(z_t, t, condition, AttentionRegion(m))

    cells = m[0].numel()
    emphasis = (0.25 * cells / m.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)).clamp(1, 8)
    weight = 1 + (emphasis - 1) * m
    weight[hole] = 1 - m[hole]  # Eq. (5), second term
    weight[n_defect + n_hole :] = 1  # Eq. (2)
    return (weight * (target - prediction).square()).mean()


@torch.no_grad()
def _sheet(backbone: Backbone, recipe: Recipe, path: Path, seed: int) -> Path:
    """A picture to judge the training by: scene, mask, defect painted anew, background painted anew."""
    from augment.methods.disentangled_inversion import DisentangledInversion
    from augment.report.pictures import contact_sheet

    rows, captions = [], []
    for index in range(8):
        scene = _render_window((seed + 1, _TRAIN, index, recipe.backbone.resolution))
        results = []
        for prompt in (recipe.fit.defect_prompt.replace("sks ", ""), recipe.fit.background_prompt):
            fit = replace(recipe.fit, defect_prompt=prompt)
            method = DisentangledInversion(backbone, scene.category, scene.defect, fit, recipe.synthesize)
            mask = torch.from_numpy(scene.mask)[None, None].float()
            painted = method.generate(_as_tensor([scene.clean]), mask, [step_generator(seed, _TRAIN, index)])
            pixels = (painted.images[0].movedim(0, -1).cpu().numpy() * 255).round().astype(np.uint8)
            results.append(np.where(scene.mask[..., None], pixels, scene.clean))
        rows.append(
            {"source": scene.image, "target": scene.mask, "result": results[0], "refined": results[1]}
        )
        captions.append(f"{scene.category}, {scene.defect}")
    contact_sheet(rows, path, captions)
    return path
