"""Images of a synthetic set painted again from their lines in the manifest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from augment.cli import main
from augment.data.images import file_sha256

SETTINGS = {
    "backbone.resolution": 64,
    "window.minimum": 32,
    "fit.steps": 2,
    "fit.batch_size": 2,
    "fit.normal_images": 2,
    "fit.windows_per_image": 2,
    "synthesize.num_inference_steps": 3,
    "synthesize.batch_size": 2,
    "synthesize.masks.candidates": 2,
}
KNOWN = {
    "id", "defect", "index", "attempt", "seed", "source", "source_sha256", "mask_source",
    "mask_source_sha256", "example", "example_sha256", "window", "target_pixels", "refined_pixels",
    "refinement", "background_error", "model", "model_commit", "model_licence", "model_sha256", "recipe",
    "settings_sha256", "data_licence", "fit", "weights_sha256", "fold", "made_with", "scores", "nearest",
    "image", "mask",
}  # fmt: skip


def run(*words) -> str:
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_backbone, write_category) -> Path:
    """A folder with data and a workspace; three images of `spot`, the last one without its batch's other."""
    folder = tmp_path_factory.mktemp("reproduce")
    category = write_category(folder / "parts" / "washer")
    shutil.copytree(small_backbone, folder / "model")
    settings = [word for pair in SETTINGS.items() for word in ("--set", "{}={}".format(*pair))]
    settings += ["--set", f"backbone.model={folder / 'model'}", "--recipe", "tiny"]
    place = ["--workspace", folder / "runs", "--device", "cpu"]
    run("fit", category / "spot", *settings, *place)
    run("synthesize", "-n", 3, *place)
    run("synthesize", "-n", 3, "--workspace", folder / "runs", "--drop", _list(folder, "spot/0001"))
    return folder


def _second_example(entry: dict) -> dict:
    """As of an image that starts from two defects: another file beside the first one's."""
    example = Path(entry["example"])
    other = next(path for path in sorted(example.parent.iterdir()) if path != example)
    return {"second_example": str(other), "second_example_sha256": file_sha256(other)}


def _list(folder: Path, *ids: str) -> Path:
    path = folder / "drop.txt"
    path.write_text("\n".join(ids) + "\n")
    return path


def manifest(folder: Path) -> Path:
    return folder / "runs/synthetic/parts/washer/fold0/manifest.jsonl"


def entries(folder: Path) -> list[dict]:
    return [json.loads(line) for line in manifest(folder).read_text().splitlines()]


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """The workspace alone, to be damaged; the data stays where it is."""
    shutil.copytree(finished / "runs", tmp_path / "runs")
    return tmp_path


def reproduce(folder: Path, which, *words):
    return CliRunner().invoke(main, ["reproduce", f"{manifest(folder)}:{which}", *map(str, words)])


def refused(folder: Path, which, *words) -> str:
    """The one line that says why not."""
    result = reproduce(folder, which, *words)
    assert result.exit_code == 1 and result.stdout == "", result.output
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


def test_a_line_holds_all_that_an_image_was_made_from(finished):
    run_folder = manifest(finished).parent
    for entry in entries(finished):
        mixed = {"second_example", "second_example_sha256"} & set(entry)  # where the start is of two defects
        assert set(entry) - mixed == KNOWN
        for name in ("source", "mask_source", "example", *(name for name in mixed if "sha" not in name)):
            assert entry[f"{name}_sha256"] == file_sha256(Path(entry[name]))
        weights = run_folder / entry["fit"] / "unet/diffusion_pytorch_model.safetensors"
        assert entry["weights_sha256"] == file_sha256(weights)
        assert {"augment", "revision", "torch", "numpy", "device", "dtype"} <= set(entry["made_with"])


