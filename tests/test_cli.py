from __future__ import annotations

import json
import logging
import runpy
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from augment.cli import main, options
from augment.recipe import load_recipe
from augment.workspace import Run, Workspace


@pytest.fixture
def run(tmp_path: Path, monkeypatch):
    """Calls the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return call


def assert_one_line_error(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: ")
    assert result.stdout == ""
    for word in words:
        assert word in lines[0]


def record_fit(root: Path, defect: str, *, fold=0, overrides=()) -> None:
    """What a finished fit leaves for the commands that follow."""
    key = f"{root.parent.name}/{root.name}/{defect}"
    folder = Workspace("augment-runs").fit_folder(key, fold)
    extra = {"dataset": root.parent.name, "root": str(root), "defect": defect}
    Run.open(folder, load_recipe("quick", overrides), ["fit"], 0, extra=extra).finish(steps=120)


# --- help and usage --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", main.commands)
def test_help_has_two_examples_that_parse(run, command):
    text = run(command, "--help").stdout
    examples = [line.strip() for line in text.split("Examples:")[1].splitlines() if line.strip()]
    assert len(examples) == 2
    for example in examples:
        for part in example.split("&&"):
            program, name, *arguments = shlex.split(part)
            assert program == "augment"
            assert main.commands[name].make_context(name, arguments) is not None


def test_the_default_workspace_is_written_in_one_place(monkeypatch):
    monkeypatch.setattr("augment.workspace.DEFAULT_ROOT", "elsewhere")
    command = click.Command("any")
    runpy.run_path(options.__file__)["workspace"](command)
    assert [parameter.default for parameter in command.params] == ["elsewhere"]


def test_help_groups_options_and_shows_defaults(run):
    text = run("fit", "--help").stdout
    assert [text.index(f"{heading}:") for heading in ("Data", "Settings", "Run", "Output")] == sorted(
        text.index(f"{heading}:") for heading in ("Data", "Settings", "Run", "Output")
    )
    assert "AUGMENT_WORKSPACE" in text and "AUGMENT_DATA" in text
    assert "default: 0" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit",),
        ("fit", "a/b/c", "--fold", "2"),
        ("fit", "a/b/c", "--seed", "-1"),
        ("fit", "a/b/c", "--dtype", "int8"),
        ("fit", "a/b/c", "--no-such-option"),
        ("synthesize", "-n", "0"),
        ("synthesize", "-n", "many"),
        ("synthesize", "--drop", "no-such-file"),
        ("benchmark", "--fold", "all"),
        ("list",),
        ("list", "things"),
        ("sample", "--size", "8"),
        ("pretrain",),
        ("no-such-command",),
    ],
)
def test_bad_usage_exits_with_2(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr and result.stdout == ""


def test_ctrl_c_exits_with_130_and_says_that_running_again_resumes(run, small_category, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("augment.plan.Job.describe", interrupt)
    result = run("fit", small_category, "--recipe", "tiny", "--dry-run")
    assert result.exit_code == 130
    assert result.stderr.strip().splitlines() == [
        "Interrupted. Run the same command again to go on where it stopped."
    ]


def test_a_traceback_is_shown_only_with_v(run, small_category):
    command = ("fit", small_category, "--recipe", "no-such-recipe")
    assert_one_line_error(run(*command), "no-such-recipe")
    assert "Traceback" in run(*command, "-v").stderr


# --- bad input -------------------------------------------------------------------------------------


def test_unknown_names_offer_the_nearest(run, small_category):
    parts = small_category.parent
    assert_one_line_error(run("fit", parts / "washr"), "washr", "Did you mean washer")
    assert_one_line_error(run("fit", parts / "washer" / "scrach"), "scrach", "Did you mean scratch")
    assert_one_line_error(run("fit", "mvtek/bottle"), "mvtek", "Did you mean mvtec")
    assert_one_line_error(run("fit", parts / "washer" / "good"), "good")


def test_a_card_without_its_data_says_where_to_get_it(run):
    assert_one_line_error(run("fit", "mvtec/bottle"), "https://", "--data-root")


def test_bad_settings_are_one_line(run, small_category):
    fit = ("fit", small_category, "--recipe", "tiny")
    assert_one_line_error(run("fit", small_category, "--recipe", "tinny"), "Did you mean tiny")
    assert_one_line_error(run(*fit, "--set", "fit.stps=3"), "fit.stps", "Did you mean steps")
    assert_one_line_error(run(*fit, "--set", "fit.steps"), "KEY=VALUE")


def break_missing_mask(root: Path) -> str:
    (root / "ground_truth" / "scratch" / "001_mask.png").unlink()
    return "test/scratch/001.png"


def break_unmatched_mask(root: Path) -> str:
    (root / "test" / "scratch" / "001.png").unlink()
    return "ground_truth/scratch/001_mask.png"


def break_mask_size(root: Path) -> str:
    Image.new("L", (60, 72), 255).save(root / "ground_truth" / "scratch" / "001_mask.png")
    return "ground_truth/scratch/001_mask.png"


def break_unreadable_image(root: Path) -> str:
    (root / "test" / "scratch" / "001.png").write_text("no image")
    return "test/scratch/001.png"


def break_no_images(root: Path) -> str:
    for path in (root / "test" / "scratch").iterdir():
        path.unlink()
    return "test/scratch"


def break_single_image(root: Path) -> str:
    for index in (1, 2, 3):
        (root / "test" / "scratch" / f"{index:03d}.png").unlink()
        (root / "ground_truth" / "scratch" / f"{index:03d}_mask.png").unlink()
    return "test/scratch/000.png"


def break_no_good_images(root: Path) -> str:
    for path in (root / "train" / "good").iterdir():
        path.unlink()
    return "train/good"


@pytest.mark.parametrize(
    "damage",
    [
        break_missing_mask,
        break_unmatched_mask,
        break_mask_size,
        break_unreadable_image,
        break_no_images,
        break_single_image,
        break_no_good_images,
    ],
)
def test_bad_data_is_one_line_that_names_the_file_and_writes_nothing(run, small_category, damage):
    named = damage(small_category)
    before = sorted(small_category.rglob("*"))
    result = run("fit", small_category / "scratch", "--recipe", "tiny", "--dry-run")
    assert_one_line_error(result, str(small_category / named))
    assert sorted(small_category.rglob("*")) == before
    assert not Path("augment-runs").exists()


def test_a_single_image_may_be_fitted_with_fold_all(run, small_category):
    break_single_image(small_category)
    assert (
        run("fit", small_category / "scratch", "--recipe", "tiny", "--dry-run", "--fold", "all").exit_code
        == 0
    )


def test_commands_that_need_an_earlier_one_say_which(run, small_category):
    assert_one_line_error(run("synthesize"), "augment fit")
    assert_one_line_error(run("synthesize", small_category), "augment fit", str(small_category))
    assert_one_line_error(run("benchmark"), "augment synthesize")
    assert_one_line_error(run("benchmark", small_category), "augment synthesize", "parts/washer")


def test_data_that_moved_since_the_fit_is_one_line(run, small_category):
    record_fit(small_category, "scratch")
    small_category.parent.rename(small_category.parent.with_name("moved"))
    assert_one_line_error(run("synthesize", "--dry-run"), str(small_category))


# --- check -----------------------------------------------------------------------------------------


def test_check_prints_a_table_and_what_is_wrong_and_exits_with_1_only_at_errors(run, small_category):
    before = sorted(small_category.rglob("*"))
    fine = run("check", small_category)
    assert fine.exit_code == 0 and fine.stderr == ""
    assert "parts/washer/spot" in fine.stdout and "2 + 2" in fine.stdout and "warning: " in fine.stdout
    damaged = small_category / break_missing_mask(small_category)
    broken = run("check", small_category / "scratch")
    assert broken.exit_code == 1
    assert f"error: {damaged}: has no mask" in broken.stdout
    assert "spot" not in broken.stdout.replace(str(small_category), "")
    assert len(sorted(small_category.rglob("*"))) == len(before) - 1  # nothing was written


def test_check_as_json_is_what_the_text_says(run, small_category):
    damaged = small_category / break_unreadable_image(small_category)
    result = run("check", small_category, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [row["target"] for row in found["rows"]] == [
        f"parts/washer/{part}" for part in ("train/good", "test/good", "scratch", "spot")
    ]
    assert [(f["severity"], f["target"]) for f in found["findings"] if f["severity"] == "error"] == [
        ("error", str(damaged))
    ]
    assert all(set(f) == {"severity", "target", "message", "advice", "check"} for f in found["findings"])


def test_check_prints_the_first_of_many_findings_of_a_kind(run, small_category):
    for defect in ("scratch", "spot"):
        for path in (small_category / "ground_truth" / defect).iterdir():
            path.unlink()
    text = run("check", small_category).stdout
    assert text.count("has no mask") == 5 and "error: and 3 more of this kind; --json lists them" in text
    found = json.loads(run("check", small_category, "--json").stdout)["findings"]
    assert sum(f["message"] == "has no mask" for f in found) == 8


def test_check_of_unknown_names_is_one_line(run, small_category):
    assert_one_line_error(run("check", small_category.parent / "washr"), "Did you mean washer")


# --- plans -----------------------------------------------------------------------------------------


def test_a_dry_run_of_fit_shows_targets_counts_settings_and_runs_nothing(run, small_category):
    result = run("fit", small_category, "--recipe", "quick", "--set", "fit.steps=7", "--dry-run")
    assert result.exit_code == 0
    for words in ("parts/washer/scratch", "parts/washer/spot", "steps: 7", "augment-runs/fits/parts/washer"):
        assert words in result.stdout
    assert not Path("augment-runs").exists()


def test_a_dry_run_shows_what_a_memory_mode_comes_to(run, small_category):
    arguments = (
        "fit",
        small_category / "scratch",
        "--recipe",
        "fast",
        "--dry-run",
        "--json",
        "--device",
        "cpu",
    )
    for mode, tuning in ((None, "full"), ("8gb", "lora"), ("24gb", "full")):
        result = run(*arguments, *(["--memory", mode] if mode else []))
        ((plan),) = json.loads(result.stdout)
        assert plan["recipe"]["memory"]["mode"] == (mode or "max")
        assert None not in plan["recipe"]["memory"].values()
        assert plan["recipe"]["fit"]["tuning"] == tuning
    assert run(*arguments, "--memory", "9gb").exit_code == 2


def test_a_dry_run_as_json_is_what_the_text_says(run, small_category):
    result = run("fit", f"{small_category}/s*", "--recipe", "quick", "--dry-run", "--json", "--fold", "1")
    (part,) = json.loads(result.stdout)
    assert [row["target"] for row in part["plan"]] == ["parts/washer/scratch", "parts/washer/spot"]
    assert {(row["fit_images"], row["held_out"], row["good_images"]) for row in part["plan"]} == {(2, 2, 6)}
    assert part["recipe"]["fit"]["steps"] == load_recipe("quick").fit.steps


def test_without_a_recipe_one_line_says_which_backbone_was_taken(run, small_category):
    result = run("fit", small_category, "--dry-run", "--device", "cpu")
    assert result.exit_code == 0
    assert "--recipe" in result.stderr and "tiny" in result.stderr
    assert run("fit", small_category, "--dry-run", "--device", "cpu", "-q").stderr == ""


def test_synthesize_without_targets_takes_all_that_is_fitted_with_its_recipe(run, small_category):
    record_fit(small_category, "scratch")
    record_fit(small_category, "scratch", fold=1)
    record_fit(small_category, "spot", overrides=["fit.steps=9"])
    parts = json.loads(run("synthesize", "-n", 5, "--dry-run", "--json").stdout)
    planned = [(row["target"], row["fold"], row["images"]) for part in parts for row in part["plan"]]
    assert sorted(planned) == [
        ("parts/washer/scratch", "0", 5),
        ("parts/washer/scratch", "1", 5),
        ("parts/washer/spot", "0", 5),
    ]
    assert len(parts) == 3
    (part,) = json.loads(run("synthesize", small_category / "spot", "--dry-run", "--json").stdout)
    assert [row["target"] for row in part["plan"]] == ["parts/washer/spot"]


def test_synthesize_takes_a_folder_of_target_masks(run, small_category, tmp_path):
    record_fit(small_category, "scratch")
    masks = small_category / "ground_truth" / "spot"
    (part,) = json.loads(run("synthesize", "--masks", masks, "--dry-run", "--json").stdout)
    assert part["recipe"]["synthesize"]["masks"]["folder"] == str(masks)
    assert run("synthesize", "--masks", tmp_path / "no such").exit_code == 2


def test_benchmark_finds_the_categories_that_have_synthetic_images(run, small_category):
    record_fit(small_category, "scratch")
    folder = Workspace("augment-runs").synthetic_folder("parts/washer", 0)
    Run.open(folder, load_recipe("quick"), ["synthesize"], 0).finish()
    (part,) = json.loads(run("benchmark", "--dry-run", "--json", "--seed", 3, "--seed", 4).stdout)
    assert [(row["category"], row["detector"]) for row in part["plan"]] == [("parts/washer", "unet")]
    assert part["recipe"]["benchmark"]["seeds"] == [3, 4]
    assert_one_line_error(run("benchmark", "--fold", 1), "fold1", "augment synthesize")


# --- import and export -----------------------------------------------------------------------------


def test_a_category_goes_out_and_comes_back_in(run, small_category):
    out = run("export", small_category, "out", "--to", "coco", "--no-good")
    assert out.exit_code == 0 and out.stdout.splitlines() == [
        "scratch: 4 images", "spot: 4 images", "out: 8 images"
    ]  # fmt: skip
    back = run("import", "out", "back", "--from", "coco", "--json")
    result = json.loads(back.stdout)
    assert result["images"] == {"test/scratch": 4, "test/spot": 4} and result["folder"] == "back/out"
    assert "add good images" in back.stderr
    assert "done before" in run("import", "out", "back", "--from", "coco").stdout
    assert "done before" in run("export", small_category, "out", "--to", "coco", "--no-good").stdout
    assert_one_line_error(run("export", small_category, "out", "--to", "yolo"), "--force")
    assert run("export", small_category, "out", "--to", "yolo", "--force").exit_code == 0
    assert not Path("out/annotations.json").exists()


def test_export_of_one_defect_and_errors_of_names(run, small_category):
    assert run("export", small_category / "spot", "out", "--to", "label-studio").stdout.startswith("spot: 4")
    assert_one_line_error(run("export", small_category.parent / "washr", "x", "--to", "coco"), "washer")
    assert_one_line_error(run("import", "nowhere", "x", "--from", "coco"), "nowhere does not exist")
    assert run("import", "nowhere", "x").exit_code == run("export", "a", "b", "--to", "voc").exit_code == 2


# --- logging and the sample ------------------------------------------------------------------------


def test_warnings_of_the_library_are_shown_unless_quiet(run, monkeypatch):
    def warn(*_):
        logging.getLogger("augment.data").warning("careful with %s", "000.png")
        logging.getLogger("augment.data").info("details")
        return []

    monkeypatch.setattr("augment.listing.list_things", warn)
    assert run("list", "runs").stderr.splitlines()[0] == "Warning: careful with 000.png"
    assert "Info: details" in run("list", "runs", "-v").stderr
    assert run("list", "runs", "-q").stderr == ""
    assert not logging.getLogger("augment").handlers


def test_the_sample_can_be_fitted_by_its_folder(run):
    result = run("sample", "--size", 64)
    assert result.stdout.strip() == "sample"
    (part,) = json.loads(run("fit", "sample", "--recipe", "quick", "--dry-run", "--json").stdout)
    assert len(part["plan"]) == 4 and all(row["held_out"] > 0 for row in part["plan"])
    before = {path: path.read_bytes() for path in Path("sample").rglob("*.png")}
    assert run("sample", "--size", 64).exit_code == 0
    assert {path: path.read_bytes() for path in Path("sample").rglob("*.png")} == before


# --- lists -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("methods", "disentangled_inversion"),
        ("detectors", "unet"),
        ("datasets", "mvtec"),
        ("recipes", "paper"),
    ],
)
def test_lists_name_what_there_is(run, what, name):
    assert name in run("list", what).stdout
    rows = json.loads(run("list", what, "--json").stdout)
    assert name in {next(iter(row.values())) for row in rows}


def test_runs_are_listed_from_the_workspace_named(run, small_category):
    nothing = run("list", "runs")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "no runs" in nothing.stderr
    record_fit(small_category, "scratch")
    (row,) = json.loads(run("list", "runs", "--json").stdout)
    assert (row["kind"], row["target"], row["state"], row["steps"]) == (
        "fit",
        "parts/washer/scratch",
        "done",
        120,
    )
    assert "parts/washer/scratch" in run("list", "runs", "--workspace", "augment-runs").stdout
    assert run("list", "runs", "--workspace", "elsewhere", "--json").stdout.strip() == "[]"
