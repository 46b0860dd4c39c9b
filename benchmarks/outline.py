"""How well masks fit defects: what is seen across their borders, real against synthetic.

    python benchmarks/outline.py runs/synthetic/magnetic_tile/tile/fold0 --defect blowhole

For defects that differ plainly in brightness from what surrounds them: the share of that difference that is
left at each distance from the mask's border (negative inside), as the median over the defects. 1 in the
middle, 0 far off. Where it falls below 1/2 a defect ends; hand-drawn masks and written ones should end alike,
or a detector learns to draw defects wider or narrower than those who will judge it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage

from augment.data.images import read_image, read_mask, to_rgb
from augment.data.targets import resolve_categories
from augment.workspace import Manifest, Run, atomic_write_text

DISTANCES = np.arange(-5.5, 6.5)  # pixels
FAR = 8, 25  # pixels from the border: what surrounds a defect
CONTRAST = 12  # grey levels; fainter defects are left out


def profile(image: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """(12,) the share of the contrast left at each distance, NaN where the mask has none; None: too faint."""
    rows, columns = np.nonzero(mask)
    box = tuple(slice(max(0, at.min() - FAR[1]), at.max() + FAR[1]) for at in (rows, columns))
    grey, inside = to_rgb(image)[box].mean(axis=2), mask[box]
    depth = ndimage.distance_transform_edt(inside)
    distance = ndimage.distance_transform_edt(~inside) - depth + np.where(inside, 0.5, -0.5)
    around = grey[(distance > FAR[0]) & (distance < FAR[1])]
    if not around.size:
        return None
    level, middle = np.median(around), grey[depth >= 0.4 * depth.max()].mean()
    if abs(middle - level) < CONTRAST:
        return None
    bands = [np.abs(distance - at) <= 0.5 for at in DISTANCES]
    return np.array(
        [(grey[band].mean() - level) / (middle - level) if band.any() else np.nan for band in bands]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run folder of `synthesize`")
    parser.add_argument("--defect", action="append", help="only this type; repeatable")
    parser.add_argument("--csv", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    run = Run.find(options.run)
    if run is None:
        raise SystemExit(f"{options.run} holds no run of `augment synthesize`.")
    (category,) = resolve_categories([run.info()["root"]], None)
    entries = list(Manifest(options.run / "manifest.jsonl").entries())
    header = ["defect", "what", "count", *(f"{at:+g}" for at in DISTANCES)]
    lines = [header]
    for defect in options.defect or sorted({entry["defect"] for entry in entries}):
        real = [(sample.image, sample.mask) for sample in category.defects[defect]]
        made = [(options.run / e["image"], options.run / e["mask"]) for e in entries if e["defect"] == defect]
        for what, pairs in (("real", real), ("synthetic", made)):
            found = [profile(read_image(image), read_mask(mask)) for image, mask in pairs]
            found = [one for one in found if one is not None]
            if found:
                shares = np.nanmedian(found, axis=0)
                lines.append([defect, what, str(len(found)), *(f"{share:.2f}" for share in shares)])
    for line in lines:
        print(f"{line[0]:16s} {line[1]:10s} {line[2]:>5s}", *(f"{cell:>5s}" for cell in line[3:]))
    if options.csv:
        atomic_write_text(options.csv, "".join(",".join(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
