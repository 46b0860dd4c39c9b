"""Colours, fonts and pixel helpers shared by the pictures."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from augment.workspace.files import atomic_path

# Okabe and Ito's palette: distinct for colour-blind readers.
INK, MUTED, RULE, PAPER = "#1f2933", "#66727f", "#dde2e7", "#ffffff"
BLUE, ORANGE = "#0072b2", "#d55e00"
SERIES = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195", "#8c6d31")  # a colour a column
TARGET_COLOUR, REFINED_COLOUR = (0, 190, 255), (255, 80, 200)

_LARGE = 2048  # longer side of an image from which it is first shrunk by a whole number, pixels
_REDUCING_GAP = 3.0  # how much larger than wanted it is after that, at least
_ZOOM_BELOW = 0.3  # a defect shorter than this share of the frame is shown enlarged
FINE = 3  # curves are drawn this many times too large and shrunk, which smooths them


@cache
def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font, so that pictures look alike everywhere."""
    return ImageFont.load_default(size=size)


def text_width(text: str, size: int) -> int:
    """Width of a line of text in pixels."""
    return round(font(size).getlength(text))


def fit_text(text: str, size: int, width: int) -> str:
    """`text`, its middle replaced by an ellipsis if it is wider than `width` pixels."""
    keep = len(text)
    short = text
    while text_width(short, size) > width and keep > 2:
        keep -= 1
        short = f"{text[: (keep + 1) // 2]}…{text[-(keep // 2) :]}"
    return short


def write(
    draw: ImageDraw.ImageDraw,
    position: tuple[float, float],
    text: str,
    size: int = 14,
    colour: str = INK,
    anchor: str = "lm",
) -> None:
    """A line of text; `anchor` as Pillow's (l/m/r and t/m/b)."""
    draw.text(position, text, font=font(size), fill=colour, anchor=anchor)


def save_picture(picture: Image.Image, path: Path) -> Path:
    """Write a PNG whole or not at all.

    Raises:
        WorkspaceError: the disk is full or read-only.
    """
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")
    return path


def data_uri(picture: Image.Image, quality: int = 82) -> str:
    """A picture as a JPEG inside an address."""
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def size_within(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """(width, height) of an image of `shape` (H, W, ...) when its longer side is `side` pixels."""
    scale = side / max(shape[:2])
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def shrink(array: np.ndarray, width: int, height: int) -> Image.Image:
    """A uint8 image (H, W) or (H, W, 3) as RGB of the given size."""
    image = Image.fromarray(array).convert("RGB")
    if width > image.width:
        return image.resize((width, height), Image.Resampling.NEAREST)
    gap = _REDUCING_GAP if max(image.size) > _LARGE else None  # None: exact, and slow on large images
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=gap)


def shrink_mask(mask: np.ndarray, width: int, height: int) -> Image.Image:
    """A bool mask (H, W) as a 0/255 image of the given size in which every touched pixel is set."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    kernel = Image.Resampling.NEAREST if width > image.width else Image.Resampling.BOX
    return image.resize((width, height), kernel).point(lambda value: 255 if value else 0)


def overlay(image: Image.Image, mask: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """`image` with the mask's area tinted and its outline drawn just outside of it."""
    grown = mask.filter(ImageFilter.MaxFilter(5))
    outline = Image.composite(Image.new("L", mask.size, 0), grown, mask)
    tint = mask.point(lambda value: value * 3 // 10)
    flat = Image.new("RGB", image.size, colour)
    return Image.composite(flat, Image.composite(flat, image, tint), outline)


def paste_into_cell(sheet: Image.Image, picture: Image.Image, left: int, top: int, side: int) -> None:
    """Put a picture into the middle of a square of a sheet."""
    sheet.paste(picture, (left + (side - picture.width) // 2, top + (side - picture.height) // 2))


def defect_view(mask: np.ndarray) -> tuple[tuple[slice, slice], float]:
    """What part of an image to show, and how much that enlarges it: all of it unless the mask is small."""
    height, width = mask.shape
    ys, xs = np.nonzero(mask)
    extent = max(np.ptp(ys), np.ptp(xs)) + 1 if len(ys) else max(mask.shape)
    if extent >= _ZOOM_BELOW * max(mask.shape):
        return (slice(0, height), slice(0, width)), 1.0
    side = min(max(round(extent / _ZOOM_BELOW), 32), max(mask.shape))
    tall, wide = min(side, height), min(side, width)
    top = int(np.clip((ys.min() + ys.max() + 1 - tall) // 2, 0, height - tall))
    left = int(np.clip((xs.min() + xs.max() + 1 - wide) // 2, 0, width - wide))
    return (slice(top, top + tall), slice(left, left + wide)), max(mask.shape) / max(tall, wide)
