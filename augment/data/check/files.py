"""Checks of single files: missing, damaged, of another size, of a surprising kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from augment.data.check.finding import Finding
from augment.data.check.inspection import Inspection
from augment.data.layouts import mask_files
from augment.progress import Progress

_INVERTED = 0.9  # share of defect pixels from which a mask looks inverted


def check_folders(found: Inspection, progress: Progress) -> Iterator[Finding]:
    """Folders that are missing, empty or surplus."""
    if not found.train_good:
        yield Finding(
            "error",
            str(found.files.train_folder),
            "holds no images",
            "every command stops: put the images of good parts there",
        )
    if not found.test_good:
        yield Finding(
            "warning",
            str(found.files.test_folder),
            "holds no images",
            "a benchmark then cannot tell whether good parts are let through: add some that are not in train",
        )
    for defect, files in found.defects.items():
        if not found.images_of(defect):
            yield Finding(
                "error",
                str(files.image_folder),
                "holds no images",
                "every command stops: add some (png, jpg, bmp or tif) or remove the folder",
            )
    for path in found.unsupported:
        yield Finding(
            "warning", str(path), "is of a format that is not read", "it is passed over: save it as png"
        )
    for folder, images in found.files.stray_masks.items():
        yield Finding(
            "error",
            str(folder),
            "holds masks of a defect without images",
            f"every command stops: put the images in {images} or remove the masks",
        )


def check_readable(found: Inspection, progress: Progress) -> Iterator[Finding]:
    """Images and masks that cannot be read, or only in part."""
    for path, reason in found.unreadable.items():
        yield Finding("error", str(path), reason.rstrip("."), "every command that needs it stops")


def check_pairs(found: Inspection, progress: Progress) -> Iterator[Finding]:
    """Images without mask, masks without image, and names that are not unique."""
    stops = "every command stops"
    for files in found.defects.values():
        for image in files.unmasked:
            wanted = files.expected_mask(image)
            yield Finding("error", str(image), "has no mask", f"{stops}: draw {wanted} or remove the image")
        for sample in files.samples:
            if not mask_files(sample.mask):
                yield Finding("error", str(sample.mask), "is an empty mask folder", f"{stops}: fill it")
        for mask in files.surplus:
            yield Finding("error", str(mask), "is a mask without an image", f"{stops}: remove it")
        for first, second in files.doubles:
            yield Finding(
                "error", str(second), f"has the same name as {first.name}", f"{stops}: rename one of them"
            )


def check_sizes(found: Inspection, progress: Progress) -> Iterator[Finding]:
    """Masks of another size than their image."""
    for files in found.defects.values():
        for sample in files.samples:
            for path in mask_files(sample.mask):
                mask, image = found.masks.get(path), found.kinds.get(sample.image)
                if mask is not None and image is not None and mask.shape != image.shape:
                    sizes = [f"{width} x {height}" for height, width in (mask.shape, image.shape)]
                    yield Finding(
                        "error",
                        str(path),
                        f"is {sizes[0]} pixels, its image {sizes[1]}",
                        "every command stops: give the mask its image's size",
                    )


def check_masks(found: Inspection, progress: Progress) -> Iterator[Finding]:
    """Masks that are empty, not binary, or seem inverted."""
    for defect in found.folder.defects:
        paths = [path for sample in found.defects[defect].samples for path in mask_files(sample.mask)]
        masks = {path: found.masks[path] for path in paths if path in found.masks}
        for path, mask in masks.items():
            if mask.is_empty:
                yield Finding("error", str(path), "is empty", "a fit stops: draw the defect")
            elif mask.share > _INVERTED:
                yield Finding(
                    "warning",
                    str(path),
                    f"marks {mask.share:.0%} of the image as defect",
                    "it is taken as it is: invert it if white means good",
                )
        soft = [path for path, mask in masks.items() if not mask.is_binary]
        if soft:
            yield Finding(
                "warning",
                f"{found.folder.key}/{defect}",
                _some(soft, len(masks), "mask", "not binary"),
                "pixels from half the largest value on count as defect: threshold them yourself if that is "
                "not what they mean",
            )


def check_kinds(found: Inspection, progress: Progress) -> Iterator[Finding]:
    """Images of kinds and sizes that users are surprised by."""
    done = {
        "of 16 bit": "they are read as 8 bit (65535 becomes 255)",
        "with alpha": "it is dropped",
        "with a palette": "it is looked up, the result is RGB",
        "turned by EXIF": "they are read as a viewer shows them, and masks must stand that way",
        "of several frames": "the first is read",
    }
    shapes, colours = Counter(), Counter()
    for folder, paths in found.image_folders().items():
        kinds = {path: found.kinds[path] for path in paths if path in found.kinds}
        shapes.update(kind.shape for kind in kinds.values())
        colours.update("grey" if kind.is_grey else "colour" for kind in kinds.values())
        for oddity, advice in done.items():
            odd = [path for path, kind in kinds.items() if oddity in kind.oddities]
            if odd:
                words = _some(odd, len(kinds), "image", oddity)
                yield Finding("note", f"{found.folder.key}/{folder}", words, advice)
    if len(shapes) > 1:
        (height, width), most = shapes.most_common(1)[0]
        yield Finding(
            "note",
            found.folder.key,
            f"images have {len(shapes)} sizes; {most} of {shapes.total()} are {width} x {height}",
            "each is worked on at its own size; target masks are scaled to the image they go on",
        )
    if len(colours) > 1:
        yield Finding(
            "warning",
            found.folder.key,
            f"{colours['grey']} images are grey and {colours['colour']} in colour",
            "each keeps its own, and a detector may learn the difference: save them alike",
        )


def _some(paths: Sequence[Path], total: int, noun: str, what: str) -> str:
    """`3 of 20 masks not binary, first 004.png`."""
    return f"{len(paths)} of {total} {noun}{'s' if total > 1 else ''} {what}, first {paths[0].name}"
