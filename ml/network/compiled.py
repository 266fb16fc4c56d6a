"""The network's passes as `train` calls them: eager, or compiled by torch where a recipe asks.

A compiler that fails (no C compiler on the machine, an operation that it doesn't know) costs speed
and not the run: one step is tried first, and its error is a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ml.network import model, precision
from ml.recipe import Recipe


@dataclass(frozen=True)
class Passes:
    """What the losses need of a network: logits of mask, image and patches."""

    mask_logits: Tensor
    image_logits: Tensor
    patch_logits: Tensor


Forward = Callable[[Tensor], Passes]


def forward(
    net: model.Segmenter, recipe: Recipe, device: torch.device, backend: str = "inductor"
) -> Forward:
    """The forward pass for pictures (N, 1, S, S), compiled if the recipe wants that."""

    def eager(picture: Tensor) -> Passes:
        seen = net.outputs(picture)
        return Passes(seen.mask_logits, net.image_logits(seen.features), seen.patch_logits)

    if not recipe.compiled:
        return eager
    options: dict[str, Any] = {"backend": backend, "dynamic": False}
    if backend == "inductor":
        options["mode"] = recipe.compiled
    quick: Any = eager

    def compiled(picture: Tensor) -> Passes:
        if recipe.compiled == "reduce-overhead":
            # The graph's outputs of the step before may be overwritten from here on.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        found: Passes = quick(picture)
        return found

    try:
        quick = torch.compile(eager, **options)
        _try(net, recipe, device, compiled)
    except Exception as error:  # compilers have many
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        warnings.warn(f"the network is not compiled: {reason}", stacklevel=2)
        torch.compiler.reset()
        return eager
    return compiled


def _try(net: model.Segmenter, recipe: Recipe, device: torch.device, step: Forward) -> None:
    """One forward and one backward pass, after which network and generators are as before."""
    buffers = {name: value.clone() for name, value in net.named_buffers()}
    size, devices = recipe.size_from[0][1], [device] if device.type == "cuda" else []
    count = recipe.batch // recipe.devices
    with torch.random.fork_rng(devices):
        picture = torch.zeros(count, 1, size, size, device=device)
        picture = picture.to(memory_format=torch.channels_last)
        with precision.autocast(recipe, device):
            seen = step(picture)
        parts = (seen.mask_logits, seen.image_logits, seen.patch_logits)
        torch.autograd.backward(torch.stack([part.float().mean() for part in parts]).sum())
    net.zero_grad(set_to_none=True)
    for name, value in net.named_buffers():
        value.copy_(buffers[name])
