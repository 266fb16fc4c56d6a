"""The recipe of one training run: every setting in one frozen object, read from TOML."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ml import recipe_limits
from ml.recipe_limits import BadRecipe, Between, OneOf

# Architectures of segmentation_models_pytorch that are tested to train and to export. (The names
# of losses stand here as well: serving reads recipes and has no torch; a test compares.)
ARCHITECTURES = (
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "DeepLabV3", "DeepLabV3Plus",
    "UPerNet", "Segformer",
)  # fmt: skip
WITH_DECODER_CHANNELS = ("Unet", "UnetPlusPlus", "MAnet")
WITH_ATTENTION = ("Unet", "UnetPlusPlus")
ATTENTION_CHANNELS_MIN = 16  # scSE squeezes the channels to a sixteenth
WITH_HALF_OUTLINE = ("Unet", "MAnet")  # their decoder is a plain list of blocks
LOSSES = (
    "bce", "dice", "tversky", "focal", "bce_dice", "focal_tversky_bce", "lovasz", "bce_lovasz",
)  # fmt: skip
MEMBERS_MAX = 16
CLASSES_MAX = 9  # a result holds the first and eight others
FOLD_PLACEHOLDER = "{fold}"
NAME = "[a-z0-9-]+"  # of a class, or of a set of soft labels: a part of a file's name
# Where a picture's label comes from: "masks": outlined by radiologists (an empty mask where there
# is no pneumothorax); "pseudo": outlined by models, never held out; "panel": an image-level label
# by radiologists or from their reports, no outline; "unlabelled": no label, only soft labels of
# teachers.
SOURCES = ("masks", "pseudo", "panel", "unlabelled")
DENOISERS = ("median", "bilateral", "nlm")
SCHEDULES = ("cosine", "onecycle", "plateau")
# Of the held-out fold during training: see ml.training.validation.
MEASURES = ("positive_dice", "auc")
LITE2 = "tu-tf_efficientnet_lite2"
PRETRAINED = ("", "efficientnet-lite2", "imagenet")
SIZE = Between(32, 4096)

Share = Annotated[float, Between(0, 1)]
Weight = Annotated[float, Between(0, 1000)]
Rate = Annotated[float, Between(0, 10)]
# A probability or a displacement of which 1 would leave nothing.
NotAll = Annotated[float, Between(0, 0.95)]


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how. Defaults are the reference recipe (U-Net, EfficientNet-B3, 384 px).

    Shares and probabilities are 0..1. `progress` below is the completed share of the run: by steps
    where `epochs` limits it, by the clock where `minutes` does.
    """

    name: str = "efficientnet-b3-384"
    architecture: Annotated[str, OneOf(ARCHITECTURES)] = "Unet"
    encoder: str = "efficientnet-b3"
    # Used by WITH_DECODER_CHANNELS only; the other architectures have other decoders.
    decoder_channels: Annotated[tuple[int, ...], Between(1, 4096)] = (256, 128, 64, 32, 16)
    # "scse" for the decoder blocks of WITH_ATTENTION
    attention: Annotated[str, OneOf(("", "scse"))] = ""
    # "instance": normalised within each picture, so that an outline does not depend on the rest of
    # the batch; for WITH_ATTENTION. "": batch norm, or the architecture's own.
    decoder_norm: Annotated[str, OneOf(("", "instance"))] = ""
    # "": random weights; "efficientnet-lite2": that encoder's ImageNet weights, from a package;
    # "imagenet": any encoder's ImageNet weights, downloaded by segmentation_models_pytorch.
    pretrained: str = ""
    # 3: the encoder gets the grey picture three times, as networks for photos do
    channels: int = 1
    outline_stride: int = 1  # 2: the outline is predicted at half of the size and enlarged
    size: Annotated[int, SIZE] = 384  # side of the network's square input, px

    # Networks whose predictions are averaged: see ml.experiments.ensemble.
    members: Annotated[int, Between(1, MEMBERS_MAX)] = 1

    # What is outlined, one mask each. Serving shows the first and calls pictures by it.
    classes: tuple[str, ...] = ("pneumothorax",)

    # "lungs": the input is the part of the picture around the lungs
    crop: Annotated[str, OneOf(("", "lungs"))] = ""
    denoise: Annotated[str, OneOf(("", *DENOISERS))] = ""  # the first step of preprocessing
    clahe: Annotated[float, Between(0, 100)] = 0.0  # clip limit of contrast equalisation; 0: none

    # Which size applies from which progress on; the last one must be `size`.
    size_from: tuple[tuple[float, int], ...] = ((0.0, 384),)

    loss: Annotated[str, OneOf(LOSSES)] = "bce_dice"  # see ml.network.losses
    mask_weight: Weight = 1.0
    image_weight: Weight = 1.0
    patch_weight: Weight = 1.0
    dropout: NotAll = 0.3  # before the image-level layer
    drop_path: NotAll = 0.0  # of a timm encoder: largest probability that a block is skipped
    # Name in the cache of the soft labels to learn from (see ml.experiments.distillation), and
    # their weight against the radiologists' labels; a picture without a label has soft labels
    # alone. {fold} in the name stands for the held-out fold: each fold has teachers that were not
    # trained on it.
    taught: str = ""
    taught_weight: Share = 0.5
    # Masked image modelling, for pretraining without labels: this share of a picture's patches of
    # 32 px is hidden, and the mask output learns their grey values (see
    # ml.datasets.masked_images).
    hidden: Annotated[float, Between(0, 1, below=True)] = 0.0
    # Label smoothing, for wrong labels: image labels are 0 + this and 1 - this.
    label_doubt: Annotated[float, Between(0, 0.49)] = 0.0

    epochs: Annotated[int, Between(0, 10**9)] = 40  # used when `minutes` is 0
    # The run's length by the clock; takes precedence over `epochs`.
    minutes: Annotated[float, Between(0, 10**6)] = 0.0
    epoch_pictures: Annotated[int, Between(1, 10**9)] = 512  # pictures drawn per epoch
    batch: Annotated[int, Between(2, 10**5)] = 8  # pictures of one pass
    accumulate: Annotated[int, Between(1, 10**5)] = 1  # passes whose gradients make one step
    positive_share: Annotated[tuple[float, float], Between(0, 1)] = (0.8, 0.35)  # first, last
    # This share of the negatives is drawn by the probability of a false positive (see
    # ml.training.hard_negatives), from this progress on; the probabilities are measured again
    # every so many epochs.
    hard_negatives: Share = 0.0
    hard_from: Annotated[float, Between(0, 1, below=True)] = 0.5
    hard_every: Annotated[int, Between(1, 10**6)] = 2

    schedule: Annotated[str, OneOf(SCHEDULES)] = "cosine"  # see ml.training.schedule
    # Share of the run over which the rate of "onecycle" rises.
    onecycle_rise: Annotated[float, Between(0, 1, above=True, below=True)] = 0.3
    # "plateau": after more than so many epochs in which the training loss was not lower by this
    # share, the rates are multiplied by the factor.
    plateau_patience: Annotated[int, Between(0, 10**6)] = 3
    plateau_threshold: Annotated[float, Between(0, 1, below=True)] = 0.0
    plateau_factor: Annotated[float, Between(0, 1, above=True, below=True)] = 0.5
    # Early stopping: the run ends after so many epochs without a better `stop_on`; 0 for never. It
    # is measured on the held-out fold, whose numbers are then slightly optimistic: off by default.
    patience: Annotated[int, Between(0, 10**6)] = 0
    stop_on: Annotated[str, OneOf(MEASURES)] = "positive_dice"  # also what "best" means below
    # The averages of so many epochs, the "last" or the "best", are averaged into `averaged.pt`.
    keep: Annotated[int, Between(0, 10**6)] = 0
    keep_by: Annotated[str, OneOf(("last", "best"))] = "last"  # "best" uses the held-out fold, too
    rate: Rate = 1e-3  # AdamW, decoder and heads
    encoder_rate: Rate = 2e-4
    image_rate: Rate = 3e-4  # the image-level layers; see ml.network.model.parameter_groups
    weight_decay: Rate = 1e-2
    warmup: NotAll = 0.04  # share of the run over which the rate rises
    clip: Annotated[float, Between(1e-6, 1e12)] = 1.0  # largest norm of the gradient
    ema: Annotated[float, Between(0, 0.999999)] = 0.995
    freeze_encoder_norm: bool = True
    # Pictures that the frozen statistics are measured on again, before training.
    adapt_norm: Annotated[int, Between(0, 10**9)] = 0
    # Of a timm encoder: the stem and so many stages are not trained.
    frozen_stages: Annotated[int, Between(0, 100)] = 0

    flip: Share = 0.5  # probability of a horizontal flip
    rotate: Annotated[float, Between(0, 180)] = 12.0  # degrees, either way
    scale: NotAll = 0.15  # relative, either way
    shift: NotAll = 0.05  # share of the side, either way
    contrast: Share = 0.2
    brightness: Share = 0.15
    gamma: Share = 0.25
    noise: Share = 0.04  # standard deviation at most, input being -1..1
    warp: Share = 0.0  # smooth distortion: standard deviation of its knots, share of the side
    detail: Share = 0.0  # local contrast, relative, either way: sharper or softer pictures
    # motion blur: length at most, share of the side
    motion: Annotated[float, Between(0, 0.2)] = 0.0
    erase: Share = 0.0  # probability that rectangles beside the outline are erased

    held_out_fold: Annotated[int, Between(-1, 10**6)] = 0  # -1 trains on everything
    # Labels that are trained on; held out are pictures with radiologists' masks alone.
    sources: tuple[str, ...] = SOURCES
    # Of the patients that are not held out: see ml.datasets.catalogue.split.
    data_share: Annotated[float, Between(0, 1, above=True)] = 1.0
    seed: Annotated[int, Between(0, 2**63 - 1)] = 20261123
    workers: Annotated[int, Between(0, 1024)] = 0
    threads: Annotated[int, Between(0, 1024)] = 0  # torch threads, 0 for torch's own choice
    # "fabric" for several processes: see ml.training.distributed
    engine: Annotated[str, OneOf(("", "fabric"))] = ""
    # GPUs, or processes where there is none; each processes its part of a batch.
    devices: Annotated[int, Between(1, 10**4)] = 1
    bf16: bool = True  # where the processor has it; see ml.network.precision
    fp16: bool = False  # on a GPU, with a scaled loss; instead of bf16
    # Where views of the training pictures are computed: "device": where the network is, from all
    # pictures in its memory; "host": by the processor, picture by picture; "": on a GPU "device"
    # where the recipe can, else "host". See ml.datasets.on_device.
    augment_on: Annotated[str, OneOf(("", "device", "host"))] = ""
    # torch.compile of the network in training: "default", or "reduce-overhead", which uses CUDA
    # graphs; "": not compiled.
    compiled: Annotated[str, OneOf(("", "default", "reduce-overhead"))] = ""
    validate_every: Annotated[int, Between(0, 10**6)] = 5  # epochs, and at the end; 0 for never
    mirror: bool = False  # serving averages the predictions for a picture and its mirror image

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """A recipe from plain values, as TOML and JSON have them; an unknown key is an error."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := set(values) - known:
            raise BadRecipe(f"unknown settings: {', '.join(sorted(unknown))}")
        frozen = {key: _frozen(value) for key, value in values.items()}
        for key, value in frozen.items():
            if not _same_kind(value, getattr(cls, key)):
                raise BadRecipe(f"{key} cannot be {value!r}")
        try:
            return cls(**frozen)
        except BadRecipe:
            raise
        except (TypeError, IndexError, ValueError) as error:  # a list of another shape
            raise BadRecipe(f"a setting has the wrong shape: {error}") from error

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe, for example ml/recipes/lite2-384.toml; BadRecipe names the file."""
        try:
            recipe = cls.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", recipe.name):
                raise BadRecipe(f"name has letters, digits, dots and hyphens, not {recipe.name!r}")
            return recipe
        except (BadRecipe, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadRecipe(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a card or a checkpoint."""
        return dataclasses.asdict(self)

    def of_fold(self, fold: int) -> Recipe:
        """The recipe that holds this fold out, with soft labels of teachers that did so, too."""
        taught = self.taught.replace(FOLD_PLACEHOLDER, str(fold))
        return dataclasses.replace(self, held_out_fold=fold, taught=taught)

    def served(
        self, crop: str | None = None, size: int | None = None, mirror: bool | None = None
    ) -> Recipe:
        """The recipe of a network whose input in service differs from training; None: the same.

        A fully convolutional network takes any size, and predicts best at one somewhat larger than
        that of its training (Touvron et al. 2019). Such a model is measured as it is served.
        """
        recipe = self
        if crop is not None:
            recipe = dataclasses.replace(recipe, crop=crop)
        if mirror is not None:
            recipe = dataclasses.replace(recipe, mirror=mirror)
        if size is not None and size != recipe.size:
            sizes = (*recipe.size_from, (1.0, size))
            recipe = dataclasses.replace(recipe, size=size, size_from=sizes)
        return recipe

    @property
    def selects_on_held_out(self) -> bool:
        """Whether the held-out fold decides which weights a run ends with."""
        return bool(self.patience or (self.keep and self.keep_by == "best"))

    def __post_init__(self) -> None:
        """BadRecipe where a setting is impossible or settings do not go together."""
        recipe_limits.check(self)
        self._check_network()
        self._check_sizes()
        self._check_course()
        self._check_labels()
        self._check_masked_images()
        self._check_processes()

    def _check_network(self) -> None:
        kind = self.architecture
        if self.attention and kind not in WITH_ATTENTION:
            raise BadRecipe(f"attention is for {' and '.join(WITH_ATTENTION)}, not for {kind}")
        if self.attention and min(self.decoder_channels, default=0) < ATTENTION_CHANNELS_MIN:
            raise BadRecipe(f"attention needs {ATTENTION_CHANNELS_MIN} decoder_channels everywhere")
        if self.decoder_norm and kind not in WITH_ATTENTION:
            raise BadRecipe(f"decoder_norm is for {' and '.join(WITH_ATTENTION)}, not for {kind}")
        if self.pretrained not in PRETRAINED:
            named = ", ".join(name for name in PRETRAINED if name)
            raise BadRecipe(f"no pretrained weights called {self.pretrained!r}: {named}")
        if self.pretrained == "efficientnet-lite2" and self.encoder != LITE2:
            raise BadRecipe(
                f"the weights of efficientnet-lite2 are for {LITE2}, not {self.encoder}"
            )
        if self.channels not in (1, 3):
            raise BadRecipe("channels must be 1 or 3")
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

    def _check_sizes(self) -> None:
        if self.size_from[0][0] != 0.0 or self.size_from[-1][1] != self.size:
            raise BadRecipe("size_from must start at progress 0 and end at size")
        if any(side % 32 or not SIZE.least <= side <= SIZE.most for _, side in self.size_from):
            raise BadRecipe(f"every size must be a multiple of 32, {SIZE.least} to {SIZE.most}")
        begins = [begin for begin, _ in self.size_from]
        if not all(0 <= begin <= 1 for begin in begins) or begins != sorted(begins):
            raise BadRecipe("size_from goes from progress 0 upwards, to 1 at most")

    def _check_course(self) -> None:
        if self.epoch_pictures % (self.batch * self.accumulate):
            raise BadRecipe("epoch_pictures must be a multiple of batch * accumulate")
        if len(self.positive_share) != 2:
            raise BadRecipe("positive_share has two numbers: at the start and at the end")
        if self.minutes <= 0 and self.epochs <= 0:
            raise BadRecipe("either minutes or epochs must limit the run")
        if self.selects_on_held_out and (self.held_out_fold < 0 or not self.validate_every):
            raise BadRecipe("patience and the best epochs need a held_out_fold and validate_every")
        if 0 < self.patience < self.validate_every:
            raise BadRecipe("patience is at least validate_every: before, nothing is measured")

    def _check_labels(self) -> None:
        plain = all(re.fullmatch(NAME, str(name)) for name in self.classes)
        if not self.classes or not plain or len(set(self.classes)) < len(self.classes):
            raise BadRecipe("classes are different names of small letters, digits and hyphens")
        if len(self.classes) > CLASSES_MAX:
            raise BadRecipe(f"there are at most {CLASSES_MAX} classes")
        if not self.sources or not set(self.sources) <= set(SOURCES):
            raise BadRecipe(f"sources are some of {', '.join(SOURCES)}")
        named = re.fullmatch(NAME, self.taught.replace(FOLD_PLACEHOLDER, "0"))
        if self.taught and (len(self.classes) > 1 or not named):
            raise BadRecipe(
                "taught is a name of small letters, digits and hyphens, with {fold} for the fold's "
                "number, for recipes of one class"
            )

    def _check_masked_images(self) -> None:
        labels = self.image_weight or self.patch_weight or self.validate_every
        other = self.taught or self.hard_negatives or len(self.classes) > 1
        if self.hidden and (labels or other or self.loss != "bce"):
            raise BadRecipe(
                'hidden patches train the mask output alone: loss "bce", image_weight, '
                "patch_weight, hard_negatives and validate_every 0, one class, no teachers"
            )

    def _check_processes(self) -> None:
        if self.devices > 1 and (not self.engine or self.batch % self.devices):
            raise BadRecipe('several devices need engine = "fabric" and equal parts of the batch')


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def _same_kind(value: Any, default: Any) -> bool:
    """Whether a setting has its default's type; a whole number may stand for a fraction."""
    if isinstance(default, float) and not isinstance(value, bool):
        return isinstance(value, int | float)
    return type(value) is type(default)
