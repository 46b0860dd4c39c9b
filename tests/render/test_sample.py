from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment.errors import WorkspaceError
from augment.render import sample

COUNTS = {"n_train": 3, "n_good": 2, "n_defect": 2, "size": 64}


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_layout_is_mvtec_s(tmp_path: Path) -> None:
    assert sample.render_dataset(tmp_path / "sample", **COUNTS) == tmp_path / "sample"
    expected = set()
    for name, series in sample.CATEGORIES.items():
        expected |= {f"{name}/train/good/{i:03d}.png" for i in range(3)}
        expected |= {f"{name}/test/good/{i:03d}.png" for i in range(2)}
        for defect in series.defects:
            expected |= {f"{name}/test/{defect}/{i:03d}.png" for i in range(2)}
            expected |= {f"{name}/ground_truth/{defect}/{i:03d}_mask.png" for i in range(2)}
    assert set(_bytes(tmp_path / "sample")) == expected
    for path in (tmp_path / "sample").rglob("*.png"):
        image = Image.open(path)
        assert image.size == (64, 64)
        assert image.mode == ("L" if path.stem.endswith("_mask") else "RGB")
        if image.mode == "L":
            assert set(np.unique(image)) == {0, 255}


def test_same_seed_same_bytes_and_other_seed_other_pictures(tmp_path: Path) -> None:
    first, second, other = (
        _bytes(sample.render_dataset(tmp_path / name, **COUNTS, seed=seed))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == second
    assert all(first[name] != other[name] for name in first)
    assert len(set(first.values())) == len(first), "no two pictures alike"


def test_an_existing_category_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "bottle").mkdir()
    (tmp_path / "bottle" / "mine.txt").write_text("keep")
    sample.render_dataset(tmp_path, **COUNTS)
    assert list(_bytes(tmp_path / "bottle")) == ["mine.txt"]
    assert (tmp_path / "metal" / "train" / "good" / "002.png").is_file()


def test_an_interrupted_rendering_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, pixels: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sample, "_save", fail)
    with pytest.raises(WorkspaceError, match=r"sample.*No space left"):
        sample.render_dataset(tmp_path / "sample", **COUNTS)
    assert list((tmp_path / "sample").iterdir()) == []


def test_a_file_in_the_way_is_a_workspace_error(tmp_path: Path) -> None:
    (tmp_path / "sample").write_text("")
    with pytest.raises(WorkspaceError, match="sample"):
        sample.render_dataset(tmp_path / "sample", **COUNTS)
