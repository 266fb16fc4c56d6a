"""What the DICOM objects about one picture are made of, as an encode job reads it.

The first line is JSON; then come the bytes of the picture as JPEG, of each outline and of the
report's PDF, in this order. The picture's own header is another input: its file. The portal has
written every sentence and every UID; the worker puts them into objects.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from worker.contract.contents.report_content import OutlinePart
from worker.contract.measurements import Measurements
from worker.contract.message import InvalidMessage, Message, PortalMessage, Sha256, Share, text

_Sentence = Annotated[str, text(1000)]
_Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Uid = Annotated[str, Field(max_length=64, pattern=r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+$")]


class ObjectKind(StrEnum):
    """Which object; the end of its file's name as well."""

    STRUCTURED_REPORT = "sr"
    SEGMENTATION = "seg"
    CAPTURE = "sc"
    PRESENTATION = "pr"
    REPORT = "pdf"
    REJECTION = "ko"


class Outcome(StrEnum):
    """What the AI result of the picture is. None of them excludes a pneumothorax."""

    FOUND = "found"
    NONE_FOUND = "none_found"
    NOT_ANALYSED = "not_analysed"


class Assessment(StrEnum):
    """What the reader made of the AI result."""

    ACCEPTED = "accepted"
    CHANGED = "changed"
    REJECTED = "rejected"
    UNDECIDED = "undecided"


class Identity(PortalMessage):
    """The UIDs of an object and of the series that it is alone in."""

    series: Uid
    instance: Uid


class EarlierObject(Message):
    """An object that was made of the same picture before."""

    kind: ObjectKind
    sop_class: Uid
    series: Uid
    instance: Uid


class Tracked(PortalMessage):
    """What something that was found is called in every version of the objects."""

    uid: Uid
    identifier: Annotated[str, text(64)]


class ModelUsed(PortalMessage):
    """The model and what it was used with. `floor`: the smallest region that is outlined."""

    name: Annotated[str, text(100)]
    version: Annotated[str, text(50)]
    sha256: Sha256
    operating_point: Annotated[str, text(50, 0)] = ""
    image_threshold: Share | None = None
    pixel_threshold: Share | None = None
    floor: Annotated[str, text(200, 0)] = ""


class TrackedOutline(OutlinePart):
    """An outline of the picture, with what was measured on it."""

    tracked: Tracked
    measurements: Measurements | None = None


class AiPart(PortalMessage):
    """The AI result of the picture. `headline`: in one sentence; `notes`: what belongs to it;
    `reasons`: why there is none.
    """

    outcome: Outcome
    headline: Annotated[str, text(200)]
    notes: Annotated[list[_Sentence], Field(max_length=50)] = Field(default_factory=list)
    reasons: Annotated[list[_Sentence], Field(max_length=50)] = Field(default_factory=list)
    model: ModelUsed | None = None
    probability: Share | None = None
    measurements: Measurements | None = None
    tracked: Tracked


class ReaderFinding(StrEnum):
    """What the reader states of the exam."""

    NONE = "none"
    RIGHT = "right"
    LEFT = "left"
    BOTH = "both"
    UNSURE = "unsure"


class ReaderPart(PortalMessage):
    """The reader's finding that stands. `texts` are lines such as size, reason and comment."""

    finding: ReaderFinding | None
    assessment: Assessment | None = None
    texts: Annotated[list[Annotated[str, text(4200)]], Field(max_length=20)] = Field(
        default_factory=list
    )
    tracked: Tracked


class SignedBy(PortalMessage):
    """Whose signature stands, when it was given, and for whom."""

    name: Annotated[str, text(200)]
    organization: Annotated[str, text(200)]
    at: _Time


class ObjectContent(PortalMessage):
    """All objects of one picture. `identities` has one for each kind; `jpeg_bytes` 0: of a picture
    that could not be prepared; `pdf_bytes` 0: no report in this set. `before`: the objects of the
    set that this one replaces.
    """

    bytes_max: ClassVar[int] = 2 * 1024 * 1024

    created: _Time
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] = "en"
    software: Annotated[str, text(64)]
    device_uid: Uid
    research: Annotated[str, text(200)]
    title: Annotated[str, text(64)]
    identities: dict[ObjectKind, Identity]
    before: Annotated[list[EarlierObject], Field(max_length=20)] = Field(default_factory=list)
    signed: SignedBy | None = None
    ai: AiPart
    reader: ReaderPart | None = None
    jpeg_bytes: Annotated[int, Field(ge=0)]
    outlines: Annotated[list[TrackedOutline], Field(max_length=4)] = Field(default_factory=list)
    pdf_bytes: Annotated[int, Field(ge=0)] = 0
    case: Annotated[str, text(16)]


# What was done to values of the header so that they are valid, each with the element's keyword.
Note = Annotated[str, Field(pattern=r"^(repaired|left_out|assumed):[A-Za-z]{1,64}$|^[a-z_]{1,64}$")]


class MadeObject(Message):
    """One object of the archive."""

    kind: ObjectKind
    file: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,60}\.dcm$")]
    sop_class: Uid
    series: Uid
    instance: Uid
    sha256: Sha256


class ObjectsFound(Message):
    """What an archive of objects holds, and what was done to values of the picture's header."""

    objects: Annotated[list[MadeObject], Field(min_length=1, max_length=20)]
    notes: Annotated[list[Note], Field(max_length=100)]
    sha256: Sha256


MANIFEST: Final = "manifest.json"


def pack(content: ObjectContent, jpeg: bytes, outlines: Sequence[bytes], pdf: bytes) -> bytes:
    """The content with its parts."""
    parts = [jpeg, *outlines, pdf]
    if [len(part) for part in parts] != _sizes(content):
        raise ValueError("the parts are not those that the content lists")
    return b"".join([content.model_dump_json().encode(), b"\n", *parts])


def unpack(body: bytes) -> tuple[ObjectContent, bytes, list[bytes], bytes]:
    """Content, picture, outlines and report; InvalidMessage where they do not fit each other."""
    line, newline, _ = body[: ObjectContent.bytes_max + 1].partition(b"\n")
    content = ObjectContent.parse_text(line)
    start, parts = len(line) + len(newline), list[bytes]()
    for size in _sizes(content):
        parts.append(body[start : start + size])
        start += size
    if not newline or start != len(body):
        raise InvalidMessage("the parts do not fit the content")
    return content, parts[0], parts[1:-1], parts[-1]


def _sizes(content: ObjectContent) -> list[int]:
    return [content.jpeg_bytes, *(one.bytes for one in content.outlines), content.pdf_bytes]
