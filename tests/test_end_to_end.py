"""The three commands in a row, on a small data set and a small random backbone."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from augment.cli import main
from augment.data.targets import resolve_categories
from augment.jobs.baselines import paint_baseline
from augment.progress import no_progress
from augment.workspace import Manifest, Workspace

SETTINGS = {
    "backbone.resolution": 64,
    "window.minimum": 64,
    "adapt.steps": 3,
    "adapt.batch_size": 2,
    "adapt.windows_per_image": 1,
    "fit.steps": 6,
    "fit.checkpoint_every": 2,
    "fit.batch_size": 2,
    "fit.normal_batch_size": 1,
    "fit.normal_images": 2,
    "fit.windows_per_image": 2,
    "synthesize.num_inference_steps": 3,
    "synthesize.batch_size": 2,
    "benchmark.unet.image_size": 64,
    "benchmark.unet.base_width": 4,
    "benchmark.unet.epochs": 2,
    "benchmark.unet.steps_per_epoch": 2,
    "benchmark.unet.batch_size": 4,
}


class Session:
    """Calls the command line in a folder, with the small backbone and settings."""

    def __init__(self, folder: Path, backbone: Path, category: Path):
        self.workspace, self.category, self.backbone = folder / "runs", category, backbone
        self._settings = [f"backbone.model={backbone}", *(f"{k}={v}" for k, v in SETTINGS.items())]

    def __call__(self, command: str, *arguments, settings=()) -> Result:
        words = [command, *arguments, "--workspace", self.workspace, "--device", "cpu"]
        if command == "fit":
            words += ["--recipe", "tiny"]
            settings = [*self._settings, *settings]
        words += [word for setting in settings for word in ("--set", setting)]
        return CliRunner().invoke(main, list(map(str, words)))

    def json(self, command: str, *arguments, **options):
        result = self(command, *arguments, "--json", **options)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def session(tmp_path, small_backbone, small_category) -> Session:
    return Session(tmp_path, small_backbone, small_category)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_backbone, write_category) -> Session:
    """A session in which both defects are fitted and four images of each are painted, fold 0."""
    folder = tmp_path_factory.mktemp("finished")
    session = Session(folder, small_backbone, write_category(folder / "parts" / "washer"))
    session.json("fit", session.category)
    session.json("synthesize", "-n", 4)
    return session


def tree(workspace: Path) -> dict[str, str]:
    """Relative path -> hash of all models, images and manifests (the workspace's own path left out)."""
    return {
        path.relative_to(workspace).as_posix(): hashlib.sha256(
            path.read_bytes().replace(str(workspace).encode(), b"WORKSPACE")
        ).hexdigest()
        for path in sorted(workspace.rglob("*"))
        if path.suffix in (".png", ".safetensors", ".jsonl")
    }


def manifest_of(session: Session) -> list[dict]:
    path = session.workspace / "synthetic/parts/washer/fold0/manifest.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_nothing_partial(workspace: Path) -> None:
    """No temporary file, and every JSON and image that is there can be read."""
    for path in workspace.rglob("*"):
        assert not path.name.endswith(".part"), path
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".png":
            Image.open(path).load()


def test_the_commands_leave_what_the_readme_says(finished):
    for defect in ("scratch", "spot"):
        run = finished.workspace / "fits/parts/washer" / defect / "fold0"
        assert json.loads((run / "run.json").read_text())["state"] == "done"
        assert (run / "recipe.yaml").is_file()
        sheet = finished.workspace / f"synthetic/parts/washer/fold0/sheet_{defect}.png"
        assert Image.open(sheet).width > 800
    synthetic = finished.workspace / "synthetic/parts/washer/fold0"
    foreground = json.loads((synthetic / "run.json").read_text())["foreground"]
    assert foreground["kind"] == "object" and foreground["aligned"]
    assert Image.open(synthetic / "foreground.png").width > 500
    arguments = ["list", "runs", "--workspace", str(finished.workspace), "--json"]
    listed = json.loads(CliRunner().invoke(main, arguments).stdout)
    assert {(row["kind"], row["state"]) for row in listed} >= {("fit", "done"), ("synthetic", "done")}
    assert_nothing_partial(finished.workspace)


def test_synthetic_images_equal_their_source_outside_the_mask(finished):
    run = finished.workspace / "synthetic/parts/washer/fold0"
    entries = manifest_of(finished)
    assert len(entries) == 8
    for entry in entries:
        image, mask = (
            np.asarray(Image.open(run / entry["image"])),
            np.asarray(Image.open(run / entry["mask"])),
        )
        source = np.asarray(Image.open(finished.category / "train/good" / Path(entry["source"]).name))
        assert mask.ndim == 2 and set(np.unique(mask)) == {0, 255}
        assert np.array_equal(image[mask == 0], source[mask == 0])
        assert not np.array_equal(image, source)


def test_the_category_folder_is_in_mvtec_layout(finished):
    category = finished.workspace / "synthetic/parts/washer/fold0/washer"
    assert sorted(path.name for path in category.iterdir()) == ["ground_truth", "test", "train"]
    for defect in ("scratch", "spot"):
        images = sorted((category / "test" / defect).iterdir())
        masks = sorted((category / "ground_truth" / defect).iterdir())
        assert [path.stem + "_mask.png" for path in images] == [path.name for path in masks]
        assert len(images) == 4


def test_masks_of_ones_own_are_used_in_turn(finished, tmp_path):
    session = Session(tmp_path, finished.backbone, finished.category)
    shutil.copytree(finished.workspace / "fits", session.workspace / "fits")
    masks = tmp_path / "own"
    masks.mkdir()
    for number in range(2):
        mask = Image.new("L", (144, 144))  # twice the images' size
        mask.paste(255, (40, 40 + 30 * number, 60, 56 + 30 * number))
        mask.save(masks / f"{number}.png")
    (result,) = session.json("synthesize", session.category / "spot", "-n", 3, "--masks", masks)
    assert result["n"] == 3 and "parts on a ground" in result["foreground"]
    entries = manifest_of(session)
    assert [entry["target_pixels"] for entry in entries] == [80, 80, 80]
    run = session.workspace / "synthetic/parts/washer/fold0"
    for entry, top in zip(entries, (20, 35, 20), strict=True):
        changed = np.asarray(Image.open(run / entry["mask"])) > 0
        assert changed.any() and not np.delete(changed[:, 20:30], np.s_[top : top + 8], axis=0).any()
    for folder, word in ((tmp_path / "runs", "holds no masks"), (tmp_path / "empty", "is empty")):
        if word == "is empty":
            folder.mkdir()
            Image.new("L", (72, 72)).save(folder / "0.png")
        result = session("synthesize", session.category / "spot", "--masks", folder, "--force")
        assert result.exit_code == 1 and word in result.stderr and result.stderr.count("\n") == 1


def test_what_is_done_is_skipped(finished):
    before = tree(finished.workspace)
    assert all(result["skipped"] for result in finished.json("fit", finished.category))
    assert all(result["skipped"] for result in finished.json("synthesize", "-n", 4))
    assert tree(finished.workspace) == before


def test_a_fit_has_seen_its_own_fold_only_and_its_record_proves_it(finished):
    for defect in ("scratch", "spot"):
        record = json.loads((finished.workspace / f"fits/parts/washer/{defect}/fold0/run.json").read_text())
        assert sorted(record["training"]) == ["000.png", "001.png"]
        assert sorted(record["held_out"]) == ["002.png", "003.png"]
        assert not set(record["held_out"].values()) & set(record["sources"].values())
        for name, digest in record["training"].items():
            file = finished.category / "test" / defect / name
            assert hashlib.sha256(file.read_bytes()).hexdigest() == digest


def test_more_images_are_added_to_those_there(finished, tmp_path):
    shutil.copytree(finished.workspace, tmp_path / "runs")
    more = Session(tmp_path, finished.backbone, finished.category)
    run = more.workspace / "synthetic/parts/washer/fold0/washer"
    before = tree(run)
    (result,) = more.json("synthesize", finished.category / "spot", "-n", 5)
    after = tree(run)
    assert result["n"] == 5 and len(after) == len(before) + 2
    assert {name: after[name] for name in before} == before


def test_force_redoes_the_defects_named_and_no_other(finished, tmp_path):
    shutil.copytree(finished.workspace, tmp_path / "runs")
    again = Session(tmp_path, finished.backbone, finished.category)
    run = again.workspace / "synthetic/parts/washer/fold0/washer"
    before = tree(run)
    other = run / "test/scratch/0000.png"
    written = other.stat().st_mtime_ns
    (result,) = again.json("synthesize", finished.category / "spot", "-n", 4, "--force")
    assert not result["skipped"]
    assert tree(run) == before
    assert other.stat().st_mtime_ns == written
    assert len(manifest_of(again)) == 8


def test_images_of_an_earlier_fit_are_not_taken_for_the_new_ones(finished, tmp_path):
    shutil.copytree(finished.workspace, tmp_path / "runs")
    again = Session(tmp_path, finished.backbone, finished.category)
    again.json("fit", finished.category / "spot", "--force", "--seed", 1)
    result = again("synthesize", finished.category / "spot", "-n", 4)
    assert result.exit_code == 1
    assert "earlier fit" in result.stderr and "--force" in result.stderr
    assert again.json("synthesize", finished.category / "spot", "-n", 4, "--force")[0]["n"] == 4


def test_a_set_has_a_page_with_every_image_and_the_fits_real_ones(finished, tmp_path):
    out = tmp_path / "set.html"
    arguments = ["report", "--workspace", str(finished.workspace), "--out", str(out), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (written,) = json.loads(result.stdout)
    assert written["n"] == 8 and written["page"] == str(out) and written["bytes"] == out.stat().st_size
    text = out.read_text("utf-8")
    data = json.loads(re.search('id="data">(.*?)</script>', text, re.DOTALL).group(1))
    assert [image["id"] for image in data["images"]] == [entry["id"] for entry in sorted_manifest(finished)]
    for image, entry in zip(data["images"], sorted_manifest(finished), strict=True):
        assert image["source"] and image["target"] and image["patch"] and image["refined"]
        assert image["facts"]["refined_pixels"] == entry["refined_pixels"]
    names = [(real["defect"], real["name"]) for real in data["real"]]
    assert names == [(d, n) for d in ("scratch", "spot") for n in ("000.png", "001.png")]
    record = json.loads(
        (finished.workspace / "synthetic/parts/washer/fold0/run.json").read_text(encoding="utf-8")
    )
    assert record["created"] in data["key"] and record["versions"]["augment-defects"] in text
    result = CliRunner().invoke(main, ["report", str(finished.category), *arguments[1:3], "--fold", "1"])
    assert result.exit_code == 1 and "augment synthesize" in result.stderr


def sorted_manifest(session: Session) -> list[dict]:
    return sorted(manifest_of(session), key=lambda entry: (entry["defect"], entry["index"]))


# --- drop lists ------------------------------------------------------------------------------------


def copied(finished: Session, folder: Path) -> Session:
    """A session of its own on a copy of the finished workspace."""
    shutil.copytree(finished.workspace, folder / "runs")
    return Session(folder, finished.backbone, finished.category)


def drop(session: Session, *ids: str, number: int = 4, name: str = "drop.txt") -> Result:
    path = session.workspace.parent / name
    path.write_text("".join(f"{line}\n" for line in ids))
    return session("synthesize", "-n", number, "--drop", path)


def category_tree(session: Session) -> dict[str, str]:
    return tree(session.workspace / "synthetic/parts/washer/fold0/washer")


def test_dropped_images_are_painted_again_and_no_others(finished, tmp_path):
    session = copied(finished, tmp_path)
    before = category_tree(session)
    result = drop(session, "# what looked wrong", "", "spot/0001", "scratch/0003")
    assert result.exit_code == 0, result.output
    after = category_tree(session)
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert {name for name in changed if name.startswith("test")} == {
        "test/spot/0001.png",
        "test/scratch/0003.png",
    }
    assert {Path(name).name[:4] for name in changed} == {"0001", "0003"}
    attempts = {entry["id"]: entry["attempt"] for entry in manifest_of(session)}
    assert len(attempts) == len(manifest_of(session)) == 8
    assert {name for name, attempt in attempts.items() if attempt} == {"spot/0001", "scratch/0003"}
    lines = (session.workspace / "synthetic/parts/washer/fold0/dropped.jsonl").read_text().splitlines()
    assert [(json.loads(line)["id"], json.loads(line)["attempt"]) for line in lines] == [
        ("spot/0001", 1),
        ("scratch/0003", 1),
    ]
    assert all(result["skipped"] for result in session.json("synthesize", "-n", 4))
    assert category_tree(session) == after
    assert_nothing_partial(session.workspace)


def test_what_is_painted_again_depends_on_the_number_of_drops_alone(finished, tmp_path):
    together, apart = copied(finished, tmp_path / "a"), copied(finished, tmp_path / "b")
    assert drop(together, "spot/0000", "spot/0001", "spot/0002").exit_code == 0
    assert drop(together, "spot/0001").exit_code == 0
    for name in ("spot/0001", "spot/0001", "spot/0002", "spot/0000"):
        assert drop(apart, name).exit_code == 0
    assert category_tree(together) == category_tree(apart) != category_tree(finished)
    assert {e["id"]: e["attempt"] for e in manifest_of(apart)}["spot/0001"] == 2
    apart.json("synthesize", "-n", 4, "--force")
    assert category_tree(apart) == category_tree(finished)


def test_a_dropped_image_beyond_the_number_asked_for_is_painted_again_too(finished, tmp_path):
    session = copied(finished, tmp_path)
    assert drop(session, "spot/0003", number=1).exit_code == 0
    assert len(manifest_of(session)) == 8


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (("spot/0001", "spot/0044"), "spot/0044"),
        (("spot/1",), "spot/1"),
        (("# nothing",), "names no image"),
    ],
)
def test_a_drop_list_that_does_not_fit_is_one_line_and_changes_nothing(finished, tmp_path, ids, words):
    session = copied(finished, tmp_path)
    before = {path: path.read_bytes() for path in session.workspace.rglob("*") if path.is_file()}
    result = drop(session, *ids)
    assert result.exit_code == 1 and result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1 and words in result.stderr
    assert {path: path.read_bytes() for path in session.workspace.rglob("*") if path.is_file()} == before


