"""The artefact test: are holes in good images, refilled under the background prompt, invisible to a detector?

    python benchmarks/artefacts.py --category path/to/mvtec/bottle --object --weights path/to/resnet18.pth
    python benchmarks/artefacts.py --category path/to/tiles/tile --weights path/to/resnet18.pth --unet FOLDER

A category's good images are split by a seeded permutation: for PatchCore's memory, for adapting the backbone,
and held out. Each held-out image gets one hole in one piece, of one of three sizes, at a random place in its
own pixels. PatchCore (torchvision's resnet18, layer2 + layer3, 256 px, the whole memory, raw maps) scores

    untouched   the image as it is: the control
    resized     the hole through the window's resizing and back, without a model
    codec       the hole encoded and decoded
    refilled    the hole painted under the background prompt by the whole pipeline

Printed for each: `auroc`, the pixel AUROC of the holes against the rest, over all images (0.5: invisible);
`paired`, that of the holes' pixels against the same pixels untouched; `rises`, the share of images whose mean
score in the hole is above the untouched one's; `lift`, the mean rise in standard deviations of the untouched
scores. With --object also `auroc_object`, of the pixels on the part alone, where it stands on a plain ground:
a hole in the ground has low scores whatever fills it. AUROC is taken at every pixel, exactly.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from augment.backbones.backbone import Backbone
from augment.backbones.load import load_backbone
from augment.data.images import read_image, to_rgb
from augment.data.masks import feather, random_mask
from augment.data.references import References
from augment.data.sample import Category, Sample
from augment.data.targets import resolve_categories
from augment.data.windows import Window, crop, paste, window_around
from augment.devices import choose_device
from augment.jobs.adapt import adapt
from augment.jobs.painting import Painted, PaintJob, as_tensor, paint
from augment.metrics.detection import auroc
from augment.metrics.operating_points import operating_points
from augment.progress import make_progress
from augment.recipe import Recipe, load_recipe
from augment.registry import METHODS
from augment.report.drawing import INK, MUTED, PAPER, TARGET_COLOUR, overlay, save_picture, shrink, write
from augment.training import step_generator
from augment.workspace import Workspace

SIZE = 256  # PatchCore's images, pixels
SIZES = {"small": (0.005, 0.015), "medium": (0.015, 0.05), "large": (0.05, 0.15)}  # shares of the image
_ATTEMPTS = 50
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class PatchCore:
    """Roth et al. 2022 without a coreset: the distance to the nearest patch of the good images, as a raw map.

    Features, neighbourhood mean and blur are those of anomalib's model too; it upsamples the distances by the
    nearest value before the blur, here they are interpolated (the two maps correlate to 0.99996).

    Args:
        weights: a state dict of torchvision's resnet18; what lies after layer3 may lack.
        device: where it runs.
    """

    def __init__(self, weights: Path, device: torch.device):
        from torchvision.models import resnet18

        network = resnet18(weights=None)
        found = network.load_state_dict(torch.load(weights, weights_only=True), strict=False)
        lacking = [name for name in found.missing_keys if not name.startswith(("layer4", "fc"))]
        if lacking or found.unexpected_keys:
            raise SystemExit(f"{weights} holds no resnet18: {[*lacking, *found.unexpected_keys][:5]}.")
        stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool, network.layer1)
        self.stages = nn.ModuleList([stem, network.layer2, network.layer3])
        self.stages.to(device).eval().requires_grad_(False)
        self.device, self.memory = device, torch.empty(0)

    def fit(self, images: Sequence[np.ndarray]) -> None:
        """Remember the patches of good images, uint8 (H, W) or (H, W, 3)."""
        self.memory = torch.cat([self._patches(image)[0] for image in images])

    def map(self, image: np.ndarray) -> np.ndarray:
        """The anomaly map of an image, float32 (256, 256)."""
        patches, grid = self._patches(image)
        squares = self.memory.square().sum(1)
        nearest = [
            (squares - 2 * part @ self.memory.T).min(1).values + part.square().sum(1)
            for part in patches.split(256)
        ]
        scores = torch.cat(nearest).clamp(min=0).sqrt().view(1, 1, *grid)
        scores = F.interpolate(scores, size=(SIZE, SIZE), mode="bilinear")[0, 0]
        return ndimage.gaussian_filter(scores.cpu().numpy(), 4.0, mode="mirror")

    @torch.no_grad()
    def _patches(self, image: np.ndarray) -> tuple[Tensor, tuple[int, int]]:
        """Patch features (h w, 384) and the grid (h, w)."""
        x = as_tensor([whole(image)]).to(self.device)
        x = (x - x.new_tensor(_MEAN).view(3, 1, 1)) / x.new_tensor(_DEVIATION).view(3, 1, 1)
        layers = []
        for stage in self.stages:
            x = stage(x)
            layers.append(F.avg_pool2d(x, 3, 1, 1))
        fine, coarse = layers[1:]
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear")
        features = torch.cat([fine, coarse], dim=1)[0]
        return features.flatten(1).T.contiguous(), tuple(features.shape[1:])


@dataclass(frozen=True)
class Split:
    """Good images, no image in two of the three."""

    memory: tuple[Sample, ...]
    adapt: tuple[Sample, ...]
    held_out: tuple[Sample, ...]


@dataclass(frozen=True)
class Hole:
    """A held-out image, uint8 (H, W) or (H, W, 3), and the hole in it, bool (H, W), of a size of `SIZES`."""

    name: str
    image: np.ndarray
    mask: np.ndarray
    size: str


def split_good(category: Category, memory: int, adapt: int, held_out: int, seed: int) -> Split:
    """A seeded split of train/good and test/good; `held_out` does not change the other two."""
    samples = [*category.train_good, *category.test_good]
    if len(samples) < memory + adapt + held_out:
        raise SystemExit(
            f"{category.key} has {len(samples)} good images, fewer than {memory} + {adapt} + {held_out}: "
            "lower --memory, --adapt or --images."
        )
    order = np.random.default_rng(seed).permutation(len(samples))
    parts = np.split(order[: memory + adapt + held_out], [memory, memory + adapt])
    return Split(*(tuple(samples[i] for i in part) for part in parts))


def make_holes(samples: Sequence[Sample], seed: int) -> list[Hole]:
    """One hole an image, the sizes in turn."""
    holes = []
    for index, sample in enumerate(samples):
        image, size = read_image(sample.image), list(SIZES)[index % len(SIZES)]
        mask = random_hole(image.shape[:2], np.random.default_rng([seed, index]), SIZES[size])
        holes.append(Hole(sample.image.name, image, mask, size))
    return holes


def random_hole(shape: tuple[int, int], rng: np.random.Generator, area: tuple[float, float]) -> np.ndarray:
    """A random mask in one piece, as most defects are, of an image share within `area`: bool (H, W)."""
    for _ in range(_ATTEMPTS):
        labels, _ = ndimage.label(random_mask(shape, rng, area))
        largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
        if largest.mean() >= area[0]:
            break
    return largest


def adapted_unet(
    options: argparse.Namespace, recipe: Recipe, category: Category, good: Sequence[Sample]
) -> Path | None:
    """The folder of the U-Net that refills: --unet, else one adapted to `good`, else None (the base).

    Args:
        options: the command's.
        recipe: its settings.
        category: what is tested.
        good: the images an adaptation may see.
    """
    if options.unet or not good:
        return options.unet
    run = adapt(
        replace(category, train_good=tuple(good)),
        recipe,
        Workspace(options.scratch or tempfile.mkdtemp()),
        load_backbone(recipe.backbone, options.device, options.dtype),
        seed=options.seed,
        progress=make_progress(),
    )
    return run.folder if run else None


def through_window(hole: Hole, recipe: Recipe, backbone: Backbone | None) -> np.ndarray:
    """The image with the hole's pixels put through the window's resizing and, with a backbone, its codec."""
    window = window_around(hole.mask, recipe.window)
    patch = crop(to_rgb(hole.image), window, recipe.backbone.resolution)
    if backbone is not None:
        decoded = backbone.decode_latents(backbone.encode_images(as_tensor([patch])))[0]
        patch = (decoded.movedim(0, -1).cpu().numpy() * 255).round().astype(np.uint8)
    return paste(hole.image, patch, window, feather(hole.mask, recipe.synthesize.feather))


def refill(
    holes: Sequence[Hole],
    backbone: Backbone,
    category: Category,
    recipe: Recipe,
    seed: int,
    good: Sequence[Sample] = (),
) -> list[Painted]:
    """The images with their holes painted under the background prompt.

    What a hole held is not shown to the model: it starts from the most alike of the `good` images, as a
    synthesis starts from a real defect.
    """
    recipe = replace(
        recipe,
        fit=replace(recipe.fit, defect_prompt=recipe.fit.background_prompt),
        synthesize=replace(recipe.synthesize, refinement="none"),
    )
    defect = next(iter(category.defect_words.values()))  # no prompt speaks of it
    method = METHODS.get(recipe.fit.method)(backbone, category.words, defect, recipe.fit, recipe.synthesize)
    references, rng = References(good), np.random.default_rng(seed)
    jobs = []
    for i, hole in enumerate(holes):
        good_surface = references.match(blanked(hole), hole.mask, rng, among=1)
        jobs.append(PaintJob(hole.image, hole.mask, step_generator(seed, i), good_surface, good_surface))
    size = recipe.synthesize.batch_size
    painted: list[Painted] = []
    for start in range(0, len(jobs), size):
        painted += paint(method, jobs[start : start + size], recipe)
    return painted


def blanked(hole: Hole) -> np.ndarray:
    """The image with its hole painted grey."""
    image = to_rgb(hole.image).copy()
    image[hole.mask] = 128
    return image


def whole(image: np.ndarray) -> np.ndarray:
    """An image as PatchCore sees it: uint8 (256, 256, 3)."""
    return np.array(Image.fromarray(to_rgb(image)).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def whole_mask(mask: np.ndarray) -> np.ndarray:
    """A mask at the maps' size, bool (256, 256): pixels that are at least half covered."""
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.BOX)) >= 128


