"""Whether a category shows parts on a ground or textures that fill the image, and where each part is.

Found from the good images alone, and kept (see `kept`); or the user's own masks of them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
        own: good image -> the user's mask of it.
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
    own: Mapping[Path, Path] = field(default_factory=dict)
    how: str = ""
    _seen: dict[Path, np.ndarray] = field(default_factory=dict, compare=False, repr=False)  # small masks

    def mask(self, image: np.ndarray, path: Path | None = None) -> np.ndarray:
        """Where the part is in an image of the category.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            path: its file, of which the user may have drawn a mask, and which is then looked at only once.

        Returns:
            bool (H, W), never empty: all of it for a texture, and where no part like the others is found.

        Raises:
            DataError: the user's mask is unreadable, empty or of another size.
        """
        shape = image.shape[:2]
        if not self.is_object:
            return np.ones(shape, dtype=bool)
        if path in self.own:
            return read_mask(self.own[path], shape)
        found = self._seen.get(path) if path is not None else None
        if found is None:
            found = self._like_the_others(find_part(to_rgb(image)).mask)
        if path is not None:
            self._seen[path] = found
        return enlarged(found, shape)

    def own_for(self, path: Path) -> list[Path]:
        """The user's masks that decide where a defect goes on a good image; none where parts were found.

        They are the image's own and, for what is usual, those looked at for the whole category.
        """
        if not self.own:
            return []
        return list(dict.fromkeys(self.own[image] for image in (path, *spread(list(self.own), _IMAGES))))

    def _like_the_others(self, found: np.ndarray) -> np.ndarray:
        """What was found; where it is odd, what is usual, or the whole image where parts lie differently."""
        if self.is_aligned:
            usual = enlarged(self.usual, found.shape)
            return found if agreement(found, usual) >= _ODD * self.agreement else usual
        fits = self.shares[0] / 2 <= found.mean() <= min(2 * self.shares[2], 1)
        return found if fits else np.ones_like(found)

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
    chosen = spread(good, _IMAGES)
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
    masks = [read_mask(own[path], image_size(path)) for path in chosen]
    return replace(described(masks, f"{len(good)} masks of {folder}"), folder=folder, own=own)


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """Up to `count` of the paths, evenly spread over all."""
    steps = np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int))
    return [paths[step] for step in steps]


def _own_masks(folder: Path, images: Sequence[Path]) -> dict[Path, Path]:
    """The user's mask of each image: `000.png` or `000_mask.png` for 000.png."""
    files = list_images(folder) if is_folder(folder) else []
    named = {path.stem.removesuffix("_mask"): path for path in files}
    if not named:
        raise DataError(
            f"The foreground folder {folder} holds no masks: expected one for each good image, of its name; "
            f"or set synthesize.masks.foreground to {AUTO} or {NONE}."
        )
    missing = [path.name for path in images if path.stem not in named]
    if missing:
        raise DataError(
            f"The foreground folder {folder} lacks the masks of {len(missing)} of {len(images)} good images, "
            f"such as {missing[0]}: add them, named as the images are."
        )
    return {path: named[path.stem] for path in images}


def _estimate(paths: Sequence[Path], progress: Progress) -> Foreground:
    """Look at each image, and decide by what most show."""
    parts = [
        find_part(to_rgb(read_image(path)))
        for path in progress(paths, desc="looking for the parts", unit="image")
    ]
    shown = [part for part in parts if _is_part(part)]
    if len(shown) < _MOST * len(parts):
        how = f"{len(shown)} of {len(parts)} good images show a part on a ground"
        return Foreground(False, images=len(parts), how=how)
    found = described([part.mask for part in shown], f"found in {len(shown)} of {len(parts)} good images")
    if found.agreement < _ONE_SHAPE:
        how = "what stands out in good images has no shape in common"
        return Foreground(False, images=len(parts), how=how)
    return found


def _is_part(part: Part) -> bool:
    """Whether what was found may be a part on its ground."""
    fits = _SHARE[0] <= part.share <= _SHARE[1] and part.contrast >= _CONTRAST
    return fits and part.on_frame <= _ON_FRAME and part.frame_alike >= _ALIKE


def _usual(masks: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """What most of the masks (of one size) hold, and their mean agreement with it."""
    usual = np.mean(masks, axis=0) >= 0.5
    return usual, float(np.mean([agreement(mask, usual) for mask in masks]))


def described(masks: Sequence[np.ndarray], how: str) -> Foreground:
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
