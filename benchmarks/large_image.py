"""What one image costs beyond reading and writing it: 4000 x 3000 pixels beside 900 x 900, a defect of 20 px.

    python benchmarks/large_image.py --csv benchmarks/results/large_image.csv

Renders a texture with a spot of 20 px in both sizes, and in a third, small one to warm up with. Each is
fitted (`fit.steps` 1: what is looked at is the way of the images) and painted (`-n 1`) by the bundled model,
in a process of its own. Time is the CPU's, but for what is spent in reading, hashing and writing files and in
loading the model. Memory is the process's peak; beside it stands that of a process which, with the same
loaded, reads what one image needs and writes it.

The bar is for painting: with the large image the same time within 20 % and, what reading and writing add
taken off, the same peak within 10 %. Exits with 1 where it is missed. A fit also looks for the like of each
defect in the good images, within a share of their size; its figures are shown beside. Needs Unix.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"

SIZES = {"small": (900, 900), "large": (3000, 4000)}  # (H, W)
WARM = (200, 200)
FILES = ("read_image", "read_mask", "read_sample", "write_png", "copy_image", "file_sha256", "load_backbone")
TIME, MEMORY = 0.20, 0.10


def render(folder: Path, shape: tuple[int, int], seed: int) -> None:
    """A category of 4 good images and 4 with a spot, in MVTec layout."""
    import numpy as np
    from scipy import ndimage

    from augment.data.images import write_png

    rng = np.random.default_rng(seed)
    tile = ndimage.gaussian_filter(rng.normal(0, 1, (500, 500)), 1.2, mode="wrap")
    tile = 120 + 18 * tile / tile.std()

    def texture() -> np.ndarray:
        turned = np.roll(tile, rng.integers(500, size=2).tolist(), (0, 1))
        grey = np.tile(turned, (shape[0] // 500 + 1, shape[1] // 500 + 1))[: shape[0], : shape[1]]
        return np.clip(grey[..., None] + (6, 0, -6), 0, 255).astype(np.uint8)

    for split, count in (("train", 4), ("test", 1)):
        for number in range(count):
            write_png(folder / split / "good" / f"{number}.png", texture())
    for number in range(4):
        image, mask = texture(), np.zeros(shape, dtype=bool)
        top, left = (int(rng.integers(extent // 4, extent // 2)) for extent in shape)
        rows, columns = np.ogrid[:20, :20]
        mask[top : top + 20, left : left + 20] = np.hypot(rows - 9.5, columns - 9.5) <= 10
        image[mask] = image[mask] // 3
        write_png(folder / "test" / "spot" / f"{number}.png", image)
        write_png(folder / "ground_truth" / "spot" / f"{number}_mask.png", mask)


class Files:
    """Adds up the CPU time spent in functions that read or write files, wherever they are used."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0
        for name in FILES:
            modules = [
                m for n, m in list(sys.modules.items()) if n.startswith("augment.") and hasattr(m, name)
            ]
            for original in {getattr(module, name) for module in modules}:
                timed = self._timed(original)
                for module in modules:
                    if getattr(module, name) is original:
                        setattr(module, name, timed)

    def _timed(self, function: Callable) -> Callable:
        def timed(*arguments, **options):
            started, self._depth = time.process_time(), self._depth + 1
            try:
                return function(*arguments, **options)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.process_time() - started

        return timed


def measure(what: str, data: Path, warm: Path, runs: Path, batch: int) -> dict[str, float]:
    """In a process of its own: fit or paint the warm-up category, then the other one."""
    import augment.jobs.fit
    import augment.jobs.synthesize
    from augment.data.images import read_image, read_mask, write_png
    from augment.data.targets import resolve_targets
    from augment.recipe import load_recipe
    from augment.workspace import Workspace

    settings = [f"synthesize.batch_size={batch}", "fit.steps=1", "fit.windows_per_image=4", "speed.overlap=0"]
    recipe, space = load_recipe("tiny", settings), Workspace(runs)
    files = Files()

    def once(folder: Path, job: str) -> None:
        targets = resolve_targets([str(folder / "spot")], None)
        if job == "fit":
            augment.jobs.fit.fit(targets, recipe, space, device="cpu", force=True)
        else:
            augment.jobs.synthesize.synthesize(targets, 1, recipe, space, device="cpu", force=True)

    once(warm, "synthesize" if what == "files" else what)
    loaded = peak()
    started, before = time.process_time(), files.seconds
    if what == "files":
        source = read_image(data / "train/good/0.png")
        read_image(data / "test/spot/0.png")
        mask = read_mask(data / "ground_truth/spot/0_mask.png")
        write_png(runs / "image.png", source.copy())
        write_png(runs / "mask.png", mask)
    else:
        once(data, what)
    spent = time.process_time() - started
    return {
        "seconds": spent - (files.seconds - before),
        "files": files.seconds - before,
        "peak": peak(),
        "loaded": loaded,
    }


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--batch-size", type=int, default=1, help="images painted together; those left over are fillers"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="times each is measured; the median time counts"
    )
    parser.add_argument("--csv", type=Path, help="write the figures to this file")
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, data, warm, runs, batch = options.measure
        print(json.dumps(measure(what, Path(data), Path(warm), Path(runs), int(batch))))
        return

    rows, missed = [], False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        render(folder / "data" / "warm", WARM, 2)
        for size, shape in SIZES.items():
            render(folder / "data" / size, shape, 1)
        figures = {}
        for size, shape in SIZES.items():
            for what in ("fit", "synthesize", "files"):
                rounds = [child(what, folder, size, options.batch_size) for _ in range(options.rounds)]
                found = {key: sorted(r[key] for r in rounds)[len(rounds) // 2] for key in rounds[0]}
                figures[size, what] = found
                shown = f"{shape[1]}x{shape[0]}"
                rows.append({"size": shown, "what": what, "batch": options.batch_size, **found})
                print(
                    f"{shown:10s} {what:10s} {found['seconds']:6.2f} s and {found['files']:5.2f} s of files, "
                    f"peak {found['peak']:5.0f} MiB, {found['loaded']:.0f} before",
                    flush=True,
                )
    for what in ("fit", "synthesize"):
        small, large = figures["small", what], figures["large", what]
        slower, raw = (large[key] / small[key] - 1 for key in ("seconds", "peak"))
        files = {size: figures[size, "files"]["peak"] - figures[size, "files"]["loaded"] for size in SIZES}
        more = (large["peak"] - files["large"]) / (small["peak"] - files["small"]) - 1
        line = f"{what}: time {slower:+.0%}, peak {more:+.0%} (with files {raw:+.0%})"
        if what == "synthesize":
            missed = slower > TIME or more > MEMORY
            line += ": MISSED" if missed else ": met"
        print(line)
    if options.csv:
        options.csv.parent.mkdir(parents=True, exist_ok=True)
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(
                {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows
            )
    raise SystemExit(int(missed))


def child(what: str, folder: Path, size: str, batch: int) -> dict[str, float]:
    """One measurement in a fresh process."""
    places = [folder / "data" / size, folder / "data" / "warm", folder / "runs" / size]
    words = [sys.executable, __file__, "--measure", what, *map(str, places), str(batch)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
