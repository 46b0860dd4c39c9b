"""Which good image a defect is painted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment.data.images import read_sample
from augment.data.layouts import read_category
from augment.data.sample import Target
from augment.jobs.planning import Planner
from augment.metrics.likeness import describe, distances
from augment.recipe import load_recipe
from augment.workspace import Run


def surface(light: int, seed: int, shape=(96, 120)) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 6, (*shape, 3))
    return (light + noise).clip(0, 255).astype(np.uint8)


def planner(root: Path, lights: list[int], light: int, ground: int | None = None) -> Planner:
    """Of a category with a good image for each of some lights, and one defect image of a light.

    A texture fills the image; with `ground`, what is lit is a plate on ground of that light.
    """
    for folder in ("train/good", "test/spot", "ground_truth/spot"):
        (root / folder).mkdir(parents=True)
    for number, shade in enumerate([*lights, light]):
        image = surface(shade, number)
        if ground is not None:
            plate, image = image[24:72, 30:90], surface(ground, number)
            image[24:72, 30:90] = plate
        name = "test/spot/000.png" if number == len(lights) else f"train/good/{number:03d}.png"
        Image.fromarray(image).save(root / name)
    mask = np.zeros((96, 120), np.uint8)
    mask[40:52, 50:66] = 255
    Image.fromarray(mask).save(root / "ground_truth/spot/000_mask.png")
    target = Target(read_category(root, "made", None), "spot")
    run = Run(root, {"training": {"000.png": ""}})
    return Planner.of(target, run, load_recipe("quick"), 0)


def lights(made: Planner, count: int = 12) -> list[float]:
    return [float(np.median(made.plan(index).image())) for index in range(count)]


def test_a_texture_is_painted_on_where_it_is_lit_as_the_training_image_is(tmp_path: Path):
    made = planner(tmp_path / "made", [30, 60, 115, 125, 210, 240] * 2, 120)
    assert not made.foreground.is_object
    found = lights(made)
    assert sum(100 < light < 150 for light in found) >= 10  # a third of the images are; 8 are drawn
    assert 30 not in np.round(found, -1) and 240 not in np.round(found, -1)  # the others are not as near
    assert len({made.plan(index).source for index in range(12)}) > 2
    assert made.plan(3).source == made.plan(3).source


def test_where_no_good_image_is_lit_alike_the_one_most_alike_is_taken(tmp_path: Path):
    made = planner(tmp_path / "made", [20, 70], 200)
    assert lights(made).count(pytest.approx(70, abs=3)) >= 11  # of 8 draws, all the other one: 1 in 256


def test_a_plan_knows_its_line_of_the_manifest(tmp_path: Path):
    plan = planner(tmp_path / "made", [100, 120], 120).plan(0)
    line = {
        "source": str(plan.source),
        "mask_source": plan.mask_source,
        "target_pixels": int(plan.mask.sum()),
    }
    assert plan.is_of(line)
    assert not plan.is_of({**line, "target_pixels": 3})
    assert not plan.is_of({**line, "source": "other.png"})


def test_a_part_on_a_ground_is_painted_on_whatever_its_light(tmp_path: Path):
    made = planner(tmp_path / "made", [60, 120, 180] * 4, 120, ground=245)
    assert made.foreground.is_object
    plates = {round(float(made.plan(index).image()[30:60, 40:80].mean()), -1) for index in range(12)}
    assert plates == {60, 120, 180}


def test_users_own_masks_are_taken_without_a_margin(tmp_path: Path):
    made = planner(tmp_path / "made", [100, 120], 120)
    own = np.zeros((96, 120), dtype=bool)
    own[20:80, 20:90] = True
    exact = replace(made, masks=[own], mask_names=["own.png"], images=[], is_exact=True)
    assert np.array_equal(exact.plan(0).mask, own)


def with_own_mask(made: Planner, **synthesize) -> Planner:
    """Of the user's own mask: most of the image."""
    recipe = replace(made.recipe, synthesize=replace(made.recipe.synthesize, **synthesize))
    own = np.zeros((96, 120), dtype=bool)
    own[20:80, 20:90] = True
    return replace(made, masks=[own], mask_names=["own.png"], images=[], is_exact=True, recipe=recipe)


