"""Losses on logits. Every mask loss maps (N,1,H,W) logits and 0/1 masks to one value per picture.

Sources: Dice loss, Milletari et al. 2016 (V-Net); focal loss, Lin et al. 2017; Tversky loss,
Salehi et al. 2017; focal Tversky, Abraham and Khan 2019; Lovász hinge, Berman et al. 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def tversky(
    logits: Tensor, masks: Tensor, false_negatives: float = 0.7, false_positives: float = 0.3
) -> Tensor:
    """1 - (tp + s/2) / (tp + 0.7·fn + 0.3·fp + s/2): false negatives weigh more."""
    return _overlap(logits, masks, false_negatives, false_positives)


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


def lovasz(logits: Tensor, masks: Tensor) -> Tensor:
    """The Lovász hinge: the convex closure of 1 - IoU at the hinge's errors, picture by picture.

    Errors are sorted, largest first; each is weighted by how much 1 - IoU grows when its pixel
    joins those that are wrong already.
    """
    signs = masks.flatten(1) * 2 - 1
    errors, order = (1 - logits.flatten(1) * signs).sort(dim=1, descending=True)
    truth = masks.flatten(1).gather(1, order)
    total = truth.sum(1, keepdim=True)
    # With the k worst pixels wrong: the truth that is still hit, over truth and false positives.
    hit = total - truth.cumsum(1)
    union = total + (1 - truth).cumsum(1)
    lost = 1 - hit / union.clamp(min=1)
    growth = lost.diff(dim=1, prepend=torch.zeros_like(total))
    return (errors.relu() * growth).sum(1)


def bce_lovasz(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy and the Lovász hinge, 3 : 1: the hinge alone is flat where all is right."""
    return BCE_SHARE * bce(logits, masks) + DICE_SHARE * lovasz(logits, masks)


MASK_LOSSES: dict[str, MaskLoss] = {
    "bce": bce,
    "dice": dice,
    "tversky": tversky,
    "focal": focal,
    "bce_dice": bce_dice,
    "focal_tversky_bce": focal_tversky_bce,
    "lovasz": lovasz,
    "bce_lovasz": bce_lovasz,
}


@dataclass(frozen=True)
class StepCounts:
    """Of how many pictures a step's losses are the means: all, outlined ones and negatives."""

    pictures: Tensor
    outlined: Tensor
    negative: Tensor

    @classmethod
    def of(
        cls,
        passes: Sequence[Mapping[str, Tensor]],
        total: Callable[[Tensor], Tensor] = lambda counts: counts,
    ) -> StepCounts:
        """The counts of all batches that one step learns from.

        total: adds the counts of other processes that take the same step.
        """
        positive = torch.cat([batch["positive"].flatten() for batch in passes])
        outlined = torch.cat([batch["outlined"].flatten() for batch in passes])
        counts = [torch.ones_like(positive).sum(), outlined.sum(), (1 - positive).sum()]
        return cls(*total(torch.stack(counts)))


@dataclass(frozen=True)
class LossParts:
    """The three losses, each a sum over this batch by the number of pictures of the whole step."""

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
    whole: StepCounts | None = None,
    labels: Tensor | None = None,
) -> LossParts:
    """The losses of the mask, of the image's label and of the patches (N,1,h,w).

    positive, outlined: (N,) of 0/1, or (N,C) where there are C classes, each of which counts as a
    picture of its own. The chosen mask loss sees the pictures with a drawn mask; a
    picture without a pneumothorax adds cross-entropy, so that the outline is trained on
    negatives; a positive without an outline trains the image-level output alone.
    labels: targets of the image's output in 0..1, where they differ from `positive`.
    whole: the counts of the whole step; without it, of this batch. The losses of a step's batches
    add up to that of one large batch.
    """
    if whole is None:
        whole = StepCounts.of([{"positive": positive, "outlined": outlined}])
    mask_logits, patch_logits, masks = (
        maps.flatten(0, 1).unsqueeze(1) for maps in (mask_logits, patch_logits, masks)
    )
    image_logits, positive, outlined = (v.flatten() for v in (image_logits, positive, outlined))
    targets = positive if labels is None else labels.flatten()
    targets = targets * (1 - 2 * label_doubt) + label_doubt
    image = F.binary_cross_entropy_with_logits(image_logits, targets, reduction="sum")
    image = image / whole.pictures
    per_picture = mask_loss(mask_logits, masks) * outlined
    negative = 1 - positive
    empty = (bce(mask_logits, masks) * negative).sum() / whole.negative.clamp(min=1)
    mask = per_picture.sum() / whole.outlined.clamp(min=1) + EMPTY_SHARE * empty
    # A patch holds a pneumothorax where any of its pixels does.
    held = F.adaptive_max_pool2d(masks, patch_logits.shape[-2:])
    known = outlined + negative
    patch = (bce(patch_logits, held) * known).sum()
    patch = patch / (whole.outlined + whole.negative).clamp(min=1)
    return LossParts(mask, image, patch)


def _overlap(
    logits: Tensor, masks: Tensor, false_negatives: float, false_positives: float
) -> Tensor:
    probability = logits.sigmoid()
    hit = (probability * masks).sum((1, 2, 3))
    missed = ((1 - probability) * masks).sum((1, 2, 3))
    false_positive = (probability * (1 - masks)).sum((1, 2, 3))
    half = SMOOTH / 2
    return 1 - (hit + half) / (
        hit + false_negatives * missed + false_positives * false_positive + half
    )
