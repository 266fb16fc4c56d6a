"""The precision of training: bf16 where the processor has it, fp16 on a GPU where asked for."""

from __future__ import annotations

from typing import Any

import torch

from ml.recipe import Recipe


def runs_in_bf16(recipe: Recipe, device: torch.device) -> bool:
    """Whether a recipe that allows bf16 gets it on this device.

    A CPU without AVX-512 BF16 emulates it, which takes several times as long as float32.
    """
    if not recipe.bf16 or runs_in_fp16(recipe, device):
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # torch 2.7, the oldest version that is allowed here, has no public name for this.
    return bool(torch.cpu._is_avx512_bf16_supported())


def runs_in_fp16(recipe: Recipe, device: torch.device) -> bool:
    """Whether a recipe asks for fp16 and the device is a GPU."""
    return recipe.fp16 and device.type == "cuda"


def autocast(recipe: Recipe, device: torch.device) -> Any:
    """The context in which a network of this recipe computes on this device."""
    if runs_in_fp16(recipe, device):
        return torch.autocast(device.type, torch.float16)
    return torch.autocast(device.type, torch.bfloat16, enabled=runs_in_bf16(recipe, device))


def scaler(recipe: Recipe, device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss so that fp16 gradients do not vanish; passes it through without fp16."""
    return torch.amp.GradScaler(device.type, enabled=runs_in_fp16(recipe, device))