def test_every_image_comes_out_with_the_same_bytes(finished, tmp_path):
    lines = entries(finished)
    assert [(entry["id"], entry["attempt"]) for entry in lines] == [
        ("spot/0000", 0),
        ("spot/0002", 0),
        ("spot/0001", 1),
    ]
    for number, entry in enumerate(lines, start=1):
        which = number if number != 2 else entry["id"]
        result = reproduce(finished, which, "-o", tmp_path, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["same"] is True
        name = entry["id"].replace("/", "_")
        for kind, file in (("image", f"{name}.png"), ("mask", f"{name}_mask.png")):
            there = manifest(finished).parent / entry[kind]
            assert (tmp_path / file).read_bytes() == there.read_bytes()
    assert "is there already" in refused(finished, 1, "-o", tmp_path)


def test_a_changed_image_is_told_from_the_recorded_one(copied):
    file = manifest(copied).parent / entries(copied)[0]["image"]
    pixels = np.array(Image.open(file))
    pixels[0, 0] ^= 4
    Image.fromarray(pixels).save(file)
    result = reproduce(copied, 1)
    assert result.exit_code == 1
    assert "NOT the same bytes" in result.stdout and "1 pixels differ" in result.stdout
    assert "by up to 4 of 255" in result.stdout and "mask: the same bytes" in result.stdout
    file.unlink()
    assert "is not there" in reproduce(copied, 1).stdout


def test_another_encoding_and_another_version_are_named(copied):
    lines = entries(copied)
    file = manifest(copied).parent / lines[0]["image"]
    Image.open(file).save(file, compress_level=0)
    lines[0]["made_with"] |= {"torch": "1.0.0", "revision": "abc1234"}
    manifest(copied).write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = reproduce(copied, 1)
    assert result.exit_code == 1
    assert "the same pixels" in result.stdout and "other bytes" in result.stdout
    assert "1.0.0 then" in result.stdout and "abc1234 then" in result.stdout


def test_lines_that_are_not_there(copied):
    path = manifest(copied)
    assert "has 3 lines" in refused(copied, 4)
    assert "has 3 lines" in refused(copied, 0)
    assert "no image 'spot/0009'" in refused(copied, "spot/0009")
    result = CliRunner().invoke(main, ["reproduce", str(path)])
    assert result.exit_code == 1 and "Say which line" in result.stderr
    result = CliRunner().invoke(main, ["reproduce", str(path.parent / "none.jsonl:1")])
    assert result.exit_code == 1 and "There is no manifest" in result.stderr
    with path.open("a") as file:
        file.write(json.dumps(entries(copied)[0] | {"attempt": 1}) + "\n" + '{"id": "spot/00')
    assert "out of date" in refused(copied, 1)
    assert "not written to its end" in refused(copied, 5)


def test_an_image_that_was_dropped_since_is_not_looked_for(copied):
    lines = entries(copied)
    lines[2]["attempt"] = 0
    manifest(copied).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "was dropped" in refused(copied, 3)


def test_inputs_that_are_gone_or_changed(copied):
    lines = entries(copied)
    entry = lines[0] = {**lines[0], **_second_example(lines[0])}
    manifest(copied).write_text("".join(json.dumps(line) + "\n" for line in lines))
    for kind in ("source", "mask_source", "example", "second_example"):
        file = Path(entry[kind])
        data = file.read_bytes()
        try:
            file.write_bytes(data + b" ")
            assert "has changed" in refused(copied, 1)
            file.rename(file.with_suffix(".away"))
            assert f"is not at {file} any more" in refused(copied, 1)
        finally:
            file.with_suffix(".away").unlink(missing_ok=True)
            file.write_bytes(data)
    assert reproduce(copied, 1).exit_code == 0


@pytest.fixture
def masked(copied, finished) -> Path:
    """A workspace with the fit, and a set of one image painted with the user's own foreground masks."""
    shutil.rmtree(copied / "runs/synthetic")
    for path in (finished / "parts/washer/train/good").iterdir():
        mask = np.zeros((72, 72), dtype=np.uint8)
        mask[8:64, 8:64] = 255
        (copied / "own").mkdir(exist_ok=True)
        Image.fromarray(mask).save(copied / "own" / path.name)
    setting = f"synthesize.masks.foreground={copied / 'own'}"
    run("synthesize", "-n", 1, "--workspace", copied / "runs", "--device", "cpu", "--set", setting)
    return copied


def test_foreground_masks_of_the_users_own(masked):
    (entry,) = entries(masked)
    files = sorted((masked / "own").iterdir())
    assert set(entry) == KNOWN | {"foreground"}
    assert entry["foreground"] == {str(file): file_sha256(file) for file in files}
    assert Path(next(iter(entry["foreground"]))).name == Path(entry["source"]).name
    for file in files:
        data = file.read_bytes()
        file.write_bytes(data + b" ")
        assert f"foreground mask of spot/0000, {file}, has changed" in refused(masked, 1)
        file.unlink()
        assert f"is not at {file} any more" in refused(masked, 1)
        file.write_bytes(data)
    assert reproduce(masked, 1).exit_code == 0
    del entry["foreground"]  # as painted before it was recorded
    manifest(masked).write_text(json.dumps(entry) + "\n")
    assert reproduce(masked, 1).exit_code == 0


def test_target_masks_of_the_users_own(copied, finished):
    shutil.rmtree(copied / "runs/synthetic")
    folder = shutil.copytree(finished / "parts/washer/ground_truth/spot", copied / "masks")
    run("synthesize", "-n", 1, "--workspace", copied / "runs", "--device", "cpu", "--masks", folder)
    (entry,) = entries(copied)
    assert set(entry) == KNOWN
    file = Path(entry["mask_source"])
    assert file.parent == folder and entry["mask_source_sha256"] == file_sha256(file)
    file.write_bytes(file.read_bytes() + b" ")
    assert f"mask of spot/0000, {file}, has changed" in refused(copied, 1)


def test_a_fit_a_setting_or_a_model_that_is_not_what_it_was(copied, finished):
    folder, entry = manifest(copied).parent, entries(copied)[0]
    for file, words in (
        (folder / "recipe.yaml", "was edited"),
        (folder / entry["fit"] / "recipe.yaml", "was edited"),
        (finished / "model/text_encoder/config.json", "base model"),
        (folder / entry["fit"] / "unet/diffusion_pytorch_model.safetensors", "other weights"),
    ):
        data = file.read_bytes()
        changed = (
            data.replace(b"temperature: 0.85", b"temperature: 0.5").replace(b"photo", b"picture") + b"\n"
        )
        file.write_bytes(changed)
        assert words in refused(copied, 1)
        file.write_bytes(data)
    shutil.rmtree(folder / entry["fit"])
    assert "is gone" in refused(copied, 1)


def test_data_that_has_moved(copied, finished):
    root = finished / "parts" / "washer"
    root.rename(finished / "parts" / "moved")
    try:
        assert "any more" in refused(copied, 1)
    finally:
        (finished / "parts" / "moved").rename(root)


def test_good_images_added_since_do_not_matter(copied, finished):
    good = finished / "parts/washer/train/good"
    shutil.copy(good / "000.png", good / "0000a.png")
    try:
        assert reproduce(copied, 1).exit_code == 0
    finally:
        (good / "0000a.png").unlink()
