"""anomalib's models that are trained.

Lengths of training are those of anomalib's example settings (v2.7), else of its pages. Left out here and
among the memories: models that are not trained on a category (WinCLIP, VLM-AD, AnomalyVFM), of point clouds
(CFM), without anomaly maps (DFKDE, GANomaly), and of video.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import timm
import torch
from torch.nn.functional import avg_pool2d
from torch.utils.data import Subset

from augment.detectors.anomalib import AnomalibDetector, TrainingImages, batches_of, download_folder
from augment.detectors.pretrained import missing

# --- trained on normal images ----------------------------------------------------------------------------


class Cfa(AnomalibDetector):
    """CFA (Lee et al., 2022)."""

    name = "cfa"
    model_name = "Cfa"
    epochs = 30
    backbone = "wide_resnet50_2"


class Cflow(AnomalibDetector):
    """CFLOW-AD (Gudovskiy et al., WACV 2022)."""

    name = "cflow"
    model_name = "Cflow"
    layers_option = "layers"
    epochs = 50
    backbone = "wide_resnet50_2"


class Csflow(AnomalibDetector):
    """CS-Flow (Rudolph et al., WACV 2022)."""

    name = "csflow"
    model_name = "Csflow"
    epochs = 240
    stride = 128


class Dinomaly(AnomalibDetector):
    """Dinomaly (Guo et al., CVPR 2025)."""

    name = "dinomaly"
    model_name = "Dinomaly"
    backbone_options = ("encoder_name",)
    steps = 5000
    backbone = "vit_base_patch14_reg4_dinov2"


class Dsr(AnomalibDetector):
    """DSR (Zavrtanik et al., ECCV 2022); `benchmark.weights` is its own pretrained codec."""

    name = "dsr"
    model_name = "Dsr"
    epochs = 700
    stride = 32

    def prepare(self) -> None:
        """Have the codec's weights at hand before hours are spent."""
        if self.weights is not None:
            self.model.prepare_pretrained_model = lambda: self.weights
            return
        try:
            self.model.prepare_pretrained_model()
        except OSError as error:
            raise missing("The weights of DSR's codec", "XDG_CACHE_HOME") from error


class EfficientAd(AnomalibDetector):
    """EfficientAD (Batzner et al., WACV 2024); `benchmark.weights` is its own small teacher.

    A tenth of the normal images is kept from the training, to put the two maps on one scale.
    """

    name = "efficient_ad"
    model_name = "EfficientAd"
    steps = 70_000
    least_side = 256

    def batch_size(self) -> int:
        """One, as published."""
        return 1

    def options(self) -> dict[str, Any]:
        """Where the photographs are that it is to stay quiet on."""
        folder = self.config.source_images
        return {"imagenet_dir": download_folder("imagenette") if folder is None else Path(folder)}

    def prepare(self) -> None:
        """Have the teacher and the photographs at hand before hours are spent."""
        if self.weights is not None:
            teacher = torch.load(self.weights, map_location="cpu", weights_only=True)
            self.model.model.teacher.load_state_dict(teacher)
            self.model.prepare_pretrained_model = lambda: None
        try:
            self.model.prepare_pretrained_model()
        except OSError as error:
            raise missing("The weights of EfficientAD's teacher", "XDG_CACHE_HOME") from error
        try:
            self.model.prepare_imagenette_data((self.image_size, self.image_size))
        except OSError as error:
            with contextlib.suppress(OSError):
                self.model.imagenet_dir.rmdir()  # what a failed download leaves
            instead = "name a folder of images in subfolders in benchmark.anomalib.source_images"
            raise missing("EfficientAD's photographs", "XDG_CACHE_HOME", instead) from error

    def trained_on(self, images: TrainingImages) -> Subset:
        """Nine tenths; the others set the scale."""
        every_tenth = list(range(0, len(images), 10))
        self._kept = batches_of(Subset(images, every_tenth), 1)
        others = [i for i in range(len(images)) if i % 10]
        return Subset(images, others or every_tenth)

    def before_predicting(self) -> None:
        """Measure the scale of both maps."""
        self.model.model.quantiles.update(self.model.map_norm_quantiles(self._kept))


class Fastflow(AnomalibDetector):
    """FastFlow (Yu et al., 2021)."""

    name = "fastflow"
    model_name = "Fastflow"
    epochs = 500
    backbone = "resnet18"


class FoundAd(AnomalibDetector):
    """FoundAD, a projector of a foundation model's features (Zhai et al., arXiv 2510.01934)."""

    name = "foundad"
    model_name = "FoundAD"
    backbone_options = ("encoder_name",)
    steps = 2000
    backbone = "dinov2_vit_base_14"
    stride = 14

    def options(self) -> dict[str, Any]:
        """The image's side too."""
        return super().options() | {"image_size": self.image_size}


