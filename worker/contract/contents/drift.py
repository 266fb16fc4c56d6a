"""The drift job: the numbers of recent predictions in, how far they are from the model's out.

Nothing in it is about a patient: numbers of many pictures, without what they are of.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, Field

from worker.contract.message import Code, Message, PortalMessage, Share

# The last predictions that a check looks at, and how many it takes at least.
WINDOW: Final = 300
LEAST: Final = 50
# The most numbers that a card's reference may have.
NUMBERS_MAX: Final = 64
BARS_MAX: Final = 24

Count = Annotated[int, Field(ge=0)]


class DriftState(StrEnum):
    """How far a number is from the reference: as before, to be watched, shifted, or not known."""

    STABLE = "stable"
    WATCH = "watch"
    SHIFTED = "shifted"
    TOO_FEW = "too few"


class Window(PortalMessage):
    """Which predictions were looked at: those with a result from `first` to `last`, and beside them
    `refused` without one, which the quality gate has refused.
    """

    first: datetime | None
    last: datetime | None
    predictions: Annotated[int, Field(ge=0, le=WINDOW)]
    refused: Count


class RecentNumbers(PortalMessage):
    """What a drift job reads: the `reference` of the model's card, and each number's values."""

    bytes_max: ClassVar[int] = 4 * 1024 * 1024

    window: Window
    reference: dict[str, Any]
    columns: Annotated[
        dict[Code, Annotated[list[float], Field(max_length=WINDOW)]],
        Field(max_length=NUMBERS_MAX),
    ]


class Bar(Message):
    """A part of a number's range, and the shares of the reference and of recent pictures in it."""

    low: float
    high: float
    reference: Share
    recent: Share


class NumberFound(Message):
    """One number. `expected` and `recent` are its medians, or the shares where it `is_share`;
    `distance` is the Kolmogorov-Smirnov distance, or the difference of the shares.
    """

    name: Code
    is_share: bool
    n: Annotated[int, Field(ge=1, le=WINDOW)]
    reference_n: Annotated[int, Field(ge=1)]
    expected: float
    recent: float
    psi: Annotated[float, Field(ge=0)]
    psi_by_chance: Annotated[float, Field(ge=0)]
    distance: Share
    p_value: Share
    state: DriftState
    is_alarm: bool
    bars: Annotated[list[Bar], Field(max_length=BARS_MAX)]


def _each_once(found: list[NumberFound]) -> list[NumberFound]:
    if len({one.name for one in found}) < len(found):
        raise ValueError("a number is named twice")
    return found


class DriftFound(Message):
    """What a drift job has found; no number where there were too few predictions."""

    bytes_max: ClassVar[int] = 1024 * 1024

    window: Window
    numbers: Annotated[list[NumberFound], Field(max_length=NUMBERS_MAX), AfterValidator(_each_once)]


def alarms(found: Iterable[NumberFound]) -> list[str]:
    """The names of the numbers with an alarm."""
    return [one.name for one in found if one.is_alarm]
