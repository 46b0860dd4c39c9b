"""Label Studio: tasks to import, with brush masks as annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from augment.data.formats.writing import ExportImage
from augment.workspace.files import atomic_write_json, atomic_write_text

_LENGTH_BITS = (3, 4, 8, 16)  # widths from which a run's length may choose
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


def write(
    folder: Path, images: Sequence[ExportImage], defects: Sequence[str], url: str | None = None, **_: object
) -> None:
    """Write `tasks.json` and `label_config.xml`.

    A mask is one brush region of exactly its pixels, holes included; a good image has an empty annotation.
    Images are named by `url` and their path; without it, as Label Studio's local storage does, if it serves
    the folder that holds the export (LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT).

    Raises:
        WorkspaceError: a file cannot be written.
    """
    final = folder.name.removeprefix(".").removesuffix(".part")
    prefix = f"/data/local-files/?d={quote(final)}/images/" if url is None else url
    tasks = []
    for image in images:
        result = []
        if image.mask is not None:
            height, width = image.size
            result.append(
                {
                    "id": "defect",
                    "type": "brushlabels",
                    "from_name": "defect",
                    "to_name": "image",
                    "origin": "manual",
                    "image_rotation": 0,
                    "original_width": width,
                    "original_height": height,
                    "value": {
                        "format": "rle",
                        "rle": encode_brush(image.read_mask()),
                        "brushlabels": [image.defect],
                    },
                }
            )
        data = {"image": prefix + quote(image.name), "name": image.name, "defect": image.defect}
        tasks.append({"data": data, "annotations": [{"result": result}]})
    atomic_write_json(folder / "tasks.json", tasks)
    labels = "".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(_COLOURS[number % len(_COLOURS)])}/>\n"
        for number, name in enumerate(defects)
    )
    atomic_write_text(
        folder / "label_config.xml",
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="defect" toName="image">\n{labels}  </BrushLabels>\n</View>\n',
    )


def encode_brush(mask: np.ndarray) -> list[int]:
    """A mask, bool (H, W), as the bytes of Label Studio's RLE.

    It packs RGBA values, row by row, all four 255 on the mask and 0 elsewhere. The bits are: 32 for the
    number of values, 5 for the bits of a value less one, four times 4 for the widths in `_LENGTH_BITS` less
    one; then for each run a 1, 2 bits to choose a width, the run's length less one in that width, and 8 for
    the value.
    """
    flat = mask.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0], changes])
    lengths = np.diff(np.concatenate([starts, [flat.size]])) * 4
    bits = [f"{flat.size * 4:032b}", f"{8 - 1:05b}", *(f"{width - 1:04b}" for width in _LENGTH_BITS)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        value = f"{255 * int(flat[start]):08b}"
        while length:
            step = min(length, 1 << _LENGTH_BITS[-1])
            choice = next(k for k, width in enumerate(_LENGTH_BITS) if step <= 1 << width)
            bits.append(f"1{choice:02b}{step - 1:0{_LENGTH_BITS[choice]}b}{value}")
            length -= step
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))
