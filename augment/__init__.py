"""augment: learn a defect from ten images, paint it onto good ones, and measure whether it helped."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from augment.errors import AugmentError
    from augment.jobs.benchmark import benchmark
    from augment.jobs.fit import fit
    from augment.jobs.pretrain import pretrain
    from augment.jobs.synthesize import synthesize
    from augment.recipe import Recipe, load_recipe

_PUBLIC = {
    "AugmentError": "augment.errors",
    "Recipe": "augment.recipe",
    "benchmark": "augment.jobs.benchmark",
    "fit": "augment.jobs.fit",
    "load_recipe": "augment.recipe",
    "pretrain": "augment.jobs.pretrain",
    "synthesize": "augment.jobs.synthesize",
}
__all__ = [
    "AugmentError",
    "Recipe",
    "__version__",
    "benchmark",
    "fit",
    "load_recipe",
    "pretrain",
    "synthesize",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `import augment` itself costs no torch."""
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'augment' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
