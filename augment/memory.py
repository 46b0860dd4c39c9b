"""Memory modes: from a card's size to plain settings.

For a Stable Diffusion U-Net (860 million parameters; a smaller model than `SMALL` needs none of it):

=====================  =======  ========  ========  =======
setting                `8gb`    `12gb`    `24gb`    `max`
=====================  =======  ========  ========  =======
tuning (if `auto`)     LoRA     LoRA      full      full
optimizer (if `auto`)  8-bit    8-bit     AdamW     AdamW     (8-bit for a full fit only)
gradient checkpoints   yes      yes       yes       no
training rows          2        4         4         all
painting rows          4        8         all       all
half weights           yes      yes       yes       no
offload                yes      yes       yes       no
VAE slicing            yes      yes       no        no
VAE tiling             > 768    no        no        no
=====================  =======  ========  ========  =======

A full fit holds weights, gradients, two moments and the running average in float32: 17 GB before the first
activation. So below 24 GB the default is LoRA, which changes the result and is therefore written into the
run's recipe; so is the 8-bit optimizer. What the recipe names itself always wins, also where it will not fit.
There is no attention slicing: PyTorch's fused attention holds no map of all pairs that could be sliced.
"""

from __future__ import annotations

from dataclasses import replace

from augment.errors import RecipeError
from augment.recipe import MemoryConfig, Recipe

SMALL = 200_000_000  # parameters of a U-Net; below, every mode is the same
_GIB = 2**30
_FROM = {"max": 44 * _GIB, "24gb": 20 * _GIB, "12gb": 11 * _GIB}  # a card's memory, at least; else 8gb
_TILED = 768  # pixels; a larger window is decoded in tiles
_MODES = {
    "8gb": MemoryConfig("8gb", True, 2, 4, True, True, True, True),
    "12gb": MemoryConfig("12gb", True, 4, 8, True, True, True, False),
    "24gb": MemoryConfig("24gb", True, 4, 0, True, True, False, False),
    "max": MemoryConfig("max", False, 0, 0, False, False, False, False),
}


def choose_mode(card: int | None) -> str:
    """The mode for a card of so many bytes; None: no card, main memory is enough."""
    if card is None:
        return "max"
    return next((mode for mode, least in _FROM.items() if card >= least), "8gb")


def resolve_memory(recipe: Recipe, card: int | None, parameters: int) -> Recipe:
    """The recipe with plain values for all of `memory`, and for `fit.tuning` and `fit.optimizer`.

    Resolving a resolved recipe changes nothing.

    Args:
        recipe: what it names itself is kept.
        card: bytes of the GPU's memory; None: no GPU.
        parameters: of the U-Net.

    Raises:
        RecipeError: a number is negative.
    """
    asked, fit = recipe.memory, recipe.fit
    if min(asked.training_rows or 0, asked.painting_rows or 0) < 0:
        raise RecipeError("memory.training_rows and memory.painting_rows are 1 or more, or 0 for no limit.")
    mode = choose_mode(card) if asked.mode == "auto" else asked.mode
    plain = _MODES["max" if parameters < SMALL else mode]
    if recipe.backbone.resolution <= _TILED:
        plain = replace(plain, vae_tiling=False)
    own = {name: value for name, value in vars(asked).items() if name != "mode" and value is not None}
    is_tight = plain.mode in ("8gb", "12gb")
    tuning = ("lora" if is_tight else "full") if fit.tuning == "auto" else fit.tuning
    optimizer = fit.optimizer
    if optimizer == "auto":
        optimizer = "8bit" if is_tight and tuning == "full" else "adamw"
    return replace(
        recipe,
        memory=replace(plain, **own, mode=mode),
        fit=replace(fit, tuning=tuning, optimizer=optimizer),
    )
