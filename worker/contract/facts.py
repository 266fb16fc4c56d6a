"""The facts of a picture: what a render job reads from a file beside its pixels.

As `ml.images.picture.Picture.facts` gives them; no name, identifier or date.
"""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from worker.contract.message import Message, text

Millimetres = Annotated[float, Field(ge=0.001, le=100)]


class Spacing(Message):
    """Millimetres from one pixel's centre to the next, and what that length refers to."""

    row_mm: Millimetres
    column_mm: Millimetres
    source: Annotated[str, text(32)]


# Shortest and longest side of an adult's whole chest X-ray, mm, as `ml.images.field_size` has them:
# a spacing by which the picture is smaller or larger is not that of its detector.
FIELD_MM: Final = (250.0, 500.0)
# The note of a picture whose spacing was left out for that.
NOT_PLAUSIBLE: Final = "spacing_not_plausible"


def is_plausible(row_mm: float, column_mm: float, rows: int, columns: int) -> bool:
    """Whether a spacing makes the picture as large as a chest X-ray."""
    return all(FIELD_MM[0] <= side <= FIELD_MM[1] for side in (rows * row_mm, columns * column_mm))


# Centre and width in grey values, and the window's name.
Window = tuple[
    Annotated[float, Field(ge=-1e9, le=1e9)],
    Annotated[float, Field(ge=0, le=1e9)],
    Annotated[str, text(256, 0)],
]


_Place = Annotated[float, Field(ge=-200_000, le=200_000)]
# What the sender shows: the corners (x, y) of a polygon, in pixels.
Shutter = Annotated[list[tuple[_Place, _Place]], Field(min_length=3, max_length=1000)]
_Side = Annotated[int, Field(ge=1, le=65535)]


def _two_or_none(directions: list[str] | None) -> list[str] | None:
    if directions and len(directions) != 2:
        raise ValueError("two directions")
    return directions or None


class Facts(Message):
    """One picture. `bits`: depth of its grey values; `colour`: share of coloured pixels.

    `source_size`: rows and columns of the file, where its pixels are not square; those of the
    picture are. Mask files have the size of the file.
    """

    rows: Annotated[int, Field(ge=1, le=65535)]
    columns: Annotated[int, Field(ge=1, le=65535)]
    bits: Annotated[int, Field(ge=1, le=16)]
    windows: Annotated[list[Window], Field(max_length=100)]
    media_type: Annotated[str, text(64)] | None = None
    photometric: Annotated[str, text(32)] | None = None
    spacing: Spacing | None = None
    view: Annotated[str, text(16)] | None = None
    modality: Annotated[str, text(16)] | None = None
    body_part: Annotated[str, text(64)] | None = None
    # Which way the rows and the columns run in the patient.
    orientation: Annotated[
        Annotated[list[Annotated[str, text(64)]], Field(max_length=2)] | None,
        AfterValidator(_two_or_none),
    ] = None
    patient_age_years: Annotated[float, Field(ge=0, le=1000)] | None = None
    patient_sex: Annotated[str, text(16)] | None = None
    colour: Annotated[float, Field(ge=0, le=1)] | None = None
    shutters: Annotated[list[Shutter], Field(max_length=3)] | None = None
    source_size: tuple[_Side, _Side] | None = None
    notes: Annotated[list[Annotated[str, text(64)]], Field(max_length=100)] | None = None
