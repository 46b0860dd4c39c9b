"""The filter's loop on a small data set and a random backbone, whose paintings are poor: many fail."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from augment.data.images import read_image, read_mask, read_sample
from augment.data.targets import resolve_targets
from augment.jobs.fit import fit
from augment.jobs.limits import Limits
from augment.jobs.report import report
from augment.jobs.reproduce import reproduce
from augment.jobs.synthesize import synthesize
from augment.metrics.likeness import describe, distances
from augment.recipe import Recipe, load_recipe
from augment.workspace import Manifest, Rejections, Workspace

N = 6
SETTINGS = {
    "backbone.resolution": 64,
    "window.minimum": 64,
    "fit.steps": 2,
    "fit.batch_size": 1,
    "fit.normal_images": 2,
    "fit.windows_per_image": 1,
    "synthesize.num_inference_steps": 2,
    "synthesize.batch_size": 2,
    "synthesize.refinement": "none",
    "synthesize.filter.attempts": 3,
}
STRICT = ("synthesize.filter.enabled=true", "synthesize.filter.margin=2.5")


class Bench:
    """A fitted defect, and sets of it painted in folders of their own."""

    def __init__(self, folder: Path, backbone: Path, category: Path):
        self.folder, self.backbone = folder, backbone
        self.targets = resolve_targets([f"{category}/spot"], None)
        self.fitted = folder / "fitted"
        fit(self.targets, self.recipe(), Workspace(self.fitted), device="cpu")

    def recipe(self, *settings: str) -> Recipe:
        values = [f"backbone.model={self.backbone}", *(f"{k}={v}" for k, v in SETTINGS.items()), *settings]
        return load_recipe("tiny", values)

    def paint(self, name: str, *settings: str, n: int = N, **options):
        """Paint a set; its result and folder."""
        space = self.folder / name
        if not space.exists():
            space.mkdir()
            (space / "fits").symlink_to(self.fitted / "fits")
        (result,) = synthesize(
            self.targets, n, self.recipe(*settings), Workspace(space), device="cpu", **options
        )
        return result


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_backbone, write_category) -> Bench:
    folder = tmp_path_factory.mktemp("filter")
    return Bench(folder, small_backbone, write_category(folder / "parts" / "washer"))


@pytest.fixture(scope="module")
def strict(bench):
    """A set painted with a strict filter: some attempts pass, some fail."""
    result = bench.paint("strict", *STRICT)
    assert result.n > 0 and sum(result.rejected.values()) > 0
    return result


def lines(folder: Path, name: str = "manifest.jsonl") -> list[dict]:
    return Manifest(folder / name).entries()


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


def test_off_by_default_every_image_is_kept_and_scored(bench):
    result = bench.paint("off")
    assert (result.n, result.left_out, result.rejected, result.statement) == (N, 0, {}, "")
    for entry in lines(result.folder):
        assert set(entry["scores"]) == {
            "touched_outside", "coverage", "strength", "seam", "raggedness", "nearest",
        }  # fmt: skip
        assert entry["scores"]["touched_outside"] == 0 and "rejected" not in entry
        assert entry["nearest"].endswith(".png")
    assert not any(result.folder.glob("limits_*")) and not (result.folder / "rejected.jsonl").exists()


def test_where_it_is_off_its_other_settings_do_not_matter(bench):
    first = tree(bench.paint("idle", n=1).folder / "washer")
    result = bench.paint("idle", "synthesize.filter.attempts=1", "synthesize.filter.margin=9", n=2)
    assert (result.n, result.left_out) == (2, 0)
    assert first.items() <= tree(result.folder / "washer").items()


def test_every_decision_is_recorded_and_every_image_passed(bench, strict):
    limits = Limits(**json.loads((strict.folder / "limits_spot.json").read_text()))
    criteria = bench.recipe().synthesize.filter.criteria
    kept, failed = lines(strict.folder), lines(strict.folder, "rejected.jsonl")
    assert len(kept) == strict.n == N - strict.left_out
    for entry in kept:
        assert limits.reasons(entry["scores"], criteria) == {}
        assert [found["attempt"] for found in entry.get("rejected", [])] == list(range(entry["attempt"]))
    for entry in failed:
        assert entry["reasons"] == limits.reasons(entry["scores"], criteria) != {}
        image, mask = read_image(strict.folder / entry["image"]), read_mask(strict.folder / entry["mask"])
        source = read_image(Path(entry["source"]))
        assert np.array_equal(image[~mask], source[~mask]) and mask.sum() == entry["refined_pixels"]
    by_image = {entry["id"]: entry.get("rejected", []) for entry in kept}
    for name in {entry["of"] for entry in failed}:
        attempts = [entry["attempt"] for entry in failed if entry["of"] == name]
        assert attempts == [found["attempt"] for found in by_image[name]] if name in by_image else [0, 1, 2]
    left = {entry["of"] for entry in failed} - by_image.keys()
    assert len(left) == strict.left_out
    assert f"{strict.n} of {N} images passed" in strict.statement
    assert not left or f"{len(left)} are left out, 3 attempts each" in strict.statement
    assert not {path.name for path in (strict.category_folder / "test").iterdir()} & {"rejected"}


def test_first_attempts_are_the_images_of_an_unfiltered_set(bench, strict):
    off = {entry["id"]: entry for entry in lines(bench.paint("off").folder)}
    folder = bench.paint("off").folder
    first = [entry for entry in lines(strict.folder) if entry["attempt"] == 0]
    first += [entry for entry in lines(strict.folder, "rejected.jsonl") if entry["attempt"] == 0]
    assert len(first) == N
    for entry in first:
        there = off[entry.get("of", entry["id"])]
        assert entry["scores"] == there["scores"]
        assert (strict.folder / entry["image"]).read_bytes() == (folder / there["image"]).read_bytes()


def test_a_rejected_attempt_comes_out_with_the_same_bytes(strict):
    again = reproduce(f"{strict.folder / 'rejected.jsonl'}:1")
    assert again.same, again.text


def test_nothing_depends_on_when_it_was_asked_for_and_a_second_call_paints_nothing(bench, strict):
    for n in (1, 4, N):
        later = bench.paint("bit-by-bit", *STRICT, n=n)
    assert tree(later.folder) == tree(strict.folder)
    again = bench.paint("bit-by-bit", *STRICT)
    assert again.skipped and replace(again, seconds=0) == replace(later, skipped=True, seconds=0)


@pytest.mark.parametrize("share", [0.35, 0.6, 0.85, 0.97])
def test_an_interrupted_run_ends_with_the_same_bytes(bench, strict, monkeypatch, share):
    """Stopped at some flush to the disk: of a picture, of a line that passed or failed, of their sorting."""
    flushes, real = [0], os.fsync
    stop = None

    def fsync(descriptor):
        flushes[0] += 1
        if flushes[0] == stop:
            raise KeyboardInterrupt
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        if not hasattr(bench, "flushes"):
            bench.paint("whole", *STRICT)
            bench.flushes = flushes[0]
        flushes[0], stop = 0, round(share * bench.flushes)
        with pytest.raises(KeyboardInterrupt):
            bench.paint(f"broken{share}", *STRICT)
    assert tree(bench.paint(f"broken{share}", *STRICT).folder) == tree(strict.folder)


def test_a_dropped_image_is_followed_by_a_later_attempt_than_the_one_that_passed(bench):
    before = bench.paint("drop", *STRICT)
    entry = max(lines(before.folder), key=lambda entry: entry["attempt"])
    after = bench.paint("drop", *STRICT, drop=[entry["id"]])
    there = {found["id"]: found for found in lines(after.folder)}
    failed = Rejections(after.folder).of(entry["id"], entry["attempt"] + 1)
    tried = [found["attempt"] for found in failed]
    if entry["id"] in there:
        tried.append(there[entry["id"]]["attempt"])
    assert tried and tried == list(range(entry["attempt"] + 1, entry["attempt"] + 1 + len(tried)))
    others = {found["id"]: found for found in lines(before.folder) if found["id"] != entry["id"]}
    assert {name: there[name] for name in others} == others
    forced = bench.paint("drop", *STRICT, force=True)
    assert tree(forced.folder) == tree(bench.paint("strict", *STRICT).folder)


def test_where_nothing_can_pass_all_are_left_out_and_that_is_said(bench):
    result = bench.paint("none", "synthesize.filter.enabled=true", "synthesize.filter.margin=0.02", n=2)
    assert (result.n, result.left_out, result.sheet) == (0, 2, None)
    assert "0 of 2 images passed" in result.statement and "--no-filter" in result.statement
    assert len(lines(result.folder, "rejected.jsonl")) == 6


def test_the_page_shows_what_failed_and_why(bench, strict, tmp_path):
    text = report(strict.folder, tmp_path / "page.html").page.read_text("utf-8")
    failed = lines(strict.folder, "rejected.jsonl")
    assert f"{len(failed)} attempts failed the quality filter" in text and "Limits of spot" in text
    for entry in failed:
        assert f'"{entry["id"]}"' in text
    assert "Quality filter" in text
    off = report(bench.paint("off").folder, tmp_path / "off.html").page.read_text("utf-8")
    assert 'id="failed"' not in off and "IoU of mask and visible change" in off


def test_limits_work_with_one_real_defect_and_without_good_images(bench):
    (target,) = bench.targets
    for training in (target.samples[:1], target.samples):
        for good in ((), target.category.train_good):
            limits = Limits.of(training, good)
            assert 0.25 <= limits.coverage <= 0.5 and limits.strength >= 1.2 and limits.copy > 0
            assert (limits.likeness is None) == (len(training) < 3)
    seen = [describe(*read_sample(sample)) for sample in target.samples]
    gaps = [np.delete(distances(one, seen), i).min() for i, one in enumerate(seen)]
    assert limits.copy == pytest.approx(min(gaps), abs=1e-3)
    wide = Limits.of(target.samples, target.category.train_good, margin=2)
    assert wide.strength <= limits.strength and wide.copy < limits.copy and wide.likeness > limits.likeness