def object_mask(image: np.ndarray) -> np.ndarray:
    """The part on its plain ground, bool (256, 256): what differs from the corners' median colour."""
    pixels = whole(image).astype(np.int16)
    side = SIZE // 16
    corners = np.concatenate(
        [pixels[rows, columns].reshape(-1, 3) for rows in (slice(side), slice(-side, None))
         for columns in (slice(side), slice(-side, None))]
    )  # fmt: skip
    differs = np.abs(pixels - np.median(corners, axis=0)).max(-1) > 30
    labels, count = ndimage.label(ndimage.binary_closing(differs, iterations=3))
    if not count:
        return np.zeros((SIZE, SIZE), dtype=bool)
    return ndimage.binary_fill_holes(labels == np.bincount(labels.ravel())[1:].argmax() + 1)


def hole_scores(
    maps: Sequence[np.ndarray],
    untouched: Sequence[np.ndarray],
    holes: Sequence[np.ndarray],
    objects: Sequence[np.ndarray] | None = None,
) -> dict[str, float]:
    """The figures of one row; see the module.

    Args:
        maps: (256, 256) anomaly maps of the changed images.
        untouched: those of the images as they were.
        holes: bool (256, 256).
        objects: bool (256, 256), where `auroc_object` counts; NaN without.
    """
    inside = [m[hole] for m, hole in zip(maps, holes, strict=True)]
    before = [m[hole] for m, hole in zip(untouched, holes, strict=True)]
    rest = [m[~hole] for m, hole in zip(maps, holes, strict=True)]
    on_object = float("nan")
    if objects is not None:
        on_object = pixel_auroc(
            [m[hole & part] for m, hole, part in zip(maps, holes, objects, strict=True)],
            [m[~hole & part] for m, hole, part in zip(maps, holes, objects, strict=True)],
        )
    pairs = list(zip(inside, before, strict=True))
    return {
        "auroc": pixel_auroc(inside, rest),
        "auroc_object": on_object,
        "paired": pixel_auroc(inside, before),
        "rises": float(np.mean([new.mean() > old.mean() for new, old in pairs])),
        "lift": float(np.mean([new.mean() - old.mean() for new, old in pairs]) / np.std(untouched)),
    }


