"""Reading images and masks of every kind inspection cameras and labelling tools write; writing PNG.

How a source becomes 8-bit pixels:

================================  =====================================================================
1-bit, grey, grey + alpha         (H, W); alpha is dropped
RGB, RGBA, palette, CMYK, YCbCr   (H, W, 3) RGB; alpha is dropped, a palette is looked up
16-bit grey                       (H, W), ``round(value / 257)``: 65535 becomes 255
16-bit colour                     (H, W, 3), the high byte, which is all Pillow reads
32-bit integer                    as 16-bit where all values fit in 16 bits, else an error
floating point                    an error: it has no fixed white
several frames                    the first one
EXIF or XMP orientation           applied, so that pixels stand as a viewer shows them
================================  =====================================================================

What is read goes by a file's content, not by its extension.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from augment.data.opening import TURNS, opened, orientation, reason
from augment.data.sample import Sample
from augment.errors import DataError
from augment.workspace.files import atomic_path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_LARGEST_LABEL = 15  # a mask whose largest value is this small holds class numbers, not grey levels


def is_image(path: Path) -> bool:
    """Whether `path` is a visible file with an image's extension, in any case.

    A link to nothing counts: an image is missing there, which must not go unnoticed.
    """
    is_named = path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    return is_named and (path.is_file() or (path.is_symlink() and not path.exists()))


def list_images(folder: Path) -> list[Path]:
    """The images directly in `folder`, sorted by name; other files (Thumbs.db, notes) are passed over.

    Raises:
        DataError: the folder may not be read, or an image's name is not text.
    """
    return [check_name(path) for path in listed(folder, is_image)]


def listed(folder: Path, is_wanted: Callable[[Path], bool]) -> list[Path]:
    """What is directly in `folder` and wanted, sorted by name.

    Raises:
        DataError: the folder may not be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if is_wanted(path))
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read ({reason(error)}): make it readable.") from error


def check_name(path: Path) -> Path:
    """The path itself.

    Raises:
        DataError: its name is not text, so that no record could hold it.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode(errors="backslashreplace").decode()
        raise DataError(f"The name of {shown} is not valid UTF-8: rename it.") from error
    return path


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder.

    Raises:
        DataError: it lies where nobody may look.
    """
    try:
        return path.is_dir()
    except PermissionError as error:
        raise DataError(f"{path} may not be looked at: make the folders above it readable.") from error
    except (OSError, ValueError):  # a name that no file can have
        return False


