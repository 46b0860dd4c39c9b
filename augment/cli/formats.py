"""The commands that bring labels in and take them out: `augment import` and `augment export`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from augment.cli import options
from augment.cli.console import Console, command, option, output_options


@command(
    "import",
    examples="augment import labels/instances.json parts --from coco --images photos --category washer\n"
    "augment import yolo-export parts --from yolo && augment check parts/yolo-export",
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=options.FOLDER)
@option(
    "Data",
    "--from",
    "form",
    type=click.Choice(["coco", "yolo", "labelme", "masks"]),
    required=True,
    help="Kind of labels: COCO instances JSON, YOLO segmentation, LabelMe, or a folder of mask images.",
)
@option(
    "Data",
    "--images",
    type=options.FOLDER,
    help="Folder of the images. [default: with the labels]",
    show_default=False,
)
@option(
    "Data",
    "--category",
    metavar="NAME",
    help="Name of the category folder. [default: SOURCE's name]",
    show_default=False,
)
@option(
    "Data",
    "--test-good",
    type=click.FloatRange(0, 1),
    default=0.2,
    help="Share of the good images that goes to test/good; 0: all to train/good.",
)
@option(
    "Labels",
    "--ignore",
    multiple=True,
    metavar="CLASS",
    help="Pass over the labels of a class that is no defect, such as the part's outline. Repeatable.",
)
@option(
    "Labels",
    "--defect",
    metavar="NAME",
    help="Class of mask images. [default: the name of a mask's folder, else defect]",
    show_default=False,
)
@option(
    "Labels",
    "--line-width",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    help="Width of lines and points in LabelMe files, pixels.",
)
@option("Labels", "--boxes", is_flag=True, help="Take a bounding box for a mask where there is no outline.")
@option(
    "Labels",
    "--skip-bad",
    is_flag=True,
    help="Leave out images whose labels cannot be used, in place of stopping.",
)
@option("Run", "--force", is_flag=True, help="Replace what an earlier import wrote there.")
@output_options
def import_(
    source: Path,
    target: Path,
    form: str,
    images: Path | None,
    category: str | None,
    test_good: float,
    ignore: tuple[str, ...],
    defect: str | None,
    line_width: float,
    boxes: bool,
    skip_bad: bool,
    force: bool,
    console: Console,
) -> None:
    """Turn COCO, YOLO, LabelMe or mask labels into a category.

    That is a folder in MVTec layout, TARGET/CATEGORY. Each class becomes a defect. An image with labels of
    several classes goes, once, to test/combined with the union of its masks, as in MVTec AD; images without
    labels are good ones. Masks are 0 and 255, exactly of the image's size; images become PNG and are turned
    as EXIF says. What cannot be used (a missing image, a label outside of the image or for another size, an
    unknown class) stops the import before anything is written, or is left out with --skip-bad; what was taken
    care of is said.

    The folder appears when it is whole. TARGET/CATEGORY.import.json records where each image came from.
    """
    from augment.data.formats.reading import ReadOptions
    from augment.jobs.import_labels import ImportOptions, default_category, import_labels
    from augment.progress import make_progress

    result = import_labels(
        source,
        target,
        form,
        category or default_category(source),
        ImportOptions(ReadOptions(images, line_width, boxes, defect), test_good, ignore, skip_bad),
        force=force,
        progress=make_progress(console.quiet),
    )
    lines = [f"{part}: {count} images" for part, count in result.images.items()]
    state = ", done before" if result.skipped else ""
    console.result("\n".join([*lines, f"{result.folder}{state}"]), dataclasses.asdict(result))
    for note in result.notes:
        console.say(note)


@command(
    examples="augment export augment-runs/synthetic/mvtec/bottle/fold0 bottle-coco --to coco\n"
    "augment export mvtec/bottle bottle-yolo --to yolo --no-good",
)
@click.argument("source", metavar="DATASET/CATEGORY[/DEFECT]")
@click.argument("output", type=options.FOLDER)
@options.data_root_option("Folder in which a relative path or a card's dataset is looked for.")
@option(
    "Data",
    "--to",
    "form",
    type=click.Choice(["coco", "yolo", "label-studio"]),
    required=True,
    help="COCO instances JSON, YOLO segmentation, or tasks for Label Studio.",
)
@option("Data", "--no-good", is_flag=True, help="Leave the good images out.")
@option("Labels", "--rle", is_flag=True, help="COCO: write every mask as runs, none as a polygon.")
@option(
    "Labels",
    "--url",
    metavar="PREFIX",
    show_default=False,
    help="Label Studio: what the images' paths stand behind. [default: its local storage, serving the "
    "folder that holds OUTPUT]",
)
@option("Run", "--force", is_flag=True, help="Replace what an earlier export wrote there.")
@output_options
def export(
    source: str,
    output: Path,
    data_root: Path | None,
    form: str,
    no_good: bool,
    rle: bool,
    url: str | None,
    force: bool,
    console: Console,
) -> None:
    """Write a category as COCO, YOLO or Label Studio.

    OUTPUT gets the images, in OUTPUT/images, and the labels. The category is named as for the other commands;
    a synthetic set by its folder, as `augment list runs` shows it.

    COCO: annotations.json; each connected part of a mask is a polygon along the pixels' edges, or compressed
    runs (RLE) where it has holes, so that no pixel is lost. YOLO: labels/ and data.yaml; a hole is joined to
    its outline by a cut of no width. Label Studio: tasks.json with brush masks, and label_config.xml.
    """
    from augment.jobs.export_labels import export_labels, find_category
    from augment.progress import make_progress

    result = export_labels(
        find_category(source, data_root),
        output,
        form,
        with_good=not no_good,
        force=force,
        progress=make_progress(console.quiet),
        rle=rle,
        url=url,
    )
    lines = [f"{defect}: {count} images" for defect, count in result.defects.items()]
    state = "done before" if result.skipped else f"{result.images} images"
    console.result("\n".join([*lines, f"{result.folder}: {state}"]), dataclasses.asdict(result))
