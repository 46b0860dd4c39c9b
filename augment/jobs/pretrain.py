"""Training the bundled backbone from scratch on rendered scenes.

Three stages, each resumed where it was left: the codec (components, then its decoder), the pool of encoded
scenes, and the U-Net with its text encoder. The loss is the paper's two-term loss (Eq. 5) on scenes with a
defect, and plain denoising (Eq. 2) on scenes without one, so that the base knows backgrounds as well.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.backbone import Backbone
from augment.backbones.build import build_backbone, save_backbone
from augment.devices import choose_device, choose_dtype
from augment.functional.noising import add_noise, mask_latents, prediction_target
from augment.jobs.painting import as_tensor
from augment.jobs.scene_pool import (
    CODEC,
    TRAIN,
    ScenePool,
    prepare_pool,
    render_window,
    render_windows,
    vocabulary,
)
from augment.progress import Progress, no_progress
from augment.recipe import Recipe
from augment.training import Trainer, step_generator
from augment.workspace import atomic_path, atomic_write_json

log = logging.getLogger(__name__)
_SHEET_SCENES = 5


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
    texts = [prompt for pair in vocabulary(recipe) for prompt in pair]
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
    pool = prepare_pool(backbone, recipe, work, seed, progress)
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
                lambda step: _loss(backbone, pool, config.batch_size, step_generator(seed, TRAIN, step))
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


def _prepare_codec(backbone: Backbone, recipe: Recipe, work: Path, seed: int, progress: Progress) -> None:
    """Components of rendered blocks, then the decoder's learned part, on latents with a little noise."""
    path, config, codec = work / "codec.pt", recipe.pretrain, backbone.autoencoder
    if path.exists():
        codec.load_state_dict(torch.load(path, weights_only=True))
        return
    scenes = render_windows(seed, CODEC, config.codec_images, recipe.backbone.resolution)
    bar = progress(scenes, total=config.codec_images, desc="render for the codec", unit="scene")
    images = torch.from_numpy(np.stack([scene.image for scene in bar])).movedim(-1, 1)
    codec.fit_components(images[:: max(1, len(images) // 200)].to(backbone.device) / 127.5 - 1)
    codec.mend.requires_grad_(True)
    trainer = Trainer(codec.mend, learning_rate=2e-3, warmup_steps=20, decay_steps=config.codec_steps)
    side = min(128, recipe.backbone.resolution)

    def loss_of(step: int) -> Tensor:
        generator = step_generator(seed, CODEC, step)
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


def _loss(backbone: Backbone, pool: ScenePool, batch_size: int, generator: torch.Generator) -> Tensor:
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
    """A picture to judge the training by: holes in new scenes, painted under both prompts."""
    from augment.methods.disentangled_inversion import DisentangledInversion
    from augment.report.pictures import contact_sheet

    rows, captions = [], []
    for index in range(_SHEET_SCENES):
        scene = render_window((seed + 1, TRAIN, index, recipe.backbone.resolution))
        mask = torch.from_numpy(scene.mask)[None, None].float()
        for prompt in (recipe.fit.defect_prompt.replace("sks ", ""), recipe.fit.background_prompt):
            fit = replace(recipe.fit, defect_prompt=prompt)
            method = DisentangledInversion(backbone, scene.category, scene.defect, fit, recipe.synthesize)
            painted = method.generate(as_tensor([scene.clean]), mask, [step_generator(seed, TRAIN, index)])
            pixels = (painted.images[0].movedim(0, -1).cpu().numpy() * 255).round().astype(np.uint8)
            refined = painted.refined[0, 0].cpu().numpy() > 0
            result = np.where(refined[..., None], pixels, scene.clean)
            rows.append({"source": scene.clean, "target": scene.mask, "result": result, "refined": refined})
            captions.append(prompt.format(category=scene.category, defect=scene.defect))
    contact_sheet(rows, path, captions)
    return path