def test_a_drop_list_needs_its_target_and_no_force(finished, tmp_path):
    session = copied(finished, tmp_path)
    (tmp_path / "list").write_text("spot/0001\n")
    command = ("synthesize", session.category / "scratch", "--drop", tmp_path / "list")
    result = session(*command)
    assert result.exit_code == 1 and "spot" in result.stderr
    assert session(*command, "--force").exit_code == 2
    shutil.copytree(session.workspace / "fits/parts/washer/spot/fold0", tmp_path / "fit")
    (tmp_path / "fit").rename(session.workspace / "fits/parts/washer/spot/fold1")
    record = session.workspace / "fits/parts/washer/spot/fold1/run.json"
    record.write_text(record.read_text().replace('"fold": 0', '"fold": 1'))
    result = session("synthesize", "--drop", tmp_path / "list")
    assert result.exit_code == 1 and "one synthetic set" in result.stderr and "--fold" in result.stderr


def test_a_baseline_is_painted_with_the_masks_of_the_attempts_that_are_there(finished, tmp_path):
    session = copied(finished, tmp_path)
    (category,) = resolve_categories([str(session.category)], None)
    own = Workspace(session.workspace)

    def masks() -> tuple[list, list]:
        space = paint_baseline(category, "cutpaste", 0, own, device="cpu", progress=no_progress)
        found = []
        for workspace in (own, space):
            entries = Manifest(workspace.synthetic_folder(category.key, 0) / "manifest.jsonl").entries()
            names = ("id", "attempt", "source", "mask_source", "target_pixels")
            found.append(sorted(tuple(entry[name] for name in names) for entry in entries))
        return found[0], found[1]

    before, baseline = masks()
    assert before == baseline
    assert drop(session, "spot/0001", "scratch/0000").exit_code == 0
    after, baseline = masks()
    assert after == baseline != before
    session.json("synthesize", "-n", 4, "--force")
    assert masks() == (before, before)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_an_interrupted_drop_resumes_to_the_same_bytes(finished, tmp_path, monkeypatch, count):
    unbroken, broken = copied(finished, tmp_path / "a"), copied(finished, tmp_path / "b")
    ids = ("spot/0000", "spot/0002", "scratch/0002")
    assert drop(unbroken, *ids).exit_code == 0
    with monkeypatch.context() as patch:
        interrupt_after(patch, count, KeyboardInterrupt())
        assert drop(broken, *ids).exit_code == 130
    assert drop(broken, *ids).exit_code == 0
    assert tree(broken.workspace) == tree(unbroken.workspace)


