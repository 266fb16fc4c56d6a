"""Why an upload is not acceptable: the codes, a sentence for a person each, and the limits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from types import MappingProxyType
from typing import Final, ParamSpec, TypeVar

from portal.errors import Invalid
from portal.languages import lazy
from xray_files.bad_file import BadFile
from xray_files.kinds import LONGEST_SIDE, MOST_PIXELS

P = ParamSpec("P")
R = TypeVar("R")

REASONS: Final = {
    "empty": lazy("The file is empty."),
    "too_large": lazy("The file is larger than %(megabytes)s MB."),
    "not_an_image": lazy("The file is not a DICOM, PNG or JPEG picture."),
    "disguised": lazy("The file is a picture and at the same time another kind of file."),
    "truncated": lazy("The file is cut off: its end is missing. Send it again."),
    "damaged": lazy("The file is damaged and can't be read."),
    "contradictory": lazy("The header's values about the pixels contradict each other."),
    "no_pixels": lazy("The file holds no picture."),
    "too_many_parts": lazy("The file is in far more pieces than a picture is stored in."),
    "header_too_large": lazy("The file's header is larger than %(megabytes)s MB."),
    "too_many_elements": lazy("The file's header has far more elements than an X-ray's."),
    "header_limit": lazy(
        "Reading the file's header takes far more time or memory than an X-ray's."
    ),
    "unreadable": lazy("The file's header can't be read."),
    "not_single_frame": lazy("The file holds several frames. Send single pictures."),
    "unsupported_modality": lazy("Only projection X-rays (CR, DX) are accepted, not %(kind)s."),
    "too_many_pixels": lazy(
        "The picture has %(columns)s × %(rows)s pixels. "
        "At most %(megapixels)s megapixels and %(side)s on a side are accepted."
    ),
    "unsupported_transfer_syntax": lazy(
        "The DICOM file is compressed in a way that is not supported."
    ),
    "unsupported_photometric": lazy("The picture's kind of pixels is not supported."),
    "unfolds_too_large": lazy("The deflated file unfolds to more than %(megabytes)s MB."),
    "unfolds_too_far": lazy("The deflated file would unfold to far more than an X-ray does."),
    "by_rule": lazy("A rule of the team keeps such a picture out: %(reason)s"),
    "quarantined": lazy("A rule of the team keeps such a picture in quarantine: %(reason)s"),
    "inconsistent": lazy("The compressed picture is not of the size that its header claims."),
}

# The same for a ZIP as a whole, and for a file in it.
ARCHIVE_REASONS: Final = {
    "archive_too_large": lazy("The ZIP is larger than %(megabytes)s MB. Send it in parts."),
    "archive_too_many_files": lazy("The ZIP holds more than %(files)s files. Send it in parts."),
    "archive_damaged": lazy("The ZIP is damaged or cut off. Send it again."),
    "archive_empty": lazy("The ZIP holds no file."),
    "archive_bomb": lazy("The ZIP would unfold to far more than is accepted."),
    "member_no_file": lazy("This is a link or a device, not a file."),
    "member_locked": lazy("The file is locked with a password. Unlock it and send it again."),
    "member_unsupported": lazy("The file is packed in a way that is not supported."),
    "member_bomb": lazy("The file would unfold to far more than a picture does."),
    "member_archive": lazy("A ZIP inside a ZIP is not opened. Send it on its own."),
    "archive_work": lazy("Reading this ZIP takes far too long. Send the rest of it file by file."),
    "no_room": lazy("There is no room left to keep the file."),
    "unfit": lazy("The file's header has a value that cannot be stored."),
    "not_stored": lazy("The file could not be stored. Try again; the portal's log has the reason."),
    "not_tried": lazy("The portal cannot store files at the moment. Send this one again later."),
    "quota": lazy(
        "More files were sent within an hour than are accepted. Send this one again %(when)s."
    ),
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
    """An upload that is not acceptable. No patient data is in the reason.

    `values`: what is filled into its sentence.
    """

    def __init__(
        self, code: str, message: str, values: Mapping[str, str | int] = MappingProxyType({})
    ) -> None:
        super().__init__(code, message)
        self.values = dict(values)


def refuse(code: str, **values: str | int) -> Refused:
    """The refusal of this code, its sentence filled in."""
    sentence = REASONS.get(code) or ARCHIVE_REASONS[code]
    return Refused(code, sentence % (_USUAL | values), values)


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