def read_image(path: Path) -> np.ndarray:
    """Read an image as uint8, (H, W) for grey sources and (H, W, 3) for all others (see the module's table).

    Raises:
        DataError: missing, empty, truncated, not an image, or of a pixel type without a fixed white.
    """
    with opened(path) as image:
        if image.mode in ("1", "L", "LA", "La"):
            return np.array(image.convert("L"))
        if image.mode.startswith("I"):
            return ((_integers(image, path) + 128) // 257).astype(np.uint8)  # round(value / 257)
        if image.mode == "F":
            raise DataError(
                f"{path} holds floating-point pixels, which have no fixed white: save it as 8 or 16 bit."
            )
        return np.array(image.convert("RGB"))


def read_mask(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Read a mask as bool (H, W), True on the defect.

    Any mode is taken: alpha is dropped, and of colours the strongest channel counts. A pixel is defect from
    half the mask's largest value on, which settles antialiased and JPEG edges. A mask that holds small class
    numbers (whole ones, none above 15) is defect wherever it is not 0.

    Args:
        path: a mask file, or a folder whose mask files are merged (MVTec LOCO).
        shape: (H, W) of the image it belongs to; None takes any size.

    Raises:
        DataError: missing, unreadable, empty (no defect pixel), or of another size than `shape`.
    """
    if is_folder(path):
        files = list_images(path)
        if not files:
            raise DataError(f"The mask folder {path} holds no images: add the mask or remove the folder.")
        parts = [read_mask(file, shape) for file in files]
        if len({part.shape for part in parts}) > 1:
            raise DataError(f"The masks in {path} differ in size: all must have the image's size.")
        return np.logical_or.reduce(parts)

    values = mask_values(path)
    if shape is not None and values.shape != tuple(shape):
        raise size_mismatch(path, values.shape, shape)
    if values.max() <= 0:
        raise DataError(
            f"The mask {path} is empty (every pixel is 0): draw the defect, or remove it and its image."
        )
    return defect_pixels(values)


def mask_values(path: Path) -> np.ndarray:
    """What a mask file holds: (H, W), of colours the strongest channel, alpha dropped.

    Raises:
        DataError: missing or unreadable, or a floating-point mask that holds NaN or infinity.
    """
    with opened(path) as image:
        if image.mode.startswith("I"):
            return _integers(image, path)
        if image.mode == "F":
            values = np.array(image)
            if not np.isfinite(values).all():
                raise DataError(
                    f"The mask {path} holds NaN or infinity: save it as 8 bit, 255 on the defect."
                )
            return values
        grey = image.mode in ("1", "L", "LA", "La")
        return np.array(image.convert("L")) if grey else np.array(image.convert("RGB")).max(axis=2)


def defect_pixels(values: np.ndarray) -> np.ndarray:
    """bool (H, W): which values of a mask (`mask_values`) mean defect; see `read_mask`."""
    return values > 0 if holds_labels(values) else values >= values.max() / 2


def holds_labels(values: np.ndarray) -> bool:
    """Whether the values of a mask are class numbers, all of which above 0 mean defect, not grey levels."""
    return bool(values.max() <= _LARGEST_LABEL and (values == np.round(values)).all())


def read_sample(sample: Sample) -> tuple[np.ndarray, np.ndarray | None]:
    """The image, uint8 (H, W) or (H, W, 3), and its mask, bool (H, W), or None for a normal image."""
    image = read_image(sample.image)
    return image, None if sample.mask is None else read_mask(sample.mask, image.shape[:2])


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) of an image as `read_image` will give it, from the file's header alone.

    Raises:
        DataError: missing, empty, or not an image.
    """
    with opened(path, decode=False) as image:
        width, height = image.size
        return (width, height) if orientation(image, path) >= 5 else (height, width)


def image_orientation(path: Path) -> int:
    """The EXIF orientation, 1 (upright) to 8, by which `read_image` turns an image.

    Raises:
        DataError: missing, empty, or not an image.
    """
    with opened(path, decode=False) as image:
        return orientation(image, path)


def turn_mask(mask: np.ndarray, turned: int) -> np.ndarray:
    """A mask, bool (h, w), of the pixels as they are stored, turned as `read_image` turns the image."""
    turn = TURNS.get(turned)
    return mask if turn is None else np.array(Image.fromarray(mask).transpose(turn))


def size_mismatch(path: Path, found: tuple[int, int], expected: tuple[int, int]) -> DataError:
    """The error for a mask of another size than its image; sizes are (H, W)."""
    return DataError(
        f"The mask {path} is {found[1]} x {found[0]} pixels but its image is {expected[1]} x {expected[0]}: "
        "give the mask the image's size."
    )


def to_rgb(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 as (H, W, 3) uint8; grey is repeated."""
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def write_png(path: Path, array: np.ndarray) -> None:
    """Write `array` exactly, under a temporary name first, making the folder where it lacks.

    Args:
        path: ends in `.png`.
        array: uint8 (H, W) or (H, W, 3), or a bool (H, W) mask, which is written as 0 and 255.

    Raises:
        WorkspaceError: the disk is full or read-only, or the folder may not be written.
    """
    pixels = array.astype(np.uint8) * 255 if array.dtype == bool else array
    if pixels.dtype != np.uint8:
        raise TypeError(f"a PNG takes uint8 or bool pixels, not {pixels.dtype}")
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


@dataclass(frozen=True)
class ImageKind:
    """What a file's header says.

    Attributes:
        shape: (H, W) as `read_image` will give it.
        is_grey: one channel.
        oddities: what reading changes: "of 16 bit", "with alpha", "with a palette", "turned by EXIF", "of
            several frames".
    """

    shape: tuple[int, int]
    is_grey: bool
    oddities: tuple[str, ...]


def image_kind(path: Path) -> ImageKind:
    """What kind of image a file holds.

    Raises:
        DataError: missing, empty, or not an image.
    """
    shape = image_size(path)
    with opened(path, decode=False) as image, path.open("rb") as file:
        is_png_16 = image.format == "PNG" and file.read(25)[24:] == b"\x10"  # bits a channel
        has = {
            "of 16 bit": is_png_16 or image.mode.startswith("I;16"),
            "with alpha": image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info,
            "with a palette": image.mode in ("P", "PA"),
            "turned by EXIF": orientation(image, path) != 1,
            "of several frames": getattr(image, "n_frames", 1) > 1,
        }
        is_grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
    return ImageKind(shape, is_grey, tuple(name for name, is_so in has.items() if is_so))


def is_plain_png(path: Path) -> bool:
    """Whether a file is an 8-bit grey or RGB PNG that needs no turning, so that its bytes may be copied."""
    with opened(path, decode=False) as image, path.open("rb") as file:
        depth, colour = file.read(26)[24:]  # of the header chunk: bits a channel; 0 is grey, 2 is RGB
        is_8_bit = image.format == "PNG" and depth == 8 and colour in (0, 2)
        return is_8_bit and "exif" not in image.info and orientation(image, path) == 1


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes in hex; of a folder, that of its images' names and hashes in order.

    Raises:
        DataError: it cannot be read.
    """
    try:
        if is_folder(path):
            lines = "".join(f"{file.name} {file_sha256(file)}\n" for file in list_images(path))
            return hashlib.sha256(lines.encode()).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({reason(error)}): restore it, or make it readable."
        ) from error


def _integers(image: Image.Image, path: Path) -> np.ndarray:
    """The values of a 16- or 32-bit grey image, int64 in [0, 65535]."""
    values = np.array(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise DataError(f"{path} holds 32-bit values beyond 0 to 65535: save it as 8 or 16 bit.")
    return values
