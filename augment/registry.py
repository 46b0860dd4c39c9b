"""Names of methods and detectors -> classes, loaded only when asked for.

A third party adds its own through the entry-point groups `augment.methods` and `augment.detectors`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from augment.errors import TargetError, suggest


class Registry:
    """A table of lazily imported classes.

    Args:
        kind: what the entries are, in the singular ("method"); `augment.<kind>s` is the entry-point group.
        builtin: name -> (``"package.module:Class"``, one line of help).
    """

    def __init__(self, kind: str, builtin: dict[str, tuple[str, str]]):
        self.kind = kind
        self._entries = dict(builtin)
        self._found_plugins = False

    def entries(self) -> dict[str, str]:
        """Name -> one line of help, built-in ones first, plugins after them."""
        if not self._found_plugins:
            for point in entry_points(group=f"augment.{self.kind}s"):
                self._entries.setdefault(
                    point.name, (point.value, f"from {point.dist.name if point.dist else point.value}")
                )
            self._found_plugins = True
        return {name: help_line for name, (_, help_line) in self._entries.items()}

    def get(self, name: str) -> type:
        """Import and return the class called `name`.

        Raises:
            TargetError: no such name; the message offers the nearest ones.
        """
        known = self.entries()
        if name not in known:
            raise TargetError(f"No {self.kind} is called '{name}'. {suggest(name, known)}")
        module, _, attribute = self._entries[name][0].partition(":")
        return getattr(import_module(module), attribute)


METHODS = Registry(
    "method",
    {
        "disentangled_inversion": (
            "augment.methods.disentangled_inversion:DisentangledInversion",
            "the paper: disentangled loss, masked DDIM inversion, mask refinement",
        ),
        "cutpaste": (
            "augment.methods.cutpaste:CutPaste",
            "the baseline without a model: a piece of the same image, pasted elsewhere",
        ),
        "perlin": (
            "augment.methods.perlin:Perlin",
            "DRAEM's synthesis, without a model: foreign texture in Perlin-shaped pieces",
        ),
        "dreambooth": (
            "augment.methods.dreambooth:DreamBooth",
            "the paper's naive baseline: plain loss on whole windows, noise blended into the noised source",
        ),
    },
)

DETECTORS = Registry(
    "detector",
    {
        "unet": (
            "augment.detectors.unet:UNetDetector",
            "supervised segmenter: DRAEM's discriminative U-Net, focal loss",
        ),
    },
)
