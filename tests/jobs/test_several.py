"""Several defects in one image, and whole frames as windows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

from augment.cli import main
from augment.data.windows import Window, window_around
from augment.errors import RecipeError
from augment.jobs.painting import Painted, PaintJob, Piece, paint, paint_pieces
from augment.jobs.several import draw_number, is_apart, paint_in_turn
from augment.methods.cutpaste import CutPaste
from augment.recipe import FitConfig, Recipe, SynthesizeConfig, WindowConfig
from augment.training import step_generator

RECIPE = Recipe()


def method() -> CutPaste:
    return CutPaste(None, "part", "spot", FitConfig(), SynthesizeConfig())


def picture(shape=(300, 400), seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(rng.uniform(0, 255, (*shape, 3)), (2, 2, 0)).astype(np.uint8)


def spot(shape, top, left, side=20) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_the_number_lies_between_the_limits_and_all_are_drawn():
    drawn = [draw_number((1, 3), np.random.default_rng(i)) for i in range(60)]
    assert set(drawn) == {1, 2, 3}
    assert draw_number((2, 2), np.random.default_rng(0)) == 2
    for limits in ((0, 2), (3, 1)):
        with pytest.raises(RecipeError, match="fewest"):
            draw_number(limits, np.random.default_rng(0))


def test_masks_are_apart_by_a_gap_whatever_their_windows():
    image = picture()
    first = PaintJob(image, spot(image.shape[:2], 100, 100), None).cut(WindowConfig())
    for offset, apart in ((0, False), (20, False), (23, False), (24, True), (150, True)):
        other = PaintJob(image, spot(image.shape[:2], 100, 100 + offset), None).cut(WindowConfig())
        assert is_apart(other, [first]) is apart
        assert is_apart(first, [other]) is apart


def test_defects_are_painted_one_after_the_other_each_in_its_window():
    image = picture()
    shape = image.shape[:2]
    masks = [spot(shape, 100, 100), spot(shape, 100, 140), spot(shape, 250, 350)]
    pieces = [PaintJob(image, mask, step_generator(0, i)).cut(RECIPE.window) for i, mask in enumerate(masks)]
    single = [PaintJob(image, masks[0], step_generator(0, 0)).cut(RECIPE.window)]
    painted = paint_in_turn(method(), [pieces, single], RECIPE)
    assert [len(each) for each in painted] == [3, 1]
    several, one = (Painted.of(image, each) for each in painted)

    union = masks[0] | masks[1] | masks[2]
    assert np.array_equal(several.image[~several.mask], image[~several.mask])
    assert not (several.mask & ~union).any()
    for mask in masks:
        assert (several.mask & mask).any() and (several.image[mask] != image[mask]).any()
    assert np.array_equal(several.image[masks[0]], one.image[masks[0]])  # later ones leave it alone
    second = several.pieces[1]
    where, _ = second.window.overlap(Window(100, 100, 20, 20))
    assert np.array_equal(second.image[where], several.image[second.window.slices][where])
    assert not np.array_equal(second.image[where], image[second.window.slices][where])
    assert several.window == Window.around([piece.window for piece in several.pieces])


def test_what_is_left_of_a_mask_hangs_over_the_part_by_no_more_than_real_defects_do():
    image = picture()
    part = np.zeros(image.shape[:2], dtype=bool)
    part[:, :110] = True
    piece = PaintJob(image, spot(part.shape, 100, 100), step_generator(0)).cut(RECIPE.window)
    for overhang, share in ((0.0, 0.0), (0.3, 0.3), (1.0, 0.5)):
        bounded = replace(piece, part=part[piece.window.slices], overhang=overhang)
        (painted,) = paint_pieces(method(), [bounded], RECIPE)
        mask = Painted.of(image, [painted]).mask
        assert (mask & part).any()
        assert share - 0.06 <= (mask & ~part).sum() / mask.sum() <= overhang


def test_a_window_gives_what_the_whole_image_gives():
    """Pieces are all there is: a cut piece of a large image is painted as the large image is."""
    image = picture((260, 310), 3)
    for top, left in ((0, 0), (120, 150), (240, 290)):
        mask = spot(image.shape[:2], top, left)
        whole = paint(method(), [PaintJob(image, mask, step_generator(1))], RECIPE)[0]
        window = window_around(mask, RECIPE.window)
        cut = Piece(window, mask.shape, image[window.slices], mask[window.slices], step_generator(1))
        (piece,) = paint_pieces(method(), [cut], RECIPE)
        assert np.array_equal(whole.image[window.slices], piece.image)
        assert np.array_equal(whole.mask[window.slices], piece.mask)
        assert np.array_equal(whole.image[~whole.mask], image[~whole.mask])


def test_full_frame_is_the_whole_image_and_only_the_mask_changes():
    image = picture((240, 400), 5)
    mask = spot(image.shape[:2], 30, 350, 40)
    config = WindowConfig(full_frame=True)
    assert window_around(mask, config) == Window(0, 0, 240, 400)
    assert window_around(mask, config, np.random.default_rng(0)) == Window(0, 0, 240, 400)
    recipe = Recipe(window=config)
    painted = paint(method(), [PaintJob(image, mask, torch.Generator().manual_seed(0))], recipe)[0]
    assert painted.window == Window(0, 0, 240, 400)
    assert np.array_equal(painted.image[~painted.mask], image[~painted.mask])
    assert (painted.image[painted.mask] != image[painted.mask]).any()
    assert not (painted.mask & ~mask).any()


@pytest.fixture
def session(tmp_path, small_backbone, small_category):
    def run(*words) -> list[dict]:
        place = ["--workspace", tmp_path / "runs", "--device", "cpu"]
        result = CliRunner().invoke(main, list(map(str, [*words, *place])))
        assert result.exit_code == 0, result.output
        path = tmp_path / "runs/synthetic/parts/washer/fold0/manifest.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    values = {
        "backbone.model": small_backbone, "backbone.resolution": 64, "window.minimum": 16,
        "window.context": 1.2, "fit.steps": 1, "fit.batch_size": 1, "fit.normal_images": 2,
        "fit.windows_per_image": 1,
        "synthesize.num_inference_steps": 2, "synthesize.batch_size": 2, "synthesize.masks.candidates": 1,
        "synthesize.masks.translation": 0.2, "synthesize.masks.rotation": 180,
    }  # fmt: skip
    settings = [word for pair in values.items() for word in ("--set", "{}={}".format(*pair))]
    run("fit", small_category / "spot", "--recipe", "tiny", *settings)
    return run, tmp_path / "runs/synthetic/parts/washer/fold0"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_set_with_several_defects_an_image(session):
    run, folder = session
    single = run("synthesize", "-n", 6)
    plain = {entry["id"]: pixels(folder / entry["image"]) for entry in single}
    several = run("synthesize", "-n", 6, "--defects-per-image", "1-3", "--force")
    counts = [len(entry.get("defects", [entry])) for entry in several]
    assert set(counts) >= {1, 2} and max(counts) <= 3
    for entry, before, count in zip(several, single, counts, strict=True):
        image, mask = pixels(folder / entry["image"]), pixels(folder / entry["mask"]) > 0
        source = pixels(Path(entry["source"]))
        assert entry["source"] == before["source"]
        assert np.array_equal(image[~mask], source[~mask])
        assert mask.sum() == entry["refined_pixels"]
        assert ndimage.label(mask, np.ones((3, 3)))[1] >= count
        if count == 1:
            assert np.array_equal(image, plain[entry["id"]])
        for part in entry.get("defects", []):
            window = Window(**part["window"])
            assert Path(part["mask_source"]).is_file()
            assert mask[window.slices].sum() >= part["refined_pixels"] > 0
    again = CliRunner().invoke(
        main, ["reproduce", f"{folder / 'manifest.jsonl'}:{1 + int(np.argmax(counts))}"]
    )
    assert again.exit_code == 0, again.output
    page = CliRunner().invoke(main, ["report", "--workspace", str(folder.parents[3])])
    assert page.exit_code == 0 and "cannot be found again" not in page.stderr, page.output


def test_a_set_of_full_frames_from_a_fit_on_windows(session):
    run, folder = session
    for entry in run("synthesize", "-n", 2, "--full-frame"):
        assert entry["window"] == {"top": 0, "left": 0, "height": 72, "width": 72}
        image, mask = pixels(folder / entry["image"]), pixels(folder / entry["mask"]) > 0
        source = pixels(Path(entry["source"]))
        assert np.array_equal(image[~mask], source[~mask]) and not np.array_equal(image, source)


@pytest.mark.parametrize("text", ["0", "3-1", "two", "1-", "-2"])
def test_a_wrong_number_of_defects_is_a_usage_error(text):
    result = CliRunner().invoke(main, ["synthesize", f"--defects-per-image={text}"])
    assert result.exit_code == 2
    assert "1-3" in result.stderr
