from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from augment.data.export import MvtecWriter
from augment.data.folds import split
from augment.data.held_out import make_split
from augment.data.images import file_sha256, read_image, read_mask
from augment.data.layouts import read_category
from augment.detectors.base import AnomalyMap
from augment.errors import RecipeError, TargetError, WorkspaceError
from augment.jobs.benchmark import benchmark
from augment.jobs.columns import Column, columns_of, generators_of, labels_of
from augment.jobs.trainings import SCORES
from augment.recipe import BenchmarkConfig, Recipe, UNetConfig
from augment.registry import DETECTORS
from augment.workspace import Manifest, Run, Workspace

RECIPE = Recipe(benchmark=BenchmarkConfig(detectors=("dark",), resamples=20))


class DarkDetector:
    """Scores a pixel by how dark it is; counts its trainings and can fail in one."""

    uses_anomalies: ClassVar[bool] = True
    trained: ClassVar[list[int]] = []
    fail_at: ClassVar[int | None] = None

    def __init__(self, config, *, seed, device):
        assert device == "cpu"
        self.seed = seed

    def estimate(self, train):
        return 90.0

    def fit(self, train, progress, checkpoint=None):
        if len(self.trained) == self.fail_at:
            raise KeyboardInterrupt
        self.trained.append(len(train))
        if checkpoint is not None:  # the first of two checks is the better one
            self.sign = 1
            checkpoint()
            self.sign = -1
            checkpoint()

    sign = 1

    def predict(self, images):
        for image in images:
            scores = 255 - np.asarray(image[::2, ::2].mean(axis=2), dtype=np.float32) - self.seed
            scores *= self.sign
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


def with_settings(**settings):
    return replace(RECIPE, benchmark=replace(RECIPE.benchmark, **settings))


def test_rows_of_both_columns_folds_and_defects(category, workspace):
    rows = run(category, workspace).rows
    assert DarkDetector.trained == [6 + 4, 6 + 4 + 6] * 2
    pooled = rows[rows["defect"] == "all"]
    assert list(zip(pooled["fold"], pooled["column"], strict=True)) == [
        (fold, column) for fold in ("0", "1") for column in ("real-only", "real+augment")
    ]
    assert set(rows["defect"]) == {"all", "scratch", "spot"} and set(rows["epoch"]) == {"last"}
    assert pooled["n_real"].tolist() == [4] * 4 and pooled["n_synthetic"].tolist() == [0, 6] * 2
    assert pooled["n_test"].iloc[0] == 4 + 3 and pooled["n_good"].iloc[0] == 6
    assert rows[rows["defect"] == "spot"]["n_real"].iloc[0] == 2
    assert rows[list(SCORES)].apply(lambda column: column.between(0, 1)).all(axis=None)


def test_results_are_written_and_alike(category, workspace):
    result = run(category, workspace, fold=0)
    assert result.folder == workspace.benchmark_folder("parts/washer", "dark")
    table = pd.read_csv(result.csv)
    stored = json.loads((result.folder / "scores.json").read_text())
    assert stored == json.loads(result.rows.to_json(orient="records"))
    assert len(table) == len(result.rows) == 6
    assert Image.open(result.folder / "maps.png").width > 800
    assert "no evidence either way" in result.page.read_text(encoding="utf-8")
    for name in ("scores.png", "scores.md", "scores.tex", "verdicts.json"):
        assert (result.folder / name).stat().st_size > 100
    assert result.text("csv") == result.csv.read_text().rstrip()
    assert "no evidence either way: pixel AP +0.0 [+0.0, +0.0]" in result.text()
    assert "\\toprule" in result.text("latex")


def test_scores_do_not_depend_on_when_a_row_was_made(category, workspace):
    whole = run(category, workspace).rows
    again = run(category, workspace).rows
    assert len(DarkDetector.trained) == 4  # nothing was trained anew
    pd.testing.assert_frame_equal(whole, again)
    run(category, workspace, force=True)
    assert len(DarkDetector.trained) == 8


