from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from augment.data.export import MvtecWriter
from augment.data.folds import split
from augment.data.held_out import make_split
from augment.data.images import file_sha256, read_image, read_mask
from augment.data.layouts import read_category
from augment.detectors.base import AnomalyMap
from augment.errors import TargetError, WorkspaceError
from augment.jobs.benchmark import MEAN, SCORES, benchmark, with_means
from augment.recipe import BenchmarkConfig, Recipe
from augment.registry import DETECTORS
from augment.workspace import Manifest, Run, Workspace

RECIPE = Recipe(benchmark=BenchmarkConfig(detectors=("dark",)))


class DarkDetector:
    """Scores a pixel by how dark it is; counts its trainings and can fail in one."""

    trained: ClassVar[list[int]] = []
    fail_at: ClassVar[int | None] = None

    def __init__(self, config, *, seed, device):
        assert device == "cpu"
        self.seed = seed

    def fit(self, train, progress):
        if len(self.trained) == self.fail_at:
            raise KeyboardInterrupt
        self.trained.append(len(train))

    def predict(self, images):
        for image in images:
            scores = 255 - np.asarray(image[::2, ::2].mean(axis=2), dtype=np.float32) - self.seed
            yield AnomalyMap(scores, float(scores.max()))


@pytest.fixture(autouse=True)
def dark(monkeypatch):
    get = DETECTORS.get
    monkeypatch.setattr(DETECTORS, "get", lambda name: DarkDetector if name == "dark" else get(name))
    monkeypatch.setattr(DarkDetector, "trained", [])
    monkeypatch.setattr(DarkDetector, "fail_at", None)


@pytest.fixture
def category(small_category):
    return read_category(small_category, "parts")


@pytest.fixture
def workspace(tmp_path, category):
    workspace = Workspace(tmp_path / "runs")
    for fold in (0, 1):
        synthesize(workspace, category, fold)
    return workspace


def synthesize(workspace, category, fold, count=3, sources=None, finish=True):
    """A synthetic set as the job of that name leaves it: here, fit images turned upside down."""
    folder = workspace.synthetic_folder(category.key, fold)
    run = Run.open(folder, RECIPE, ["data"], 0, force=True)
    manifest = Manifest(folder / "manifest.jsonl")
    writer = MvtecWriter(folder, category.name)
    for defect, samples in category.defects.items():
        fit = split(samples, "two-fold", fold).fit
        for index in range(count):
            sample = (sources or fit)[index % len(fit)]
            image, mask = read_image(sample.image)[::-1].copy(), read_mask(sample.mask)[::-1].copy()
            image[0, 0] = index
            paths = writer.write(defect, index, image, mask)
            names = dict(
                zip(("image", "mask"), (str(path.relative_to(folder)) for path in paths), strict=True)
            )
            entry = {"id": f"{defect}/{index:04d}", "defect": defect, "index": index, **names}
            manifest.append(entry | {"source_sha256": file_sha256(sample.image)})
    if finish:
        run.finish()


def run(category, workspace, recipe=RECIPE, **options):
    return benchmark([category], recipe, workspace, device="cpu", **options)


def test_rows_of_both_trainings_folds_defects_and_means(category, workspace):
    result = run(category, workspace)
    rows = result.rows
    assert DarkDetector.trained == [6 + 4, 6 + 4 + 6] * 2
    pooled = rows[rows["defect"] == "all"]
    assert list(zip(pooled["fold"], pooled["training"], strict=True)) == [
        (fold, training) for fold in ("0", "1", MEAN) for training in ("real-only", "real+synthetic")
    ]
    assert set(rows["defect"]) == {"all", "scratch", "spot"}
    assert pooled["n_real"].tolist() == [4] * 6 and pooled["n_synthetic"].tolist() == [0, 6] * 3
    assert pooled["n_test"].iloc[0] == 4 + 3 and pooled["n_good"].iloc[0] == 6
    assert rows[rows["defect"] == "spot"]["n_real"].iloc[0] == 2
    assert rows[list(SCORES)].apply(lambda column: column.between(0, 1)).all(axis=None)
    means = pooled[list(SCORES)].to_numpy()
    np.testing.assert_allclose(means[4:], (means[:2] + means[2:4]) / 2)


