"""Label formats: one file each, with `read`, `write`, or both.

============  =====================  =====================================================================
name          file                   what
============  =====================  =====================================================================
coco          `coco`                 read and write: instances JSON, polygons and runs
yolo          `yolo`                 read and write: segmentation text files, data.yaml
labelme       `labelme`              read: one JSON file an image
masks         `mask_files`           read: a folder of mask images
label-studio  `label_studio`         write: tasks with brush masks
============  =====================  =====================================================================

`shapes` draws masks from outlines, `outlines` traces outlines of masks, along pixel edges and therefore
without loss. A reader gives `reading.Reading`, in which nothing is drawn yet; a writer gets
`writing.ExportImage` records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from augment.data.formats import coco, label_studio, labelme, mask_files, yolo
from augment.data.formats.reading import Reading, ReadOptions

READERS: Mapping[str, Callable[[Path, ReadOptions], Reading]] = {
    "coco": coco.read,
    "yolo": yolo.read,
    "labelme": labelme.read,
    "masks": mask_files.read,
}

WRITERS: Mapping[str, Callable[..., None]] = {
    "coco": coco.write,
    "yolo": yolo.write,
    "label-studio": label_studio.write,
}
