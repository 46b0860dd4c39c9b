"""augment: learn a defect from ten images, paint it onto good ones, and measure whether it helped."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from augment.benchmark import benchmark
    from augment.errors import AugmentError
    from augment.fit import fit
    from augment.recipe import Recipe, load_recipe
    from augment.synthesize import synthesize

_PUBLIC = {
    "AugmentError": "augment.errors",
    "Recipe": "augment.recipe",
    "benchmark": "augment.benchmark",
    "fit": "augment.fit",
    "load_recipe": "augment.recipe",
    "synthesize": "augment.synthesize",
}
__all__ = ["AugmentError", "Recipe", "__version__", "benchmark", "fit", "load_recipe", "synthesize"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `import augment` itself costs no torch."""
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'augment' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
