"""anomalib's data modules open an exported category unchanged. One module, as importing anomalib is slow."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from augment.data.export import MvtecWriter
from augment.data.sample import Sample

pytest.importorskip("anomalib")
COUNTS = {"crack": 12, "dent": 3}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """`plate`: 5 + 2 normal images, 12 cracks, 3 dents; sources are JPEG, grey and RGB."""
    folder = tmp_path_factory.mktemp("exported set")
    rng = np.random.default_rng(0)
    sources = []
    for index in range(7):
        pixels = rng.integers(0, 256, (40, 56, 3) if index % 2 else (40, 56), dtype=np.uint8)
        path = folder / f"source {index}.jpg"
        Image.fromarray(pixels).save(path)
        sources.append(Sample(path, None, "good"))
    writer = MvtecWriter(folder / "out", "plate")
    writer.write_good(sources[:5], sources[5:])
    for defect, count in COUNTS.items():
        for index in range(count):
            mask = np.zeros((40, 56), bool)
            mask[5 : 7 + index, 8:20] = True  # its area tells the index
            writer.write(defect, index, rng.integers(0, 256, (40, 56, 3), dtype=np.uint8), mask)
    return folder / "out"


def check(samples) -> None:
    """Every defect image has the mask of its own number; every file is read at its own size."""
    defects = 0
    for item in samples:
        image = item.image_path.split("/")
        assert tuple(item.image.shape) == (3, 40, 56)
        if bool(item.gt_label):
            assert item.mask_path.endswith(f"{image[-2]}/{image[-1][:4]}_mask.png")
            assert int(item.gt_mask.sum()) == 12 * (2 + int(image[-1][:4]))
            defects += 1
        else:
            assert image[-2] == "good"
            assert not item.gt_mask.any()
    assert defects == sum(COUNTS.values())


def test_mvtec_data_module(exported):
    from anomalib.data import MVTecAD

    module = MVTecAD(root=exported, category="plate", val_split_mode="none", num_workers=0)
    module.setup()
    assert len(module.train_data) == 5
    assert not any(bool(item.gt_label) for item in module.train_data)
    assert len(module.test_data) == 2 + sum(COUNTS.values())
    check(module.test_data)


def test_folder_data_module(exported):
    from anomalib.data import Folder

    module = Folder(
        name="plate",
        root=exported / "plate",
        normal_dir="train/good",
        normal_test_dir="test/good",
        abnormal_dir=[f"test/{defect}" for defect in COUNTS],
        mask_dir=[f"ground_truth/{defect}" for defect in COUNTS],
        val_split_mode="none",
        num_workers=0,
    )
    module.setup()
    assert len(module.train_data) == 5
    assert len(module.test_data) == 2 + sum(COUNTS.values())
    check(module.test_data)