class Fre(AnomalibDetector):
    """FRE, feature reconstruction errors (BMVC 2023)."""

    name = "fre"
    model_name = "Fre"
    layers_option = "layer"
    epochs = 220
    backbone = "resnet50"

    def options(self) -> dict[str, Any]:
        """The length of its features too."""
        layer = self.config.layers[-1] if self.config.layers else "layer3"
        network = timm.create_model(self.backbone, features_only=True).eval()
        with torch.no_grad():
            features = network(torch.zeros(1, 3, self.image_size, self.image_size))
        pooled = avg_pool2d(features[network.feature_info.module_name().index(layer)], 2)
        return super().options() | {"layer": layer, "input_dim": pooled.numel()}


class GeneralAd(AnomalibDetector):
    """GeneralAD (Sträter et al., ECCV 2024)."""

    name = "general_ad"
    model_name = "GeneralAD"
    epochs = 160
    backbone = "vit_large_patch14_dinov2.lvd142m"

    def options(self) -> dict[str, Any]:
        """The last block's number, and the epochs over which its learning rate falls."""
        blocks = next((n for size, n in (("large", 24), ("giant", 40)) if size in self.backbone), 12)
        return super().options() | {"layers": (blocks,), "epochs": self.config.max_epochs or self.epochs}


class InpFormer(AnomalibDetector):
    """INP-Former (Luo et al., CVPR 2025)."""

    name = "inp_former"
    model_name = "InpFormer"
    backbone_options = ("encoder_name",)
    epochs = 200
    backbone = "vit_base_patch14_reg4_dinov2"


class L2bt(AnomalibDetector):
    """L2BT, students of a transformer's features, forwards and back (Costanzino et al.)."""

    name = "l2bt"
    model_name = "L2BT"
    epochs = 50
    stride = 14


class Patchflow(AnomalibDetector):
    """PatchFlow, a normalising flow on patches (arXiv 2602.05238)."""

    name = "patchflow"
    model_name = "Patchflow"
    epochs = 200
    backbone = "tf_efficientnet_b5"


class ReverseDistillation(AnomalibDetector):
    """Reverse distillation, RD4AD (Deng and Li, CVPR 2022)."""

    name = "reverse_distillation"
    model_name = "ReverseDistillation"
    layers_option = "layers"
    epochs = 200
    backbone = "wide_resnet50_2"


class Stfpm(AnomalibDetector):
    """STFPM (Wang et al., BMVC 2021)."""

    name = "stfpm"
    model_name = "Stfpm"
    layers_option = "layers"
    epochs = 100
    backbone = "resnet18"


class Uflow(AnomalibDetector):
    """U-Flow (Tailanian et al., 2022)."""

    name = "uflow"
    model_name = "Uflow"
    epochs = 200
    backbone = "mcait"

    def side(self) -> int:
        """448 for its own pair of transformers, which take nothing else."""
        return 448 if self.backbone == "mcait" else super().side()


class UniNet(AnomalibDetector):
    """UniNet (Wei et al., CVPR 2025)."""

    name = "uninet"
    model_name = "UniNet"
    epochs = 100
    backbone_options = ("teacher_backbone", "student_backbone")
    backbone = "wide_resnet50_2"


# --- trained on normal images with anomalies of their own making ------------------------------------------


class Draem(AnomalibDetector):
    """DRAEM (Zavrtanik et al., ICCV 2021)."""

    name = "draem"
    model_name = "Draem"
    epochs = 700
    stride = 32

    def _build(self) -> None:
        with tempfile.TemporaryDirectory() as empty:
            self._textures = self.config.source_images or empty
            super()._build()

    def options(self) -> dict[str, Any]:
        """Textures to paint in; in an empty folder there are none, and it paints noise."""
        return {"dtd_dir": self._textures}


class Glass(AnomalibDetector):
    """GLASS (Chen et al., ECCV 2024)."""

    name = "glass"
    model_name = "Glass"
    layers_option = "layers"
    epochs = 100
    backbone = "wide_resnet50_2"

    def options(self) -> dict[str, Any]:
        """Textures to paint in, and the image's size."""
        size = (self.image_size, self.image_size)
        return super().options() | {"anomaly_source_path": self.config.source_images, "input_shape": size}


# --- trained on anomalies too -----------------------------------------------------------------------------


class Supersimplenet(AnomalibDetector):
    """SuperSimpleNet, supervised (Rolih et al., ICPR 2024): real and synthetic anomalies with their masks."""

    uses_anomalies: ClassVar[bool] = True
    name = "supersimplenet"
    model_name = "Supersimplenet"
    layers_option = "layers"
    epochs = 300
    backbone = "wide_resnet50_2.tv_in1k"
    least_side = 72  # below, its noise is coarser than its features

    def options(self) -> dict[str, Any]:
        """Supervised."""
        return super().options() | {"supervised": True}
