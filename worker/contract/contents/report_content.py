"""What a report holds, as a report job reads it: texts in their order, then pictures.

The first line is JSON, the bytes of the pictures and of the outlines on them follow in its order.
The portal has written every sentence; the worker only sets them on pages.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from worker.contract.message import InvalidMessage, Message, PortalMessage, Sha256, text

# The pictures of an exam that a report shows; the text names how many there are beside them.
PICTURES_MOST: Final = 8
MARKS_MOST: Final = 50  # rulers and arrows on one picture
# Of all pictures and outlines together.
CONTENT_BYTES_MAX: Final = 96 * 1024 * 1024
_LINES_MOST: Final = 200

Line = Annotated[str, text(4000)]


class OutlineForm(StrEnum):
    """How the bytes of an outline are to be read."""

    PNG = "png"  # 0 and 255, of the size of the picture's file
    RUNS = "runs"  # `outline_runs`, of the size of the picture


class OutlineBy(StrEnum):
    """Whose outline it is, which decides how it is drawn."""

    AI = "ai"
    READER = "reader"


class Row(PortalMessage):
    """One line of a table: what it is, and its text, of which lines are kept."""

    label: Annotated[str, text(200)]
    text: Line


class Section(PortalMessage):
    """A part of the report. `notes` stand below its rows."""

    title: Annotated[str, text(200)]
    rows: Annotated[list[Row], Field(max_length=_LINES_MOST)] = Field(default_factory=list)
    notes: Annotated[list[Line], Field(max_length=_LINES_MOST)] = Field(default_factory=list)


class OutlinePart(PortalMessage):
    """An outline on a picture. `rows`, `columns`: its size in pixels."""

    by: OutlineBy
    form: OutlineForm
    label: Annotated[str, text(200)]
    rows: Annotated[int, Field(ge=1, le=65535)]
    columns: Annotated[int, Field(ge=1, le=65535)]
    bytes: Annotated[int, Field(ge=1)]


class MarkKind(StrEnum):
    """What a reader has drawn beside outlines; an arrow points at the end of its line."""

    RULER = "ruler"
    ARROW = "arrow"


_Coordinate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class MarkPart(PortalMessage):
    """A ruler or an arrow on a picture. `line`: from x, y to x, y in pixels of its rows × columns.
    A number stands beside it and before its `label` in the legend.
    """

    kind: MarkKind
    line: tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate]
    label: Annotated[str, text(400)]


class PicturePart(PortalMessage):
    """A picture as JPEG. `rows`, `columns`: of the X-ray, which gives it its shape; `described`:
    for people who can't see it. `marks`: what the reader has drawn, in the order of its numbers.
    """

    title: Annotated[str, text(200)]
    caption: Annotated[str, text(1000, 0)] = ""
    described: Annotated[str, text(1000)]
    rows: Annotated[int, Field(ge=1, le=65535)]
    columns: Annotated[int, Field(ge=1, le=65535)]
    bytes: Annotated[int, Field(ge=1)]
    outlines: Annotated[list[OutlinePart], Field(max_length=4)] = Field(default_factory=list)
    marks: Annotated[list[MarkPart], Field(max_length=MARKS_MOST)] = Field(default_factory=list)


class ReportContent(PortalMessage):
    """A whole report.

    `number` identifies it, in hexadecimal digits; `created` is a time as ISO 8601 text, the only
    one that its file holds. `is_signed` False draws "not signed" into its head. `footer` is on each
    page, `research` as well.
    """

    bytes_max: ClassVar[int] = 1024 * 1024

    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
    right_to_left: bool = False
    title: Annotated[str, text(200)]
    state: Annotated[str, text(200)]
    is_signed: bool
    number: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    created: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    exam: Annotated[list[Row], Field(max_length=_LINES_MOST)]
    sections: Annotated[list[Section], Field(max_length=40)]
    pictures: Annotated[list[PicturePart], Field(max_length=PICTURES_MOST)]
    pictures_title: Annotated[str, text(200)]
    research: Line
    footer: Annotated[str, text(300)]
    not_printable: Annotated[str, text(400)]


class ReportFound(Message):
    """What a report's file is."""

    pages: Annotated[int, Field(ge=1, le=200)]
    sha256: Sha256


def pack(content: ReportContent, parts: Sequence[bytes]) -> bytes:
    """A report with the bytes of each picture, each followed by those of its outlines."""
    if [len(part) for part in parts] != _sizes(content):
        raise ValueError("the parts are not those that the content lists")
    return b"".join([content.model_dump_json().encode(), b"\n", *parts])


def unpack(body: bytes) -> tuple[ReportContent, list[bytes]]:
    """The content and its parts; InvalidMessage where they do not fit each other."""
    line, newline, _ = body[: ReportContent.bytes_max + 1].partition(b"\n")
    content = ReportContent.parse_text(line)
    start, parts = len(line) + len(newline), list[bytes]()
    for size in _sizes(content):
        parts.append(body[start : start + size])
        start += size
    if not newline or start != len(body):
        raise InvalidMessage("the parts do not fit the content")
    return content, parts


def _sizes(content: ReportContent) -> list[int]:
    return [
        size
        for picture in content.pictures
        for size in (picture.bytes, *(outline.bytes for outline in picture.outlines))
    ]
