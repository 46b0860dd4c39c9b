"""Codecs compared on real images: linear blocks of several sizes and scales, learned decoders, small nets.

    python benchmarks/codec.py --category path/to/mvtec/bottle --category path/to/tiles/tile \\
        --weights path/to/resnet18.pth --csv benchmarks/results/codec.csv

Components, decoders and autoencoders are trained on rendered scenes alone, each network for --seconds of CPU
time on one thread: the learned parts are far from done, and compare as what the same minutes buy. The figures
are taken on real good and defect images, in windows of 256 px.

A block's components have one of three scales: `whitened` (all of deviation 1), `root` (the square root of the
natural one), `natural`; then a common factor. Without noise the scale changes nothing. The `_noisy` columns
add Gaussian noise of 5 % of the latents' root mean square before decoding, as a diffusion model leaves some.
One learned decoder serves the three scales: it is trained on all of them, with noise. `bundled` is the codec
in the package, whose decoder was trained with it for longer (its `steps` here are 0).

    psnr                  dB, mean of the windows
    hf_kept               share of the detail (luma less its blur of 1 px) still there, by projection
    hf_energy             energy of the result's detail as a share of the source's, right or wrong
    leaked                share of the latents' change outside a hole's cells, when its content is mirrored
    reach                 cells from the hole to the farthest one that changes by 1 % of the greatest change
    auroc, paired, lift   the artefact test of artefacts.py, codec alone; every 4th patch in memory
    encode_ms, decode_ms  of one window
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from artefacts import (
    Hole,
    PatchCore,
    append_rows,
    hole_scores,
    make_holes,
    split_good,
    through_window,
    whole_mask,
)
from diffusers import AutoencoderTiny
from scipy import ndimage
from torch import Tensor, nn

from augment.backbones.codec import PatchCodec
from augment.backbones.load import BUNDLED
from augment.data.images import read_image, read_sample, to_rgb
from augment.data.sample import Category
from augment.data.targets import resolve_categories
from augment.data.windows import crop, window_around
from augment.functional.masks import latent_mask
from augment.jobs.painting import as_tensor
from augment.jobs.scene_pool import CODEC, render_window
from augment.recipe import Recipe, load_recipe
from augment.training import step_generator

SCALES = ("whitened", "root", "natural")
BLOCKS = ((8, 16), (8, 32), (4, 4), (4, 8))  # (side in pixels, components)
NOISE = 0.05
_HOLES, _MEMORY, _EVERY = 6, 30, 4


@dataclass(frozen=True)
class Codec:
    """A trained codec under test; offers what `through_window` asks of a backbone.

    Attributes:
        deviation: root mean square of the latents about their mean.
        noise: deviation of the noise added to the latents, as a share of `deviation`.
        steps: training steps of its network.
    """

    name: str
    patch: int
    channels: int
    scale: str
    decoder: str
    network: PatchCodec | AutoencoderTiny
    deviation: float
    steps: int
    noise: float = 0.0

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> latents, with the noise."""
        z = encoded(self.network, images * 2 - 1)
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
        return z + self.noise * self.deviation * noise

    @torch.no_grad()
    def decode_latents(self, z: Tensor) -> Tensor:
        """Latents -> (B, 3, H, W) in [0, 1]."""
        return (decoded(self.network, z) / 2 + 0.5).clamp(0, 1)


