"""Our detection scores beside other tools': CPU seconds, one thread, and values.

    python benchmarks/scores.py --csv benchmarks/results/scores.csv

Three kinds of scores: `noise`, blurred defects in noise, in [0, 1]; `saturated`, the same with many pixels at
exactly 0 and 1; `raw`, the same from 20 to 60, as PatchCore gives them.

    one sort         np.sort of all the scores: no exact score can cost much less
    augment          all ten scores of `detection_scores`
    scikit-learn     AUROC, AP and the precision-recall curve for F1-max, one after the other
    torchmetrics     the same, exact; and with 200 bins
    anomalib AUPRO   as the library has it
    MVTec AUPRO      an argsort of every pixel, as in MVTec's public code
    ADEval           AUROC, AP and AUPRO with 1,000 bins, where it is installed (pip install --no-deps adeval;
                     the script gives it back `np.trapz`, which numpy 2.4 has no more)

    off              largest difference of a score from ours on the same images
    images           scored by the tool: where all of them would take longer than --limit, every so many-th
    seconds          CPU seconds; of `augment` and `one sort` the best of the repeats, taken in turn
    times_augment    seconds over ours; of a tool that scored fewer images, seconds an image over ours
    extra_memory     peak of what is allocated beside maps and masks (tracemalloc), over the maps' bytes
"""

from __future__ import annotations

import csv
import os
import platform
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from augment.processor import avoid_slow_sort

avoid_slow_sort()  # as the command does, for all tools alike

import click  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy import ndimage  # noqa: E402
from sklearn import metrics as sk  # noqa: E402

from augment.metrics.detection import detection_scores  # noqa: E402

Scorer = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]
SCORES = ("pixel_auroc", "pixel_ap", "pixel_f1", "pixel_aupro")
COLUMNS = ("kind", "maps", "size", "tool", *SCORES, "off", "images", "seconds", "times_augment")
COLUMNS += ("extra_memory", "machine")


