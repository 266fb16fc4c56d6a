"""A model folder small enough to make in a test: the serving contract without training."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.paths import XRAYS

cv2.setNumThreads(1)

TINY_SIZE = 64


def write_tiny_model(
    folder: Path,
    size: int = TINY_SIZE,
    batch: int = -1,
    bright: dict[str, Any] | None = None,
    **thresholds: Any,
) -> Path:
    """An OpenVINO graph with the shipped model's names: what is dark is called pleural air.

    mask = sigmoid(-6 (picture + 0.3)); image = the share of the mask's mean, so that dark pictures
    are likely ones. batch: how many pictures at a time, -1 for any number. bright: the points of a
    second class, which outlines what is bright in the same way.
    """
    import openvino
    from openvino import opset13 as ops

    picture = ops.parameter([batch, 1, size, size], np.float32, name="picture")
    picture.output(0).get_tensor().set_names({"picture"})
    logits = ops.multiply(ops.add(picture, np.float32([0.3])), np.float32([-6.0]))
    if bright is not None:
        logits = ops.concat([logits, ops.multiply(logits, np.float32([-1]))], axis=1)
    mask = ops.sigmoid(logits)
    mask.output(0).get_tensor().set_names({"mask_probability"})
    image = ops.reduce_mean(mask, np.int64([2, 3]), keep_dims=False)
    image.output(0).get_tensor().set_names({"image_probability"})
    network = openvino.Model([ops.result(mask), ops.result(image)], [picture], "tiny")
    folder.mkdir(parents=True, exist_ok=True)
    openvino.save_model(network, folder / "model.xml", compress_to_fp16=False)
    files = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("model.xml", "model.bin")
    }
    card = {
        "name": "tiny",
        "version": "1",
        "architecture": "none",
        "files": files,
        "sha256": hashlib.sha256("".join(sorted(files.values())).encode()).hexdigest(),
        "thresholds": {
            "mask": thresholds.get("mask", 0.5),
            "area_px_min": thresholds.get("area_px_min", 4),
            "image": thresholds.get(
                "image", {"high_sensitivity": 0.05, "balanced": 0.1, "high_precision": 0.9}
            ),
        },
    }
    if bright is not None:
        card |= {
            "classes": ["pneumothorax", "bright-part"],
            "other_points": {"bright-part": bright},
        }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    """Writes a tiny model into a folder; keywords replace its thresholds."""
    return write_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def xrays() -> Path:
    """The folder of real X-rays, where this machine has one; it is never part of the repository."""
    named = os.environ.get("PLEURA_DATA")
    folder = Path(named) if named else XRAYS
    if not (folder / "siim").is_dir():
        pytest.skip("no real X-rays here (PLEURA_DATA or ../shared/data)")
    return folder