def encoded(network: PatchCodec | AutoencoderTiny, x: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1] -> latents."""
    return network.encode(x) if isinstance(network, PatchCodec) else network.encode(x).latents


def decoded(network: PatchCodec | AutoencoderTiny, z: Tensor) -> Tensor:
    """Latents -> (B, 3, H, W), nominally in [-1, 1]."""
    return network.decode(z) if isinstance(network, PatchCodec) else network.decode(z).sample


def scaled(codec: PatchCodec, images: Tensor, scale: str) -> PatchCodec:
    """The same components and the same (shared) decoder under another scale of the latents."""
    other = deepcopy(codec)
    other.mend = codec.mend
    other.scale.fill_(1)
    with torch.no_grad():
        deviation = other.encode(images).std(dim=(0, 2, 3))
    power = {"whitened": 1, "root": 0.5, "natural": 0}[scale]
    latents = deviation ** (1 - power)
    other.scale.copy_(deviation**-power / latents.square().mean().sqrt())
    return other


def linear(codec: PatchCodec) -> PatchCodec:
    """The same codec without its learned decoder."""
    other = deepcopy(codec)
    other.mend = None
    return other


def train(
    parameters: Sequence[nn.Parameter],
    networks: Sequence[PatchCodec | AutoencoderTiny],
    images: Tensor,
    seconds: float,
    rate: float,
) -> int:
    """Train on windows of rendered scenes for some CPU seconds; the networks take turns. Returns the steps.

    The loss is the mean absolute error from latents with up to 15 % of noise, as in pretraining.
    """
    optimizer = torch.optim.AdamW(parameters, lr=rate)
    start, step, side = time.process_time(), 0, 64
    while (share := (time.process_time() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 20) * (1 - 0.95 * share)
        generator = step_generator(0, CODEC, step)
        rows = torch.randint(len(images), (8,), generator=generator)
        top, left = 8 * torch.randint((images.shape[-1] - side) // 8 + 1, (2,), generator=generator)
        x = images[rows, :, top : top + side, left : left + side]
        network = networks[step % len(networks)]
        z = encoded(network, x)
        level = 0.15 * torch.rand(len(x), 1, 1, 1, generator=generator) * z.detach().std()
        loss = (decoded(network, z + level * torch.randn(z.shape, generator=generator)) - x).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
    return step


def autoencoder_tiny(patch: int, channels: int) -> AutoencoderTiny:
    """A small AutoencoderTiny: one block of 24 channels a level."""
    levels = int(np.log2(patch)) + 1
    return AutoencoderTiny(
        encoder_block_out_channels=(24,) * levels,
        decoder_block_out_channels=(24,) * levels,
        num_encoder_blocks=(1,) * levels,
        num_decoder_blocks=(1,) * levels,
        latent_channels=channels,
    )


def rendered(count: int, size: int, seed: int, work: Path | None) -> Tensor:
    """Rendered scenes (count, 3, size, size) in [-1, 1]; kept in `work`, where there is one."""
    path = work and work / "scenes.npy"
    if path is None or not path.exists():
        scenes = np.stack([render_window((seed, CODEC, index, size)).image for index in range(count)])
        if path is None:
            return as_tensor(scenes) * 2 - 1
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, scenes)
    return as_tensor(np.load(path)) * 2 - 1


def steps_of(path: Path | None, network: nn.Module, training: Callable[[], int]) -> int:
    """Train a network, or load what an earlier run of this script left at `path`; the steps made."""
    if path is not None and path.exists():
        state = torch.load(path, weights_only=True)
        network.load_state_dict(state["network"])
        return state["steps"]
    steps = training()
    if path is not None:
        torch.save({"network": network.state_dict(), "steps": steps}, path)
    return steps


def trained_codecs(images: Tensor, seconds: float, work: Path | None) -> list[Codec]:
    """Every codec under test, trained on rendered scenes (B, 3, 256, 256) in [-1, 1], or found in `work`."""
    few = images[:: max(1, len(images) // 64)]

    @torch.no_grad()
    def deviation(network: PatchCodec | AutoencoderTiny) -> float:
        z = encoded(network, few)
        return float((z - z.mean(dim=(0, 2, 3), keepdim=True)).square().mean().sqrt())

    bundled = PatchCodec.from_pretrained(BUNDLED, subfolder="codec").float().eval()
    size = bundled.config.patch, bundled.config.latent_channels
    codecs = [Codec("bundled", *size, "as stored", "learned", bundled, deviation(bundled), 0)]
    for patch, channels in BLOCKS:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            base = PatchCodec(patch=patch, latent_channels=channels)
        base.fit_components(images)
        variants = [scaled(base, few, scale) for scale in SCALES]
        path = work and work / f"blocks_{patch}_{channels}.pt"
        learned = list(base.mend.parameters())
        steps = steps_of(path, base, lambda a=learned, b=variants: train(a, b, images, seconds, 2e-3))
        for scale, network in zip(SCALES, variants, strict=True):
            spread = deviation(network)
            codecs.append(Codec("blocks", patch, channels, scale, "linear", linear(network), spread, 0))
            codecs.append(Codec("blocks", patch, channels, scale, "learned", network, spread, steps))
        print(f"blocks of {patch}, {channels} components: {steps} steps", flush=True)
    for patch, channels in ((8, 16), (4, 8)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = autoencoder_tiny(patch, channels)
        path = work and work / f"tiny_{patch}_{channels}.pt"
        steps = steps_of(
            path, network, lambda n=network: train(list(n.parameters()), [n], images, seconds, 1e-3)
        )
        network.eval()
        codecs.append(
            Codec("AutoencoderTiny", patch, channels, "", "learned", network, deviation(network), steps)
        )
        print(f"AutoencoderTiny, {patch}, {channels} channels: {steps} steps", flush=True)
    return codecs


@dataclass(frozen=True)
class Bench:
    """What every codec is measured on in a category.

    Attributes:
        detector: PatchCore, fitted on other good images.
        holes: held-out good images and holes in them.
        untouched: the maps of those images.
        windows: (n, 3, 256, 256) in [0, 1], around holes in good images and around real defects.
        masks: (n, 1, 256, 256), the holes and the defects.
        clean: the artefact test without noise of what was measured: all scales have the same.
    """

    category: str
    recipe: Recipe
    detector: PatchCore
    holes: list[Hole]
    untouched: list[np.ndarray]
    windows: Tensor
    masks: Tensor
    clean: dict[tuple, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, category: Category, weights: Path, count: int, seed: int, recipe: Recipe) -> Bench:
        """Prepare a category; `count` good and as many defect windows."""
        split = split_good(category, _MEMORY, 0, _HOLES, seed)
        holes = make_holes(split.held_out, seed)
        detector = PatchCore(weights, torch.device("cpu"))
        detector.fit([read_image(sample.image) for sample in split.memory])
        detector.memory = detector.memory[::_EVERY]
        pairs, defects = [(hole.image, hole.mask) for hole in holes[:count]], list(category.defects.values())
        for index in range(count):
            samples = defects[index % len(defects)]
            pairs.append(read_sample(samples[index // len(defects)]))
        places = [window_around(mask, recipe.window) for _, mask in pairs]
        size = recipe.backbone.resolution
        windows = [crop(to_rgb(image), w, size) for (image, _), w in zip(pairs, places, strict=True)]
        masks = [crop(mask, w, size, is_mask=True) for (_, mask), w in zip(pairs, places, strict=True)]
        return cls(
            category.key,
            recipe,
            detector,
            holes,
            [detector.map(hole.image) for hole in holes],
            as_tensor(windows),
            torch.from_numpy(np.stack(masks))[:, None].float(),
        )

    def measure(self, codec: Codec) -> dict[str, str | float]:
        """The row of a codec."""
        with_noise, one = replace(codec, noise=NOISE), self.windows[:1]
        z = codec.encode_images(one)
        key = (codec.name, codec.patch, codec.channels, codec.decoder)
        if key not in self.clean:
            self.clean[key] = self.artefacts(codec)
        return {
            "codec": codec.name,
            "category": self.category,
            "patch": codec.patch,
            "channels": codec.channels,
            "scale": codec.scale,
            "decoder": codec.decoder,
            "steps": codec.steps,
            **fidelity(codec, self.windows),
            **noisy(fidelity(with_noise, self.windows)),
            **locality(codec, self.windows, self.masks),
            **self.clean[key],
            **noisy(self.artefacts(with_noise)),
            "encode_ms": milliseconds(lambda: codec.encode_images(one)),
            "decode_ms": milliseconds(lambda: codec.decode_latents(z)),
        }

    def artefacts(self, codec: Codec | None) -> dict[str, float]:
        """auroc, paired and lift of the artefact test; without a codec, of the window's resizing alone."""
        maps = [self.detector.map(through_window(hole, self.recipe, codec)) for hole in self.holes]
        return self._scores(maps)

    def control(self) -> dict[str, float]:
        """The same of the unchanged images."""
        return self._scores(self.untouched)

    def _scores(self, maps: Sequence[np.ndarray]) -> dict[str, float]:
        scores = hole_scores(maps, self.untouched, [whole_mask(hole.mask) for hole in self.holes])
        return {name: scores[name] for name in ("auroc", "paired", "lift")}


