from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from augment.errors import RecipeError
from augment.listing import list_things
from augment.recipe import Recipe, load_recipe
from augment.resources import list_recipes


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_loads_and_survives_yaml(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert Recipe.from_dict(yaml.safe_load(recipe.to_yaml())) == recipe


def test_the_tiny_recipe_is_the_defaults():
    assert load_recipe("tiny") == Recipe()


@pytest.mark.parametrize(("name", "count"), [("two-fold", 100), ("third", 500)])
def test_the_protocols_are_the_published_detector_on_the_bundled_model(name, count):
    recipe, paper = load_recipe(name), load_recipe("paper")
    assert recipe.data.protocol == name and recipe.data.group_duplicates
    assert recipe.benchmark == replace(paper.benchmark, n=(count,))
    assert recipe == replace(Recipe(), name=name, data=recipe.data, benchmark=recipe.benchmark)


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_says_what_it_is_for(name):
    (row,) = [row for row in list_things("recipes") if row["recipe"] == name]
    assert 20 < len(row["what"]) < 330 and row["what"].endswith(".")


def test_overrides_come_after_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("fit:\n  steps: 7\n  learning_rate: 1e-5\n")
    recipe = load_recipe(
        str(path), ["fit.steps=9", "benchmark.detectors=[unet]", "synthesize.masks.scale=[1, 2]"]
    )
    assert recipe.name == "mine"
    assert (recipe.fit.steps, recipe.fit.learning_rate) == (9, 1e-5)
    assert recipe.benchmark.detectors == ("unet",)
    assert recipe.synthesize.masks.scale == (1.0, 2.0)


def test_none_is_taken_where_the_setting_allows_it():
    assert load_recipe("tiny", ["benchmark.unet.good_images=null"]).benchmark.unet.good_images is None
    with pytest.raises(RecipeError, match=r"fit\.steps"):
        load_recipe("tiny", ["fit.steps=null"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("fit.stps=9", "fit.stps.*Did you mean steps"),
        ("fitt.steps=9", "fitt.*Did you mean fit"),
        ("fit.steps=many", "fit.steps.*int.*many"),
        ("fit.steps=1.5", "fit.steps.*int"),
        ("fit.flips=1", "fit.flips.*bool"),
        ("fit.region_weighting=even", "balanced, paper"),
        ("synthesize.masks.scale=[1]", "2 values"),
        ("benchmark.seeds=3", "list"),
        ("fit=3", "group"),
        ("fit.steps.more=3", "holds a value"),
        ("fit.steps", "KEY=VALUE"),
        ("fit.steps=[1", "cannot be read"),
        ("fit.steps=-5", "fit.steps.* must be at least 1, not -5"),
        ("fit.learning_rate=0", "must be above 0, not 0"),
        ("fit.learning_rate=.nan", "must be above 0, not nan"),
        ("synthesize.mixing=7", "at least 0 and at most 1, not 7"),
        ("synthesize.strength=[0.5, 1.5]", "at most 1 and above 0, not 1.5"),
        ("synthesize.masks.scale=[2, 1]", "from the smaller number"),
        ("benchmark.seeds=[0, -1]", "benchmark.seeds.* at least 0, not -1"),
        ("benchmark.unet.good_images=0", "at least 1, not 0"),
    ],
)
def test_a_bad_override_is_one_line_that_says_what_would_do(override, words):
    with pytest.raises(RecipeError, match=words) as caught:
        load_recipe("quick", ["fit.steps=5", override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "fit: [", b"\xff\xfe\x00"])
def test_a_bad_file_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecipeError, match=r"bad\.yaml"):
        load_recipe(str(path))


def test_an_unknown_recipe_offers_the_nearest():
    with pytest.raises(RecipeError, match="Did you mean paper"):
        load_recipe("papr")
