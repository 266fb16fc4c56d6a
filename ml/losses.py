"""Losses on logits. Every mask loss maps (N,1,H,W) logits and 0/1 masks to one value per picture.

Sources: Dice loss, Milletari et al. 2016 (V-Net); focal loss, Lin et al. 2017; Tversky loss,
Salehi et al. 2017; focal Tversky, Abraham and Khan 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MaskLoss = Callable[[Tensor, Tensor], Tensor]
SMOOTH = 1.0  # pixels; keeps an empty mask's ratio defined
BCE_SHARE, DICE_SHARE = 0.75, 0.25  # 3 : 1
EMPTY_SHARE = 0.5  # of cross-entropy on pictures without a pneumothorax


def bce(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean binary cross-entropy over a picture's pixels."""
    return F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean((1, 2, 3))


def dice(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - (2·|p·y| + s) / (|p| + |y| + s)."""
    return _overlap(logits, masks, 0.5, 0.5)


def tversky(logits: Tensor, masks: Tensor, misses: float = 0.7, alarms: float = 0.3) -> Tensor:
    """1 - (tp + s/2) / (tp + misses·fn + alarms·fp + s/2): misses cost more than false alarms."""
    return _overlap(logits, masks, misses, alarms)


def focal(logits: Tensor, masks: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Cross-entropy weighted by alpha and (1 - p of the right answer)^gamma."""
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    weight = alpha * masks + (1 - alpha) * (1 - masks)
    return (weight * (1 - torch.exp(-entropy)) ** gamma * entropy).mean((1, 2, 3))


def bce_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy and Dice, 3 : 1."""
    return BCE_SHARE * bce(logits, masks) + DICE_SHARE * dice(logits, masks)


def focal_tversky_bce(logits: Tensor, masks: Tensor, gamma: float = 0.75) -> Tensor:
    """Tversky^gamma and cross-entropy, 1 : 1."""
    # At 0 the power has no slope; a perfect picture would turn every weight into NaN.
    return tversky(logits, masks).clamp(min=1e-6) ** gamma + bce(logits, masks)


MASK_LOSSES: dict[str, MaskLoss] = {
    "bce": bce,
    "dice": dice,
    "tversky": tversky,
    "focal": focal,
    "bce_dice": bce_dice,
    "focal_tversky_bce": focal_tversky_bce,
}


@dataclass(frozen=True)
class Parts:
    """The three losses, each a mean over the pictures that it applies to."""

    mask: Tensor
    image: Tensor
    patch: Tensor


def combined(
    mask_logits: Tensor,
    image_logits: Tensor,
    patch_logits: Tensor,
    masks: Tensor,
    positive: Tensor,
    outlined: Tensor,
    mask_loss: MaskLoss,
    label_doubt: float = 0.0,
) -> Parts:
    """The losses of the mask, of the image's label and of the patches (N,1,h,w).

    positive, outlined: (N,) of 0/1. The chosen mask loss sees the pictures with a drawn mask; a
    picture without a pneumothorax adds cross-entropy, so that the outline learns what to leave
    out; one that was judged positive without an outline teaches the image-level output alone.
    """
    labels = positive * (1 - 2 * label_doubt) + label_doubt
    image = F.binary_cross_entropy_with_logits(image_logits.squeeze(1), labels)
    per_picture = mask_loss(mask_logits, masks) * outlined
    negative = 1 - positive
    empty = (bce(mask_logits, masks) * negative).sum() / negative.sum().clamp(min=1)
    mask = per_picture.sum() / outlined.sum().clamp(min=1) + EMPTY_SHARE * empty
    # A patch holds a pneumothorax where any of its pixels does.
    held = F.adaptive_max_pool2d(masks, patch_logits.shape[-2:])
    known = outlined + negative
    patch = (bce(patch_logits, held) * known).sum() / known.sum().clamp(min=1)
    return Parts(mask, image, patch)


def _overlap(logits: Tensor, masks: Tensor, misses: float, alarms: float) -> Tensor:
    probability = logits.sigmoid()
    hit = (probability * masks).sum((1, 2, 3))
    missed = ((1 - probability) * masks).sum((1, 2, 3))
    alarm = (probability * (1 - masks)).sum((1, 2, 3))
    half = SMOOTH / 2
    return 1 - (hit + half) / (hit + misses * missed + alarms * alarm + half)