def test_the_benchmark_compares_with_real_alone_and_a_baseline(finished):
    command = ("benchmark", "--fold", 0, "--baseline", "cutpaste", "-n", "0,2", "--oracle")
    result = finished.json(*command)
    columns = {row["column"] for row in result["rows"]}
    assert columns == {"real-only", "real+augment", "real+cutpaste"}
    assert {row["epoch"] for row in result["rows"]} == {"last", "oracle"}
    for row in result["rows"]:
        assert 0 <= row["pixel_auroc"] <= 1 and 0 <= row["image_ap"] <= 1
    with open(result["csv"], newline="") as file:
        assert len(list(csv.DictReader(file))) == len(result["rows"])
    assert [found["column"] for found in result["verdicts"]] == ["real+augment", "real+cutpaste"]
    assert all(found["text"] in Path(result["page"]).read_text("utf-8") for found in result["verdicts"])
    masks = [
        sorted((finished.workspace / part / "synthetic").rglob("manifest.jsonl"))
        for part in (".", "baselines/cutpaste")
    ]
    sources = [
        [(entry["id"], entry["source"], entry["mask_source"], entry["target_pixels"]) for entry in lines]
        for lines in ([json.loads(line) for line in paths[0].read_text().splitlines()] for paths in masks)
    ]
    assert len(sources[0]) >= 2 and sources[0] == sources[1]
    text = finished(*command).stdout
    assert "real+cutpaste" in text and "AUPRO" in text and result["verdicts"][0]["text"] in text
    assert "\\toprule" in finished(*command, "--format", "latex").stdout


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path, small_backbone, small_category):
    trees = []
    for number, seed in enumerate((1, 1, 2)):
        session = Session(tmp_path / str(number), small_backbone, small_category)
        session.json("fit", small_category / "spot", "--seed", seed)
        session.json("synthesize", "-n", 2, "--seed", seed)
        trees.append(tree(session.workspace))
    assert trees[0] == trees[1]
    assert trees[0].keys() == trees[2].keys() and trees[0] != trees[2]