def pixel_auroc(anomalous: Sequence[np.ndarray], background: Sequence[np.ndarray]) -> float:
    """Exact AUROC of pooled scores."""
    return auroc(operating_points(np.concatenate(anomalous), np.concatenate(background)))


def draw_sheet(
    holes: Sequence[Hole],
    images: dict[str, Sequence[np.ndarray]],
    maps: dict[str, Sequence[np.ndarray]],
    recipe: Recipe,
    path: Path,
) -> Path:
    """Up to 12 images: the window as it was, its hole, codec and result; the maps on one scale."""
    cell, gap, head = 200, 6, 28
    names = ("untouched", "hole", "codec", "refilled", "map untouched", "map codec", "map refilled")
    count = min(12, len(holes))
    sheet = Image.new("RGB", (len(names) * (cell + gap) + gap, head + count * (cell + 22 + gap)), PAPER)
    draw = ImageDraw.Draw(sheet)
    low, high = np.percentile(maps["untouched"], 1), np.percentile(maps["refilled"], 99.9)
    for column, name in enumerate(names):
        write(draw, (gap + column * (cell + gap) + cell / 2, head / 2), name, 15, INK, "mm")
    for line, hole in enumerate(holes[:count]):
        window: Window = window_around(hole.mask, recipe.window)
        top = head + line * (cell + 22 + gap)
        outline = Image.fromarray(whole_mask(hole.mask).astype(np.uint8) * 255).resize((cell, cell))
        view = Image.fromarray(hole.mask[window.slices].astype(np.uint8) * 255).resize((cell, cell))
        source = shrink(hole.image[window.slices], cell, cell)
        cells = [source, overlay(source, view, TARGET_COLOUR)]
        cells += [shrink(images[row][line][window.slices], cell, cell) for row in ("codec", "refilled")]
        for row in ("untouched", "codec", "refilled"):
            grey = np.clip((maps[row][line] - low) / (high - low), 0, 1) * 255
            heat = cv2.applyColorMap(grey.astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
            flat = Image.fromarray(np.ascontiguousarray(heat)).resize((cell, cell))
            edge = overlay(flat, outline, TARGET_COLOUR)
            cells.append(Image.composite(flat, edge, outline))  # the outline alone, no tint
        for column, picture in enumerate(cells):
            sheet.paste(picture, (gap + column * (cell + gap), top))
        change = maps["refilled"][line] - maps["untouched"][line]
        rise = change[whole_mask(hole.mask)].mean() / np.std(maps["untouched"])
        caption = f"{hole.name}, {hole.size}, window {window.width} px: mean score in the hole {rise:+.2f} sd"
        write(draw, (gap, top + cell + 11), caption, 13, MUTED)
    path.parent.mkdir(parents=True, exist_ok=True)
    return save_picture(sheet, path)


def append_rows(path: Path, rows: Sequence[dict]) -> None:
    """Append rows to a CSV file, with a header where it is new."""
    is_new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--category", required=True, help="path/to/DATASET/CATEGORY, in MVTec's layout")
    parser.add_argument("--weights", type=Path, required=True, help="torchvision's resnet18, a state dict")
    parser.add_argument("--backbone", help="tiny, or a folder; default: the recipe's")
    parser.add_argument("--unet", type=Path, help="a folder with `unet/` in the place of the backbone's own")
    parser.add_argument("--images", type=int, default=20, help="held-out images to refill")
    parser.add_argument("--memory", type=int, default=60, help="good images that PatchCore remembers")
    parser.add_argument("--adapt", type=int, default=40, help="good images to adapt the backbone to; 0: none")
    parser.add_argument("--scratch", type=Path, help="where the adapted U-Net is kept; default: nowhere")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--object", action="store_true", help="score on the part alone as well")
    parser.add_argument("--pictures", type=Path, help="a folder for sheets to look at")
    parser.add_argument("--csv", type=Path, help="append the figures to this file")
    return parser.parse_args()


def main() -> None:
    options = parse()
    model = [f"backbone.model={options.backbone}"] if options.backbone else []
    recipe = load_recipe(options.recipe, [*model, *options.overrides])
    (category,) = resolve_categories([options.category], None)
    split = split_good(category, options.memory, options.adapt, options.images, options.seed)
    holes = make_holes(split.held_out, options.seed)
    unet = adapted_unet(options, recipe, category, split.adapt)
    backbone = load_backbone(recipe.backbone, options.device, options.dtype, unet_folder=unet)

    started = time.perf_counter()
    painted = refill(holes, backbone, category, recipe, options.seed, split.adapt)
    seconds = (time.perf_counter() - started) / len(holes)
    images = {
        "untouched": [hole.image for hole in holes],
        "resized": [through_window(hole, recipe, None) for hole in holes],
        "codec": [through_window(hole, recipe, backbone) for hole in holes],
        "refilled": [result.image for result in painted],
    }
    detector = PatchCore(options.weights, choose_device(options.device))
    detector.fit([read_image(sample.image) for sample in split.memory])
    maps = {row: [detector.map(image) for image in pictures] for row, pictures in images.items()}

    masks = [whole_mask(hole.mask) for hole in holes]
    objects = [object_mask(hole.image) for hole in holes] if options.object else None
    print(
        f"{category.key}: {len(holes)} images, {len(split.memory)} in memory, seed {options.seed}; "
        f"{seconds:.2f} s to refill an image"
    )
    print(f"{'':10s} {'holes':7s} {'n':>3s} auroc  on object  paired  rises   lift")
    rows = []
    for row in images:
        for size in ("all", *SIZES):
            chosen = [i for i, hole in enumerate(holes) if size in ("all", hole.size)]
            if not chosen:
                continue
            scores = hole_scores(
                *([values[i] for i in chosen] for values in (maps[row], maps["untouched"], masks)),
                objects and [objects[i] for i in chosen],
            )
            print(
                f"{row:10s} {size:7s} {len(chosen):3d} {scores['auroc']:.3f}  {scores['auroc_object']:9.3f}  "
                f"{scores['paired']:6.3f}  {scores['rises']:5.2f}  {scores['lift']:+.2f}"
            )
            rows.append(
                {
                    "category": category.key,
                    "backbone": Path(recipe.backbone.model).name,
                    "unet": unet.name if unet else "",
                    "recipe": recipe.name,
                    "set": " ".join(options.overrides),
                    "seed": options.seed,
                    "memory": len(split.memory),
                    "adapt": len(split.adapt),
                    "what": row,
                    "holes": size,
                    "n": len(chosen),
                    **{name: f"{value:.4f}" for name, value in scores.items()},
                    "seconds": f"{seconds:.2f}" if row == "refilled" else "",
                }
            )
    if options.csv:
        append_rows(options.csv, rows)
    if options.pictures:
        name = f"artefacts_{category.name}_{options.seed}.png"
        print(draw_sheet(holes, images, maps, recipe, options.pictures / name))


if __name__ == "__main__":
    main()
