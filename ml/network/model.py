"""The network: a segmentation_models_pytorch architecture with an image-level output beside it."""

from __future__ import annotations

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.encoders import encoders
from torch import Tensor, nn

from ml.errors import BadInput
from ml.network import imagenet
from ml.recipe import WITH_ATTENTION, WITH_DECODER_CHANNELS, Recipe

WIDE = 1280  # channels of the layer that EfficientNet's own classifier pools
EVIDENCE = 4  # features of the image-level output from places: one of patches, three below


@dataclass(frozen=True)
class NetworkOutputs:
    """The outputs of a network: mask_logits (N,C,S,S), patch_logits (N,C,S/32,S/32), and features
    (N, WIDE + C · EVIDENCE), of which the image logits are a linear function; C classes."""

    mask_logits: Tensor
    patch_logits: Tensor
    features: Tensor


class Network(nn.Module, ABC):
    """picture (N,1,S,S) in -1..1 → mask logits (N,C,S,S) and image logits (N,C) of C classes."""

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.outputs(picture)
        return outputs.mask_logits, self.image_logits(outputs.features)

    @abstractmethod
    def outputs(self, picture: Tensor) -> NetworkOutputs:
        """All outputs for pictures (N,1,S,S)."""

    @abstractmethod
    def image_logits(self, features: Tensor) -> Tensor:
        """The image logits (N,C) of the features."""