def test_results_are_written_and_alike(category, workspace):
    result = run(category, workspace, fold=0)
    assert result.folder == workspace.benchmark_folder("parts/washer", "dark")
    table = pd.read_csv(result.csv)
    assert json.loads(result.json.read_text()) == json.loads(result.rows.to_json(orient="records"))
    assert len(table) == len(result.rows) == 6
    assert Image.open(result.picture).width > 800
    assert (result.folder / "scores.png").is_file()
    text = result.table()
    assert len(text.splitlines()) == 2 + 2 and "pixel_aupro" in text and "scratch" not in text


def test_scores_do_not_depend_on_when_a_row_was_made(category, workspace):
    whole = run(category, workspace).rows
    again = run(category, workspace).rows
    assert len(DarkDetector.trained) == 4  # nothing was trained anew
    pd.testing.assert_frame_equal(whole, again)
    run(category, workspace, force=True)
    assert len(DarkDetector.trained) == 8


def test_a_killed_benchmark_redoes_only_what_is_unfinished(category, workspace):
    DarkDetector.fail_at = 2
    with pytest.raises(KeyboardInterrupt):
        run(category, workspace)
    folder = workspace.benchmark_folder("parts/washer", "dark")
    assert not Run.find(folder).done
    DarkDetector.fail_at = None
    result = run(category, workspace)
    assert len(DarkDetector.trained) == 4 and Run.find(folder).done
    fresh = run(category, workspace, force=True)
    drop = ["seconds"]
    pd.testing.assert_frame_equal(result.rows.drop(columns=drop), fresh.rows.drop(columns=drop))


def test_more_synthetic_images_redo_only_the_trainings_on_them(category, workspace):
    run(category, workspace, fold=0)
    synthesize(workspace, category, 0, count=4)
    rows = run(category, workspace, fold=0).rows
    assert DarkDetector.trained == [10, 16, 18]
    assert rows["n_synthetic"].max() == 8


def test_more_seeds_extend_and_other_settings_are_refused(category, workspace):
    run(category, workspace, fold=0)
    seeds = replace(RECIPE, benchmark=replace(RECIPE.benchmark, seeds=(0, 5)))
    assert set(run(category, workspace, seeds, fold=0).rows["seed"]) == {"0", "5", MEAN}
    assert len(DarkDetector.trained) == 4
    other = replace(RECIPE, benchmark=replace(RECIPE.benchmark, aupro_limit=0.1))
    with pytest.raises(WorkspaceError, match=r"aupro_limit.*--force"):
        run(category, workspace, other, fold=0)


def test_synthetic_per_defect_limits_them(category, workspace):
    recipe = replace(RECIPE, benchmark=replace(RECIPE.benchmark, synthetic_per_defect=1))
    assert run(category, workspace, recipe, fold=1).rows["n_synthetic"].max() == 2


def test_only_defects_with_synthetic_images_count(category, workspace):
    chosen = replace(category, defects={"spot": category.defects["spot"]})
    rows = run(chosen, workspace, fold=0).rows
    assert set(rows["defect"]) == {"all"} and DarkDetector.trained == [8, 11]


def test_no_file_is_trained_and_tested_on_and_the_run_proves_it(category, workspace):
    run(category, workspace)
    for fold in (0, 1):
        path = workspace.benchmark_folder("parts/washer", "dark") / f"files_fold{fold}.json"
        parts = json.loads(path.read_text())
        tested = set(parts.pop("test").values())
        assert len(tested) == 4 + 4 + 3  # images, their masks, good images
        assert parts.pop("groups") == []
        for files in parts.values():
            assert files and not tested & set(files.values())
            assert all(file_sha256(Path(name)) == digest for name, digest in files.items())


