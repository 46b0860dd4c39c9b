"""Training the bundled backbone on rendered scenes, from nothing or from another backbone's weights.

Three stages, each resumed where it was left: the codec (components, then its decoder), the pool of encoded
scenes, and the U-Net with its text encoder. The loss is the paper's two-term loss (Eq. 5) on scenes with a
defect, and its first term again, with the background prompt, on holes in scenes without one (see
`scene_loss`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from augment.backbones.backbone import Backbone
from augment.backbones.build import build_backbone, save_backbone, widen_to_inpainting
from augment.backbones.codec import PatchCodec
from augment.backbones.load import load_backbone
from augment.devices import choose_device, choose_dtype
from augment.errors import BackboneError, WorkspaceError
from augment.jobs.painting import as_tensor
from augment.jobs.scene_loss import defect_spread, scene_loss
from augment.jobs.scene_pool import (
    CODEC,
    TRAIN,
    prepare_pool,
    render_window,
    render_windows,
    vocabulary,
)
from augment.progress import Progress, no_progress
from augment.recipe import Recipe
from augment.training import Trainer, save_state, step_generator
from augment.workspace import atomic_write_json, locked

log = logging.getLogger(__name__)
_SHEET_SCENES = 8


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
    images: Sequence[Path] = (),
    progress: Progress = no_progress,
) -> PretrainResult:
    """Train a backbone into `output`; call again to continue.

    Args:
        recipe: its `pretrain` section, and `backbone.resolution`.
        output: folder of the backbone; unfinished work lies in `output/work`.
        seed: of everything.
        device, dtype: as for `load_backbone`.
        minutes: stop (resumable, and with a usable backbone written) after this long.
        images: folders of good images to learn backgrounds from as well; the folder's name is the category.
        progress: makes progress bars.

    Raises:
        AugmentError: a folder without images, work of another recipe or of a running process in `output`, no
            such base.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    with locked(output / "work"):
        return _pretrain(recipe, output, seed, (device, dtype), deadline, images, progress)


def _pretrain(
    recipe: Recipe,
    output: Path,
    seed: int,
    placement: tuple[str, str],
    deadline: float | None,
    images: Sequence[Path],
    progress: Progress,
) -> PretrainResult:
    """`pretrain` by a process that holds the folder; `placement` is device and dtype."""
    device, dtype = placement
    config = recipe.pretrain
    work = output / "work"
    _claim(work, recipe, seed, images)
    if config.base is not None:
        backbone = load_backbone(replace(recipe.backbone, model=config.base), device, dtype)
        if not isinstance(backbone.autoencoder, PatchCodec) or backbone.factor != config.patch:
            raise BackboneError(
                f"'{config.base}' cannot be trained on: a pretraining goes on from a backbone of the bundled "
                f"kind with blocks of pretrain.patch = {config.patch} pixels."
            )
        if config.inpainting and not backbone.is_inpainting:
            backbone.unet = widen_to_inpainting(backbone.unet)
        backbone.text_encoder.requires_grad_(True)
    else:
        torch_device = choose_device(device)
        backbone = build_backbone(
            config,
            [prompt for pair in vocabulary(recipe) for prompt in pair],
            resolution=recipe.backbone.resolution,
            device=torch_device,
            autocast_dtype=choose_dtype(dtype, torch_device),
            seed=seed,
        )
        _prepare_codec(backbone, recipe, work, seed, progress)
    pool = prepare_pool(backbone, recipe, work, seed, images, progress)
    if backbone.is_inpainting:
        backbone.autoencoder.defect_spread.copy_(defect_spread(backbone, pool))
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
                lambda step: scene_loss(backbone, pool, recipe, step_generator(seed, TRAIN, step))
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
            if trainer.step_count % config.sheet_every == 0:
                trained.eval()
                with trainer.averaged():
                    _sheet(backbone, recipe, work / f"sheet_{trainer.step_count:06d}.png", seed)
                trained.train()
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
        "scenes": len(pool.defect),
        "recipe": recipe.to_dict(),
    }
    atomic_write_json(output / "pretrain.json", facts)
    return PretrainResult(output, trainer.step_count, recent, trainer.step_count >= config.steps, sheet)


_MAY_CHANGE = ("steps", "checkpoint_every", "sheet_every")  # between the sessions of one pretraining


def _claim(work: Path, recipe: Recipe, seed: int, images: Sequence[Path]) -> None:
    """Note whose work the folder holds, or refuse work of another recipe."""
    config = {k: v for k, v in recipe.to_dict()["pretrain"].items() if k not in _MAY_CHANGE}
    now = config | {"resolution": recipe.backbone.resolution, "seed": seed, "folders": list(map(str, images))}
    path = work / "settings.json"
    if not path.exists():
        atomic_write_json(path, now)
        return
    then = json.loads(path.read_text(encoding="utf-8"))
    for key in now:
        if then.get(key) != now[key]:
            raise WorkspaceError(
                f"{work} holds a pretraining with {key} = {then.get(key)}, not {now[key]}. Keep that "
                "setting, choose another OUTPUT folder, or delete this one."
            )


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
    save_state(codec.state_dict(), path)


@torch.no_grad()
def _sheet(backbone: Backbone, recipe: Recipe, path: Path, seed: int) -> Path:
    """A picture to judge the training by: defects painted from noise onto new scenes."""
    from augment.methods.disentangled_inversion import DisentangledInversion
    from augment.report.pictures import contact_sheet

    rows, captions = [], []
    fit = replace(recipe.fit, defect_prompt=recipe.fit.defect_prompt.replace("sks ", ""))
    for index in range(_SHEET_SCENES):
        scene = render_window((seed + 1, TRAIN, index, recipe.backbone.resolution))
        mask = torch.from_numpy(scene.mask)[None, None].float()
        method = DisentangledInversion(backbone, scene.category, scene.defect, fit, recipe.synthesize)
        painted = method.generate(as_tensor([scene.clean]), mask, [step_generator(seed, TRAIN, index)])
        pixels = (painted.images[0].movedim(0, -1).cpu().numpy() * 255).round().astype(np.uint8)
        refined = painted.refined[0, 0].cpu().numpy() > 0
        result = np.where(refined[..., None], pixels, scene.clean)
        rows.append({"source": scene.clean, "target": scene.mask, "result": result, "refined": refined})
        captions.append(fit.defect_prompt.format(category=scene.category, defect=scene.defect))
    contact_sheet(rows, path, captions)
    return path
