"""Why an upload is not acceptable: the codes, a sentence for a person each, and the limits."""

from dataclasses import dataclass
from typing import Final

REASONS: Final = {
    "empty": "The file is empty.",
    "too_large": "The file is larger than {megabytes} MB.",
    "not_an_image": "The file is not a DICOM, PNG or JPEG picture.",
    "truncated": "The file is cut off: its end is missing. Send it again.",
    "damaged": "The file is damaged and can't be read.",
    "no_pixels": "The file holds no picture.",
    "not_single_frame": "The file holds several frames. Send single pictures.",
    "unsupported_modality": "Only projection X-rays (CR, DX) are accepted, not {kind}.",
    "too_many_pixels": (
        "The picture has {columns} × {rows} pixels. "
        "At most {megapixels} megapixels and {side} on a side are accepted."
    ),
    "unsupported_transfer_syntax": "The DICOM file is compressed in a way that is not supported.",
    "unsupported_photometric": "The picture's kind of pixels is not supported.",
    "inconsistent": "The compressed picture is not of the size that its header claims.",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What is accepted at most. Pixels are counted before anything is decoded."""

    max_bytes: int
    max_pixels: int = 100_000_000
    max_side: int = 20_000


class Refused(Exception):
    """An upload that is not acceptable: a stable code and a sentence, without patient data."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


def refuse(code: str, **values: str | int) -> Refused:
    """The refusal of this code, its sentence filled in."""
    return Refused(code, REASONS[code].format(**values))


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
