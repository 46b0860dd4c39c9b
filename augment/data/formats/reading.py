"""What a reader of labels hands on, and how it finds the images that the labels name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from augment.data.formats.shapes import Shape, Size
from augment.data.images import is_image
from augment.errors import DataError


@dataclass(frozen=True)
class Label:
    """One labelled region.

    Attributes:
        name: its class.
        shape: where it lies.
        where: the file, and the place in it, for messages: "a.txt, line 3".
    """

    name: str
    shape: Shape
    where: str


@dataclass(frozen=True)
class LabelledImage:
    """One image and its labels; a good one has none.

    Attributes:
        image: the file, which exists.
        name: path as the labels or the folder have it, with `/`.
        labels: every region.
        size: (H, W) that the label file states, if it does.
    """

    image: Path
    name: str
    labels: tuple[Label, ...] = ()
    size: Size | None = None


@dataclass(frozen=True)
class ReadOptions:
    """How labels are read.

    Attributes:
        images: the folder of the images; None looks beside the labels.
        line_width: of lines and points, which have no width, pixels.
        boxes: take a bounding box for a mask where there is no outline.
        defect: the class of masks that are files, whatever their folder is called.
    """

    images: Path | None = None
    line_width: float = 5.0
    boxes: bool = False
    defect: str | None = None


@dataclass
class Reading:
    """All labels of a data set.

    Attributes:
        images: those that can be used.
        problems: one line for each label or image that cannot; its image is not in `images`.
        notes: one line for each thing that was taken care of.
        files: the label files, whose change makes another data set.
    """

    images: list[LabelledImage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def refuse(self, where: str, reason: Exception | str) -> None:
        """Note that something cannot be used: `where` starts the line, `reason` ends it."""
        self.problems.append(f"{where} {str(reason).rstrip('.')}.")


def files_below(folder: Path, *suffixes: str) -> list[Path]:
    """The visible files with one of the suffixes in a folder and its folders, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and _is_visible(path, folder) and path.is_file()
    )


def images_below(folder: Path) -> list[Path]:
    """The visible images in a folder and its folders, sorted."""
    return sorted(path for path in folder.rglob("*") if _is_visible(path, folder) and is_image(path))


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: check the path.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no valid JSON ({error}): export the labels again.") from error


class ImageFinder:
    """Finds images by the names that label files give them, which are often those of another machine.

    Args:
        folders: searched in order for the whole name; then by the last part of the name in all of them.
    """

    def __init__(self, folders: list[Path]):
        self._folders = list(dict.fromkeys(folder for folder in folders if folder.is_dir()))
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path:
        """The image called `name`.

        Raises:
            DataError: there is none, or there are several of that name; the message goes on after a place.
        """
        parts = PurePosixPath(name.replace("\\", "/"))
        for folder in self._folders:
            path = folder / parts
            if path.is_file():
                return path
        if self._by_name is None:
            found = dict.fromkeys(path for folder in self._folders for path in images_below(folder))
            self._by_name = {}
            for path in found:
                self._by_name.setdefault(path.name, []).append(path)
        same = self._by_name.get(parts.name, [])
        if len(same) == 1:
            return same[0]
        looked = " and ".join(map(str, self._folders)) or "any folder"
        if same:
            raise DataError(
                f"names the image {name}, of which there are {len(same)}: {same[0]} and {same[1]}; name the "
                "right folder with --images"
            )
        raise DataError(f"names the image {name}, which is not in {looked}; name its folder with --images")


def _is_visible(path: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)