def fidelity(codec: Codec, windows: Tensor) -> dict[str, float]:
    """psnr, hf_kept and hf_energy."""
    result = codec.decode_latents(codec.encode_images(windows))
    error = (result - windows).square().mean(dim=(1, 2, 3))
    wanted, got = detail(windows), detail(result)
    return {
        "psnr": float((-10 * error.log10()).mean()),
        "hf_kept": float((wanted * got).sum() / (wanted**2).sum()),
        "hf_energy": float((got**2).sum() / (wanted**2).sum()),
    }


def detail(images: Tensor) -> np.ndarray:
    """Luma less its blur of 1 px: (B, H, W)."""
    luma = images.mean(1).numpy()
    return luma - ndimage.gaussian_filter(luma, (0, 1, 1))


def locality(codec: Codec, windows: Tensor, masks: Tensor) -> dict[str, float]:
    """leaked and reach: what mirroring the image inside the hole does to latents outside of it."""
    changed = torch.where(masks > 0, windows.flip(-1), windows)
    energy = (codec.encode_images(changed) - codec.encode_images(windows)).square().sum(1).numpy()
    cells = latent_mask(masks, energy.shape[-2:])[:, 0].numpy() > 0
    distance = np.stack([ndimage.distance_transform_edt(~cell) for cell in cells])
    moved = energy > 0.01 * energy.max(axis=(1, 2), keepdims=True)
    return {
        "leaked": float(energy[~cells].sum() / energy.sum()),
        "reach": float((distance * moved).max()),
    }


