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
        absent: name -> why there is no such entry, as a sentence; for names that users will try.
    """

    def __init__(self, kind: str, builtin: dict[str, tuple[str, str]], absent: dict[str, str] | None = None):
        self.kind = kind
        self._entries = dict(builtin)
        self._absent = absent or {}
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
            reason = self._absent.get(name) or suggest(name, known)
            raise TargetError(f"No {self.kind} is called '{name}'. {reason}")
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


def _anomalib(name: str, text: str) -> tuple[str, str]:
    return f"augment.detectors.anomalib_{name}", text


DETECTORS = Registry(
    "detector",
    {
        "unet": (
            "augment.detectors.unet:UNetDetector",
            "supervised segmenter: DRAEM's discriminative U-Net, focal loss; uses anomalies; no download",
        ),
        "supersimplenet": _anomalib(
            "trained:Supersimplenet", "SuperSimpleNet, supervised; uses anomalies; downloads wide_resnet50_2"
        ),
        "patchcore": _anomalib(
            "memories:Patchcore",
            "PatchCore, a memory of patches; good images only; downloads wide_resnet50_2",
        ),
        "mh_patchcore": _anomalib(
            "memories:MhPatchcore",
            "PatchCore on Mahalanobis distances; good images only; downloads wide_resnet50_2",
        ),
        "padim": _anomalib(
            "memories:Padim", "PaDiM, a Gaussian at each place; good images only; downloads resnet18"
        ),
        "dfm": _anomalib(
            "memories:Dfm", "DFM, principal components of features; good images only; downloads resnet50"
        ),
        "fre": _anomalib(
            "trained:Fre", "FRE, features through a tied autoencoder; good images only; downloads resnet50"
        ),
        "cfa": _anomalib(
            "trained:Cfa",
            "CFA, features drawn to a centre; good images only; downloads wide_resnet50_2",
        ),
        "reverse_distillation": _anomalib(
            "trained:ReverseDistillation",
            "RD4AD, a student from the bottleneck up; good images only; downloads wide_resnet50_2",
        ),
        "stfpm": _anomalib(
            "trained:Stfpm", "STFPM, student and teacher; good images only; downloads resnet18"
        ),
        "uninet": _anomalib(
            "trained:UniNet",
            "UniNet, contrasted students and teachers; good images only; downloads wide_resnet50_2",
        ),
        "efficient_ad": _anomalib(
            "trained:EfficientAd",
            "EfficientAD; good images only; downloads its teacher and Imagenette (1.6 GB)",
        ),
        "fastflow": _anomalib(
            "trained:Fastflow", "FastFlow, a normalising flow; good images only; downloads resnet18"
        ),
        "cflow": _anomalib(
            "trained:Cflow", "CFLOW-AD, conditional flows; good images only; downloads wide_resnet50_2"
        ),
        "csflow": _anomalib(
            "trained:Csflow",
            "CS-Flow, a flow across scales; good images only; downloads efficientnet_b5",
        ),
        "uflow": _anomalib(
            "trained:Uflow", "U-Flow, a U-shaped flow; good images only; downloads two CaiT transformers"
        ),
        "patchflow": _anomalib(
            "trained:Patchflow",
            "PatchFlow, a flow on patches; good images only; downloads tf_efficientnet_b5",
        ),
        "anomaly_dino": _anomalib(
            "memories:AnomalyDino",
            "AnomalyDINO, a memory of DINOv2 patches; good images only; downloads DINOv2 small",
        ),
        "rad": _anomalib(
            "memories:Rad", "RAD, the nearest good images' patches; good images only; downloads DINOv3 base"
        ),
        "super_add": _anomalib(
            "memories:SuperAdd",
            "SuperADD, memories of DINOv3 layers; good images only; downloads DINOv3 huge (3 GB)",
        ),
        "dinomaly": _anomalib(
            "trained:Dinomaly", "Dinomaly, a decoder of DINOv2; good images only; downloads DINOv2 base"
        ),
        "inp_former": _anomalib(
            "trained:InpFormer",
            "INP-Former, prototypes of the image itself; good images only; downloads DINOv2 base",
        ),
        "foundad": _anomalib(
            "trained:FoundAd",
            "FoundAD, a projector of DINOv2; good images and its own pasted ones; downloads DINOv2 base",
        ),
        "l2bt": _anomalib(
            "trained:L2bt", "L2BT, students forwards and back; good images only; downloads DINOv2 base"
        ),
        "general_ad": _anomalib(
            "trained:GeneralAd",
            "GeneralAD, attention on distorted patches; good images only; downloads DINOv2 large (1.2 GB)",
        ),
        "draem": _anomalib("trained:Draem", "DRAEM; good images and its own anomalies; no download"),
        "glass": _anomalib(
            "trained:Glass", "GLASS; good images and its own anomalies; downloads wide_resnet50_2"
        ),
        "dsr": _anomalib(
            "trained:Dsr", "DSR, anomalies in a codec; good images and its own anomalies; downloads its codec"
        ),
    },
    absent={
        "simplenet": "anomalib has no SimpleNet: supersimplenet is its successor, by other authors.",
        "dfkde": "It scores whole images only, without a map.",
        "ganomaly": "It scores whole images only, without a map.",
        "winclip": "It needs no training on a category, so synthetic images cannot change it.",
        "anomalyvfm": "It needs no training on a category, so synthetic images cannot change it.",
        "vlm_ad": "It asks a language model and gives no map.",
        "cfm": "It needs point clouds beside the images.",
    },
)
