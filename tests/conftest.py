"""What all tests share: no network, few threads, a small data set, and the real one where it is at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # several tests run at a time: their threads would clash
os.environ.setdefault("TQDM_DISABLE", "1")
for name in ("AUGMENT_WORKSPACE", "AUGMENT_DATA"):
    os.environ.pop(name, None)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The user's own cache folder is neither read nor written."""
    os.environ["AUGMENT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets: $AUGMENT_TEST_DATA, else ../shared/data beside the checkout."""
    folder = Path(os.environ.get("AUGMENT_TEST_DATA") or CHECKOUT.parent / "shared" / "data")
    if not (folder / "mvtec" / "bottle").is_dir():
        pytest.skip(f"no real data at {folder} (set AUGMENT_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def small_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random backbone of the bundled kind for 64 px windows, in diffusers' layout."""
    import torch

    from augment.backbones.build import build_backbone, save_backbone
    from augment.recipe import PretrainConfig

    config = PretrainConfig(latent_channels=4, block_channels=(16, 32), text_width=32)
    texts = ["a photo of a washer with sks scratch", "a photo of a washer with sks spot"]
    backbone = build_backbone(config, texts, resolution=64, device=torch.device("cpu"))
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    backbone.autoencoder.fit_components(images)
    folder = tmp_path_factory.mktemp("backbone")
    save_backbone(backbone, folder)
    return folder


@pytest.fixture(scope="session")
def write_stable_diffusion() -> Callable[..., Path]:
    """Writes a random Stable Diffusion of 64 px windows as a diffusers folder, and returns the folder."""
    return _write_stable_diffusion


@pytest.fixture(scope="session")
def write_category() -> Callable[[Path], Path]:
    """Writes a category folder in MVTec layout: 72 px, 6 + 3 good, 4 `scratch`, 4 `spot`; always the same."""
    return _write_category


@pytest.fixture
def small_category(tmp_path: Path) -> Path:
    """The category folder `parts/washer` of `write_category`."""
    return _write_category(tmp_path / "parts" / "washer")


def _write_category(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for index in range(count):
            _save(_part(rng), root / split / "good" / f"{index:03d}.png")
    for defect in ("scratch", "spot"):
        for index in range(4):
            image, mask = _part(rng), Image.new("L", (72, 72))
            x, y = rng.integers(18, 40, size=2).tolist()
            for canvas, ink in ((image, (30, 20, 20)), (mask, 255)):
                draw = ImageDraw.Draw(canvas)
                if defect == "scratch":
                    draw.line([x, y, x + 16, y + 12], fill=ink, width=4)
                else:
                    draw.ellipse([x, y, x + 12, y + 12], fill=ink)
            _save(image, root / "test" / defect / f"{index:03d}.png")
            _save(mask, root / "ground_truth" / defect / f"{index:03d}_mask.png")
    return root


def _part(rng: np.random.Generator) -> Image.Image:
    """A bright ring on a dark, noisy ground."""
    noise = rng.normal(60, 6, size=(72, 72, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(noise)
    draw = ImageDraw.Draw(image)
    grey = int(rng.integers(150, 190))
    draw.ellipse([8, 8, 64, 64], outline=(grey, grey, grey - 20), width=18)
    return image


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _write_stable_diffusion(
    folder: Path,
    prediction_type: str = "epsilon",
    is_second: bool = False,
    in_channels: int = 4,
    text_width: int = 32,
    **scheduler: object,
) -> Path:
    """Version 1.x has 8 heads a layer and convolutions around them, 2.x heads of 64 channels and matrices."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from augment.backbones.build import build_tokenizer

    torch.manual_seed(0)
    channels = (64, 128) if is_second else (32, 64)
    tokenizer = build_tokenizer(["a photo of a bottle with sks crack"], max_length=77)
    text_config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=text_width, intermediate_size=37, num_hidden_layers=2,
        num_attention_heads=max(1, text_width // 64), bos_token_id=0, eos_token_id=1, pad_token_id=1,
        hidden_act="gelu" if is_second else "quick_gelu",
    )  # fmt: skip
    unet = UNet2DConditionModel(
        block_out_channels=channels, layers_per_block=2, sample_size=32, in_channels=in_channels,
        out_channels=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=text_width,
        attention_head_dim=(1, 2) if is_second else 8, use_linear_projection=is_second,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(32, 64), latent_channels=4, scaling_factor=0.18215,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    levels = PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1,
        skip_prk_steps=True, set_alpha_to_one=False, prediction_type=prediction_type, **scheduler,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text_config), tokenizer=tokenizer, unet=unet, scheduler=levels,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
