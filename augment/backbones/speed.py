"""A backbone's U-Net called in a faster way: in half precision throughout, compiled, or as a CUDA graph.

What is returned may differ from the plain call by rounding. Weights may be loaded into the U-Net afterwards,
in place: a compiled or captured call sees them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.backbone import Backbone
from augment.recipe import SpeedConfig

Call = Callable[..., Tensor]
_WARM_UPS = 3  # calls before a capture, in which libraries choose their kernels
_SHAPES = 4  # captured at a time; a batch's last size and its inversions' are others


def speed_up(backbone: Backbone, config: SpeedConfig) -> None:
    """Have the backbone call its U-Net as the recipe says; with the defaults it is left as it is.

    With `half`, the U-Net and Stable Diffusion's autoencoder are held in the autocast dtype: such a backbone
    paints, but is not for training.
    """
    runner = Runner(backbone, config)
    backbone.runner = None if runner.is_plain else runner


class Runner:
    """Calls a U-Net on latents, timesteps, conditioning and an `AttentionRegion`.

    Calls that record attention, for Eq. (13), are neither compiled nor captured.
    """

    def __init__(self, backbone: Backbone, config: SpeedConfig):
        half = config.half and backbone.autocast_dtype != torch.float32
        graph = config.cuda_graph and backbone.device.type == "cuda"
        self.is_plain = config.channels_last and not (half or graph or config.compile)
        if self.is_plain:
            return
        self.backbone, self.graph = backbone, graph
        self.dtype = backbone.autocast_dtype if half else torch.float32
        self.order = torch.channels_last if config.channels_last else torch.contiguous_format
        backbone.unet.to(memory_format=self.order)
        if half:  # else weights stay as the memory mode holds them
            backbone.unet.to(self.dtype)
        if half and isinstance(backbone.autoencoder, AutoencoderKL):
            backbone.autoencoder.to(dtype=self.dtype, memory_format=self.order)
        self.call: Call = self._forward
        if config.compile:
            self.call = torch.compile(self._forward, dynamic=False)
        if graph:
            self.call = StaticCalls(self.call, partial(capture_cuda_graph, backbone.device))

    def __call__(self, x: Tensor, timesteps: Tensor, condition: Tensor, region: AttentionRegion) -> Tensor:
        """The network's output, in its own dtype."""
        x = x.to(self.dtype).contiguous(memory_format=self.order)
        condition = condition.to(self.dtype)
        if region.recorder is not None:
            with self._autocast():
                extra = {"region": region}
                return self.backbone.unet(x, timesteps, condition, cross_attention_kwargs=extra).sample
        return self.call(x, timesteps, condition, region.m, region.hide_keys)

    def _forward(
        self, x: Tensor, timesteps: Tensor, condition: Tensor, m: Tensor, hide_keys: Tensor | None
    ) -> Tensor:
        extra = {"region": AttentionRegion(m, hide_keys)}
        with self._autocast():
            return self.backbone.unet(x, timesteps, condition, cross_attention_kwargs=extra).sample

    def _autocast(self) -> AbstractContextManager:
        """Autocast's own, where the weights are not in half precision."""
        dtype = self.backbone.autocast_dtype
        if dtype == self.dtype:
            return nullcontext()
        # What a graph captures must not be a cast that autocast remembers from before.
        return torch.autocast(self.backbone.device.type, dtype, cache_enabled=not self.graph)


class StaticCalls:
    """Calls a function on tensors that stay where they are in memory, as a captured graph needs it.

    Args:
        function: takes tensors (or None) and returns one tensor.
        capture: given a function without arguments, returns its result's place and what computes it anew
            there, as `capture_cuda_graph` does.
    """

    def __init__(self, function: Call, capture: Callable[[Callable[[], Tensor]], tuple[Tensor, Callable]]):
        self._function, self._capture = function, capture
        self._captured: dict[tuple, tuple[list[Tensor | None], Tensor, Callable]] = {}

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        """The function's result, in memory of its own."""
        key = tuple(None if x is None else (x.shape, x.dtype, x.stride()) for x in inputs)
        if key not in self._captured:
            while len(self._captured) >= _SHAPES:
                self._captured.pop(next(iter(self._captured)))
            places = [None if x is None else x.clone() for x in inputs]
            output, replay = self._capture(lambda: self._function(*places))
            self._captured[key] = (places, output, replay)
        places, output, replay = self._captured[key]
        for place, x in zip(places, inputs, strict=True):
            if place is not None:
                place.copy_(x)
        replay()
        return output.clone()


def capture_cuda_graph(
    device: torch.device, function: Callable[[], Tensor]
) -> tuple[Tensor, Callable[[], None]]:
    """Capture a function's kernels: where its result lies, and what launches them again."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                function()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = function()
    return output, graph.replay
