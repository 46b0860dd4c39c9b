"""Several defect types of a category in one fit: learnt, resumed, painted with, told from single fits."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from augment.backbones.load import load_backbone
from augment.backbones.weights import weights_file
from augment.cli import main
from augment.data.folds import split_defect
from augment.data.held_out import make_split
from augment.data.images import file_sha256
from augment.data.layouts import read_category
from augment.data.references import References
from augment.data.sample import Target
from augment.errors import RecipeError, TargetError, WorkspaceError
from augment.jobs.baselines import paint_baseline
from augment.jobs.fit import fit
from augment.jobs.lessons import lessons_of, normal_samples, type_of_step
from augment.jobs.synthesize import synthesize
from augment.jobs.training_windows import TrainingWindows
from augment.methods.disentangled_inversion import DisentangledInversion
from augment.progress import no_progress
from augment.recipe import load_recipe
from augment.workspace import Manifest, Run, Workspace, locked

BOTH = ("scratch", "spot")
SMALL = [
    "backbone.resolution=64", "window.minimum=32", "fit.steps=3", "fit.checkpoint_every=2",
    "fit.batch_size=2", "fit.normal_images=2", "fit.windows_per_image=2",
    "synthesize.num_inference_steps=3", "synthesize.batch_size=2", "synthesize.masks.candidates=2",
]  # fmt: skip
OPTIONS = {"device": "cpu", "dtype": "float32"}


@pytest.fixture
def recipe(small_backbone):
    def make(*overrides, together=True, backbone=small_backbone):
        settings = [*SMALL, f"backbone.model={backbone}", f"fit.together={json.dumps(together)}"]
        return load_recipe("tiny", [*settings, *overrides])

    return make


def targets(folder, *defects):
    category = read_category(folder, "parts")
    return [Target(category, defect) for defect in defects or BOTH]


def learnt(result):
    return safetensors.torch.load_file(weights_file(result.folder))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- learning --------------------------------------------------------------------------------------


def test_every_type_has_as_many_steps_in_a_drawn_order():
    order = [type_of_step(step, 3, 0) for step in range(60)]
    assert Counter(order) == {0: 20, 1: 20, 2: 20}
    assert all(set(order[i : i + 3]) == {0, 1, 2} for i in range(0, 60, 3))
    assert len({tuple(order[i : i + 3]) for i in range(0, 60, 3)}) > 3
    assert {type_of_step(step, 1, 0) for step in range(9)} == {0}


def test_the_targets_of_a_category_are_one_lesson(tmp_path, write_category):
    folders = [write_category(tmp_path / "parts" / name) for name in ("washer", "gear")]
    found = lessons_of([*targets(folders[0], "spot", "scratch"), *targets(folders[1])], True)
    assert [lesson.key for lesson in found] == ["parts/washer/scratch+spot", "parts/gear/scratch+spot"]
    assert [each.key for each in lessons_of(targets(folders[0]), False)] == [
        "parts/washer/scratch",
        "parts/washer/spot",
    ]


def test_one_type_together_is_its_own_fit(small_category, recipe, tmp_path):
    workspace = Workspace(tmp_path)
    (alone,) = fit(targets(small_category, "spot"), recipe(together=False), workspace, **OPTIONS)
    (joint,) = fit(targets(small_category, "spot"), recipe(), workspace, **OPTIONS)
    assert alone.folder != joint.folder and joint.steps == alone.steps == 3
    for name in ("unet/diffusion_pytorch_model.safetensors", "sheet.png", "loss.png"):
        assert (alone.folder / name).read_bytes() == (joint.folder / name).read_bytes()


def test_a_fit_of_several_learns_each(small_category, recipe, tmp_path):
    """The loss on each type's windows falls, the same noise before and after."""
    settings = recipe("fit.steps=40", "fit.ema_decay=0.9", "fit.crop_share=0.0")
    chosen = targets(small_category)
    (result,) = fit(chosen, settings, Workspace(tmp_path), **OPTIONS)
    assert (result.key, result.defects, result.steps) == ("parts/washer/scratch+spot", BOTH, 80)

    def losses(folder):
        backbone = load_backbone(settings.backbone, "cpu", "float32", unet_folder=folder)
        category = chosen[0].category
        normals = normal_samples(category, settings, 1)
        for target in chosen:
            images = split_defect(category, target.defect, settings.data, 0)
            words = category.words, category.defect_words[target.defect]
            method = DisentangledInversion(backbone, *words, settings.fit, settings.synthesize)
            windows = TrainingWindows.encode(
                backbone, images.fit, normals, References(normals), settings, 1, target.key
            )
            with torch.no_grad():
                generators = [torch.Generator().manual_seed(i) for i in range(12)]
                yield sum(float(method.loss(windows.batch(settings.fit, g), g)) for g in generators)

    before, after = list(losses(None)), list(losses(result.folder))
    assert all(late < 0.9 * early for early, late in zip(before, after, strict=True)), (before, after)


