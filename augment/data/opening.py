"""Opening image files in whatever state they are: decoded and turned as a viewer would, or one DataError."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from augment.errors import AugmentError, DataError

# What Pillow may take a file for, whatever it is called: not PostScript, for which it would start a program.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation -> what makes the picture upright


@contextlib.contextmanager
def opened(path: Path, *, decode: bool = True) -> Iterator[Image.Image]:
    """Open an image (and decode and orient it), turning every way that can fail into a DataError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of files it reads all the same or gives up on
            with Image.open(path, formats=_FORMATS) as source:
                image = source
                if decode:
                    source.load()
                    turn = TURNS.get(orientation(source, path))
                    image = source if turn is None else source.transpose(turn)
                yield image
    except AugmentError:
        raise
    except FileNotFoundError as error:
        what = "is a link to nothing" if path.is_symlink() else "does not exist"
        raise DataError(f"{path} {what}: check the path, or restore the file.") from error
    except PermissionError as error:
        raise DataError(f"{path} may not be read: make it readable.") from error
    except UnidentifiedImageError as error:
        found = (
            "an empty file (0 bytes)" if path.stat().st_size == 0 else "no image, or of an unsupported kind"
        )
        raise DataError(f"{path} is {found}: expected png, jpg, bmp or tif. Replace or remove it.") from error
    except Exception as error:  # a damaged header makes Pillow's readers raise nearly anything
        raise DataError(f"{path} cannot be read ({reason(error)}): replace or remove it.") from error


def orientation(image: Image.Image, path: Path) -> int:
    """How an opened image is to be turned, 1 to 8 as in EXIF; 1, as it stands, also where EXIF is damaged."""
    # Pillow has turned a TIFF. Asking a PNG that does not know would decode its pixels.
    if image.format == "TIFF" or (image.format == "PNG" and not _png_has_orientation(path)):
        return 1
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return int(found) if isinstance(found, int) and 1 <= found <= 8 else 1


def _png_has_orientation(path: Path) -> bool:
    """Whether a PNG has EXIF or XMP, before its pixels or after them."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = int.from_bytes(head[:4], "big"), head[4:]
            if name == b"eXIf" or (name == b"iTXt" and file.read(17) == b"XML:com.adobe.xmp"):
                return True
            file.seek(length + 4 - (17 if name == b"iTXt" else 0), 1)
    return False


def reason(error: Exception) -> str:
    """What an exception says, in one line."""
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split()).rstrip(
        "."
    )
