"""Whether a category shows parts on a ground or textures that fill the image, and where each part is.

Found from the good images alone, and kept (see `kept`); or the user's own masks of them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from augment.data.ground import SIDE, Part, enlarged, find_part
from augment.data.images import image_size, is_folder, list_images, read_image, read_mask, to_rgb
from augment.data.kept import kept
from augment.data.poses import agreement, upright
from augment.data.sample import Category
from augment.errors import DataError
from augment.progress import Progress, no_progress

AUTO, NONE = "auto", "none"

_VERSION = 1  # of the estimate; raise it with every change that may find something else
_IMAGES = 24  # good images looked at
_SHARE = (0.015, 0.92)  # of an image that a part may take
_ON_FRAME, _ALIKE = 0.22, 0.75  # of the frame: at most part, at least of one look
_CONTRAST = 4.0
_MOST = 0.75  # share of the images that must show such a part
_ONE_SHAPE = 0.75  # mean agreement of the parts' shapes from which they are one kind of part
_ALIGNED = 0.85  # mean agreement of where they lie from which all lie alike
_ODD = 0.85  # agreement with the usual place, in the usual agreement, under which an estimate is not believed
_SYMMETRIC = 0.9  # agreement with its mirror image from which a part may be mirrored

_found: dict[tuple, dict] = {}  # of this process


@dataclass(frozen=True)
class Foreground:
    """Where the parts of a category are.

    Attributes:
        is_object: parts on a ground; else textures, whose foreground is the whole image.
        is_aligned: all parts lie alike in their images.
        flips: whether a part may be mirrored (left to right, top to bottom) and still look like one; of parts
            that lie differently, once its axis lies along x.
        usual: bool (192, 192), where aligned parts lie; of others their shape; None for textures.
        shares: smallest, middle and largest share of an image that is part.
        images: number of good images it was found from.
        folder: of the user's own masks; None: found, or turned off.
        how: in words, why it is what it is.
    """

    is_object: bool
    is_aligned: bool = True
    flips: tuple[bool, bool] = (True, True)
    usual: np.ndarray | None = None
    shares: tuple[float, float, float] = (1.0, 1.0, 1.0)
    agreement: float = 1.0
    images: int = 0
    folder: Path | None = None
    how: str = ""

    def mask(self, image: np.ndarray, path: Path | None = None) -> np.ndarray:
        """Where the part is in an image of the category.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            path: its file where it is a good training image, whose own mask the user may have drawn.

        Returns:
            bool (H, W), never empty: all of it for a texture, and where no part like the others is found.

        Raises:
            DataError: the user's mask is unreadable, empty or of another size.
        """
        shape = image.shape[:2]
        if not self.is_object:
            return np.ones(shape, dtype=bool)
        if self.folder is not None and path is not None:
            own = _named(self.folder).get(path.stem)
            if own is not None:
                return read_mask(own, shape)
        found = find_part(to_rgb(image)).mask
        if self.is_aligned:
            usual = enlarged(self.usual, found.shape)
            if agreement(found, usual) < _ODD * self.agreement:
                found = usual
        elif not self.shares[0] / 2 <= found.mean() <= min(2 * self.shares[2], 1):
            found = np.ones_like(found)
        return enlarged(found, shape)

    def record(self) -> dict[str, Any]:
        """What a run's record says of it."""
        return {
            "kind": "object" if self.is_object else "texture",
            "how": self.how,
            "aligned": self.is_aligned,
            "flips": list(self.flips),
            "share": [round(share, 4) for share in self.shares],
            "images": self.images,
            "folder": None if self.folder is None else str(self.folder),
        }

    def __str__(self) -> str:
        if not self.is_object:
            return f"the whole image is foreground ({self.how})"
        lie = "all lying alike" if self.is_aligned else "lying differently"
        return f"parts on a ground, {lie}, {self.shares[1]:.0%} of an image ({self.how})"


def find_foreground(category: Category, setting: str = AUTO, progress: Progress = no_progress) -> Foreground:
    """What the setting `synthesize.masks.foreground` says of a category.

    Args:
        category: its good training images decide.
        setting: `auto`, `none`, or a folder of masks named as the good images are.
        progress: makes a bar.

    Raises:
        DataError: an image cannot be read; the folder lacks a good image's mask, or one is of another size.
    """
    if setting == NONE:
        return Foreground(False, how="turned off")
    good = [sample.image for sample in category.train_good]
    chosen = _spread(good, _IMAGES)
    if setting == AUTO:
        found = kept(
            "foreground",
            "estimate",
            _VERSION,
            [chosen],
            lambda: _packed(_estimate(chosen, progress)),
            lambda value: isinstance(value, dict) and "kind" in value,
            _found,
        )
        return _unpacked(found)
    folder = Path(setting)
    own = _own_masks(folder, good)
    masks = [read_mask(own[path.stem], image_size(path)) for path in chosen]
    return _described(masks, folder, f"{len(good)} masks of {folder}")


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    """Up to `count` of them, evenly spread over all."""
    steps = np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int))
    return [paths[step] for step in steps]


