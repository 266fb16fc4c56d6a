"""Views of training pictures, a batch at a time, as tensor operations on the pictures' device.

The counterpart of `ml.preprocessing.transforms.augment`: the same map, grey values and erased
parts for the same parameters. Two things differ, both below what a view can show: OpenCV rounds
places to 1/32 px and the sampled greys to whole ones, and sums in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ml.datasets.on_device import filters
from ml.datasets.on_device.draws import RECTANGLES, Draw


@torch.no_grad()
def views(
    layers: Tensor, draws: Sequence[Draw], size: int, noise: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Pictures' views (B, 1, size, size) in -1..1 and those of their masks, (B, C, size, size).

    layers: (B, 1 + C, H, W) of uint8, a canonical picture and its masks (0 or 255), filled up with
    0 on the right and below. noise: of the device's own noise. The masks follow the pictures' map
    and are made binary again.
    """
    with torch.autocast(layers.device.type, enabled=False):
        sampled = warped(layers, draws, size)
        # As on the host, where 127.5 is rounded to the even 128.
        target = (sampled[:, 1:] >= 127.5).float()
        view = _grey(sampled[:, 0] / 255, draws, noise) * 2 - 1
        if any(draw.rectangles for draw in draws):
            view = _erased(view, target.amax(1) > 0, draws, noise)
    return view[:, None], target


def warped(layers: Tensor, draws: Sequence[Draw], size: int) -> Tensor:
    """(B, L, size, size) in 0..255: layers sampled linearly where the drawn maps lead, 0 beyond."""
    height, width = layers.shape[-2:]
    places = _places(draws, size, layers.device)
    # grid_sample has -1 and 1 at the middles of the first and the last pixel.
    scale = _on(layers.device, np.array([2 / max(width - 1, 1), 2 / max(height - 1, 1)]))
    return F.grid_sample(
        layers.float(), places * scale - 1, "bilinear", padding_mode="zeros", align_corners=True
    )


def _places(draws: Sequence[Draw], size: int, device: torch.device) -> Tensor:
    """Where each pixel of the views comes from, (B, size, size, 2): (x, y) of the picture, px."""
    back = [np.linalg.inv(draw.matrix[:, :2]) for draw in draws]
    moved = [-(inverse @ draw.matrix[:, 2]) for inverse, draw in zip(back, draws, strict=True)]
    linear = _on(device, np.stack(back))
    along = torch.arange(size, device=device, dtype=torch.float32)
    pixels = torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1)[None]
    if any(draw.knots is not None for draw in draws):
        none = np.zeros((5, 5, 2), dtype=np.float32)
        knots = np.stack([none if draw.knots is None else draw.knots for draw in draws])
        # The cubic splines of cv2.resize: the same constant (-0.75), ends repeated.
        smooth = F.interpolate(_on(device, knots).permute(0, 3, 1, 2), (size, size), mode="bicubic")
        pixels = pixels + smooth.permute(0, 2, 3, 1)
    # Written out: a batched product of such thin matrices is slower.
    x, y = pixels[..., 0], pixels[..., 1]
    a, c = linear[:, 0, :, None, None], linear[:, 1, :, None, None]
    shift = _on(device, np.stack(moved))[:, :, None, None]
    return torch.stack(
        [a[:, 0] * x + a[:, 1] * y + shift[:, 0], c[:, 0] * x + c[:, 1] * y + shift[:, 1]], dim=-1
    )


def _grey(unit: Tensor, draws: Sequence[Draw], noise: torch.Generator) -> Tensor:
    """Motion, detail, gamma, contrast, brightness and noise on grey values in 0..1, (B, S, S)."""
    device = unit.device
    motions = [draw.motion for draw in draws]
    if any(motion is not None for motion in motions):
        unit = filters.filtered(unit, motions)
    details = [draw.detail or (1.0, 0.0) for draw in draws]
    if any(draw.detail for draw in draws):
        sigmas, strengths = np.array(details).T
        smooth = filters.gaussian(unit, _on(device, sigmas))
        unit = (unit + _each(device, strengths) * (unit - smooth)).clamp(0, 1)
    gamma = _each(device, [draw.gamma for draw in draws])
    contrast = _each(device, [draw.contrast for draw in draws])
    brightness = _each(device, [draw.brightness for draw in draws])
    unit = (unit**gamma - 0.5) * contrast + (0.5 + brightness)
    deviations = [draw.noise for draw in draws]
    if any(deviations):
        grain = _normal(unit, noise)
        for number, draw in enumerate(draws):
            if draw.pattern is not None:
                grain[number] = _on(device, draw.pattern)
        unit = unit + grain * _each(device, deviations)
    return unit.clamp(0, 1)


def _erased(
    view: Tensor, outlined: Tensor, draws: Sequence[Draw], noise: torch.Generator
) -> Tensor:
    """The views (B, S, S) in -1..1 without the drawn rectangles that touch no outline."""
    device, size = view.device, view.shape[-1]
    corners = np.zeros((RECTANGLES, len(draws), 4), dtype=np.float32)
    shades = np.zeros((RECTANGLES, len(draws), 2), dtype=np.float32)
    for number, draw in enumerate(draws):
        for which, one in enumerate(draw.rectangles):
            corners[which, number] = (
                one.top,
                one.top + one.height,
                one.left,
                one.left + one.width,
            )
            shades[which, number] = (one.grey, one.grain)
    edges, looks = _on(device, corners)[..., None, None], _on(device, shades)[..., None, None]
    across = torch.arange(size, device=device)[None, None]
    down = torch.arange(size, device=device)[None, :, None]
    for which in range(max(len(draw.rectangles) for draw in draws)):
        top, bottom, left, right = edges[which].unbind(1)
        part = (down >= top) & (down < bottom) & (across >= left) & (across < right)
        part &= ~(part & outlined).flatten(1).any(1)[:, None, None]
        grain = _normal(view, noise)
        for number, draw in enumerate(draws):
            if which < len(draw.rectangles) and (own := draw.rectangles[which]).pattern is not None:
                rows = slice(own.top, own.top + own.height)
                grain[number, rows, own.left : own.left + own.width] = _on(device, own.pattern)
        grey, deviation = looks[which].unbind(1)
        view = torch.where(part, (grey + deviation * grain).clamp(-1, 1), view)
    return view


def _normal(like: Tensor, noise: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=noise, device=like.device)


def _on(device: torch.device, values: NDArray[Any]) -> Tensor:
    """Numbers as float32 on the device, sent without waiting for what it computes."""
    sent = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    if device.type == "cuda":
        sent = sent.pin_memory()
    return sent.to(device, non_blocking=True)


def _each(device: torch.device, values: Sequence[float] | NDArray[Any]) -> Tensor:
    """One number for each picture, (B, 1, 1)."""
    return _on(device, np.asarray(values))[:, None, None]