def test_shots_of_one_part_are_on_one_side_and_the_run_says_which_they_are(small_category, workspace):
    for folder, name in (("test", "{}.png"), ("ground_truth", "{}_mask.png")):
        image = read_image(small_category / folder / "spot" / name.format("000"))
        darker = image if folder == "ground_truth" else (0.8 * image).astype(np.uint8)
        Image.fromarray(darker).save(small_category / folder / "spot" / name.format("again"))
    category = read_category(small_category, "parts")
    synthesize(workspace, category, 0, sources=category.defects["spot"][:1] * 3)
    part = make_split(category, RECIPE, workspace, 0)
    shots = [str(small_category / "test" / "spot" / name) for name in ("000.png", "again.png")]
    record = part.record()
    assert record["groups"] == [shots]
    assert all(shot in record["real"] for shot in shots)
    plain = make_split(
        category, replace(RECIPE, data=replace(RECIPE.data, group_duplicates=False)), workspace, 0
    ).record()
    assert plain["groups"] == [] and shots[0] in plain["real"] and shots[1] in plain["test"]


def test_synthetic_images_made_from_test_images_are_refused(category, workspace):
    test = split(category.defects["spot"], "two-fold", 0).test
    synthesize(workspace, category, 0, sources=test)
    with pytest.raises(WorkspaceError, match=f"{test[0].image}, which is a test image"):
        run(category, workspace, fold=0)
    assert DarkDetector.trained == []


def test_a_fit_that_saw_test_images_is_refused(category, workspace):
    test = split(category.defects["spot"], "two-fold", 0).test
    sources = {str(sample.image): file_sha256(sample.image) for sample in test}
    Run.open(workspace.fit_folder("parts/washer/spot", 0), RECIPE, ["fit"], 0, sources=sources).finish()
    with pytest.raises(WorkspaceError, match="test image of fold 0"):
        run(category, workspace, fold=0)


def test_a_copy_of_a_test_image_is_not_trained_on(category, workspace, caplog):
    shutil.copy(category.test_good[0].image, category.train_good[2].image)
    part = make_split(category, RECIPE, workspace, 0)
    assert len(part.good) == 5 and category.train_good[2] not in part.good
    assert str(category.train_good[2].image) in caplog.text


def test_without_an_honest_synthetic_set_there_is_no_benchmark(tmp_path, category):
    workspace = Workspace(tmp_path / "runs")
    with pytest.raises(WorkspaceError, match="augment synthesize"):
        run(category, workspace)
    synthesize(workspace, category, 0, finish=False)
    with pytest.raises(WorkspaceError, match="no finished synthetic images"):
        run(category, workspace)
    Run.open(workspace.synthetic_folder(category.key, "all"), RECIPE, ["data"], 0).finish()
    with pytest.raises(WorkspaceError, match="fitted on all real images"):
        run(category, workspace)


def test_an_unknown_detector_is_found_at_once(category, workspace):
    with pytest.raises(TargetError, match="unet"):
        run(category, workspace, detectors=("dark", "unett"))
    assert DarkDetector.trained == []


def test_several_categories_get_a_mean(tmp_path, category, workspace):
    other = replace(category, name="nut")
    synthesize(workspace, other, 0)
    result = benchmark([category, other], RECIPE, workspace, fold=0, device="cpu")
    assert result.folder == workspace.root / "benchmarks"
    pooled = result.rows[result.rows["defect"] == "all"]
    assert pooled["category"].tolist() == ["parts/washer"] * 2 + ["parts/nut"] * 2 + [MEAN] * 2
    for path in (result.csv, result.json, result.picture):
        assert path.is_file()


def test_means_weigh_categories_alike():
    keys = {"defect": "all", "detector": "dark", "training": "real-only", "fold": "0"}
    rows = pd.DataFrame(
        [
            {"category": "a", **keys, "seed": "0", "pixel_ap": 0.0},
            {"category": "a", **keys, "seed": "1", "pixel_ap": 0.2},
            {"category": "b", **keys, "seed": "0", "pixel_ap": 0.9},
        ]
    )
    result = with_means(rows)
    assert result["category"].tolist() == ["a", "a", "b", "a", "b", MEAN]
    assert result["pixel_ap"].tolist() == pytest.approx([0, 0.2, 0.9, 0.1, 0.9, 0.5])