def test_columns_of_numbers_baselines_and_synthetic_alone():
    config = BenchmarkConfig(n=(0, 25), baselines=("cutpaste",), synthetic_only=True)
    names = [column.key for column in columns_of(config, generators_of(config, "disentangled_inversion"))]
    assert names == [
        "real-only",
        "real+augment n=25",
        "augment-only n=25",
        "real+cutpaste n=25",
        "cutpaste-only n=25",
    ]
    assert list(labels_of(columns_of(config, ["augment"])).values())[1:] == ["real+augment", "augment-only"]
    several = columns_of(BenchmarkConfig(n=(5, 9)), ["augment"])
    assert labels_of(several)[several[2]] == "real+augment n=9"
    assert generators_of(config, "cutpaste") == ["cutpaste"]
    assert columns_of(BenchmarkConfig(), ["augment"]) == [Column(), Column("augment")]


def test_the_number_of_images_is_a_sweep(category, workspace):
    rows = run(category, workspace, with_settings(n=(0, 1, 3)), fold=0).rows
    assert DarkDetector.trained == [10, 12, 16]
    pooled = rows[rows["defect"] == "all"]
    assert pooled["n_synthetic"].tolist() == [0, 2, 6]
    with pytest.raises(WorkspaceError, match="augment synthesize -n 9"):
        run(category, workspace, with_settings(n=(9,)), fold=0)


def test_another_synthetic_set_is_a_column(category, workspace, tmp_path):
    other = Workspace(tmp_path / "other")
    synthesize(other, category, 0, count=2)
    rows = run(category, workspace, fold=0, sets={"augment": workspace, "unrefined": other}).rows
    assert DarkDetector.trained == [10, 16, 14]
    assert list(rows["column"].unique()) == ["real-only", "real+augment", "real+unrefined"]


def test_synthetic_alone_leaves_the_real_defects_out(category, workspace):
    rows = run(category, workspace, with_settings(synthetic_only=True), fold=0).rows
    assert DarkDetector.trained == [10, 16, 12]
    alone = rows[(rows["column"] == "augment-only") & (rows["defect"] == "all")].iloc[0]
    assert alone["n_real"] == 0 and alone["n_synthetic"] == 6


def test_a_detector_of_normal_images_is_trained_once(category, workspace, monkeypatch):
    monkeypatch.setattr(DarkDetector, "uses_anomalies", False)
    result = run(category, workspace, fold=0)
    assert len(DarkDetector.trained) == 1 and set(result.rows["column"]) == {"real-only"}
    assert result.verdicts == []


def test_the_oracle_is_a_row_of_its_own(category, workspace):
    rows = run(category, workspace, with_settings(oracle_checks=2), fold=0).rows
    pooled = rows[(rows["defect"] == "all") & (rows["column"] == "real-only")].set_index("epoch")
    assert set(pooled.index) == {"last", "oracle"}
    assert pooled["pixel_ap"]["oracle"] > pooled["pixel_ap"]["last"]


def test_it_says_how_long_it_will_take(category, workspace):
    lines = []
    run(category, workspace, fold=0, say=lines.append)
    assert lines[0] == "2 trainings to do (dark about 90 s each); 3 min left"
    assert lines[1].startswith("1/2 dark, parts/washer, fold0/seed0/real-only: pixel AP ")
    assert len(lines) == 3 and "left" not in lines[2]


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


def test_several_trainings_at_a_time_give_the_same_rows_and_maps(category, workspace, tmp_path):
    """Here with one thread each; with another number of threads, sums are made in another order."""
    small = {"image_size": 32, "base_width": 4, "epochs": 1, "steps_per_epoch": 2}
    recipe = with_settings(detectors=("unet",), unet=UNetConfig(**small), seeds=(0, 1))
    threads, lines = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        together = run(category, workspace, recipe, fold=0, jobs=3, say=lines.append)
        shutil.copytree(together.folder / "maps", tmp_path / "maps")
        one_by_one = run(category, workspace, recipe, fold=0, force=True)
    finally:
        torch.set_num_threads(threads)
    drop = ["seconds"]
    pd.testing.assert_frame_equal(together.rows.drop(columns=drop), one_by_one.rows.drop(columns=drop))
    maps = sorted((tmp_path / "maps").iterdir())
    assert len(maps) == 4
    for path in maps:
        with np.load(path) as ours, np.load(one_by_one.folder / "maps" / path.name) as theirs:
            assert all(np.array_equal(ours[name], theirs[name]) for name in ours.files)
    assert lines[0].startswith("4 trainings to do, 3 at a time (unet about ")
    assert [line[:3] for line in lines[1:]] == ["1/4", "2/4", "3/4", "4/4"]


