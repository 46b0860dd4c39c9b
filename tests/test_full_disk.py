"""A disk that is really full or read-only: a tmpfs, which takes root to mount."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors
import torch
from click.testing import CliRunner, Result
from PIL import Image

from augment.cli import main

SETTINGS = {
    "backbone.resolution": 64,
    "window.minimum": 64,
    "adapt.steps": 2,
    "adapt.batch_size": 1,
    "adapt.images": 2,
    "adapt.windows_per_image": 1,
    "fit.steps": 4,
    "fit.checkpoint_every": 2,
    "fit.batch_size": 1,
    "fit.normal_batch_size": 1,
    "fit.normal_images": 2,
    "fit.windows_per_image": 1,
    "synthesize.num_inference_steps": 2,
    "synthesize.batch_size": 2,
}
MAY_DIFFER = ("created", "finished", "seconds", "revision")  # of a run.json


def mount(*options: str) -> bool:
    """Whether a mount succeeded."""
    if shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *options], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=32m", "augment-test", str(folder)):
        pytest.skip("mounting a small file system takes root, and a system that has tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


class Session:
    """Calls the command line on one defect, with a small backbone and few steps."""

    def __init__(self, workspace: Path, backbone: Path, category: Path):
        self.workspace = workspace
        values = {"backbone.model": backbone, **SETTINGS}
        settings = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
        self.words = {
            "fit": ["fit", f"{category}/spot", "--recipe", "tiny", *settings],
            "synthesize": ["synthesize", "-n", "6"],
        }

    def __call__(self, command: str) -> Result:
        words = [*self.words[command], "--workspace", str(self.workspace), "--device", "cpu"]
        return CliRunner().invoke(main, words)

    def finish(self, command: str) -> None:
        result = self(command)
        assert result.exit_code == 0, result.output

    def files(self) -> dict[str, bytes | dict]:
        """Every file, which must be whole; of a run.json what may not differ."""
        found: dict[str, bytes | dict] = {}
        for path in sorted(self.workspace.rglob("*")):
            if not path.is_file():
                continue
            content: bytes | dict = path.read_bytes()
            if path.suffix == ".json":
                content = json.loads(content)
            elif path.suffix == ".png":
                Image.open(path).load()
            elif path.suffix == ".pt":
                torch.load(path, weights_only=True)
            elif path.suffix == ".safetensors":
                with safetensors.safe_open(path, "pt") as file:
                    file.keys()
            if path.name == "run.json":
                content = {key: value for key, value in content.items() if key not in MAY_DIFFER}
            found[path.relative_to(self.workspace).as_posix()] = content
        return found


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, small_backbone, write_category) -> Session:
    """A session that fitted and painted with room enough."""
    folder = tmp_path_factory.mktemp("unbroken")
    session = Session(folder / "runs", small_backbone, write_category(folder / "parts" / "washer"))
    session.finish("fit")
    session.fitted = session.files()
    session.finish("synthesize")
    return session


def assert_one_line(result: Result, words: str) -> None:
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and words in errors[0] and "Traceback" not in result.output, result.output


@pytest.mark.parametrize("command", ["fit", "synthesize"])
def test_a_full_disk_loses_nothing_and_with_more_room_the_work_goes_on(
    unbroken, small_backbone, disk, command
):
    session = Session(disk / "runs", small_backbone, unbroken.workspace.parent / "parts" / "washer")
    if command == "synthesize":
        for name in ("adapted", "fits"):
            shutil.copytree(unbroken.workspace / name, disk / "runs" / name)
    ballast, failures, there = disk / "ballast", 0, session.files()
    free = shutil.disk_usage(disk).free
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free)
    for room in (0, 8, 20, 48, 128, 256, 512, 1024, 2048, 4096, 8192, 16384):  # KiB
        os.truncate(ballast, free - 1024 * room)
        result = session(command)
        if result.exit_code == 0:
            break
        failures += 1
        assert_one_line(result, "disk is full")
        now = session.files()
        grows = ("run.json", "manifest.jsonl", "checkpoint.pt", "config.json")
        lost = [path for path in there if not path.endswith(grows) and now.get(path) != there[path]]
        assert not lost
        assert not [path for path in now if path.endswith((".part", ".lock"))]
        there = now
    assert failures >= 4
    assert session.files() == (unbroken.fitted if command == "fit" else unbroken.files())


def test_a_read_only_workspace_is_one_line_and_what_is_done_can_be_read(unbroken, small_backbone, disk):
    session = Session(disk / "runs", small_backbone, unbroken.workspace.parent / "parts" / "washer")
    mount("-o", "remount,ro", str(disk))
    assert_one_line(session("fit"), "Read-only file system")
    mount("-o", "remount,rw", str(disk))
    for name in ("adapted", "fits"):
        shutil.copytree(unbroken.workspace / name, disk / "runs" / name)
    mount("-o", "remount,ro", str(disk))
    session.finish("fit")  # is skipped
    assert_one_line(session("synthesize"), "Read-only file system")
    mount("-o", "remount,rw", str(disk))
    session.finish("synthesize")
    assert session.files() == unbroken.files()