def interrupt_after(monkeypatch, count: int, error: BaseException) -> None:
    """Raise `error` at the `count`-th file that is flushed to the disk."""
    flushed = iter(range(count - 1))
    real = os.fsync

    def fsync(descriptor):
        if next(flushed, None) is None:
            raise error
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, small_backbone, write_category) -> Session:
    """A session that fitted one defect and painted four images of it without a break."""
    folder = tmp_path_factory.mktemp("unbroken")
    session = Session(folder, small_backbone, write_category(folder / "parts" / "washer"))
    session.json("fit", session.category / "spot")
    session.json("synthesize", "-n", 4)
    return session


@pytest.mark.parametrize("command", ["fit", "synthesize"])
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "Run the same command again"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "disk is full"),
    ],
    ids=["ctrl-c", "full-disk"],
)
def test_an_interrupted_command_resumes_to_the_same_bytes(
    tmp_path, unbroken, small_backbone, monkeypatch, command, count, error, code, words
):
    broken = Session(tmp_path, small_backbone, unbroken.category)
    step = ("fit", unbroken.category / "spot") if command == "fit" else ("synthesize", "-n", 4)
    if command == "synthesize":
        for name in ("adapted", "fits"):
            shutil.copytree(unbroken.workspace / name, broken.workspace / name)
    with monkeypatch.context() as patch:
        interrupt_after(patch, count, error)
        result = broken(*step)
    assert result.exit_code == code and words in result.stderr, result.output
    assert_nothing_partial(broken.workspace)
    broken.json(*step)
    expected = tree(unbroken.workspace)
    if command == "fit":
        expected = {path: digest for path, digest in expected.items() if not path.startswith("synthetic/")}
    assert tree(broken.workspace) == expected


def break_truncated_image(root: Path) -> Path:
    path = root / "test" / "spot" / "001.png"
    path.write_bytes(path.read_bytes()[:-200])
    return path


def break_empty_mask(root: Path) -> Path:
    path = root / "ground_truth" / "spot" / "001_mask.png"
    Image.new("L", (72, 72)).save(path)
    return path


@pytest.mark.parametrize("damage", [break_truncated_image, break_empty_mask])
def test_bad_pixels_are_one_line_that_names_the_file(session, damage):
    path = damage(session.category)
    result = session("fit", session.category / "spot")
    assert result.exit_code == 1 and result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1 and str(path) in lines[0] and "Traceback" not in result.stderr
    assert_nothing_partial(session.workspace)


def test_other_settings_need_force(finished):
    result = finished("fit", finished.category / "spot", settings=["fit.warmup_steps=77"])
    assert result.exit_code == 1
    assert (
        "fit.warmup_steps = " in result.stderr and ", not 77" in result.stderr and "--force" in result.stderr
    )