def _own_masks(folder: Path, images: Sequence[Path]) -> dict[str, Path]:
    """The user's masks by name, one for each image at least."""
    own = _named(folder) if is_folder(folder) else {}
    if not own:
        raise DataError(
            f"The foreground folder {folder} holds no masks: expected one for each good image, of its name; "
            f"or set synthesize.masks.foreground to {AUTO} or {NONE}."
        )
    missing = [path.name for path in images if path.stem not in own]
    if missing:
        raise DataError(
            f"The foreground folder {folder} lacks the masks of {len(missing)} of {len(images)} good images, "
            f"such as {missing[0]}: add them, named as the images are."
        )
    return own


def _named(folder: Path) -> dict[str, Path]:
    """Mask files by the stem of the image they belong to (`000.png` or `000_mask.png` for 000.png)."""
    return {path.stem.removesuffix("_mask"): path for path in list_images(folder)}


def _estimate(paths: Sequence[Path], progress: Progress) -> Foreground:
    """Look at each image, and decide by what most show."""
    parts = [
        find_part(to_rgb(read_image(path)))
        for path in progress(paths, desc="looking for the parts", unit="image")
    ]
    shown = [part for part in parts if _is_part(part)]
    if len(shown) < _MOST * len(parts):
        alone = f"{len(shown)} of {len(parts)} good images show a part on a ground"
        return Foreground(False, images=len(parts), how=alone)
    found = _described(
        [part.mask for part in shown], None, f"found in {len(shown)} of {len(parts)} good images"
    )
    if not found.is_aligned and _one_shape(shown) < _ONE_SHAPE:
        return Foreground(
            False, images=len(parts), how="what stands out in good images has no shape in common"
        )
    return found


def _is_part(part: Part) -> bool:
    """Whether what was found may be a part on its ground."""
    fits = _SHARE[0] <= part.share <= _SHARE[1] and part.contrast >= _CONTRAST
    return fits and part.on_frame <= _ON_FRAME and part.frame_alike >= _ALIKE


def _one_shape(parts: Sequence[Part]) -> float:
    """Mean agreement of the parts' shapes with their usual one, however each lies."""
    return _usual([upright(part.mask, SIDE) for part in parts])[1]


def _usual(masks: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """What most of the masks (of one size) hold, and their mean agreement with it."""
    usual = np.mean(masks, axis=0) >= 0.5
    return usual, float(np.mean([agreement(mask, usual) for mask in masks]))


def _described(masks: Sequence[np.ndarray], folder: Path | None, how: str) -> Foreground:
    """The foreground that such masks of parts make."""
    shares = [float(mask.mean()) for mask in masks]
    placed = [
        cv2.resize(mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA) >= 0.5
        for mask in masks
    ]
    usual, alike = _usual(placed)
    is_aligned = alike >= _ALIGNED
    if not is_aligned:
        usual, alike = _usual([upright(mask, SIDE) for mask in masks])
    across, down = (agreement(usual, mirrored) >= _SYMMETRIC for mirrored in (usual[:, ::-1], usual[::-1]))
    return Foreground(
        is_object=True,
        is_aligned=is_aligned,
        flips=(across, down),
        usual=usual,
        shares=(min(shares), float(np.median(shares)), max(shares)),
        agreement=alike,
        images=len(masks),
        folder=folder,
        how=how,
    )


def _packed(found: Foreground) -> dict[str, Any]:
    """A found foreground as JSON can hold it."""
    bits = "" if found.usual is None else base64.b64encode(np.packbits(found.usual)).decode("ascii")
    return found.record() | {"agreement": found.agreement, "shares": list(found.shares), "usual": bits}


def _unpacked(value: dict[str, Any]) -> Foreground:
    bits = np.frombuffer(base64.b64decode(value["usual"]), dtype=np.uint8)
    return Foreground(
        is_object=value["kind"] == "object",
        is_aligned=value["aligned"],
        flips=(value["flips"][0], value["flips"][1]),
        usual=np.unpackbits(bits).reshape(SIDE, SIDE).astype(bool) if len(bits) else None,
        shares=tuple(value["shares"]),
        agreement=value["agreement"],
        images=value["images"],
        how=value["how"],
    )
