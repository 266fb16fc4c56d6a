"""The files that jobs read and store: kinds, media types and how large each may be."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.contract.job import JobKind

BYTES: Final = "application/octet-stream"
PNG: Final = "image/png"
JPEG: Final = "image/jpeg"
PDF: Final = "application/pdf"
ZIP: Final = "application/zip"
JSON: Final = "application/json"
_MB: Final = 1024 * 1024
# 100 megapixels of 16 bits, the most that the portal accepts, and some room.
OUTPUT_BYTES_MAX: Final = 256 * _MB


class FileKind(StrEnum):
    """What a file holds."""

    SOURCE = "source"
    PIXELS = "pixels"
    PREVIEW = "preview"
    THUMB = "thumb"
    PROBABILITY = "probability"
    MASK = "mask"
    OVERLAY = "overlay"
    REVIEW_MASK = "review_mask"  # a reader's outline, as `outline_runs`
    # What a report is made of, as `report_content`, or its DICOM objects, as `object_content`.
    REPORT_CONTENT = "report_content"
    REPORT = "report"  # as PDF, or as an archive of DICOM objects
    RECENT_NUMBERS = "recent_numbers"  # of predictions, as `drift.RecentNumbers`


@dataclass(frozen=True, slots=True)
class OutputRule:
    """What is accepted: at most so many bytes, and so many more for each pixel of the X-ray."""

    media_type: str
    bytes_max: int
    bytes_per_pixel: int = 0
    side_max: int = 0  # of a JPEG; a PNG has the size of the X-ray
    of_source: bool = False  # it may have the file's size, whose pixels are not square
    is_required: bool = True

    def limit(self, rows: int, columns: int) -> int:
        """The largest output in bytes for an X-ray of this size."""
        return self.bytes_max + self.bytes_per_pixel * rows * columns


# Made when they are asked for: they are no files, and not announced by the claim.
MADE_WHEN_READ: Final = (FileKind.RECENT_NUMBERS,)
INPUTS: Final = {
    JobKind.RENDER: (FileKind.SOURCE,),
    JobKind.SEGMENT: (FileKind.PIXELS,),
    JobKind.MEASURE: (FileKind.PIXELS, FileKind.REVIEW_MASK),
    JobKind.REPORT: (FileKind.REPORT_CONTENT,),
    JobKind.ENCODE: (FileKind.SOURCE, FileKind.REPORT_CONTENT),
    JobKind.DRIFT: (FileKind.RECENT_NUMBERS,),
}
OUTPUTS: Final = {
    JobKind.RENDER: {
        # 16 bits, and up to four times as many pixels as the file has where its own are not square.
        FileKind.PIXELS: OutputRule(BYTES, 0, bytes_per_pixel=8),
        FileKind.PREVIEW: OutputRule(JPEG, 8 * _MB, side_max=2048),
        FileKind.THUMB: OutputRule(JPEG, _MB, side_max=256),
    },
    JobKind.SEGMENT: {
        FileKind.PROBABILITY: OutputRule(BYTES, 4 * _MB),
        FileKind.MASK: OutputRule(PNG, _MB, bytes_per_pixel=1, of_source=True),
        # By workers of a version before, and where the portal can't draw it from pixels and mask.
        FileKind.OVERLAY: OutputRule(PNG, _MB, bytes_per_pixel=4, is_required=False),
    },
    JobKind.MEASURE: {},
    JobKind.REPORT: {FileKind.REPORT: OutputRule(PDF, 64 * _MB)},
    # Report and capture, and a segmentation of one bit for each pixel and outline.
    JobKind.ENCODE: {FileKind.REPORT: OutputRule(ZIP, 96 * _MB, bytes_per_pixel=1)},
    JobKind.DRIFT: {},
}
