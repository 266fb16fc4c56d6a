"""The recipe of one training run: every choice in one frozen object, read from TOML."""

from __future__ import annotations

import dataclasses
import re
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
LOSSES = (
    "bce", "dice", "tversky", "focal", "bce_dice", "focal_tversky_bce", "lovasz", "bce_lovasz",
)  # fmt: skip
MEMBERS_MAX = 16
OF_FOLD = "{fold}"
NAME = "[a-z0-9-]+"  # of a class, or of what is taught: a part of a file's name
# What is known of a picture: "masks": outlined by radiologists (empty when there is nothing to
# outline); "pseudo": outlined by models, never held out; "panel": judged as a whole, by
# radiologists or from their reports, never outlined; "unlabelled": nothing, so that teachers alone
# tell what it shows.
SOURCES = ("masks", "pseudo", "panel", "unlabelled")
DENOISERS = ("median", "bilateral", "nlm")
SCHEDULES = ("cosine", "onecycle", "plateau")
MEASURES = (
    "positive_dice",
    "auc",
)  # of the held-out fold, while training: see ml.training.validation
LITE2 = "tu-tf_efficientnet_lite2"
PRETRAINED = ("", "efficientnet-lite2", "imagenet")
# The least and the most that a number can be; each of several numbers, where it is a list.
BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("mask_weight", "image_weight", "patch_weight"), (0, 1000)),
    **dict.fromkeys(("dropout", "drop_path", "warmup"), (0, 0.95)),
    **dict.fromkeys(("taught_weight", "hard_negatives", "flip", "erase"), (0, 1)),
    **dict.fromkeys(("contrast", "brightness", "gamma", "detail"), (0, 1)),
    **dict.fromkeys(("scale", "shift"), (0, 0.95)),
    **dict.fromkeys(("rate", "encoder_rate", "image_rate", "weight_decay"), (0, 10)),
    **dict.fromkeys(("noise", "warp"), (0, 1)),
    **dict.fromkeys(("plateau_patience", "patience", "keep", "validate_every"), (0, 10**6)),
    **dict.fromkeys(("epochs", "adapt_norm"), (0, 10**9)),
    **dict.fromkeys(("threads", "workers"), (0, 1024)),
    "decoder_channels": (1, 4096),
    "positive_share": (0, 1),
    "members": (1, MEMBERS_MAX),
    "size": (32, 4096),
    "minutes": (0, 10**6),
    "clahe": (0, 100),
    "clip": (1e-6, 1e12),
    "ema": (0, 0.999999),
    "frozen_stages": (0, 100),
    "rotate": (0, 180),
    "held_out_fold": (-1, 10**6),
    "label_doubt": (0, 0.49),
    "batch": (2, 10**5),
    "accumulate": (1, 10**5),
    "devices": (1, 10**4),
    "hard_every": (1, 10**6),
    "epoch_pictures": (1, 10**9),
    "seed": (0, 2**63 - 1),
}


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
    # "instance": normalised within each picture, so that an outline does not depend on what else is
    # in the batch; for WITH_ATTENTION. "": batch norm, or what the architecture has.
    decoder_norm: str = ""
    # "": random weights; "efficientnet-lite2": that encoder's of ImageNet, from a package;
    # "imagenet": any encoder's of ImageNet, which are fetched from where its library keeps them.
    pretrained: str = ""
    outline_stride: int = 1  # 2: the outline is made at half of the size and enlarged
    size: int = 384  # side of the network's square input, px

    members: int = 1  # networks whose answers are averaged: see ml.experiments.ensemble

    # What is outlined, one mask each. The first is what serving shows and decides by.
    classes: tuple[str, ...] = ("pneumothorax",)

    crop: str = ""  # "lungs": the network sees the part around the lungs
    denoise: str = ""  # one of DENOISERS, before anything else is done with the picture
    clahe: float = 0.0  # clip limit of contrast-limited equalisation; 0 for none

    # Which size applies from which progress on; the last one must be `size`.
    size_from: tuple[tuple[float, int], ...] = ((0.0, 384),)

    loss: str = "bce_dice"  # one of LOSSES, see ml.network.losses
    mask_weight: float = 1.0
    image_weight: float = 1.0
    patch_weight: float = 1.0
    dropout: float = 0.3  # before the image-level layer
    drop_path: float = 0.0  # of a timm encoder: largest probability that a block is skipped
    # What is learnt from teachers' words (see ml.experiments.distillation), by name in the cache,
    # and how much they weigh against what people drew and judged; where nobody did, they are all
    # there is. {fold} in the name stands for the held-out fold: each fold has teachers that have
    # not met it.
    taught: str = ""
    taught_weight: float = 0.5
    # Pretraining on what pictures look like, whoever judged them: this share of their patches of 32
    # px is blotted out, and the outline's output learns the grey beneath (see
    # ml.datasets.masked_images).
    hidden: float = 0.0
    label_doubt: float = 0.0  # image labels are 0 + this and 1 - this: some of them are wrong

    epochs: int = 40  # used when `minutes` is 0
    minutes: float = 0.0  # the run's length by the clock; wins over `epochs`
    epoch_pictures: int = 512  # pictures drawn per epoch
    batch: int = 8  # pictures of one pass
    accumulate: int = 1  # passes whose gradients add up to one step
    positive_share: tuple[float, float] = (0.8, 0.35)  # at the start and at the end
    # This share of the negatives is drawn by the probability of a false alarm (see
    # ml.training.hard_negatives), from this progress on; the alarms are looked at anew every so
    # many epochs.
    hard_negatives: float = 0.0
    hard_from: float = 0.5
    hard_every: int = 2

    schedule: str = "cosine"  # one of SCHEDULES, see ml.training.schedule
    onecycle_rise: float = 0.3  # share of the run over which "onecycle" rises
    # "plateau": after more than so many epochs in which the training loss was not lower by this
    # share, the rates are multiplied by the factor.
    plateau_patience: int = 3
    plateau_threshold: float = 0.0
    plateau_factor: float = 0.5
    # Early stopping: the run ends after so many epochs without a better `stop_on`; 0 for never. It
    # looks at the held-out fold, whose numbers then flatter a little: off unless asked for.
    patience: int = 0
    stop_on: str = "positive_dice"  # one of MEASURES; also what "best" means below
    # The averages of so many epochs, the "last" or the "best", are averaged into `averaged.pt`.
    keep: int = 0
    keep_by: str = "last"  # "best" looks at the held-out fold, too
    rate: float = 1e-3  # AdamW, decoder and heads
    encoder_rate: float = 2e-4
    image_rate: float = 3e-4  # the image-level layers; see ml.network.model.parameter_groups
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
    sources: tuple[str, ...] = SOURCES  # what is trained on; held out are those with masks alone
    data_share: float = (
        1.0  # of the patients that are not held out: see ml.datasets.catalogue.split
    )
    seed: int = 20261123
    workers: int = 0
    threads: int = 0  # torch threads, 0 for torch's own choice
    engine: str = ""  # "fabric" for several processes: see ml.training.distributed
    devices: int = 1  # GPUs, or processes where there is none; each takes its part of a batch
    bf16: bool = True  # where the processor has it; see ml.network.precision
    fp16: bool = False  # on a GPU, with a scaled loss; instead of bf16
    validate_every: int = 5  # epochs, and at the end; 0 for never
    mirror: bool = False  # serving averages the answers to a picture and to its mirror image

    def of_fold(self, fold: int) -> Config:
        """The recipe that holds this fold out, and learns from teachers that did so, too."""
        taught = self.taught.replace(OF_FOLD, str(fold))
        return dataclasses.replace(self, held_out_fold=fold, taught=taught)

    def served(
        self, crop: str | None = None, size: int | None = None, mirror: bool | None = None
    ) -> Config:
        """The recipe of a network that is shown pictures otherwise than in training; None: alike.

        A fully convolutional network takes any size, and answers best at one somewhat larger than
        that of its training (Touvron et al. 2019). Such a model is measured as it is served.
        """
        config = self
        if crop is not None:
            config = dataclasses.replace(config, crop=crop)
        if mirror is not None:
            config = dataclasses.replace(config, mirror=mirror)
        if size is not None and size != config.size:
            sizes = (*config.size_from, (1.0, size))
            config = dataclasses.replace(config, size=size, size_from=sizes)
        return config

    @property
    def looks(self) -> bool:
        """Whether the held-out fold has a say in which weights a run ends with."""
        return bool(self.patience or (self.keep and self.keep_by == "best"))

    def __post_init__(self) -> None:
        """BadRecipe where settings do not go together."""
        self._check_bounds()
        self._check_network()
        if self.size_from[0][0] != 0.0 or self.size_from[-1][1] != self.size:
            raise BadRecipe("size_from must start at progress 0 and end at size")
        least, most = BOUNDS["size"]
        if any(side % 32 or not least <= side <= most for _, side in self.size_from):
            raise BadRecipe(f"every size must be a multiple of 32, {least} to {most}")
        begins = [begin for begin, _ in self.size_from]
        if not all(0 <= begin <= 1 for begin in begins) or begins != sorted(begins):
            raise BadRecipe("size_from goes from progress 0 upwards, to 1 at most")
        if self.loss not in LOSSES:
            raise BadRecipe(f"unknown loss {self.loss!r}: one of {', '.join(LOSSES)}")
        self._check_course()
        if not self.sources or not set(self.sources) <= set(SOURCES):
            raise BadRecipe(f"sources are some of {', '.join(SOURCES)}")
        if not 0 < self.data_share <= 1:
            raise BadRecipe("data_share lies above 0 and is at most 1")
        if not 0 <= self.hard_from < 1:
            raise BadRecipe("hard_from lies in 0..1, below 1")
        if self.denoise not in ("", *DENOISERS):
            raise BadRecipe(f"unknown denoise {self.denoise!r}: one of {', '.join(DENOISERS)}")
        named = re.fullmatch(NAME, self.taught.replace(OF_FOLD, "0"))
        if self.taught and (len(self.classes) > 1 or not named):
            raise BadRecipe(
                "taught is a name of small letters, digits and hyphens, with {fold} for the fold's "
                "number, for recipes of one class"
            )
        self._check_hidden()
        if self.engine not in ("", "fabric"):
            raise BadRecipe('engine must be "" or "fabric"')
        if self.devices > 1 and (not self.engine or self.batch % self.devices):
            raise BadRecipe('several devices need engine = "fabric" and equal parts of the batch')
        if self.epoch_pictures % (self.batch * self.accumulate):
            raise BadRecipe("epoch_pictures must be a multiple of batch * accumulate")
        if len(self.positive_share) != 2:
            raise BadRecipe("positive_share has two numbers: at the start and at the end")
        if self.minutes <= 0 and self.epochs <= 0:
            raise BadRecipe("either minutes or epochs must limit the run")

    def _check_bounds(self) -> None:
        for key, (least, most) in BOUNDS.items():
            value = getattr(self, key)
            for number in value if isinstance(value, tuple) else (value,):
                if not least <= number <= most:  # nor is what is no number
                    raise BadRecipe(f"{key} lies between {least:g} and {most:g}, not {number!r}")

    def _check_hidden(self) -> None:
        if not 0 <= self.hidden < 1:
            raise BadRecipe("hidden lies in 0..1, below 1")
        judges = self.image_weight or self.patch_weight or self.validate_every
        taught_else = self.taught or self.hard_negatives or len(self.classes) > 1
        if self.hidden and (judges or taught_else or self.loss != "bce"):
            raise BadRecipe(
                'what is hidden teaches the outline alone: loss "bce", image_weight, patch_weight, '
                "hard_negatives and validate_every 0, one class, no teachers"
            )

    def _check_course(self) -> None:
        if self.schedule not in SCHEDULES:
            raise BadRecipe(f"unknown schedule {self.schedule!r}: one of {', '.join(SCHEDULES)}")
        if not 0 < self.onecycle_rise < 1:
            raise BadRecipe("onecycle_rise lies between 0 and 1")
        if not 0 < self.plateau_factor < 1 or not 0 <= self.plateau_threshold < 1:
            raise BadRecipe("plateau_factor and plateau_threshold lie between 0 and 1")
        if self.stop_on not in MEASURES:
            raise BadRecipe(f"stop_on is one of {', '.join(MEASURES)}, not {self.stop_on!r}")
        if self.keep_by not in ("last", "best"):
            raise BadRecipe(f'keep_by must be "last" or "best", not {self.keep_by!r}')
        if self.looks and (self.held_out_fold < 0 or not self.validate_every):
            raise BadRecipe("patience and the best epochs need a held_out_fold and validate_every")
        if 0 < self.patience < self.validate_every:
            raise BadRecipe("patience is at least validate_every: before, nothing is measured")

    def _check_network(self) -> None:
        kind = self.architecture
        plain = all(re.fullmatch(NAME, str(name)) for name in self.classes)
        if not self.classes or not plain or len(set(self.classes)) < len(self.classes):
            raise BadRecipe("classes are different names of small letters, digits and hyphens")
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
        if self.decoder_norm not in ("", "instance"):
            raise BadRecipe(f'decoder_norm must be "" or "instance", not {self.decoder_norm!r}')
        if self.decoder_norm and kind not in WITH_ATTENTION:
            raise BadRecipe(f"decoder_norm is for {' and '.join(WITH_ATTENTION)}, not for {kind}")
        if self.pretrained not in PRETRAINED:
            named = ", ".join(name for name in PRETRAINED if name)
            raise BadRecipe(f"no pretrained weights called {self.pretrained!r}: {named}")
        if self.pretrained == "efficientnet-lite2" and self.encoder != LITE2:
            raise BadRecipe(
                f"the weights of efficientnet-lite2 are for {LITE2}, not {self.encoder}"
            )
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
    except BadRecipe:
        raise
    except (TypeError, IndexError, ValueError) as error:  # a list of another shape
        raise BadRecipe(f"a setting has the wrong shape: {error}") from error


def load(path: Path) -> Config:
    """Read a recipe, for example ml/recipes/lite2-384.toml; BadRecipe names the file."""
    try:
        found = from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", found.name):
            raise BadRecipe(f"name has letters, digits, dots and hyphens, not {found.name!r}")
        return found
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
