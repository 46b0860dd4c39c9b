from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from augment.errors import WorkspaceError
from augment.recipe import load_recipe
from augment.workspace import Manifest, Run, Workspace, atomic_path, atomic_write_json, atomic_write_text

RECIPE = load_recipe()
SOURCES = {"test/crack/000.png": "aa", "test/crack/001.png": "bb"}


def open_run(folder: Path, *, overrides=(), seed=0, sources=SOURCES, **options) -> Run:
    recipe = load_recipe("tiny", overrides)
    return Run.open(folder, recipe, ["fit", "benchmark.unet"], seed, sources=sources, **options)


# --- writes ----------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a" / "file.txt"
    atomic_write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_the_temporary_name_is_hidden_and_has_no_image_suffix(tmp_path):
    with atomic_path(tmp_path / "000.png") as temporary:
        assert temporary.name == ".000.png.part"
        temporary.write_bytes(b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["000.png"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "Read-only file system"),
        (errno.EACCES, "Permission denied"),
        (errno.EIO, "cannot be written"),
    ],
)
def test_a_full_or_read_only_disk_is_one_line_that_names_the_file(tmp_path, monkeypatch, code, words):
    def fail(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WorkspaceError, match=words) as caught:
        atomic_write_text(tmp_path / "file.txt", "text")
    assert str(tmp_path / "file.txt") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        open_run(tmp_path / "file" / "run")


def test_json_takes_numpy_and_paths(tmp_path):
    atomic_write_json(tmp_path / "a.json", {"x": np.float32(0.5), "y": np.arange(2), "p": Path("a/b")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 0.5, "y": [0, 1], "p": "a/b"}


# --- manifest --------------------------------------------------------------------------------------


def test_a_manifest_returns_what_was_appended(tmp_path):
    manifest = Manifest(tmp_path / "new" / "manifest.jsonl")
    manifest.append({"id": "crack/0000", "seed": np.int64(7)})
    manifest.append({"id": "crack/0001", "path": Path("é/x.png")})
    again = Manifest(manifest.path)
    assert again.entries() == [{"id": "crack/0000", "seed": 7}, {"id": "crack/0001", "path": "é/x.png"}]
    assert "crack/0001" in again and "crack/0002" not in again and len(again) == 2


def test_a_torn_last_line_is_dropped_and_overwritten(tmp_path):
    unbroken, torn = Manifest(tmp_path / "a.jsonl"), Manifest(tmp_path / "b.jsonl")
    for manifest in (unbroken, torn):
        manifest.append({"id": "0"})
    with torn.path.open("ab") as file:
        file.write(b'{"id": "1", "long')
    resumed = Manifest(torn.path)
    assert len(resumed) == 1
    for manifest in (unbroken, resumed):
        manifest.append({"id": "1"})
    assert torn.path.read_bytes() == unbroken.path.read_bytes()


def test_an_append_that_fails_halfway_does_not_spoil_the_next(tmp_path, monkeypatch):
    manifest = Manifest(tmp_path / "m.jsonl")
    manifest.append({"id": "0"})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(WorkspaceError, match="disk is full"):
            manifest.append({"id": "1", "note": "long" * 99})
    manifest.append({"id": "2"})
    assert [entry["id"] for entry in Manifest(manifest.path).entries()] == ["0", "2"]


def test_a_later_line_replaces_an_earlier_one_of_the_same_id(tmp_path):
    manifest = Manifest(tmp_path / "m.jsonl")
    for value in (1, 2):
        manifest.append({"id": "0", "value": value})
    assert manifest.entries() == Manifest(manifest.path).entries() == [{"id": "0", "value": 2}]


def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"id": "0"}\nrubbish\n{"id": "2"}\n')
    with pytest.raises(WorkspaceError, match=r"m\.jsonl, line 2"):
        Manifest(path)


# --- runs ------------------------------------------------------------------------------------------


def test_a_run_records_recipe_seed_versions_and_sources(tmp_path):
    run = open_run(tmp_path / "run", seed=3, overrides=["fit.steps=7"], extra={"defect": "crack"})
    record = json.loads((run.folder / "run.json").read_text())
    assert record["seed"] == 3 and record["sources"] == SOURCES and record["defect"] == "crack"
    assert record["versions"].keys() >= {"python", "torch", "diffusers", "augment-defects"}
    assert record["state"] == "unfinished" and not run.done
    assert "steps: 7" in (run.folder / "recipe.yaml").read_text()


