"""The result of a job, alone as JSON or in one body together with its outputs.

A bundle is one line of JSON, {"result": …, "outputs": [{"kind", "media_type", "bytes"}, …]}, then
the bytes of all outputs. It is no multipart form: parsers of these write large parts to disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from worker.contract.contents.drift import DriftFound
from worker.contract.contents.object_content import ObjectsFound
from worker.contract.contents.report_content import ReportFound
from worker.contract.facts import Facts
from worker.contract.measurements import Measurements
from worker.contract.message import InvalidMessage, Message
from worker.contract.prediction import Prediction

BUNDLE: Final = "application/vnd.pleura.result"
# What a worker puts into one bundle; a larger output is stored by a request of its own.
BUNDLE_OUTPUT_BYTES: Final = 16 * 1024 * 1024
# What the portal accepts as a bundle.
BUNDLE_BYTES_MAX: Final = 24 * 1024 * 1024


class RenderResult(Message):
    """What a render job found beside the files that it stored."""

    facts: Facts


class SegmentResult(Message):
    """What a segment job found beside the files that it stored."""

    prediction: Prediction


class MeasureResult(Message):
    """What was measured on a reader's outline."""

    measurements: Measurements


class ReportResult(Message):
    """What the file of a report is."""

    report: ReportFound


class ObjectsResult(Message):
    """What the archive of a picture's DICOM objects holds."""

    objects: ObjectsFound


class DriftResult(Message):
    """How far recent predictions are from the model's reference."""

    bytes_max: ClassVar[int] = DriftFound.bytes_max

    drift: DriftFound


Result = RenderResult | SegmentResult | MeasureResult | ReportResult | ObjectsResult | DriftResult


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a job as it is sent."""

    kind: str
    media_type: str
    data: bytes


class _Listed(Message):
    kind: str
    media_type: str
    bytes: Annotated[int, Field(ge=0)]


class _Head(Message):
    bytes_max: ClassVar[int] = 2 * Message.bytes_max  # a result has its own limit

    result: dict[str, Any]
    outputs: list[_Listed]


def pack(result: Result, outputs: Sequence[Output]) -> bytes:
    """A result and its outputs as one body."""
    listed = [_Listed(kind=o.kind, media_type=o.media_type, bytes=len(o.data)) for o in outputs]
    head = _Head(result=result.as_json(), outputs=listed).model_dump_json().encode()
    return b"".join([head, b"\n", *(output.data for output in outputs)])


def unpack(body: bytes) -> tuple[dict[str, Any], list[Output]]:
    """The result, not checked yet, and the outputs; InvalidMessage where the parts do not fit."""
    line, newline, rest = body.partition(b"\n")
    head = _Head.parse_text(line)
    if not newline or sum(listed.bytes for listed in head.outputs) != len(rest):
        raise InvalidMessage("the parts do not fit the first line")
    outputs, start = [], 0
    for listed in head.outputs:
        outputs.append(Output(listed.kind, listed.media_type, rest[start : start + listed.bytes]))
        start += listed.bytes
    return head.result, outputs
