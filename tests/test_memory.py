"""Memory modes: from a card to plain settings."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from augment.errors import RecipeError
from augment.memory import choose_mode, resolve_memory
from augment.recipe import MemoryConfig, load_recipe

GIB = 2**30
SD, TINY = 860_000_000, 11_000_000
MODES = ["8gb", "12gb", "24gb", "max"]


@pytest.mark.parametrize(
    ("gib", "mode"),
    [(4, "8gb"), (7.8, "8gb"), (11.6, "12gb"), (15.6, "12gb"), (23.5, "24gb"), (39.4, "24gb"), (47.4, "max"),
     (79.1, "max"), (None, "max")],
)  # fmt: skip
def test_the_card_picks_the_mode(gib, mode):
    assert choose_mode(None if gib is None else int(gib * GIB)) == mode


@pytest.mark.parametrize("recipe", ["tiny", "fast", "paper"])
@pytest.mark.parametrize("mode", ["auto", *MODES])
@pytest.mark.parametrize("parameters", [SD, TINY])
def test_a_resolved_recipe_is_plain_and_resolves_to_itself(recipe, mode, parameters):
    found = resolve_memory(load_recipe(recipe, [f"memory.mode={mode}"]), 8 * GIB, parameters)
    assert None not in asdict(found.memory).values() and found.memory.mode in MODES
    assert "auto" not in (found.fit.tuning, found.fit.optimizer)
    assert resolve_memory(found, 8 * GIB, parameters) == found


@pytest.mark.parametrize("mode", MODES)
def test_the_bundled_model_is_the_same_in_every_mode(mode):
    found = resolve_memory(load_recipe("tiny", [f"memory.mode={mode}"]), 8 * GIB, TINY)
    assert found.memory == MemoryConfig(mode, False, 0, 0, False, False, False, False)
    assert (found.fit.tuning, found.fit.optimizer) == ("full", "adamw")


@pytest.mark.parametrize("mode", MODES)
def test_only_small_cards_change_what_is_learnt(mode):
    found = resolve_memory(load_recipe("fast", [f"memory.mode={mode}"]), None, SD)
    assert found.fit.tuning == ("lora" if mode in ("8gb", "12gb") else "full")
    assert found.fit.optimizer == "adamw"
    assert found.memory.gradient_checkpointing == found.memory.offload == (mode != "max")


def test_what_the_recipe_names_wins():
    found = resolve_memory(load_recipe("paper"), 8 * GIB, SD)
    assert (found.fit.tuning, found.fit.optimizer, found.memory.mode) == ("full", "adamw", "8gb")
    found = resolve_memory(load_recipe("fast", ["fit.tuning=full"]), 8 * GIB, SD)
    assert (found.fit.tuning, found.fit.optimizer) == ("full", "8bit")
    own = ["memory.mode=24gb", "memory.offload=false", "memory.training_rows=1", "fit.tuning=dora"]
    found = resolve_memory(load_recipe("fast", own), 8 * GIB, SD)
    assert (found.memory.offload, found.memory.training_rows, found.memory.mode) == (False, 1, "24gb")
    assert (found.memory.half_weights, found.fit.tuning) == (True, "dora")


def test_only_large_windows_are_decoded_in_tiles():
    sizes = (512, 768, 1024)
    recipes = [load_recipe("fast", ["memory.mode=8gb", f"backbone.resolution={size}"]) for size in sizes]
    assert [resolve_memory(r, None, SD).memory.vae_tiling for r in recipes] == [False, False, True]


def test_negative_numbers_are_refused():
    with pytest.raises(RecipeError, match="training_rows"):
        resolve_memory(load_recipe("tiny", ["memory.training_rows=-1"]), None, TINY)