def test_more_synthetic_images_redo_only_the_trainings_on_them(category, workspace):
    run(category, workspace, fold=0)
    synthesize(workspace, category, 0, count=4)
    rows = run(category, workspace, fold=0).rows
    assert DarkDetector.trained == [10, 16, 18]
    assert rows["n_synthetic"].max() == 8


def test_more_seeds_extend_and_other_settings_are_refused(category, workspace):
    run(category, workspace, fold=0)
    seeds = replace(RECIPE, benchmark=replace(RECIPE.benchmark, seeds=(0, 5)))
    assert set(run(category, workspace, seeds, fold=0).rows["seed"]) == {"0", "5"}
    assert len(DarkDetector.trained) == 4
    other = replace(RECIPE, benchmark=replace(RECIPE.benchmark, aupro_limit=0.1))
    with pytest.raises(WorkspaceError, match=r"aupro_limit.*--force"):
        run(category, workspace, other, fold=0)


def test_a_setting_that_fails_before_the_first_training_does_not_bind(category, workspace):
    unet = {"base_width": 4, "epochs": 1, "steps_per_epoch": 1}

    def bench(**settings):
        recipe = with_settings(unet=UNetConfig(**unet | settings))
        return run(category, workspace, recipe, detectors=["unet"], fold=0)

    folder = workspace.benchmark_folder("parts/washer", "unet")
    with pytest.raises(RecipeError, match="image_size"):
        bench(image_size=33)
    assert "image_size: 33" in (folder / "recipe.yaml").read_text()
    assert len(bench(image_size=32).rows) == 6
    assert Run.is_done(folder) and "image_size: 32" in (folder / "recipe.yaml").read_text()
    with pytest.raises(WorkspaceError, match=r"image_size = 32, not 33.*--force"):
        bench(image_size=33)
    (folder / "manifest.jsonl").unlink()  # the results are still there
    with pytest.raises(WorkspaceError, match="--force"):
        bench(image_size=33)


def test_a_run_killed_in_its_second_training_binds(category, workspace, monkeypatch):
    for fail_at, settings in ((0, {}), (1, {"aupro_limit": 0.1})):
        monkeypatch.setattr(DarkDetector, "fail_at", fail_at)
        with pytest.raises(KeyboardInterrupt):
            run(category, workspace, with_settings(**settings), fold=0)
    with pytest.raises(WorkspaceError, match=r"aupro_limit = 0.1, not 0.3"):
        run(category, workspace, fold=0)


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
    part = make_split(category, RECIPE, {"augment": workspace}, 0)
    shots = [str(small_category / "test" / "spot" / name) for name in ("000.png", "again.png")]
    record = part.record()
    assert record["groups"] == [shots]
    assert all(shot in record["real"] for shot in shots)
    plain = make_split(
        category,
        replace(RECIPE, data=replace(RECIPE.data, group_duplicates=False)),
        {"augment": workspace},
        0,
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
    part = make_split(category, RECIPE, {"augment": workspace}, 0)
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


def test_several_categories_share_a_table(tmp_path, category, workspace):
    other = replace(category, name="nut")
    synthesize(workspace, other, 0)
    result = benchmark([category, other], RECIPE, workspace, fold=0, device="cpu")
    assert result.folder == workspace.root / "benchmarks"
    pooled = result.rows[result.rows["defect"] == "all"]
    assert pooled["category"].tolist() == ["parts/washer"] * 2 + ["parts/nut"] * 2
    assert len(result.verdicts) == 2
    for path in (result.csv, result.page):
        assert path.is_file()
