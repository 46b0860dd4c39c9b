from __future__ import annotations

import json

import pytest

from augment.errors import WorkspaceError
from augment.workspace.staging import Staging


@pytest.fixture
def make(tmp_path):
    def make(fingerprint="a", force=False):
        return Staging(tmp_path / "set", tmp_path / "set.json", fingerprint, force=force)

    return make


def fill(staging, name="file"):
    (staging.open() / name).write_text(name)
    staging.finish({"facts": 1})


def test_a_folder_appears_whole_with_its_record(make, tmp_path):
    staging = make()
    folder = staging.open()
    (folder / "file").write_text("x")
    assert not (tmp_path / "set").exists()
    staging.finish({"facts": 1})
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["file"]
    assert json.loads((tmp_path / "set.json").read_text()) == {"fingerprint": "a", "facts": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "set.json"]


def test_the_same_work_goes_on_and_other_work_starts_anew(make):
    (make("a").open() / "half").write_text("x")
    assert (make("a").open() / "half").exists()
    assert not (make("b").open() / "half").exists()


def test_done_is_known_and_other_work_needs_force(make, tmp_path):
    fill(make())
    assert make().is_done and not make(force=True).is_done
    with pytest.raises(WorkspaceError, match="--force"):
        make("b")
    fill(make("b", force=True), "new")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["new"]


def test_what_something_else_made_is_never_replaced(make, tmp_path):
    (tmp_path / "set").mkdir()
    fill(make())  # an empty folder may be filled
    (tmp_path / "set.json").write_text("{}")
    with pytest.raises(WorkspaceError, match="no record"):
        make(force=True)
    (tmp_path / "set.json").unlink()
    with pytest.raises(WorkspaceError, match="no record"):
        make()


def test_killed_between_two_renames_loses_nothing(make, tmp_path):
    """The old folder is set aside, the new one is not in its place yet."""
    fill(make())
    (make("b", force=True).open() / "new").write_text("x")
    (tmp_path / "set").rename(tmp_path / ".set.old")
    fill(make("b"), "more")
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["more", "new"]
    assert not (tmp_path / ".set.old").exists()
