"""What is measured on an outlined pneumothorax.

As `ml.inference.measurements.measure` and `ml.inference.size_indices` give it. Lengths in mm are
None where the pixel spacing is unknown; places are pixels from the top left corner.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from worker.contract.facts import Spacing
from worker.contract.message import Code, Message, Share, text

Area = Annotated[int, Field(ge=0, le=10**9)]
Length = Annotated[float, Field(ge=0, le=1e9)]
Side = Literal["right", "left", "both"]
Zones = Annotated[list[Annotated[str, text(32)]], Field(max_length=10)]
_Place = Annotated[float, Field(ge=-1e6, le=1e6)]
# x0, y0, x1, y1
Line = tuple[_Place, _Place, _Place, _Place]
_Pixel = Annotated[int, Field(ge=0, le=10**6)]
# left, top, right, bottom
Box = tuple[_Pixel, _Pixel, _Pixel, _Pixel]

LEVELS = ("apex", "upper", "middle", "lower")


class Component(Message):
    """One connected outlined region."""

    area_px: Area
    area_mm2: Length | None = None
    side: Side | None = None
    zones: Zones
    box: Box


class Level(Message):
    """The distance between the pleural layers at one level."""

    px: Annotated[float, Field(ge=0, le=1e6)]
    mm: Length | None = None
    line: Line | None = None


class SizeIndex(Message):
    """A published size index: a percentage where it applies, else a code that explains why not."""

    percent: Annotated[float, Field(ge=0, le=100)] | None
    applies: bool
    reason: Code | None

    @model_validator(mode="after")
    def _has_one_of_both(self) -> Self:
        if (self.percent is not None, self.reason is None) != (self.applies, self.applies):
            raise ValueError("an index that applies has a percentage, another one a reason")
        return self


class Extent(Message):
    """One side: the air's share of the hemithorax, its levels and the size indices.

    `border_found`: whether the visceral border was really found; without it there is neither share
    nor index. Workers of older versions do not send it: theirs may be wrong.
    """

    side: Literal["right", "left"]
    border_found: bool | None = None
    fraction: Share | None
    apex: Level
    upper: Level
    middle: Level | None = None  # workers of older versions do not send it
    lower: Level
    collins: SizeIndex
    rhea: SizeIndex
    light: SizeIndex


def _empty_if_none(value: Any) -> Any:
    return [] if value is None else value


class Measurements(Message):
    """All of one picture.

    `zones_by` "lung_field": zones are apical, lateral, medial and basal parts of the lung field; in
    results of older versions, which lack it, they are thirds of the lungs' height, and "lateral" is
    the middle one. `spacing_problem`: why there are no lengths in mm. `island_px_min`: outlined
    regions smaller than this, in pixels of the map, are left out; `islands_left_out` of them were.
    """

    area_px: Area | None = None
    area_mm2: Length | None = None
    side: Side | None = None
    side_assumed: bool | None = None
    zones: Annotated[Zones, BeforeValidator(_empty_if_none)] = Field(default_factory=list)
    zones_by: Literal["lung_field"] | None = None
    distance_px: Length | None = None
    distance_mm: Annotated[float, Field(ge=0, le=2000)] | None = None
    distance_line: Line | None = None
    components: Annotated[list[Component], Field(max_length=10_000)] | None = None
    spacing: Spacing | None = None
    spacing_problem: Literal["unknown", "not_plausible"] | None = None
    island_px_min: Area | None = None
    islands_left_out: Area | None = None
    lungs_found: bool | None = None
    extents: Annotated[list[Extent], Field(max_length=2)] | None = None
    # Workers of older versions send neither. Severity: the air's share of the hemithorax in the
    # picture, under 10 %, 10 to 30 %, above 30 %; None where nothing is outlined.
    lesions: Annotated[int, Field(ge=0, le=10_000)] | None = None
    severity: Literal["small", "moderate", "large", "unknown"] | None = None