def test_each_type_is_painted_under_its_own_words(small_category, recipe, tmp_path):
    """The same image, mask, noise and model: the types differ."""
    settings = recipe("fit.steps=12")
    chosen = targets(small_category)
    (result,) = fit(chosen, settings, Workspace(tmp_path), **OPTIONS)
    backbone = load_backbone(settings.backbone, "cpu", "float32", unet_folder=result.folder)
    category = chosen[0].category
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1

    def painted(defect):
        words = category.words, category.defect_words[defect]
        method = DisentangledInversion(backbone, *words, settings.fit, settings.synthesize)
        return method.generate(image, mask, [torch.Generator().manual_seed(0)]).images

    assert torch.equal(painted("spot"), painted("spot"))
    assert (painted("scratch") - painted("spot")).abs().max() > 1e-3


@pytest.mark.parametrize("tuning", ["full", "lora", "dora"])
@pytest.mark.parametrize("kind", ["bundled", "stable diffusion"])
def test_a_killed_fit_of_several_ends_as_an_unbroken_one_and_paints(
    small_category, recipe, tmp_path, write_stable_diffusion, small_backbone, kind, tuning
):
    def dying(*args, **kwargs):
        bar, steps = no_progress(*args, **kwargs), []

        def update(count):
            steps.append(count)
            if sum(steps) == 3:
                raise KeyboardInterrupt

        bar.update = update
        return bar

    smaller, model = [f"fit.tuning={tuning}", "fit.lora.rank=2"], small_backbone
    if kind != "bundled":
        model = write_stable_diffusion(tmp_path / "sd")
        smaller += ["backbone.resolution=32", "fit.crop_share=0.0", "fit.normal_images=1"]
    settings, chosen = recipe(*smaller, backbone=model), targets(small_category)
    (whole,) = fit(chosen, settings, Workspace(tmp_path / "a"), **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        fit(chosen, settings, Workspace(tmp_path / "b"), progress=dying, **OPTIONS)
    # What is named in another order goes on all the same.
    (resumed,) = fit(chosen[::-1], settings, Workspace(tmp_path / "b"), **OPTIONS)
    assert resumed.steps == 6 and same(learnt(whole), learnt(resumed))
    assert fit(chosen, settings, Workspace(tmp_path / "b"), **OPTIONS)[0].skipped
    painted = synthesize(chosen, 1, settings, Workspace(tmp_path / "a"), **OPTIONS)
    assert [result.n for result in painted] == [1, 1]
    lines = Manifest(painted[0].folder / "manifest.jsonl").entries()
    assert all(line["together"] == list(BOTH) for line in lines)
    assert {(painted[0].folder / line["fit"]).resolve() for line in lines} == {whole.folder.resolve()}


def test_several_devices_take_a_category_each(tmp_path, write_category, recipe):
    folders = [write_category(tmp_path / "parts" / name) for name in ("washer", "gear")]
    chosen = [target for folder in folders for target in targets(folder)]
    plain = fit(chosen, recipe(), Workspace(tmp_path / "one"), **OPTIONS)
    spread = fit(chosen, recipe(), Workspace(tmp_path / "two"), **OPTIONS | {"device": "cpu,cpu"})
    assert [result.key for result in spread] == ["parts/washer/scratch+spot", "parts/gear/scratch+spot"]
    assert all(same(learnt(one), learnt(other)) for one, other in zip(plain, spread, strict=True))


def test_a_baseline_of_several_is_a_fit_each(small_category, recipe, tmp_path):
    chosen, workspace = targets(small_category), Workspace(tmp_path)
    fit(chosen, recipe(), workspace, **OPTIONS)
    (result, _) = synthesize(chosen, 1, recipe(), workspace, **OPTIONS)
    options = {"device": "cpu", "progress": no_progress}
    space = paint_baseline(chosen[0].category, "cutpaste", 0, workspace, **options)
    assert [run.key for run in space.runs()[:2]] == ["parts/washer/scratch", "parts/washer/spot"]
    names = [line["id"] for line in Manifest(result.folder / "manifest.jsonl").entries()]
    there = Manifest(space.synthetic_folder("parts/washer", 0) / "manifest.jsonl").entries()
    assert [line["id"] for line in there] == names


# --- what may be learnt and painted with what ------------------------------------------------------


def test_no_type_shares_a_folder_with_a_fit_of_several(tmp_path):
    workspace = Workspace(tmp_path)
    joint = workspace.fit_folder("parts/washer/spot", 0, together=True)
    assert joint == workspace.fit_folder("parts/washer/together", 0, together=True)
    for name in ("together", "combined", "fold0", "spot"):
        assert workspace.fit_folder(f"parts/washer/{name}", 0) != joint


def test_other_types_are_refused_in_one_line(small_category, recipe, tmp_path):
    workspace = Workspace(tmp_path)
    fit(targets(small_category), recipe(), workspace, **OPTIONS)
    with pytest.raises(WorkspaceError, match="a fit of scratch, spot together, not of spot"):
        fit(targets(small_category, "spot"), recipe(), workspace, **OPTIONS)
    (redone,) = fit(targets(small_category, "spot"), recipe(), workspace, force=True, **OPTIONS)
    assert redone.defects == ("spot",)
    with pytest.raises(TargetError, match=r"scratch is not in the fit of spot .*--together --force"):
        synthesize(targets(small_category, "scratch"), 1, recipe(), workspace, **OPTIONS)
    with pytest.raises(TargetError, match=r"spot is not fitted .*with --set fit\.together=true"):
        synthesize(targets(small_category, "spot"), 1, recipe(together=False), workspace, **OPTIONS)


def test_types_under_one_prompt_are_refused(small_category, recipe, tmp_path):
    settings = recipe("fit.defect_prompt=a photo of a damaged {category}")
    with pytest.raises(RecipeError, match="prompts of scratch and spot of parts/washer are the same"):
        fit(targets(small_category), settings, Workspace(tmp_path), **OPTIONS)
    (result,) = fit(targets(small_category, "spot"), settings, Workspace(tmp_path), force=True, **OPTIONS)
    assert result.steps == 3


def test_one_process_at_a_time_works_on_it(small_category, recipe, tmp_path):
    workspace = Workspace(tmp_path)
    with locked(workspace.fit_folder("parts/washer/spot", 0, together=True)):
        with pytest.raises(WorkspaceError, match="in use by process"):
            fit(targets(small_category), recipe(), workspace, **OPTIONS)
        fit(targets(small_category, "spot"), recipe(together=False), workspace, **OPTIONS)


# --- the command line ------------------------------------------------------------------------------


class Session:
    """Calls the command line on a workspace in a folder."""

    def __init__(self, folder: Path, backbone: Path, category: Path):
        self.folder, self.category = folder, category
        self._settings = [*SMALL, f"backbone.model={backbone}"]

    def __call__(self, command: str, *words):
        words = [command, *words, "--workspace", self.folder / "runs"]
        if command == "fit":
            words += ["--recipe", "tiny", *(word for each in self._settings for word in ("--set", each))]
        if command in ("fit", "synthesize", "benchmark"):
            words += ["--device", "cpu"]
        return CliRunner().invoke(main, list(map(str, words)))

    def json(self, command: str, *words):
        result = self(command, *words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def error(self, command: str, *words) -> str:
        result = self(command, *words)
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert result.exit_code == 1 and len(lines) == 1 and result.stdout == "", result.output
        return lines[0]

    @property
    def set(self) -> Path:
        return self.folder / "runs/synthetic/parts/washer/fold0"

    def lines(self) -> list[dict]:
        return Manifest(self.set / "manifest.jsonl").entries()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_backbone, write_category) -> Session:
    """Both types in one fit, two images of each."""
    folder = tmp_path_factory.mktemp("together")
    session = Session(folder, small_backbone, write_category(folder / "parts" / "washer"))
    (plan,) = session.json("fit", session.category, "--together", "--dry-run")
    assert plan["recipe"]["fit"]["together"] is True
    assert {(row["target"], row["folder"]) for row in plan["plan"]} == {
        (f"parts/washer/{defect}", str(folder / "runs/together/parts/washer/fold0")) for defect in BOTH
    }
    (result,) = session.json("fit", session.category, "--together")
    assert result["defects"] == list(BOTH) and result["steps"] == 6
    session.json("synthesize", "-n", 2)
    return session


@pytest.fixture
def copied(finished, tmp_path, small_backbone) -> Session:
    """Its workspace, to be changed; the data stays where it is."""
    shutil.copytree(finished.folder / "runs", tmp_path / "runs")
    return Session(tmp_path, small_backbone, finished.category)


def test_the_commands_take_it_as_any_fit(finished):
    run = Run.find(finished.folder / "runs/together/parts/washer/fold0").info()
    assert run["defects"] == list(BOTH) and list(run["training"]) == list(run["held_out"]) == list(BOTH)
    assert sorted(run["training"]["spot"]) == ["000.png", "001.png"]
    (listed,) = [row for row in finished.json("list", "runs") if row["kind"] == "fit"]
    assert (listed["target"], listed["steps"]) == ("parts/washer/scratch+spot", 6)
    assert {line["id"] for line in finished.lines()} == {f"{d}/000{i}" for d in BOTH for i in range(2)}
    (plan,) = finished.json("synthesize", "--dry-run")
    assert plan["recipe"]["name"] == "tiny" and len(plan["plan"]) == 2
    (page,) = finished.json("report")
    assert page["n"] == 4
    (plan,) = finished.json("benchmark", "--dry-run")
    assert [row["category"] for row in plan["plan"]] == ["parts/washer"]
    for line in finished.lines():
        words = ["reproduce", f"{finished.set / 'manifest.jsonl'}:{line['id']}", "--json"]
        assert json.loads(CliRunner().invoke(main, words).stdout)["same"] is True


def test_images_are_filtered_and_dropped(copied, tmp_path):
    (tmp_path / "list.txt").write_text("spot/0001\n")
    before = {line["id"]: line for line in copied.lines()}
    copied.json("synthesize", "-n", 2, "--drop", tmp_path / "list.txt")
    after = {line["id"]: line for line in copied.lines()}
    assert after["spot/0001"]["attempt"] == 1 and after["scratch/0001"] == before["scratch/0001"]
    results = copied.json("synthesize", "-n", 2, "--filter", "--force")
    assert all((copied.set / f"limits_{defect}.json").is_file() for defect in BOTH)
    assert all("of 2 images passed the filter" in result["statement"] for result in results)


def test_which_fit_paints_is_asked_where_there_are_two(copied):
    assert "fitted on its own in" in copied.error("synthesize", "--no-together")
    copied.json("fit", copied.category / "spot")
    for words in ((), (copied.category,), (copied.category / "spot",)):
        line = copied.error("synthesize", "-n", 3, *words)
        assert "spot is fitted twice for fold0" in line and "--no-together or --together" in line
        assert "scratch+spot" in line and str(copied.folder / "runs/fits/parts/washer/spot") in line
    assert [r["n"] for r in copied.json("synthesize", "-n", 3, copied.category / "scratch")] == [3]
    assert [r["n"] for r in copied.json("synthesize", "-n", 3, "--together")] == [3, 3]
    assert "an earlier fit painted" in copied.error("synthesize", "-n", 3, "--no-together")
    copied.json("synthesize", "-n", 2, "--set", "fit.together=false", "--force")
    fits = {line["defect"]: (line["fit"], line.get("together")) for line in copied.lines()}
    assert fits == {
        "scratch": ("../../../../together/parts/washer/fold0", list(BOTH)),
        "spot": ("../../../../fits/parts/washer/spot/fold0", None),
    }


def test_a_named_recipe_paints_with_the_fit_that_is_there(copied):
    words = [word for each in copied._settings for word in ("--set", each)]
    (plan,) = copied.json("synthesize", "--recipe", "tiny", *words, "--dry-run")
    assert len(plan["plan"]) == 2
    results = copied.json("synthesize", "-n", 2, "--recipe", "tiny", *words)
    assert all(result["skipped"] for result in results)


def test_the_benchmark_reads_what_the_painting_fit_has_seen(copied):
    """Of two fits only the one that painted counts: the other may have seen anything."""
    workspace, settings = Workspace(copied.folder / "runs"), load_recipe("tiny")
    category = read_category(copied.category, "parts")
    held = split_defect(category, "spot", settings.data, 0).test[0].image
    stale = {str(held): file_sha256(held)}
    Run.open(workspace.fit_folder("parts/washer/spot", 0), settings, ["fit"], 0, sources=stale).finish()
    part = make_split(category, settings, {"augment": workspace}, 0)
    assert part.defects == list(BOTH)
    record = workspace.fit_folder("parts/washer/spot", 0, together=True) / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"sources": stale}))
    with pytest.raises(WorkspaceError, match="which is a test image"):
        make_split(category, settings, {"augment": workspace}, 0)