def test_all_of_a_users_own_mask_starts_as_a_real_defect_looks(tmp_path: Path):
    made = with_own_mask(two_spots(tmp_path / "made", 110))
    examples = set()
    for index in range(8):
        (part,) = made.plan(index).parts
        examples.add(part.example.name)
        shown, image, grey = part.piece.example, part.piece.image, {"000.png": 60, "001.png": 110}
        assert np.array_equal(shown[~part.piece.mask], image[~part.piece.mask])
        assert abs(float(shown[part.piece.mask].mean()) - grey[part.example.name]) < 12  # lit as it is there
        assert np.ptp(np.median(shown[part.piece.mask], axis=1)) <= 2
    assert examples == {"000.png", "001.png"}


def test_from_noise_alone_it_is_shown_nothing_real(tmp_path: Path):
    (part,) = with_own_mask(two_spots(tmp_path / "made", 72), strength=(1.0, 1.0)).plan(0).parts
    assert part.example is None and part.piece.example is None


def two_spots(root: Path, second: int, **synthesize) -> Planner:
    """Of a texture with two defect images, of grey 60 and of another one, whose outlines are alike."""
    made = planner(root, [120] * 3, 120)
    for number, grey in enumerate((60, second)):
        image = surface(120, 7 + number)
        image[32:64, 40:76] = grey
        Image.fromarray(image).save(root / f"test/spot/{number:03d}.png")
        mask = np.zeros((96, 120), np.uint8)
        mask[32:64, 40:76] = 255
        Image.fromarray(mask).save(root / f"ground_truth/spot/{number:03d}_mask.png")
    target = Target(read_category(root, "made", None), "spot")
    recipe, settings = made.recipe, {"apart": False} | synthesize
    recipe = replace(recipe, synthesize=replace(recipe.synthesize, **settings))
    return Planner.of(target, Run(root, {"training": {"000.png": "", "001.png": ""}}), recipe, 0)


def test_a_start_is_mixed_of_two_defects_that_are_alike(tmp_path: Path):
    made = two_spots(tmp_path / "made", 72, lending=0.0, mixing=1.0)
    for index in range(6):
        (part,) = made.plan(index).parts
        assert {part.example.name, part.second.name} == {"000.png", "001.png"}
        inside = np.median(part.piece.example[part.piece.mask], axis=1)
        assert 0.1 < (inside < 64).mean() < 0.9 and 0.1 < (inside > 68).mean() < 0.9
        assert np.array_equal(part.piece.example, made.plan(index).parts[0].piece.example)


@pytest.mark.parametrize(
    ("second", "settings"), [(72, {"mixing": 0.0}), (110, {"mixing": 1.0}), (72, {"strength": (1.0, 1.0)})]
)
def test_and_is_not_where_they_differ_in_colour_or_it_is_turned_off(tmp_path: Path, second, settings):
    made = two_spots(tmp_path / "made", second, lending=0.0, **settings)
    assert all(made.plan(index).parts[0].second is None for index in range(6))


def test_mixing_changes_no_place_and_no_outline(tmp_path: Path):
    with_it, without = (
        two_spots(tmp_path / str(share) / "made", 72, lending=0.0, mixing=share, defects_per_image=(1, 2))
        for share in (1.0, 0.0)
    )
    for index in range(6):
        plans = with_it.plan(index), without.plan(index)
        assert np.array_equal(plans[0].mask, plans[1].mask)
        assert plans[0].source.name == plans[1].source.name


def test_an_outline_shows_the_looks_of_another_defect_at_the_same_place(tmp_path: Path):
    lends, keeps = (
        two_spots(tmp_path / str(share) / "made", 110, lending=share, defects_per_image=(1, 2))
        for share in (1.0, 0.0)
    )
    for index in range(6):
        plans = lends.plan(index), keeps.plan(index)
        assert np.array_equal(plans[0].mask, plans[1].mask)
        for part, before in zip(plans[0].parts, plans[1].parts, strict=True):
            assert part.example.name == before.example.name
            assert part.second.name != part.example.name
            shown = float(part.piece.example[part.piece.mask].mean())
            assert abs(shown - {"000.png": 60, "001.png": 110}[part.second.name]) < 12


def test_an_only_defect_lends_nothing(tmp_path: Path):
    made = planner(tmp_path / "made", [120] * 3, 120)
    recipe = replace(made.recipe, synthesize=replace(made.recipe.synthesize, lending=1.0))
    assert replace(made, recipe=recipe).plan(0).parts[0].second is None


