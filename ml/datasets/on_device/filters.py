"""Filters of a batch of grey pictures (B, S, S), each picture by its own parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def filtered(pictures: Tensor, lines: Sequence[NDArray[np.float32] | None]) -> Tensor:
    """Each picture correlated with its own filter (K, K), K odd, edges repeated, as cv2.filter2D.

    None leaves a picture as it is.
    """
    side = max(1 if line is None else len(line) for line in lines)
    stacked = np.zeros((len(lines), 1, side, side), dtype=np.float32)
    for number, line in enumerate(lines):
        own = np.ones((1, 1), dtype=np.float32) if line is None else line
        edge = (side - len(own)) // 2
        stacked[number, 0, edge : side - edge, edge : side - edge] = own
    weight = torch.from_numpy(stacked).to(pictures.device, non_blocking=True)
    edges = (side // 2,) * 4
    padded = F.pad(pictures[None], edges, mode="replicate")
    return F.conv2d(padded, weight, groups=len(lines))[0]


def gaussian(pictures: Tensor, sigmas: Tensor) -> Tensor:
    """Each picture blurred with its own sigma (B,), px, mirrored at its edges, as cv2.GaussianBlur.

    As two products with a matrix of (S, S), which a GPU multiplies faster than it convolves with
    wide filters. The blur reaches 4 sigma, OpenCV's choice for floats, and less than S.
    """
    side = pictures.shape[-1]
    matrices = _gaussian_matrices(sigmas, side)
    return matrices @ pictures @ matrices.transpose(1, 2)


def _gaussian_matrices(sigmas: Tensor, side: int) -> Tensor:
    """(B, S, S): row i holds the weights of the pixels that make pixel i."""
    sigma = sigmas[:, None, None]
    # OpenCV's number of taps is odd: round(8 sigma + 1), made odd by adding one.
    taps = torch.round(sigma * 8 + 1)
    radius = torch.div(taps, 2, rounding_mode="floor")
    place = torch.arange(side, device=sigmas.device, dtype=torch.float32)
    row, column = place[:, None], place[None]

    def weight(distance: Tensor) -> Tensor:
        found = torch.exp(-0.5 * (distance / sigma) ** 2)
        return torch.where(distance <= radius, found, torch.zeros_like(found))

    # Mirrored about the first and the last pixel, which are not repeated themselves.
    before = weight(row + column) * (column > 0)
    behind = weight(2 * (side - 1) - row - column) * (column < side - 1)
    matrices = weight((row - column).abs()) + before + behind
    return matrices / matrices.sum(2, keepdim=True)
