"""MVTec AD's layout, with the liberties that users take, MVTec LOCO's and BTAD's.

::

    CATEGORY/
      train/good/*.png                         BTAD: train/ok
      test/good/*.png                          may be absent; BTAD: test/ok
      test/DEFECT/000.png
      ground_truth/DEFECT/000_mask.png         or 000.png, in any image format
      ground_truth/DEFECT/000/000.png, ...     MVTec LOCO: one folder of masks an image, merged

`ground_truth/good` and LOCO's `validation` are passed over.
"""

from __future__ import annotations

from pathlib import Path

from augment.data.images import check_name, is_folder
from augment.data.layouts.listing import CategoryFiles, images_in, match_files, subfolders
from augment.data.sample import GOOD

_OK = "ok"  # BTAD's word for good


def matches(folder: Path) -> bool:
    """Whether `folder` holds `train/good` or `test`."""
    return is_folder(folder / "train" / GOOD) or is_folder(folder / "test")


def defect_names(root: Path) -> list[str]:
    """What `test` holds beside good images."""
    good = _good_name(root)
    return [check_name(path).name for path in subfolders(root / "test") if path.name != good]


def list_files(root: Path) -> CategoryFiles:
    """All files of the category."""
    good, names = _good_name(root), defect_names(root)
    train, test, masks = root / "train" / good, root / "test", root / "ground_truth"
    return CategoryFiles(
        train_good=images_in(train),
        test_good=images_in(test / good),
        defects={name: match_files(name, test / name, masks / name) for name in names},
        train_folder=train,
        test_folder=test / good,
        stray_masks={
            folder: test / folder.name for folder in subfolders(masks) if folder.name not in (*names, good)
        },
        folders=(train, *subfolders(test), *subfolders(masks)),
    )


def _good_name(root: Path) -> str:
    train = root / "train"
    return _OK if is_folder(train / _OK) and not is_folder(train / GOOD) else GOOD
