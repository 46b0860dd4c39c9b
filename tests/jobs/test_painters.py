"""Painting on one device or in several processes: the same bytes, errors and deaths in one line, resuming."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from augment.data.targets import resolve_targets
from augment.errors import AugmentError, BackboneError, WorkspaceError
from augment.jobs.fit import fit
from augment.jobs.synthesize import synthesize
from augment.jobs.workers import Workers
from augment.recipe import Recipe, load_recipe
from augment.workspace import Workspace

SETTINGS = (
    "backbone.resolution=64",
    "window.minimum=64",
    "adapt.steps=2",
    "adapt.batch_size=1",
    "adapt.images=2",
    "adapt.windows_per_image=1",
    "fit.steps=2",
    "fit.batch_size=1",
    "fit.normal_images=2",
    "fit.windows_per_image=1",
    "synthesize.num_inference_steps=2",
    "synthesize.batch_size=2",
)
TWO = "cpu,cpu"


@pytest.fixture(scope="module")
def recipe(small_backbone) -> Recipe:
    return load_recipe("tiny", (f"backbone.model={small_backbone}", *SETTINGS))


@pytest.fixture(scope="module")
def category(tmp_path_factory, write_category) -> Path:
    return write_category(tmp_path_factory.mktemp("data") / "parts" / "washer")


@pytest.fixture(scope="module")
def single(tmp_path_factory, recipe, category) -> Workspace:
    """Both defects fitted and five images of each painted, by one process."""
    workspace = Workspace(tmp_path_factory.mktemp("single"))
    targets = resolve_targets([str(category)], None)
    fit(targets, recipe, workspace, device="cpu", dtype="float32")
    synthesize(targets, 5, recipe, workspace, device="cpu", dtype="float32")
    return workspace


def with_fits_of(workspace: Workspace, folder: Path) -> Workspace:
    import shutil

    shutil.copytree(workspace.root / "fits", folder / "fits")
    return Workspace(folder)


def tree(workspace: Workspace, part: str = "") -> dict[str, bytes]:
    """Relative path -> content of all weights, images and manifests."""
    found = sorted((workspace.root / part).rglob("*"))
    ends = (".png", ".safetensors", ".jsonl")
    return {p.relative_to(workspace.root).as_posix(): p.read_bytes() for p in found if p.suffix in ends}


@pytest.mark.parametrize("overlap", [0, 2])
def test_overlapping_with_the_device_changes_no_byte(single, recipe, category, tmp_path, overlap):
    workspace = with_fits_of(single, tmp_path)
    targets = resolve_targets([str(category)], None)
    other = replace(recipe, speed=replace(recipe.speed, overlap=overlap))
    synthesize(targets, 5, other, workspace, device="cpu", dtype="float32")
    assert tree(workspace, "synthetic") == tree(single, "synthetic")


def test_two_processes_fit_and_paint_the_bytes_of_one(single, recipe, category, tmp_path):
    workspace = Workspace(tmp_path)
    targets = resolve_targets([str(category)], None)
    results = fit(targets, recipe, workspace, device=TWO, dtype="float32")
    assert [result.key for result in results] == [target.key for target in targets]
    assert tree(workspace) == {k: v for k, v in tree(single).items() if not k.startswith("synthetic")}
    assert all(result.skipped for result in fit(targets, recipe, workspace, device=TWO, dtype="float32"))
    painted = synthesize(targets, 5, recipe, workspace, device=TWO, dtype="float32")
    assert [result.n for result in painted] == [5, 5]
    assert tree(workspace) == tree(single)


def test_killed_in_the_middle_it_resumes_to_the_same_bytes_and_leaves_no_process(
    single, recipe, category, tmp_path
):
    """SIGKILL to the parent alone, while its workers paint."""
    workspace = with_fits_of(single, tmp_path / "runs")
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    command = [sys.executable, "-m", "augment", "synthesize", str(category), "-n", "40", "--quiet"]
    command += ["--recipe", str(tmp_path / "recipe.yaml"), "--workspace", str(workspace.root)]
    command += ["--device", TWO, "--dtype", "float32"]
    process = subprocess.Popen(command, start_new_session=True)
    manifest = workspace.synthetic_folder("parts/washer", 0) / "manifest.jsonl"
    deadline = time.monotonic() + 600  # it is a matter of seconds, unless the machine is busy
    try:
        while not manifest.exists() or len(manifest.read_bytes().splitlines()) < 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
    process.wait()
    before = manifest.read_bytes().count(b"\n")
    deadline = time.monotonic() + 60
    while True:  # the workers are of its process group
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)
    assert 3 <= before < 80
    targets = resolve_targets([str(category)], None)
    synthesize(targets, 5, recipe, workspace, device="cpu", dtype="float32")
    ours, theirs = tree(workspace, "synthetic"), tree(single, "synthetic")
    images = [name for name in theirs if "/washer/" in name]
    assert images and all(ours[name] == theirs[name] for name in images)


def test_an_interruption_loses_nothing_that_was_painted_before(single, recipe, category, tmp_path):
    """A writer that fails at the third image: the first two are there, and the rest is painted later."""
    workspace = with_fits_of(single, tmp_path)
    targets = resolve_targets([str(category)], None)[:1]

    count = iter(range(2))

    def failing(real):
        def write(self, *arguments):
            if next(count, None) is None:
                raise WorkspaceError("The disk is full.")
            return real(self, *arguments)

        return write

    from augment.data.export import MvtecWriter

    with pytest.MonkeyPatch.context() as patch, pytest.raises(WorkspaceError, match="disk is full"):
        patch.setattr(MvtecWriter, "write", failing(MvtecWriter.write))
        synthesize(targets, 5, recipe, workspace, device="cpu", dtype="float32")
    manifest = workspace.synthetic_folder("parts/washer", 0) / "manifest.jsonl"
    assert len(manifest.read_text().splitlines()) == 2
    synthesize(resolve_targets([str(category)], None), 5, recipe, workspace, device="cpu", dtype="float32")
    assert tree(workspace, "synthetic") == tree(single, "synthetic")


def test_what_a_worker_raises_reaches_the_caller(single, recipe, category, tmp_path):
    workspace = with_fits_of(single, tmp_path)
    (workspace.fit_folder("parts/washer/scratch", 0) / "unet" / "config.json").write_text("{}")
    targets = resolve_targets([str(category / "scratch")], None)
    with pytest.raises(AugmentError, match="cannot be loaded"):
        synthesize(targets, 2, recipe, workspace, device=TWO, dtype="float32")


# --- the processes themselves ----------------------------------------------------------------------


def double(channel, device, setup):
    while True:
        value = channel.receive()
        if value == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        channel.send((device, setup * value))


def test_a_worker_gives_back_results_and_its_death_is_one_clear_line():
    with Workers(["cpu:0"], double, 2) as workers:
        workers.send(0, 21)
        assert workers.receive() == (0, ("cpu:0", 42))
        workers.send(0, "die")
        with pytest.raises(BackboneError, match=r"SIGKILL.*Run the same command again"):
            workers.receive()
        with pytest.raises(BackboneError, match="SIGKILL"):
            while True:
                workers.send(0, 1)
