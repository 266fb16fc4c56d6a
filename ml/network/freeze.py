"""The first stages of a timm encoder, whose weights a recipe does not train."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from ml.network import depthwise


def freeze(encoder: Any, stages: int) -> None:
    """Freeze the stem and the first stages of a timm encoder.

    Their features are edges and textures, which X-rays share with photographs, and they cost the
    most to train.
    """
    for part in _frozen(encoder, stages):
        part.requires_grad_(False)


def fold(encoder: Any, stages: int) -> None:
    """Fold the batch norms of frozen layers into their convolutions; the state stays as it is.

    For training alone, once weights and statistics are final. The outputs are the same but for
    rounding, without a pass over the largest maps for every norm.
    """
    for part in _frozen(encoder, stages):
        for conv, norm in _pairs(part):
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            bias = norm.bias - norm.running_mean * scale
            if conv.bias is not None:
                bias = bias + conv.bias * scale
            weight = (conv.weight * scale[:, None, None, None]).detach()
            weight = weight.contiguous(memory_format=torch.channels_last)
            conv.forward = functools.partial(_folded, conv, weight, bias.detach())
            norm.forward = functools.partial(_activated, norm)


def _frozen(encoder: Any, stages: int) -> list[nn.Module]:
    if not stages:
        return []
    network = encoder.model
    return [nn.ModuleList([network.conv_stem, network.bn1]), *list(network.blocks)[:stages]]


def _pairs(part: nn.Module) -> Iterator[tuple[Any, Any]]:
    """Convolutions with the batch norm that follows, in the order in which a block holds them."""
    for holder in part.modules():
        layers = list(holder.children())
        for conv, norm in itertools.pairwise(layers):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNormAct2d):
                yield conv, norm


def _folded(conv: nn.Conv2d, weight: Tensor, bias: Tensor, features: Tensor) -> Tensor:
    features, padding = depthwise.padded(conv, features)
    return nn.functional.conv2d(
        features, weight, bias, conv.stride, padding, conv.dilation, conv.groups
    )


def _activated(norm: BatchNormAct2d, features: Tensor) -> Tensor:
    found: Tensor = norm.act(norm.drop(features))
    return found