class Segmenter(Network):
    """One encoder and decoder, with image-level layers on the encoder's last features."""

    def __init__(self, network: Any, dropout: float, classes: int = 1, channels: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.encoder: nn.Module = network.encoder
        self.decoder: nn.Module = network.decoder
        self.outline: nn.Module = network.segmentation_head
        # The encoder ends before the layer that its classifier pools; without that layer the
        # pooled features are raw projections and the image's label hardly reaches the encoder.
        channels = int(network.encoder.out_channels[-1])
        self.widen = nn.Sequential(
            nn.Conv2d(channels, WIDE, 1, bias=False), nn.BatchNorm2d(WIDE, eps=1e-3), nn.ReLU6()
        )
        self.patch = nn.Conv2d(WIDE, classes, 1)
        self.dropout = nn.Dropout(dropout)
        self.image = nn.Linear(WIDE + classes * EVIDENCE, classes)
        with torch.no_grad():
            self.patch.bias.fill_(-2.0)  # type: ignore[union-attr]  # most places are healthy
            # At first the patches decide; the weights of the outline's evidence are learnt.
            self.image.weight[:, WIDE:] = 0.5 * torch.eye(classes, classes * EVIDENCE)

    def image_logits(self, features: Tensor) -> Tensor:
        wide, places = features[:, :WIDE], features[:, WIDE:]
        logit: Tensor = self.image(torch.cat([self.dropout(wide), places], dim=1))
        return logit

    def outputs(self, picture: Tensor) -> NetworkOutputs:
        if self.channels > 1:
            picture = picture.repeat(1, self.channels, 1, 1)
        encoded = self.encoder(picture)
        mask_logits = self.outline(self.decoder(encoded))
        wide = self.widen(encoded[-1])
        # Patches are trained with the outlines: far more labels than one for a whole picture.
        # Log-mean-exp weighs the most certain patch most.
        patch_logits = self.patch(wide)
        pooled = patch_logits.float().flatten(2).logsumexp(2)
        pooled = pooled - math.log(patch_logits.shape[-1] * patch_logits.shape[-2])
        # The outline is evidence only: detached, so that the image label does not train it.
        from_outline = evidence(mask_logits.detach().float())
        features = torch.cat([wide.float().mean((2, 3)), pooled, from_outline], dim=1)
        return NetworkOutputs(mask_logits, patch_logits, features)


class Ensemble(Network):
    """Several networks as one: the mean of their probabilities and of their image logits."""

    def __init__(self, members: Sequence[Segmenter]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def segmenters(self) -> list[Segmenter]:
        """The members, in order."""
        return [member for member in self.members if isinstance(member, Segmenter)]

    def outputs(self, picture: Tensor) -> NetworkOutputs:
        seen = [member.outputs(picture) for member in self.segmenters]
        return NetworkOutputs(
            _mean_logit([one.mask_logits for one in seen]),
            _mean_logit([one.patch_logits for one in seen]),
            torch.cat([one.features for one in seen], dim=1),
        )

    def image_logits(self, features: Tensor) -> Tensor:
        parts = features.chunk(len(self.members), dim=1)
        pairs = zip(self.segmenters, parts, strict=True)
        return torch.stack([member.image_logits(part) for member, part in pairs]).mean(0)


def _mean_logit(logits: list[Tensor]) -> Tensor:
    """The logit of the mean probability."""
    mean = torch.stack(logits).float().sigmoid().mean(0).clamp(1e-6, 1 - 1e-6)
    return mean.log() - (1 - mean).log()  # torch.logit is unknown to OpenVINO


def answer(net: Network, picture: Tensor, mirror: bool) -> tuple[Tensor, Tensor]:
    """The prediction of serving: mask probability (N,C,S,S) and image logit (N,C), not calibrated.

    mirror: the mean of the predictions for the picture and its mirror image.
    """
    found = readings(net, picture, mirror)
    return found.mask, found.image_logits.mean(2)


@dataclass(frozen=True)
class Readings:
    """One reading of a picture, or two: the second is of its mirror image, turned back.

    mask (N,C,S,S) and patch (N,C,S/32,S/32): probabilities, means over the readings; image_logits
    (N, C, 1 or 2), not calibrated; difference (N,C,S,S): half of the difference of the two masks,
    None where there is one reading.
    """

    mask: Tensor
    patch: Tensor
    image_logits: Tensor
    difference: Tensor | None


def readings(net: Network, picture: Tensor, mirror: bool) -> Readings:
    """Read a picture (N,1,S,S) and, with `mirror`, its mirror image."""
    mask, patch, logit = _read(net, picture)
    if not mirror:
        return Readings(mask, patch, logit[..., None], None)
    other_mask, other_patch, other_logit = _read(net, picture.flip(-1))
    other_mask, other_patch = other_mask.flip(-1), other_patch.flip(-1)
    return Readings(
        (mask + other_mask) / 2,
        (patch + other_patch) / 2,
        torch.stack([logit, other_logit], dim=2),
        (mask - other_mask) / 2,
    )


def _read(net: Network, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    seen = net.outputs(picture)
    mask, patch = seen.mask_logits.float().sigmoid(), seen.patch_logits.float().sigmoid()
    return mask, patch, net.image_logits(seen.features).float()


def evidence(mask_logits: Tensor) -> Tensor:
    """(N, 3 · C), each about -1..1: the outlined amount, and the largest local mean probability.

    Local means are over windows of a 24th and a 48th of the side, so that a single pixel does not
    decide.
    """
    probability = mask_logits.sigmoid()
    amount = probability.mean((2, 3)).clamp(min=1e-6).log() / 5 + 1
    side = mask_logits.shape[-1]
    peaks = [
        nn.functional.avg_pool2d(probability, max(side // parts, 1)).amax((2, 3)) * 2 - 1
        for parts in (24, 48)
    ]
    return torch.cat([amount, *peaks], dim=1)


def build(recipe: Recipe, weights: bool = True) -> Network:
    """The network of a recipe, or an ensemble of its `members`."""
    if recipe.members == 1:
        return segmenter(recipe, weights)
    return Ensemble([segmenter(recipe, weights) for _ in range(recipe.members)])


def _check_encoder(name: str) -> None:
    """BadInput, with the nearest names, where no encoder has this name."""
    prefix = "tu-" if name.startswith("tu-") else ""  # by timm
    known = [prefix + one for one in (timm.list_models() if prefix else encoders)]
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, n=3))
        raise BadInput(f"there is no encoder {name!r}" + (f"; near names: {near}" if near else ""))


def segmenter(recipe: Recipe, weights: bool = True) -> Segmenter:
    """One network of a recipe; with `weights`, its encoder starts from the pretrained ones.

    Downloads nothing unless the recipe asks for "imagenet": encoder_weights=None keeps
    segmentation_models_pytorch off the network.
    """
    fetched = "imagenet" if weights and recipe.pretrained == "imagenet" else None
    kind, classes = getattr(smp, recipe.architecture), len(recipe.classes)
    own: dict[str, Any] = {}  # what only some architectures take
    if recipe.architecture in WITH_DECODER_CHANNELS:
        own["decoder_channels"] = recipe.decoder_channels
    if recipe.architecture in WITH_ATTENTION:
        own["decoder_attention_type"] = recipe.attention or None
    if recipe.decoder_norm:
        own["decoder_use_norm"] = {"type": "instancenorm", "affine": True}
    if recipe.drop_path and weights:  # a matter of training alone
        own["drop_path_rate"] = recipe.drop_path
    try:
        network = kind(
            recipe.encoder,
            encoder_weights=fetched,
            in_channels=recipe.channels,
            classes=classes,
            **own,
        )
    except Exception as error:
        # Any error of the libraries: no connection, no such weights, an incomplete file.
        if fetched:
            raise BadInput(
                f"the ImageNet weights of {recipe.encoder} could not be fetched: {error}"
            ) from error
        if isinstance(error, (KeyError, ValueError, RuntimeError)):
            _check_encoder(recipe.encoder)
            raise BadInput(
                f"{recipe.architecture} cannot be built on encoder {recipe.encoder!r}: {error}"
            ) from error
        raise
    if recipe.attention:
        # The last block has no skip connection: attention there would never be called nor
        # trained, and block an engine that waits for every weight's gradient.
        blocks = network.decoder.blocks
        last = blocks[-1] if isinstance(blocks, nn.ModuleList) else list(blocks.values())[-1]
        last.attention1 = nn.Identity()
    if recipe.outline_stride == 2:
        # The last layers of a U-Net are the most expensive; an outline is smooth.
        network.decoder.blocks = network.decoder.blocks[:-1]
        network.segmentation_head = SegmentationHead(
            recipe.decoder_channels[-2], classes, kernel_size=3, upsampling=2
        )
    built = Segmenter(network, recipe.dropout, classes, recipe.channels)
    if weights and recipe.pretrained == "efficientnet-lite2":
        imagenet.load_lite2(network.encoder)
        imagenet.load_lite2_top(built.widen)
    return built


def freeze_norm(module: nn.Module) -> None:
    """Keep batch-norm statistics as they are; call after every .train()."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()


def parameter_groups(model: Segmenter, recipe: Recipe) -> list[dict[str, Any]]:
    """AdamW's groups, each with its own rate; no decay on biases and norms.

    The image-level layers sum more than a thousand features, most of them positive. AdamW moves
    every weight by about the rate whatever the gradient's size, all in one direction at times, and
    so moves the logit by hundreds of times the rate: these layers need a rate of their own.
    """
    groups: list[dict[str, Any]] = []
    slow = [*model.encoder.parameters(), *model.widen.parameters()]
    fast = [*model.decoder.parameters(), *model.outline.parameters()]
    parts = (
        (slow, recipe.encoder_rate),
        (fast, recipe.rate),
        ([*model.patch.parameters(), *model.image.parameters()], recipe.image_rate),
    )
    for parameters, rate in parts:
        for decays in (True, False):
            chosen = [p for p in parameters if p.requires_grad and (p.ndim > 1) == decays]
            decay = recipe.weight_decay if decays else 0.0
            groups.append({"params": chosen, "rate": rate, "lr": rate, "weight_decay": decay})
    return groups
