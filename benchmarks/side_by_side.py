"""Real and synthetic defects side by side, for the eye: does anything give the synthetic ones away?

    python benchmarks/side_by_side.py --category path/to/mvtec/bottle --runs WORKSPACE --out FOLDER
    python benchmarks/side_by_side.py --category path/to/tiles/tile --runs WORKSPACE --out FOLDER --blind

One sheet a defect type: up to 20 real images, and as many synthetic ones of the workspace, evenly drawn. Each
cell is the square around the mask, which is outlined in the smaller picture beside it. With --blind they are
mixed, and the answers written to a text file beside the sheet: look first, read afterwards.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from augment.data.cards import find_card
from augment.data.images import read_sample, to_rgb
from augment.data.layouts import read_category
from augment.data.sample import Sample
from augment.data.windows import window_around
from augment.recipe import WindowConfig
from augment.report.drawing import (
    INK,
    PAPER,
    REFINED_COLOUR,
    overlay,
    save_picture,
    shrink,
    shrink_mask,
    write,
)
from augment.workspace import Manifest, Workspace

COUNT, CELL, SMALL, GAP, HEAD = 20, 200, 100, 6, 28
PER_LINE = 4


def cell(sample: Sample) -> Image.Image:
    """The window around a defect, and beside it the same with the mask outlined."""
    image, mask = read_sample(sample)
    window = window_around(mask, WindowConfig(context=1.8, minimum=96))
    picture = shrink(to_rgb(image)[window.slices], CELL, CELL)
    small = shrink(to_rgb(image)[window.slices], SMALL, SMALL)
    outlined = overlay(small, shrink_mask(mask[window.slices], SMALL, SMALL), REFINED_COLOUR)
    both = Image.new("RGB", (CELL + SMALL, CELL), PAPER)
    both.paste(picture, (0, 0))
    both.paste(outlined, (CELL, 0))
    return both


def evenly(samples: list[Sample]) -> list[Sample]:
    """Up to 20 of a list, from all of its length."""
    chosen = np.linspace(0, len(samples) - 1, min(COUNT, len(samples))).round().astype(int)
    return [samples[i] for i in chosen]


def draw(real: list[Sample], synthetic: list[Sample], path: Path, order: np.ndarray | None) -> Path:
    """The sheet: real above, synthetic below; or all in an order of their own, numbered."""
    blocks = [("real", real), ("synthetic", synthetic)]
    if order is not None:
        mixed = [*real, *synthetic]
        blocks = [("which are real?", [mixed[i] for i in order])]
    lines = [-(-len(samples) // PER_LINE) for _, samples in blocks]
    width, step = PER_LINE * (CELL + SMALL + GAP) + GAP, CELL + GAP
    sheet = Image.new("RGB", (width, sum(HEAD + n * step for n in lines) + GAP), PAPER)
    pen, top = ImageDraw.Draw(sheet), 0
    for (title, samples), count in zip(blocks, lines, strict=True):
        write(pen, (GAP, top + HEAD / 2), title, 17, INK)
        for number, sample in enumerate(samples):
            x = GAP + number % PER_LINE * (CELL + SMALL + GAP)
            y = top + HEAD + number // PER_LINE * step
            sheet.paste(cell(sample), (x, y))
            if order is not None:
                write(pen, (x + CELL + 6, y + SMALL + 14), str(number), 17, INK)
        top += HEAD + count * step
    path.parent.mkdir(parents=True, exist_ok=True)
    return save_picture(sheet, path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--category", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="the workspace of the synthetic images")
    parser.add_argument("--fold", default="0")
    parser.add_argument("--blind", action="store_true", help="mix them, and write the answers apart")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    root = options.category.absolute()
    card = find_card(root.parent.name)
    category = read_category(root, card.name if card else root.parent.name, card)
    folder = Workspace(options.runs).synthetic_folder(category.key, options.fold)
    entries = sorted(Manifest(folder / "manifest.jsonl").entries(), key=lambda entry: entry["index"])
    if not entries:
        raise SystemExit(f"{folder} holds no synthetic images. Run `augment synthesize` first.")
    rng = np.random.default_rng(0)
    for defect in sorted({entry["defect"] for entry in entries}):
        made = [
            Sample(folder / entry["image"], folder / entry["mask"], defect, is_synthetic=True)
            for entry in entries
            if entry["defect"] == defect
        ]
        real, synthetic = evenly(list(category.defects[defect])), evenly(made)
        order = rng.permutation(len(real) + len(synthetic)) if options.blind else None
        print(draw(real, synthetic, options.out / f"{category.name}_{defect}.png", order))
        if order is not None:
            answers = ", ".join(str(place) for place, i in enumerate(order) if i < len(real))
            (options.out / f"{category.name}_{defect}.txt").write_text(f"real: {answers}\n")


if __name__ == "__main__":
    main()