def test_one_of_another_proportion_lends_nothing_and_a_users_mask_takes_the_most_alike(tmp_path: Path):
    made = two_spots(tmp_path / "made", 110, lending=1.0, mixing=0.0)
    line = np.zeros((96, 120), np.uint8)
    line[46:48, 10:110] = 255
    Image.fromarray(line).save(tmp_path / "made/ground_truth/spot/001_mask.png")
    again = Planner.of(
        made.target,
        Run(made.training[0].image.parents[2], {"training": {"000.png": "", "001.png": ""}}),
        made.recipe,
        0,
    )
    assert all(again.plan(index).parts[0].second is None for index in range(6))
    exact = with_own_mask(again)
    exact.masks[0][:] = line > 0
    assert {exact.plan(index).parts[0].example.name for index in range(6)} == {"001.png"}


def patches(root: Path, looks: list[tuple[int, int]], **synthesize) -> Planner:
    """Of a texture with patches of one outline, each in two halves of its own two greys."""
    made = planner(root, [120] * 3, 120)
    for number, greys in enumerate(looks):
        image, mask = surface(120, 7 + number), np.zeros((96, 120), np.uint8)
        image[30:66, 40:58], image[30:66, 58:76] = greys
        mask[30:66, 40:76] = 255
        Image.fromarray(image).save(root / f"test/spot/{number:03d}.png")
        Image.fromarray(mask).save(root / f"ground_truth/spot/{number:03d}_mask.png")
    target = Target(read_category(root, "made", None), "spot")
    recipe = replace(made.recipe, synthesize=replace(made.recipe.synthesize, **synthesize))
    run = Run(root, {"training": {f"{number:03d}.png": "" for number in range(len(looks))}})
    return Planner.of(target, run, recipe, 0)


LOOKS = [(40, 40), (60, 200), (200, 200), (90, 30)]


def distance(made: Planner, plan) -> float:
    """Of what an image starts from to the training defect that is nearest to it."""
    (piece,) = plan.pieces
    shown = np.where(piece.mask[..., None], piece.example, piece.image)
    return distances(describe(shown, piece.mask), [describe(*read_sample(s)) for s in made.training]).min()


def least(made: Planner) -> float:
    """Between two training defects."""
    seen = [describe(*read_sample(s)) for s in made.training]
    return min(distances(one, seen[:i] + seen[i + 1 :]).min() for i, one in enumerate(seen))


def test_a_start_is_no_nearer_to_a_real_defect_than_two_real_ones_are_to_each_other(tmp_path: Path):
    apart, drawn = (patches(tmp_path / str(on) / "made", LOOKS, apart=on) for on in (True, False))
    as_drawn = [distance(drawn, drawn.plan(index)) for index in range(6)]
    assert sum(gap < least(drawn) for gap in as_drawn) >= 2
    for index, before in enumerate(as_drawn):
        plan = apart.plan(index)
        gap = distance(apart, plan)
        assert gap >= least(apart)
        assert np.array_equal(plan.pieces[0].example, apart.plan(index).pieces[0].example)
        if before > 1.1 * least(apart):  # it was far enough: nothing has changed
            (piece,) = drawn.plan(index).pieces
            assert np.array_equal(plan.pieces[0].example, piece.example)
            assert np.array_equal(plan.mask, drawn.plan(index).mask)


def test_where_no_looks_and_no_place_are_far_enough_the_farthest_are_taken(tmp_path: Path):
    still = {"flips": False, "rotation": 0.0, "scale": (1.0, 1.0), "translation": 0.0, "elastic": 0.0}
    masks = replace(load_recipe("quick").synthesize.masks, **still)
    settings = {"lending": 0.0, "mixing": 0.0, "masks": masks}
    looks = [
        (60, 60),
        (110, 220),
    ]  # with its own looks an outline is a copy, with the other's one of that
    apart, drawn = (patches(tmp_path / str(on) / "made", looks, apart=on, **settings) for on in (True, False))
    gaps = [[distance(made, made.plan(index)) for index in range(3)] for made in (apart, drawn)]
    assert max(gaps[0]) < least(apart)
    assert all(far >= near for far, near in zip(*gaps, strict=True))


@pytest.mark.parametrize("count", [1, 2])
def test_of_one_or_two_defects_nothing_is_near(tmp_path: Path, count):
    plans = [patches(tmp_path / str(on) / "made", LOOKS[:count], apart=on).plan(3) for on in (True, False)]
    assert np.array_equal(plans[0].pieces[0].example, plans[1].pieces[0].example)
