"""One interface to a latent diffusion model, whatever its size."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from augment.backbones import weights
from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.codec import PatchCodec
from augment.backbones.sources import Origin
from augment.functional.ddim import Schedule, make_schedule
from augment.functional.inpainting import Surroundings
from augment.functional.masked_image import MaskedImage, grey_holes
from augment.functional.noising import predicted_noise

Known = Surroundings | MaskedImage  # what an inpainting U-Net is told around a hole
Waiting = Literal["text_encoder", "autoencoder"]


@dataclass(frozen=True)
class Prompt:
    """An encoded prompt.

    Attributes:
        embedding: (L, d) one vector a token.
        token_ids: (L,) int64.
        content: (L,) bool, the tokens that are words (no start, end or padding).
    """

    embedding: Tensor
    token_ids: Tensor
    content: Tensor


@dataclass
class Backbone:
    """A loaded diffusion model.

    Attributes:
        name: what was loaded: `tiny`, a folder or a hub id.
        unet: a standard `UNet2DConditionModel` with `MaskedAttentionProcessor` installed.
        autoencoder: `AutoencoderKL`, or the bundled model's `PatchCodec`.
        text_encoder, tokenizer: CLIP's.
        scheduler: the training process (betas, prediction type).
        device: where it runs.
        autocast_dtype: dtype of the network calls (weights stay float32); float32 switches autocast off.
        runner: what calls the U-Net in place of the plain call (`augment.backbones.speed`); None: nothing.
        origin: where the model comes from: its commit and its licence.
        rows: latents in one call of the U-Net where no gradient is kept; 0: all there are.
        waiting: parts that are in main memory and come to the device only for a call.
    """

    name: str
    unet: UNet2DConditionModel
    autoencoder: AutoencoderKL | PatchCodec
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler
    device: torch.device
    autocast_dtype: torch.dtype
    runner: Callable[..., Tensor] | None = None
    origin: Origin | None = None
    rows: int = 0
    waiting: set[Waiting] = field(default_factory=set)
    _grey: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False)

    @property
    def latent_channels(self) -> int:
        """C, the channels of a latent."""
        return self.unet.config.out_channels

    @property
    def is_inpainting(self) -> bool:
        """Whether the U-Net also sees the hole and the clean latents around it (2 C + 1 input channels)."""
        return self.unet.config.in_channels != self.unet.config.out_channels

    @property
    def fills_holes(self) -> bool:
        """Whether it is told a guess of what a hole holds (the bundled kind), not just what is around it."""
        return self.is_inpainting and isinstance(self.autoencoder, PatchCodec)

    @property
    def factor(self) -> int:
        """Pixels a latent cell spans on each axis."""
        if isinstance(self.autoencoder, PatchCodec):
            return self.autoencoder.config.patch
        return 2 ** (len(self.autoencoder.config.block_out_channels) - 1)

    @property
    def prediction_type(self) -> str:
        """What the U-Net returns: `epsilon`, `v_prediction` or `sample`."""
        return self.scheduler.config.prediction_type

    @property
    def alphas_cumprod(self) -> Tensor:
        """(T,) float32 on the device."""
        return self.scheduler.alphas_cumprod.to(self.device)

    def autocast(self) -> AbstractContextManager:
        """Mixed precision for network calls, as set at loading."""
        if self.autocast_dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.autocast_dtype)

    def schedule(self, num_inference_steps: int) -> Schedule:
        """The DDIM levels for a number of steps."""
        scheduler = DDIMScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(num_inference_steps)
        return make_schedule(
            scheduler.alphas_cumprod, float(scheduler.final_alpha_cumprod), scheduler.timesteps.tolist()
        )

    @torch.no_grad()
    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> scaled latents z_0 (B, C, h, w), float32. Deterministic."""
        x = images.to(self.device, torch.float32) * 2 - 1
        with self._at_hand("autoencoder"):
            if isinstance(self.autoencoder, PatchCodec):
                return self.autoencoder.encode(x)
            with self.autocast():
                latents = self.autoencoder.encode(x).latent_dist.mode()
        return latents.float() * self.autoencoder.config.scaling_factor

    @torch.no_grad()
    def decode_latents(self, z: Tensor) -> Tensor:
        """Scaled latents (B, C, h, w) -> images (B, 3, H, W) in [0, 1], float32."""
        with self._at_hand("autoencoder"):
            if isinstance(self.autoencoder, PatchCodec):
                x = self.autoencoder.decode(z)
            else:
                with self.autocast():
                    x = self.autoencoder.decode(z / self.autoencoder.config.scaling_factor).sample
        return (x.float() / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> list[Prompt]:
        """Token embeddings of each prompt, padded to the tokenizer's length (longer ones are cut)."""
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        ids = tokens.input_ids.to(self.device)
        with self._at_hand("text_encoder"):
            embeddings = self.text_encoder(ids)[0].float()
        special = torch.tensor(
            [self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id]
        )
        content = ~torch.isin(ids, special.to(self.device))
        return [Prompt(e, i, c) for e, i, c in zip(embeddings, ids, content, strict=True)]

    def surroundings(
        self,
        z_0: Tensor,
        m: Tensor,
        reference: Tensor | None = None,
        *,
        of_defect: bool,
        images: Tensor | None = None,
    ) -> Known | None:
        """What an inpainting U-Net is told of the image around a hole; None for other U-Nets.

        Args:
            z_0: (B, C, h, w) clean latents.
            m: (B, 1, h, w) in {0, 1}, the hole.
            reference: (B, C, h, w) or None, as for `Surroundings.of`. For a Stable Diffusion inpainting
                U-Net, where `images` is None: what `masked_images` gave.
            of_defect: the hole holds a defect, which strays further from its surroundings than good surface.
            images: (B, 3, H, W) in [0, 1], what `z_0` shows, for a Stable Diffusion inpainting U-Net.
        """
        if not self.is_inpainting:
            return None
        if not self.fills_holes:
            return MaskedImage(m, reference if images is None else self.masked_images(images, m))
        spread = self.autoencoder.defect_spread[None, :, None, None] if of_defect else None
        return Surroundings.of(z_0, m, self.autoencoder, reference, spread)

    def masked_images(self, images: Tensor, m: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, C, h, w): latents of the images with the cells of `m` grey."""
        return self.encode_images(grey_holes(images.to(self.device), m))

    def nothing_known(self, z: Tensor) -> Known:
        """What an inpainting U-Net is told where it may know nothing of the image (Eq. 7, 8)."""
        if self.fills_holes:
            return Surroundings.unknown(z)
        height, width = z.shape[-2:]
        if (height, width) not in self._grey:
            grey = torch.full((1, 3, height * self.factor, width * self.factor), 0.5)
            self._grey[height, width] = self.encode_images(grey)
        return MaskedImage.unknown(self._grey[height, width], len(z))

    def predict_noise(
        self,
        z: Tensor,
        timestep: int | Tensor,
        a_t: Tensor,
        condition: Tensor,
        region: AttentionRegion,
        surroundings: Known | None = None,
    ) -> Tensor:
        """eps_theta(z, t, C) as float32 (B, C, h, w), for any prediction type.

        Args:
            z: (B, C, h, w) noised latents.
            timestep: what the network is told, a scalar or (B,).
            a_t: cumulative product of alphas at that level, a scalar or (B, 1, 1, 1).
            condition: (B, 2 L, d) the concatenation [C_first, C_bg].
            region: where the first prompt rules.
            surroundings: as for `predict`.
        """
        timesteps = torch.as_tensor(timestep, device=z.device).expand(len(z))
        output = self.predict(z, timesteps, condition, region, surroundings)
        return predicted_noise(output, z, a_t, self.prediction_type)

    def predict(
        self,
        z: Tensor,
        timesteps: Tensor,
        condition: Tensor,
        region: AttentionRegion,
        surroundings: Known | None = None,
    ) -> Tensor:
        """The U-Net's prediction (its kind is `prediction_type`), float32 (B, C, h, w).

        Args:
            z, condition, region: as for `predict_noise`.
            timesteps: (B,).
            surroundings: what an inpainting U-Net knows around the hole; None tells it nothing. Other U-Nets
                take none.
        """
        if not self.is_inpainting:
            return self._call(z, timesteps, condition, region)
        surroundings = surroundings or self.nothing_known(z)
        if isinstance(surroundings, MaskedImage):
            return self._call(surroundings.network_input(z), timesteps, condition, region)
        a_t = self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        output = self._call(surroundings.network_input(z, a_t), timesteps, condition, region)
        return surroundings.v_prediction(output, z, a_t)

    def _call(self, x: Tensor, timesteps: Tensor, condition: Tensor, region: AttentionRegion) -> Tensor:
        """The network itself, some rows at a time where memory is short."""
        if not self.rows or len(x) <= self.rows or torch.is_grad_enabled():
            return self._network(x, timesteps, condition, region)
        regions = region.split(self.rows)
        parts = zip(*(each.split(self.rows) for each in (x, timesteps, condition)), regions, strict=True)
        output = torch.cat([self._network(*part) for part in parts])
        region.take_records(regions)
        return output

    def _network(self, x: Tensor, timesteps: Tensor, condition: Tensor, region: AttentionRegion) -> Tensor:
        """The network itself, on all rows at once."""
        if self.runner is not None:
            return self.runner(x, timesteps, condition, region).float()
        x = x.contiguous(memory_format=torch.channels_last)
        with self.autocast():
            output = self.unet(x, timesteps, condition, cross_attention_kwargs={"region": region}).sample
        return output.float()

    def park(self, *parts: Waiting) -> None:
        """Let parts wait in main memory; each comes back for the calls that need it."""
        for part in parts:
            self.waiting.add(part)
            getattr(self, part).to("cpu")

    def fetch(self) -> None:
        """Bring all parts that wait back for good."""
        while self.waiting:
            getattr(self, self.waiting.pop()).to(self.device)

    @contextmanager
    def _at_hand(self, part: Waiting) -> Iterator[nn.Module]:
        """Within it, a part is on the device."""
        module: nn.Module = getattr(self, part)
        if part not in self.waiting:
            yield module
            return
        module.to(self.device)
        try:
            yield module
        finally:
            module.to("cpu")

    def save_unet(self, folder: Path) -> None:
        """Write as `folder/unet`, atomically, what is learnt: the U-Net, or its low-rank change alone."""
        save = weights.save_adapter if weights.has_adapter(self.unet) else weights.save_unet
        save(self.unet, folder)

    def load_unet(self, folder: Path) -> None:
        """Take the U-Net's weights from `folder/unet`, as `save_unet` wrote them.

        Raises:
            BackboneError: they are not there, unreadable, or another U-Net's.
        """
        weights.load_unet(self.unet, folder)


def quiet_libraries() -> None:
    """Keep the libraries' chatter and bars for loading and saving off the terminal."""
    import diffusers.utils.logging
    import transformers.utils.logging

    # diffusers hands the hub an option that it has dropped
    warnings.filterwarnings("ignore", "The `local_dir_use_symlinks` argument", UserWarning)
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.disable_progress_bar()
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    logging.getLogger("transformers").setLevel(logging.ERROR)
