"""Depthwise convolutions that train fast in bf16 on a CPU."""

from __future__ import annotations

import functools
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution, forward in bf16 and backward in float32."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any
    ) -> Tensor:
        features = features.bfloat16()
        ctx.save_for_backward(features, weight)
        ctx.geometry = (list(stride), list(padding), list(dilation))
        return nn.functional.conv2d(
            features, weight.bfloat16(), None, stride, padding, dilation, weight.shape[0]
        )

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        to_features, to_weight, _ = torch.ops.aten.convolution_backward(
            gradient.float(),
            features.float(),
            weight,
            None,
            stride,
            padding,
            dilation,
            False,
            [0, 0],
            weight.shape[0],
            wanted,
        )
        return (
            to_features.bfloat16() if wanted[0] else None,
            to_weight if wanted[1] else None,
            None,
            None,
            None,
        )


def speed_up(module: nn.Module) -> None:
    """Make depthwise convolutions fast in training in bf16 on a CPU.

    oneDNN's bf16 kernels for their gradients are 5 to 40 times slower than its float32 ones
    (measured on AVX-512 BF16), while forward bf16 is twice as quick and saves a copy.
    Only layers whose computation is reproduced here in full are changed; a subclass that pads in
    its own forward, or a layer with a bias, stays as it is: slow but correct.
    """
    for layer in module.modules():
        if (
            isinstance(layer, nn.Conv2d)
            and type(layer) in (nn.Conv2d, Conv2dSame)
            and layer.groups == layer.in_channels > 1
            and layer.bias is None
            and not isinstance(layer.padding, str)
            and layer.padding_mode == "zeros"
        ):
            layer.forward = functools.partial(_depthwise, layer)  # type: ignore[method-assign]


def padded(layer: nn.Conv2d, features: Tensor) -> tuple[Tensor, Any]:
    """What a layer convolves, and the padding that is left to do: timm's "same" pads by itself."""
    if not isinstance(layer, Conv2dSame):
        return features, layer.padding
    geometry = (list(layer.kernel_size), list(layer.stride), list(layer.dilation))
    return pad_same(features, *geometry), (0, 0)


def _depthwise(layer: nn.Conv2d, features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        features, padding = padded(layer, features)
        found: Tensor = _Depthwise.apply(
            features, layer.weight, layer.stride, padding, layer.dilation
        )
        return found
