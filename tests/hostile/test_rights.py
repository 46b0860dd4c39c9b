"""Folders that may not be read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile.builders import GOOD, IMAGE, MASKS, Case
from hostile.outcomes import outcomes, run

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no permissions as Unix has them")


@contextmanager
def nobody(root: Path) -> Iterator[None]:
    """Root may read everything, so it becomes nobody for a while; `root` is given away first."""
    if os.geteuid():
        yield
        return
    for path in (root.parent, *root.parent.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that nobody may reach, which is not so of pytest's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        *((path, 0o000) for path in (".", "train", "test", IMAGE, MASKS, GOOD)),
        *(
            (path, mode)
            for path in ("train/good", "test/spot", "ground_truth/spot")
            for mode in (0o000, 0o400, 0o100)  # none, only to list, only to enter
        ),
        ("test", 0o100),
        ("train", 0o400),
    ],
)
def test_what_may_not_be_read_is_one_line(base, shared, path, mode):
    root = shutil.copytree(base, shared / "parts" / "plate")
    case = Case("no rights", lambda root: None, path)
    outcomes(case, base)  # imports everything, which nobody may not be able to
    with nobody(root):
        (root / path).chmod(mode)
        try:
            found = outcomes(case, root)
        finally:
            (root / path).chmod(0o755)
    for name, outcome in found.items():
        assert outcome.crash is None, f"{name}: {outcome.crash!r}"
    for command in ("augment check", "augment fit"):
        result = found[command].value
        assert result.exit_code == 1, result.output
        lines = [line for line in result.output.splitlines() if line.lower().startswith("error: ")]
        name = "plate" if path == "." else path
        assert any(name in line and "readable" in line for line in lines), result.output


def test_a_folder_that_may_only_be_read_is_enough(base, shared):
    root = shutil.copytree(base, shared / "parts" / "plate")
    case = Case("read only", lambda root: None)
    before = outcomes(case, root)
    with nobody(root):
        for path in (root, *root.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        found = outcomes(case, root)
    for command in ("augment check", "augment fit"):
        assert found[command].value.exit_code == 0
        assert found[command].value.output == before[command].value.output


def test_folders_nearby_that_may_not_be_read_do_not_hide_a_typo(base, shared):
    root = shutil.copytree(base, shared / "parts" / "plate")
    (root.parent / "secret").mkdir()
    run("check", str(root))
    with nobody(root):
        (root.parent / "secret").chmod(0)
        result = run("check", str(root.parent / "plat"))
        by_card = run("check", "mvtek", "--data-root", str(root.parent))
        (root.parent / "secret").chmod(0o755)
    assert result.exit_code == 1 and "Did you mean plate" in result.stderr
    assert by_card.exit_code == 1 and "Did you mean mvtec" in by_card.stderr
