"""Why an upload is not acceptable: the codes, a sentence for a person each, and the limits."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from portal.errors import Invalid
from xray_files.bad_file import BadFile
from xray_files.kinds import LONGEST_SIDE, MOST_PIXELS

P = ParamSpec("P")
R = TypeVar("R")

REASONS: Final = {
    "empty": "The file is empty.",
    "too_large": "The file is larger than {megabytes} MB.",
    "not_an_image": "The file is not a DICOM, PNG or JPEG picture.",
    "disguised": "The file is a picture and at the same time another kind of file.",
    "truncated": "The file is cut off: its end is missing. Send it again.",
    "damaged": "The file is damaged and can't be read.",
    "contradictory": "The header's values about the pixels contradict each other.",
    "no_pixels": "The file holds no picture.",
    "too_many_parts": "The file is in far more pieces than a picture is stored in.",
    "header_too_large": "The file's header is larger than {megabytes} MB.",
    "too_many_elements": "The file's header has far more elements than an X-ray's.",
    "header_limit": "Reading the file's header takes far more time or memory than an X-ray's.",
    "unreadable": "The file's header can't be read.",
    "not_single_frame": "The file holds several frames. Send single pictures.",
    "unsupported_modality": "Only projection X-rays (CR, DX) are accepted, not {kind}.",
    "too_many_pixels": (
        "The picture has {columns} × {rows} pixels. "
        "At most {megapixels} megapixels and {side} on a side are accepted."
    ),
    "unsupported_transfer_syntax": "The DICOM file is compressed in a way that is not supported.",
    "unsupported_photometric": "The picture's kind of pixels is not supported.",
    "unfolds_too_large": "The deflated file unfolds to more than {megabytes} MB.",
    "unfolds_too_far": "The deflated file would unfold to far more than an X-ray does.",
    "inconsistent": "The compressed picture is not of the size that its header claims.",
}

# The same for a ZIP as a whole, and for a file in it.
ARCHIVE_REASONS: Final = {
    "archive_too_large": "The ZIP is larger than {megabytes} MB. Send it in parts.",
    "archive_too_many_files": "The ZIP holds more than {files} files. Send it in parts.",
    "archive_damaged": "The ZIP is damaged or cut off. Send it again.",
    "archive_empty": "The ZIP holds no file.",
    "archive_bomb": "The ZIP would unfold to far more than is accepted.",
    "member_no_file": "This is a link or a device, not a file.",
    "member_locked": "The file is locked with a password. Unlock it and send it again.",
    "member_unsupported": "The file is packed in a way that is not supported.",
    "member_bomb": "The file would unfold to far more than a picture does.",
    "member_archive": "A ZIP inside a ZIP is not opened. Send it on its own.",
    "archive_work": "Reading this ZIP takes far too long. Send the rest of it file by file.",
    "no_room": "There is no room left to keep the file.",
    "unfit": "The file's header has a value that cannot be stored.",
    "not_stored": "The file could not be stored. Try again; the portal's log has the reason.",
    "not_tried": "The portal cannot store files at the moment. Send this one again later.",
    "quota": "More files were sent within an hour than are accepted. Send this one again {when}.",
}


MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
"""Of a DICOM file before its pixels; those of X-rays are below 1 MiB as a rule."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is accepted at most. Pixels are counted before anything is decoded."""

    max_bytes: int
    max_pixels: int = MOST_PIXELS
    max_side: int = LONGEST_SIDE
    max_header_bytes: int = MAX_HEADER_BYTES


_USUAL: Final = {"megapixels": MOST_PIXELS // 1_000_000, "side": LONGEST_SIDE}


class Refused(Invalid):
    """An upload that is not acceptable. No patient data is in the reason."""


def refuse(code: str, **values: str | int) -> Refused:
    """The refusal of this code, its sentence filled in."""
    sentence = REASONS.get(code) or ARCHIVE_REASONS[code]
    return Refused(code, sentence.format(**(_USUAL | values)))


def refusing(read: Callable[P, R]) -> Callable[P, R]:
    """The same function, with a file that `xray_files` finds bad as a refusal."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return read(*args, **kwargs)
        except BadFile as bad:
            raise refuse(bad.code, **bad.values) from None

    return reading


def check_size(rows: int, columns: int, limits: Limits) -> None:
    """Refuse a picture of no or of too many pixels."""
    if rows < 1 or columns < 1:
        raise refuse("no_pixels")
    if rows * columns > limits.max_pixels or max(rows, columns) > limits.max_side:
        raise refuse(
            "too_many_pixels",
            rows=rows,
            columns=columns,
            megapixels=limits.max_pixels // 1_000_000,
            side=limits.max_side,
        )
