"""Masked image modelling: pictures with hidden patches, whose grey values are the target.

Pretraining of encoder and decoder without labels. The whole picture is the target, not the hidden
patches alone: with the skip connections of a U-Net the visible part is soon learnt, and the hidden
part makes the loss. After Pathak et al. 2016 and Xie et al. 2022 (SimMIM).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

PATCH = 32  # px: a patch of the encoder's coarsest map


def item(view: NDArray[np.float32], share: float, rng: np.random.Generator) -> dict[str, Any]:
    """A training picture as `ml.datasets.dataset` gives it: view (S, S) in -1..1 with `share` of
    its patches at the middle grey, and as mask (1, S, S) the grey of all of it in 0..1."""
    side = view.shape[0] // PATCH
    hidden = rng.permuted(np.arange(side * side) < round(share * side * side)).reshape(side, side)
    masked = np.where(np.kron(hidden, np.ones((PATCH, PATCH), dtype=bool)), np.float32(0), view)
    one = torch.tensor(1.0)
    return {
        "picture": torch.from_numpy(masked)[None],
        "mask": torch.from_numpy((view + 1) / 2)[None],
        "positive": one,
        "label": one,
        "outlined": one,
    }
