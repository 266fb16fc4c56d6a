"""The recipe of one training run: every choice in one frozen object, read from TOML."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.errors import BadInput

# Architectures of segmentation_models_pytorch that are known to train and to answer here. (The
# names of losses stand here as well: serving reads recipes and has no torch; a test compares.)
ARCHITECTURES = (
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "DeepLabV3", "DeepLabV3Plus",
    "UPerNet", "Segformer",
)  # fmt: skip
WITH_DECODER_CHANNELS = ("Unet", "UnetPlusPlus", "MAnet")
WITH_ATTENTION = ("Unet", "UnetPlusPlus")
ATTENTION_CHANNELS_MIN = 16  # it looks at a sixteenth of them
WITH_HALF_OUTLINE = ("Unet", "MAnet")  # their decoder is a plain list of blocks
LOSSES = ("bce", "dice", "tversky", "focal", "bce_dice", "focal_tversky_bce")


class BadRecipe(BadInput):
    """A recipe that cannot be meant; the sentence names the setting."""


@dataclass(frozen=True)
class Config:
    """What is trained, and how. Defaults are the reference recipe (U-Net, EfficientNet-B3, 384 px).

    Fractions and shares lie in 0..1. `progress` below means the share of the run that is done,
    by steps where `epochs` limits the run, by the clock where `minutes` does.
    """

    name: str = "efficientnet-b3-384"
    architecture: str = "Unet"  # one of ARCHITECTURES
    encoder: str = "efficientnet-b3"
    # Used by WITH_DECODER_CHANNELS alone; the others have decoders of their own kind.
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    attention: str = ""  # "scse" for the decoder blocks of WITH_ATTENTION
    pretrained: str = ""  # "" for random weights, "efficientnet-lite2" for the ImageNet ones
    outline_stride: int = 1  # 2: the outline is made at half of the size and enlarged
    size: int = 384  # side of the network's square input, px

    crop: str = ""  # "lungs": the network sees the part around the lungs

    # Which size applies from which progress on; the last one must be `size`.
    size_from: tuple[tuple[float, int], ...] = ((0.0, 384),)

    loss: str = "bce_dice"  # one of LOSSES, see ml.losses
    mask_weight: float = 1.0
    image_weight: float = 1.0
    patch_weight: float = 1.0
    dropout: float = 0.3  # before the image-level layer
    drop_path: float = 0.0  # of a timm encoder: largest probability that a block is skipped
    label_doubt: float = 0.0  # image labels are 0 + this and 1 - this: some of them are wrong

    epochs: int = 40  # used when `minutes` is 0
    minutes: float = 0.0  # the run's length by the clock; wins over `epochs`
    epoch_pictures: int = 512  # pictures drawn per epoch
    batch: int = 8
    positive_share: tuple[float, float] = (0.8, 0.35)  # at the start and at the end

    schedule: str = "cosine"  # or "plateau": halve when the training loss stops falling
    rate: float = 1e-3  # AdamW, decoder and heads
    encoder_rate: float = 2e-4
    image_rate: float = 3e-4  # the image-level layers; see ml.model.parameter_groups
    weight_decay: float = 1e-2
    warmup: float = 0.04  # share of the run over which the rate rises
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.995
    freeze_encoder_norm: bool = True
    adapt_norm: int = 0  # pictures that the frozen statistics are measured on anew, before training
    frozen_stages: int = 0  # of a timm encoder: the stem and so many stages keep their weights

    flip: float = 0.5  # probability of a horizontal flip
    rotate: float = 12.0  # degrees, either way
    scale: float = 0.15  # relative, either way
    shift: float = 0.05  # share of the side, either way
    contrast: float = 0.2
    brightness: float = 0.15
    gamma: float = 0.25
    noise: float = 0.04  # standard deviation at most, input being -1..1
    warp: float = 0.0  # smooth distortion: standard deviation of its knots, share of the side
    detail: float = 0.0  # local contrast, relative, either way: sharper or softer pictures
    erase: float = 0.0  # probability that patches beside the outline are blotted out

    held_out_fold: int = 0  # -1 trains on everything
    seed: int = 20261123
    workers: int = 0
    threads: int = 0  # torch threads, 0 for torch's own choice
    bf16: bool = True  # where the processor has it; see ml.precision
    validate_every: int = 5  # epochs, and at the end; 0 for never
    mirror: bool = False  # serving averages the answers to a picture and to its mirror image

    def __post_init__(self) -> None:
        """BadRecipe where settings do not go together."""
        self._check_network()
        if self.size_from[0][0] != 0.0 or self.size_from[-1][1] != self.size:
            raise BadRecipe("size_from must start at progress 0 and end at size")
        if any(side % 32 for _, side in self.size_from):
            raise BadRecipe("every size must be a multiple of 32")
        if self.loss not in LOSSES:
            raise BadRecipe(f"unknown loss {self.loss!r}: one of {', '.join(LOSSES)}")
        if self.schedule not in ("cosine", "plateau"):
            raise BadRecipe(f"unknown schedule {self.schedule!r}")
        if not 0 <= self.label_doubt < 0.5:
            raise BadRecipe("label_doubt lies between 0 and 0.5")
        if self.epoch_pictures % self.batch or self.batch < 2:
            raise BadRecipe("epoch_pictures must be a multiple of batch, which is at least 2")
        if self.minutes <= 0 and self.epochs <= 0:
            raise BadRecipe("either minutes or epochs must limit the run")

    def _check_network(self) -> None:
        kind = self.architecture
        if self.crop not in ("", "lungs"):
            raise BadRecipe(f'crop must be "" or "lungs", not {self.crop!r}')
        if kind not in ARCHITECTURES:
            raise BadRecipe(f"unknown architecture {kind!r}: one of {', '.join(ARCHITECTURES)}")
        if self.attention not in ("", "scse"):
            raise BadRecipe(f'attention must be "" or "scse", not {self.attention!r}')
        if self.attention and kind not in WITH_ATTENTION:
            raise BadRecipe(f"attention is for {' and '.join(WITH_ATTENTION)}, not for {kind}")
        if self.attention and min(self.decoder_channels, default=0) < ATTENTION_CHANNELS_MIN:
            raise BadRecipe(f"attention needs {ATTENTION_CHANNELS_MIN} decoder_channels everywhere")
        if self.outline_stride not in (1, 2):
            raise BadRecipe("outline_stride must be 1 or 2")
        if self.outline_stride == 2 and kind not in WITH_HALF_OUTLINE:
            named = " and ".join(WITH_HALF_OUTLINE)
            raise BadRecipe(f"outline_stride 2 is for {named}, not for {kind}")
        if self.drop_path and not self.encoder.startswith("tu-"):
            raise BadRecipe(f"drop_path needs a timm encoder (tu-…), not {self.encoder}")
        timm_efficientnet = self.encoder.startswith("tu-") and "efficientnet" in self.encoder
        if self.frozen_stages and not timm_efficientnet:
            raise BadRecipe(
                f"frozen_stages needs a timm EfficientNet (tu-…efficientnet…), not {self.encoder}"
            )


def from_dict(values: dict[str, Any]) -> Config:
    """A Config from plain values, as TOML and JSON give them; an unknown key is an error."""
    known = {field.name for field in dataclasses.fields(Config)}
    if unknown := set(values) - known:
        raise BadRecipe(f"unknown settings: {', '.join(sorted(unknown))}")
    frozen = {key: _frozen(value) for key, value in values.items()}
    for key, value in frozen.items():
        if not _is_like(value, getattr(Config, key)):
            raise BadRecipe(f"{key} cannot be {value!r}")
    try:
        return Config(**frozen)
    except (TypeError, IndexError) as error:  # a list of another shape
        raise BadRecipe(f"a setting has the wrong shape: {error}") from error


def load(path: Path) -> Config:
    """Read a recipe, for example ml/recipes/lite2-384.toml; BadRecipe names the file."""
    try:
        return from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except (BadRecipe, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path}: {error}") from error


def to_dict(config: Config) -> dict[str, Any]:
    """Plain values, for a card or a checkpoint."""
    return dataclasses.asdict(config)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def _is_like(value: Any, default: Any) -> bool:
    """Whether a setting is of its default's kind; a whole number may stand for a fraction."""
    if isinstance(default, float) and not isinstance(value, bool):
        return isinstance(value, int | float)
    return type(value) is type(default)