def make_maps(images: int, size: int, kind: str = "noise") -> tuple[np.ndarray, np.ndarray]:
    """Maps (N, S, S) float32 of a kind, with a blurred response on 3 in 4 images, and their masks."""
    rng = np.random.default_rng(0)
    maps = np.empty((images, size, size), dtype=np.float32)
    masks = np.zeros(maps.shape, dtype=bool)
    for index, (anomaly_map, mask) in enumerate(zip(maps, masks, strict=True)):
        anomaly_map[:] = 0.2 + 0.08 * rng.standard_normal(mask.shape, dtype=np.float32)
        if 4 * index < 3 * images:
            for top, left in rng.integers(0, size * 3 // 4, (2, 2)):
                mask[top : top + size // 6, left : left + size // 6] = True
            anomaly_map += 0.35 * ndimage.gaussian_filter(mask.astype(np.float32), size / 40)
    np.clip(maps, 0, 1, out=maps)
    if kind == "saturated":
        maps = np.clip((maps - 0.3) * 4, 0, 1)
    return (20 + 40 * maps if kind == "raw" else maps), masks


def augment(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    return detection_scores(maps, masks, maps.max(axis=(1, 2)), masks.any(axis=(1, 2)))


def one_sort(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    np.sort(maps, axis=None)
    return {}


def scikit_learn(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    labels, scores = masks.ravel(), maps.ravel()
    precision, recall, _ = sk.precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {
        "pixel_auroc": sk.roc_auc_score(labels, scores),
        "pixel_ap": sk.average_precision_score(labels, scores),
        "pixel_f1": f1.max(),
    }


def torchmetrics(maps: np.ndarray, masks: np.ndarray, bins: int | None = None) -> dict[str, float]:
    from torchmetrics.functional.classification import (
        binary_auroc,
        binary_average_precision,
        binary_precision_recall_curve,
    )

    scores, labels = torch.from_numpy(maps).flatten(), torch.from_numpy(masks).flatten().int()
    precision, recall, _ = binary_precision_recall_curve(scores, labels, thresholds=bins)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)  # NaN where a bin holds no score
    return {
        "pixel_auroc": float(binary_auroc(scores, labels, thresholds=bins)),
        "pixel_ap": float(binary_average_precision(scores, labels, thresholds=bins)),
        "pixel_f1": float(f1.nan_to_num().max()),
    }


def torchmetrics_200_bins(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    return torchmetrics(maps, masks, bins=200)


def anomalib_aupro(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    from anomalib.metrics.aupro import _AUPRO

    metric = _AUPRO(fpr_limit=0.3)
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks).int())
    return {"pixel_aupro": float(metric.compute())}


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


def adeval(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    np.trapz = np.trapezoid
    from adeval import auroc_aupr_aupro

    auroc, ap, aupro = auroc_aupr_aupro(maps, masks.view(np.uint8))
    return {"pixel_auroc": auroc, "pixel_ap": ap, "pixel_aupro": aupro}


KINDS = ("noise", "saturated", "raw")
SETS = (*((kind, 100, 256) for kind in KINDS), ("noise", 100, 1024), ("noise", 1000, 1024))
OTHERS: dict[str, Scorer] = {
    "scikit-learn": scikit_learn,
    "torchmetrics": torchmetrics,
    "torchmetrics, 200 bins": torchmetrics_200_bins,
    "anomalib AUPRO": anomalib_aupro,
    "MVTec AUPRO": full_sort_aupro,
    "ADEval": adeval,
}


def timed(score: Scorer, maps: np.ndarray, masks: np.ndarray) -> tuple[Mapping[str, float], float]:
    """The scores, and their CPU seconds."""
    start = time.process_time()
    scores = score(maps, masks)
    return scores, time.process_time() - start


def extra_memory(maps: np.ndarray, masks: np.ndarray) -> float:
    """Peak of what `detection_scores` allocates, over the bytes of the maps."""
    tracemalloc.start()
    augment(maps, masks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / maps.nbytes


def affordable_step(score: Scorer, maps: np.ndarray, masks: np.ndarray, limit: float) -> int:
    """n, where every n-th map can be scored in `limit` seconds, judged by every twentieth."""
    score(maps[:2], masks[:2])  # imports
    seconds = timed(score, maps[::20], masks[::20])[1]
    return min(20, int(np.ceil(20 * seconds / limit)))


def compare(
    kind: str, images: int, size: int, repeats: int, others: Mapping[str, Scorer], limit: float
) -> Iterator[dict[str, object]]:
    """The rows of one set: one sort and ours in turn, then the other tools."""
    maps, masks = make_maps(images, size, kind)
    click.echo(f"\n{kind}: {images} maps of {size} x {size}, {masks.mean():.1%} of the pixels anomalous")
    click.echo(" " * 24 + "".join(f"{name:>14}" for name in COLUMNS[4:13]))
    sorts, ours = float("inf"), float("inf")
    for _ in range(repeats):
        sorts = min(sorts, timed(one_sort, maps, masks)[1])
        scores, seconds = timed(augment, maps, masks)
        ours = min(ours, seconds)

    def row(
        tool: str, found: Mapping[str, float], expected: Mapping[str, float], seconds: float, count: int
    ) -> dict[str, object]:
        off = [abs(found[name] - expected[name]) for name in SCORES if name in found]
        cells: dict[str, object] = {"kind": kind, "maps": images, "size": size, "tool": tool}
        cells |= {name: f"{found[name]:.7f}" for name in SCORES if name in found}
        cells |= {"off": f"{max(off):.1e}"} if off else {}
        cells |= {"images": count, "seconds": f"{seconds:.3f}"}
        cells |= {"times_augment": f"{seconds / count * images / ours:.2f}"}
        cells |= {"extra_memory": f"{extra_memory(maps, masks):.2f}"} if tool == "augment" else {}
        click.echo(f"{tool:24}" + "".join(f"{cells.get(name, '-'):>14}" for name in COLUMNS[4:13]))
        return cells | {"machine": f"{os.cpu_count()} cores, {platform.machine()}"}

    yield row("one sort", {}, {}, sorts, images)
    yield row("augment", scores, scores, ours, images)
    for tool, score in others.items():
        step = affordable_step(score, maps, masks, limit)
        some = maps[::step], masks[::step]
        found, seconds = timed(score, *some)
        yield row(tool, found, augment(*some) if step > 1 else scores, seconds, len(some[0]))


def append(row: Mapping[str, object], file: Path) -> None:
    new = not file.exists()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


@click.command(help=__doc__.partition("\n\n")[0])
@click.option("--csv", "file", type=click.Path(path_type=Path), help="Rows are added to it.")
@click.option("--repeats", default=5, show_default=True, help="Runs of ours and of the sort.")
@click.option("--limit", default=300.0, show_default=True, help="CPU seconds another tool may take on a set.")
@click.option(
    "--set",
    "sets",
    type=(click.Choice(KINDS), int, int),
    multiple=True,
    metavar="KIND IMAGES SIZE",
    help="In place of the five sets.",
)
def main(file: Path | None, repeats: int, limit: float, sets: tuple[tuple[str, int, int], ...]) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    tools = OTHERS if find_spec("adeval") else {name: OTHERS[name] for name in OTHERS if name != "ADEval"}
    for kind, images, size in sets or SETS:
        large = images * size**2 > 2**27  # the other tools would take a multiple of this machine's memory
        for row in compare(kind, images, size, 1 if large else repeats, {} if large else tools, limit):
            if file:
                append(row, file)


if __name__ == "__main__":
    main()
