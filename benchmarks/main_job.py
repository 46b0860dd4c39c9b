"""Time and peak memory of the three commands on one defect, each in its own process, as a user runs them.

    python benchmarks/main_job.py path/to/mvtec/bottle/broken_large --csv benchmarks/results/main_job.csv

Also times `import augment` and `augment --help` (best of five).
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(arguments: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident GiB of one command, of its largest process."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "augment", *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"`augment {' '.join(arguments)}` failed.")
    return time.perf_counter() - started, usage.ru_maxrss / 2**20


def best_of(count: int, arguments: list[str]) -> float:
    """Shortest wall time of a Python process with these arguments."""

    def once() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - started

    return min(once() for _ in range(count))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", help="path/to/DATASET/CATEGORY/DEFECT")
    parser.add_argument("-n", type=int, default=20, help="synthetic images")
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--no-benchmark", action="store_true", help="time fit and synthesize only")
    parser.add_argument("--workspace", type=Path, help="kept there; default: a temporary folder")
    parser.add_argument("--csv", type=Path, help="append the figures to this file")
    options = parser.parse_args()

    bare = best_of(5, ["-c", "pass"])
    rows = [
        ("import augment", best_of(5, ["-c", "import augment"]) - bare, "s beyond starting Python", ""),
        ("augment --help", best_of(5, ["-m", "augment", "--help"]), "s", ""),
    ]
    with tempfile.TemporaryDirectory() as temporary:
        common = ["--workspace", str(options.workspace or temporary), "-q"]
        seconds, peak = run(["fit", options.target, "--recipe", options.recipe, "--force", *common])
        rows.append(("fit", seconds, "s", f"{peak:.2f}"))
        seconds, peak = run(["synthesize", options.target, "-n", str(options.n), "--force", *common])
        rows.append(
            (
                "synthesize",
                seconds / options.n,
                f"s an image, {options.n} images, loading included",
                f"{peak:.2f}",
            )
        )
        if not options.no_benchmark:
            category = str(Path(options.target).parent)
            for jobs in ("1", "2"):
                words = ["benchmark", category, "--detector", "unet", "--jobs", jobs]
                seconds, peak = run([*words, "--force", *common])
                rows.append((f"benchmark --jobs {jobs}", seconds, "s", f"{peak:.2f}"))
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    for name, value, unit, peak in rows:
        print(f"{name:28s} {value:8.2f} {unit}" + (f", peak {peak} GiB" if peak else ""))
    if options.csv:
        is_new = not options.csv.exists()
        options.csv.parent.mkdir(parents=True, exist_ok=True)
        with options.csv.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["target", "recipe", "what", "value", "unit", "peak_gib", "machine"])
            target = "/".join(Path(options.target).parts[-3:])
            writer.writerows((target, options.recipe, n, f"{v:.3f}", u, p, machine) for n, v, u, p in rows)


if __name__ == "__main__":
    main()