def test_a_run_is_found_again_and_its_end_recorded(tmp_path):
    open_run(tmp_path / "run").finish(steps=300, loss=0.5)
    again = open_run(tmp_path / "run")
    assert again.done and again.info()["steps"] == 300
    again.reopen()
    assert not Run.find(tmp_path / "run").done
    assert Run.find(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed = 0, not 1"),
        ({"overrides": ["fit.steps=7"]}, f"fit.steps = {RECIPE.fit.steps}, not 7"),
        (
            {"overrides": ["benchmark.unet.epochs=9"]},
            f"benchmark.unet.epochs = {RECIPE.benchmark.unet.epochs}, not 9",
        ),
        ({"sources": SOURCES | {"test/crack/000.png": "cc"}}, "test/crack/000.png has changed"),
        ({"sources": SOURCES | {"test/crack/002.png": "cc"}}, "test/crack/002.png is new"),
        ({"sources": {"test/crack/000.png": "aa"}}, "test/crack/001.png is gone"),
    ],
)
def test_another_setting_seed_or_file_is_refused_without_force(tmp_path, change, words):
    first = open_run(tmp_path / "run")
    (first.folder / "model.bin").write_text("weights")
    with pytest.raises(WorkspaceError, match=words) as caught:
        open_run(tmp_path / "run", **change)
    assert "--force" in str(caught.value)
    assert (first.folder / "model.bin").exists()
    forced = open_run(tmp_path / "run", force=True, **change)
    assert not (forced.folder / "model.bin").exists()


def test_settings_a_run_does_not_depend_on_may_change(tmp_path):
    open_run(tmp_path / "run").finish()
    assert open_run(tmp_path / "run", overrides=["synthesize.feather=5", "benchmark.seeds=[1]"]).done


def test_settings_of_the_filter_matter_only_where_it_is_on(tmp_path):
    def open_set(name, *overrides):
        recipe = load_recipe("tiny", [f"synthesize.filter.{override}" for override in overrides])
        return Run.open(tmp_path / name, recipe, ["synthesize"], 0)

    others = "attempts=3", "margin=2.0", "criteria=[seam]"
    open_set("off", "enabled=false").finish()
    assert open_set("off", "enabled=false", *others).done
    with pytest.raises(WorkspaceError, match=r"filter\.enabled = False, not True"):
        open_set("off", "enabled=true", *others)
    open_set("on", "enabled=true").finish()
    for other in others:
        with pytest.raises(WorkspaceError, match=f"filter.{other.partition('=')[0]} = "):
            open_set("on", "enabled=true", other)
        with pytest.raises(WorkspaceError, match=r"filter\.enabled = True, not False"):
            open_set("on", "enabled=false", other)


def test_an_unreadable_record_is_one_line(tmp_path):
    run = open_run(tmp_path / "run")
    (run.folder / "run.json").write_text("{")
    with pytest.raises(WorkspaceError, match=r"run\.json cannot be read.*--force"):
        Run.find(run.folder)


# --- workspace -------------------------------------------------------------------------------------


def test_the_root_is_the_argument_else_the_environment_else_the_default(tmp_path, monkeypatch):
    assert Workspace().root == Path("augment-runs")
    monkeypatch.setenv("AUGMENT_WORKSPACE", str(tmp_path))
    assert Workspace().root == tmp_path
    assert Workspace("elsewhere").root == Path("elsewhere")


def test_every_run_is_listed(tmp_path):
    workspace = Workspace(tmp_path)
    assert workspace.runs() == []
    open_run(workspace.fit_folder("mvtec/bottle/crack", 0)).finish(steps=300)
    open_run(workspace.fit_folder("mvtec/bottle/crack", "all"))
    synthetic = open_run(workspace.synthetic_folder("mvtec/bottle", 0))
    Manifest(synthetic.folder / "manifest.jsonl").append({"id": "crack/0000"})
    open_run(workspace.benchmark_folder("mvtec/bottle", "unet")).finish()
    listed = [(r.kind, r.key, r.fold, r.detector, r.state, r.steps, r.images) for r in workspace.runs()]
    assert listed == [
        ("fit", "mvtec/bottle/crack", "all", None, "unfinished", None, None),
        ("fit", "mvtec/bottle/crack", 0, None, "done", 300, None),
        ("synthetic", "mvtec/bottle", 0, None, "unfinished", None, 1),
        ("benchmark", "mvtec/bottle", None, "unet", "done", None, None),
    ]
