"""Our detection scores beside scikit-learn, torchmetrics and a published-style AUPRO: time and value.

Example: python benchmarks/scores.py --images 83 --size 256
"""

from __future__ import annotations

import time
from collections.abc import Callable

import click
import numpy as np
from scipy import ndimage
from sklearn import metrics as sk

from augment.metrics.detection import detection_scores


def make_maps(images: int, size: int, saturated: bool) -> tuple[np.ndarray, np.ndarray]:
    """Noisy maps (N, S, S) float32 in [0, 1] with a blurred response on 3 in 4 images, and their masks."""
    rng = np.random.default_rng(0)
    maps = rng.normal(0.2, 0.08, (images, size, size)).astype(np.float32)
    masks = np.zeros(maps.shape, dtype=bool)
    for mask in masks[: images * 3 // 4]:
        for _ in range(2):
            top, left = rng.integers(0, size * 3 // 4, 2)
            mask[top : top + size // 6, left : left + size // 6] = True
    maps += 0.35 * ndimage.gaussian_filter(masks.astype(np.float32), (0, size / 40, size / 40))
    maps = np.clip(maps, 0, 1)
    return (np.clip((maps - 0.3) * 4, 0, 1) if saturated else maps), masks


def scikit_learn(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    labels, scores = masks.ravel(), maps.ravel()
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {
        "pixel_auroc": sk.roc_auc_score(labels, scores),
        "pixel_ap": sk.average_precision_score(labels, scores),
        "pixel_f1": f1.max(),
    }


def torchmetrics(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    import torch
    from torchmetrics.functional.classification import binary_auroc, binary_average_precision

    scores, labels = torch.from_numpy(maps).flatten(), torch.from_numpy(masks).flatten().int()
    return {
        "pixel_auroc": float(binary_auroc(scores, labels)),
        "pixel_ap": float(binary_average_precision(scores, labels)),
    }


def full_sort_aupro(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """AUPRO as the public codes compute it: argsort every pixel, then accumulate both rates."""
    gain = np.zeros(maps.shape)
    regions = 0
    for mask, image_gain in zip(masks, gain, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        image_gain[mask] = 1 / np.bincount(labels[mask])[labels[mask]]
        regions += count
    order = np.argsort(maps, axis=None)[::-1]
    rate = np.cumsum(~masks.ravel()[order]) / np.count_nonzero(~masks)
    overlap = np.cumsum(gain.ravel()[order]) / regions
    keep = np.append(np.diff(maps.ravel()[order]) != 0, True)
    rate, overlap = np.append(0, rate[keep]), np.append(0, overlap[keep])
    inside = rate <= 0.3
    end = np.interp(0.3, rate, overlap)
    area = np.trapezoid(np.append(overlap[inside], end), np.append(rate[inside], 0.3))
    return {"pixel_aupro": area / 0.3}


def timed(score: Callable[..., dict[str, float]], *arguments: np.ndarray) -> tuple[dict[str, float], float]:
    """The scores, and the better of two times in seconds."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        scores = score(*arguments)
        seconds.append(time.perf_counter() - start)
    return scores, min(seconds)


@click.command(help=__doc__)
@click.option("--images", default=83, show_default=True, help="Images in the test set.")
@click.option("--size", default=256, show_default=True, help="Side of a map, pixels.")
@click.option("--saturated", is_flag=True, help="Many pixels at exactly 0 or 1.")
def main(images: int, size: int, saturated: bool) -> None:
    maps, masks = make_maps(images, size, saturated)
    click.echo(
        f"{images} maps of {size} x {size} ({maps.size / 1e6:.1f} M pixels, {masks.mean():.1%} anomalous)"
    )

    def ours(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
        return detection_scores(maps, masks, maps.max(axis=(1, 2)), masks.any(axis=(1, 2)))

    names = ("pixel_auroc", "pixel_ap", "pixel_f1", "pixel_aupro")
    click.echo(f"{'':16}" + "".join(f"{name:>13}" for name in names) + f"{'seconds':>10}{'ours is':>10}")
    reference = None
    for label, score in {
        "augment (all)": ours,
        "scikit-learn": scikit_learn,
        "torchmetrics": torchmetrics,
        "full-sort AUPRO": full_sort_aupro,
    }.items():
        values, seconds = timed(score, maps, masks)
        reference = reference or seconds
        cells = "".join(f"{values[name]:13.7f}" if name in values else f"{'-':>13}" for name in names)
        click.echo(f"{label:16}{cells}{seconds:10.3f}{seconds / reference:9.1f}x")


if __name__ == "__main__":
    main()