def milliseconds(call: Callable[[], Tensor]) -> float:
    """Median time of five calls."""

    def once() -> float:
        start = time.perf_counter()
        call()
        return 1000 * (time.perf_counter() - start)

    return float(np.median([once() for _ in range(5)]))


def as_text(value: str | float) -> str:
    """A cell of the table: four digits of a float."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def noisy(scores: dict[str, float]) -> dict[str, float]:
    """The same figures under the names of the noisy columns."""
    return {f"{name}_noisy": value for name, value in scores.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--category", required=True, action="append", help="path/to/DATASET/CATEGORY")
    parser.add_argument("--weights", type=Path, required=True, help="torchvision's resnet18, a state dict")
    parser.add_argument("--scenes", type=int, default=160, help="rendered scenes to train on")
    parser.add_argument("--seconds", type=float, default=20, help="CPU seconds of training a network")
    parser.add_argument("--windows", type=int, default=5, help="good, and as many defect, windows a category")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the holes")
    parser.add_argument("--work", type=Path, help="a folder for scenes and networks, to go on from")
    parser.add_argument("--csv", type=Path, help="append the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, recipe = time.perf_counter(), load_recipe("tiny")

    images = rendered(options.scenes, recipe.backbone.resolution, options.seed, options.work)
    print(f"{len(images)} scenes rendered, {time.perf_counter() - started:.0f} s", flush=True)
    codecs = trained_codecs(images, options.seconds, options.work)
    print(f"trained, {time.perf_counter() - started:.0f} s", flush=True)
    for path in options.category:
        (category,) = resolve_categories([path], None)
        bench = Bench.of(category, options.weights, options.windows, options.seed, recipe)
        rows = [
            {"codec": "none", "category": category.key, **bench.control()},
            {"codec": "none, resized", "category": category.key, **bench.artefacts(None)},
            *(bench.measure(codec) for codec in codecs),
        ]
        print(f"{category.key}: {time.perf_counter() - started:.0f} s", flush=True)
        columns = list(rows[-1])
        texts = [{name: as_text(row.get(name, "")) for name in columns} for row in rows]
        widths = {name: max(len(name), *(len(row[name]) for row in texts)) for name in columns}
        for row in [{name: name for name in columns}, *texts]:
            print("  ".join(f"{row[name]:>{widths[name]}}" for name in columns))
        if options.csv:
            append_rows(options.csv, texts)


if __name__ == "__main__":
    main()
