"""anomalib's models that are fitted in one go: memories and statistics of normal features."""

from __future__ import annotations

from typing import Any

import torch

from augment.detectors.anomalib import AnomalibDetector, random_projection
from augment.detectors.coreset import farthest_points


class Patchcore(AnomalibDetector):
    """PatchCore (Roth et al., CVPR 2022), with our faster choice of the patches."""

    name = "patchcore"
    model_name = "Patchcore"
    layers_option = "layers"
    backbone = "wide_resnet50_2"

    def prepare(self) -> None:
        """Put our choice of patches in the place of anomalib's."""
        self.model.fit = self._remember

    def _remember(self) -> None:
        torch_model = self.model.model
        patches = torch.vstack(torch_model.embedding_store)
        torch_model.embedding_store.clear()
        count = max(1, int(len(patches) * self.config.coreset_sampling_ratio))
        points = random_projection(patches)
        first = int(torch.randint(len(patches), (1,)))
        torch_model.memory_bank = patches[farthest_points(points, count, first, self.progress)]


class MhPatchcore(AnomalibDetector):
    """PatchCore on Mahalanobis distances (Ferrari et al., arXiv 2605.27748)."""

    name = "mh_patchcore"
    model_name = "MHPatchcore"
    layers_option = "layers"
    backbone = "wide_resnet50_2.tv2_in1k"


class Padim(AnomalibDetector):
    """PaDiM (Defard et al., ICPR 2020)."""

    name = "padim"
    model_name = "Padim"
    layers_option = "layers"
    backbone = "resnet18"


class Dfm(AnomalibDetector):
    """DFM (Ahuja et al., 2019)."""

    name = "dfm"
    model_name = "Dfm"
    layers_option = "layer"
    backbone = "resnet50"


class AnomalyDino(AnomalibDetector):
    """AnomalyDINO (Damm et al., WACV 2025)."""

    name = "anomaly_dino"
    model_name = "AnomalyDINO"
    backbone_options = ("encoder_name",)
    backbone = "vit_small_patch14_dinov2"


class Rad(AnomalibDetector):
    """RAD, retrieval among the normal images (arXiv 2601.22763)."""

    name = "rad"
    model_name = "Rad"
    backbone = "vit_base_patch16_dinov3"


class SuperAdd(AnomalibDetector):
    """SuperADD, memories of a large transformer's layers (arXiv 2605.14808)."""

    name = "super_add"
    model_name = "SuperADD"
    backbone = "vit_huge_plus_patch16_dinov3"

    def options(self) -> dict[str, Any]:
        """Tiles no larger than the image."""
        return super().options() | {"patch_size": min(448, self.image_size)}
