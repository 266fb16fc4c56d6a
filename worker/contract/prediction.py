"""A prediction: what a segment job finds in one picture.

As `ml.inference.predict.Prediction.facts` gives it. A picture whose quality is refused has no
probability, band, map, measurements, uncertainty, region or other findings.
"""

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from worker.contract.measurements import Area, Length, Measurements, Side
from worker.contract.message import Code, Message, Sha256, Share, text


class Band(StrEnum):
    """The model's result as a category. None of them excludes a pneumothorax."""

    LIKELY = "likely"
    POSSIBLE = "possible"
    NONE_FOUND = "none_found"


class QualityVerdict(StrEnum):
    """Whether the picture is one that the model was made for."""

    FIT = "fit"
    LIMITED = "limited"
    REFUSED = "refused"


class ModelIdentity(Message):
    """Which model it was; `sha256` is of its files."""

    name: Annotated[str, text(100)]
    version: Annotated[str, text(50)]
    sha256: Sha256


class MapSize(Message):
    """Size of the probability map, which covers the picture exactly."""

    rows: Annotated[int, Field(ge=1, le=4096)]
    columns: Annotated[int, Field(ge=1, le=4096)]


class Uncertainty(Message):
    """How far the model's readings of the picture and of its mirror image differ."""

    spread: Share
    outline_dice: Share | None = None
    unsure: bool


_Pixel = Annotated[int, Field(ge=0, le=65535)]


class Region(Message):
    """The part of the picture that drives the probability: left, top, right, bottom in pixels."""

    box: tuple[_Pixel, _Pixel, _Pixel, _Pixel]
    probability: Share


# The reason of a picture of a patient under 18. With a result beside it, the team allows that.
UNDER_AGE: Final = "under_18"

Corner = tuple[Annotated[float, Field(ge=0, le=65535)], Annotated[float, Field(ge=0, le=65535)]]


class FurtherFinding(Message):
    """Another finding of a network of several classes; without an outline where none is found.

    `outlines` are the borders of its regions as corners (x, y) in pixels of the picture.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]
    probability: Share
    threshold: Share
    found: bool
    side: Side | None = None
    area_px: Area = 0
    area_mm2: Length | None = None
    outlines: Annotated[
        list[Annotated[list[Corner], Field(max_length=120)]], Field(max_length=10)
    ] = Field(default_factory=list)

    @model_validator(mode="after")
    def _is_outlined_only_where_found(self) -> Self:
        if not self.found and (self.area_px or self.outlines):
            raise ValueError("where a finding is none nothing is outlined")
        return self


class QualityReason(Message):
    """Why a picture is limited or refused: a stable code and a sentence."""

    code: Code
    message: Annotated[str, text(500)]


class Quality(Message):
    """The result of the quality check."""

    verdict: QualityVerdict
    reasons: Annotated[list[QualityReason], Field(max_length=50)] | None = None


_ABSENT_WHERE_REFUSED: Final = (
    "probability",
    "band",
    "map",
    "measurements",
    "uncertainty",
    "region",
    "other_findings",
)


class Prediction(Message):
    """One picture's result. `threshold` is the pixel threshold, of the outline; `image_threshold`
    that of the operating point, `likely_threshold` the probability from which on the band is
    "likely" (workers of older versions send neither). `statistics` are kept for monitoring.
    """

    model: ModelIdentity
    quality: Quality
    probability: Share | None = None
    band: Band | None = None
    threshold: Share | None = None
    image_threshold: Share | None = None
    likely_threshold: Share | None = None
    operating_point: Annotated[str, text(50)] | None = None
    map: MapSize | None = None
    measurements: Measurements | None = None
    uncertainty: Uncertainty | None = None
    region: Region | None = None
    # A worker of a version before sends none, nor does a network of one class.
    other_findings: Annotated[list[FurtherFinding], Field(max_length=8)] | None = None
    statistics: (
        Annotated[
            dict[Code, Annotated[float, Field(ge=-1e12, le=1e12)]],
            Field(max_length=100),
        ]
        | None
    ) = None
    seconds: Annotated[float, Field(ge=0, le=1e6)] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.quality.verdict is QualityVerdict.REFUSED:
            if any(getattr(self, name) is not None for name in _ABSENT_WHERE_REFUSED):
                raise ValueError("a refused picture has no result")
        elif self.probability is None or self.band is None or self.map is None:
            raise ValueError("a picture that is not refused has probability, band and map")
        elif self.band is Band.NONE_FOUND and self.measurements and self.measurements.area_px:
            raise ValueError("where none is found nothing is outlined")
        return self
