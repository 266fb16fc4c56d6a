"""``Picture``, the form of an X-ray in the rest of the package, and ``Unreadable``.

Owns the canonical form. Pixels are uint16 of shape (rows, columns) in which MORE IS ALWAYS DENSER
(bone is bright, air is dark), at full depth. A window is the linear ramp that DICOM calls
LINEAR_EXACT: black at centre - width / 2, white at centre + width / 2, in those same pixel units.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.images import shutter
from xray_files import picture_header
from xray_files.bad_file import BadFile
from xray_files.kinds import MOST_PIXELS

Pixels = NDArray[np.uint16]
SpacingSource = Literal["calibrated", "corrected", "detector"]

PIXEL_LIMIT = MOST_PIXELS


class Unreadable(Exception):
    """A file that is not a picture we read: a stable ``code`` and a sentence for a person.

    Neither contains patient data.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[Unreadable], tuple[str, str]]:
        """Whole again on the other side of a process: the base class keeps one argument only."""
        return type(self), (self.code, self.message)


@dataclass(frozen=True)
class Spacing:
    """Millimetres from one pixel's centre to the next, and what that length refers to.

    'calibrated': at the patient, by a known object or geometry. 'corrected': detector spacing
    divided by the estimated magnification. 'detector': at the detector, so lengths in the patient
    are somewhat overestimated.
    """

    row_mm: float
    column_mm: float
    source: SpacingSource


class Window(NamedTuple):
    """A display window in canonical pixel units (see the module's text)."""

    centre: float
    width: float
    name: str


@dataclass(frozen=True)
class Picture:
    """One projection picture with its attributes, without the patient's identity."""

    pixels: Pixels = field(repr=False)
    bits: int
    media_type: str
    windows: tuple[Window, ...]
    photometric: str
    spacing: Spacing | None = None
    view: str | None = None
    modality: str | None = None
    body_part: str | None = None
    orientation: tuple[str, str] | None = None
    patient_age_years: float | None = None
    patient_sex: str | None = None
    # Share of pixels with visible colour, 0..1: a film is grey, a photograph is not.
    colour: float = 0.0
    # Stable codes for missing or unusual values of the file, e.g. 'modality_missing'.
    notes: tuple[str, ...] = ()
    # What the sender shows: inside of all these polygons (`ml.images.shutter`).
    shutters: tuple[tuple[tuple[float, float], ...], ...] = ()
    # (rows, columns) in the file, where its pixels are not square; the pixels here are.
    source_size: tuple[int, int] | None = None

    @property
    def rows(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def columns(self) -> int:
        return int(self.pixels.shape[1])

    def without_hidden(self) -> Picture:
        """The same picture with what its shutters hide as dark as the darkest of the rest.

        What looks at the whole picture (the network's percentiles, the quality gate) must see
        nothing of it.
        """
        if not self.shutters:
            return self
        inside = shutter.shown(self.shutters, self.rows, self.columns)
        pixels = self.pixels.copy()
        pixels[~inside] = pixels[inside].min()
        return replace(self, pixels=pixels, shutters=())

    def as_in_source(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask of this picture on the pixels of its file."""
        size = self.source_size
        if size is None or mask.shape == size:
            return mask
        small = cv2.resize(
            mask.astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT
        )
        return np.asarray(small, dtype=np.bool_)

    def facts(self) -> dict[str, Any]:
        """Everything but the pixels, ready for JSON; no name, identifier or date in it."""
        facts = {name: value for name, value in vars(self).items() if name != "pixels"}
        facts["spacing"] = asdict(self.spacing) if self.spacing else None
        facts["windows"] = [list(window) for window in self.windows]
        facts["orientation"] = list(self.orientation) if self.orientation else None
        facts["notes"] = list(self.notes)
        facts["shutters"] = [[list(corner) for corner in polygon] for polygon in self.shutters]
        facts["source_size"] = list(self.source_size) if self.source_size else None
        for rare in ("shutters", "source_size"):
            if not facts[rare]:  # workers and portals of before do not know them
                del facts[rare]
        return {"rows": self.rows, "columns": self.columns, **facts}

    def canonical(self) -> bytes:
        """The pixels as little-endian uint16, row after row."""
        return self.pixels.astype("<u2", copy=False).tobytes()

    @classmethod
    def from_canonical(cls, data: bytes, facts: dict[str, Any]) -> Picture:
        """The opposite of ``canonical`` and ``facts``; ValueError when they do not fit."""
        known = dict(facts)
        rows, columns = int(known.pop("rows")), int(known.pop("columns"))
        if rows < 1 or columns < 1 or len(data) != rows * columns * 2:
            raise ValueError(f"{len(data)} bytes are not {rows} x {columns} pixels of 16 bits")
        spacing, orientation = known.get("spacing"), known.get("orientation")
        known["spacing"] = Spacing(**spacing) if spacing else None
        known["windows"] = tuple(Window(*window) for window in known["windows"])
        known["orientation"] = (orientation[0], orientation[1]) if orientation else None
        known["notes"] = tuple(known.get("notes", ()))
        known["shutters"] = tuple(
            tuple((corner[0], corner[1]) for corner in polygon)
            for polygon in known.get("shutters") or ()
        )
        size = known.get("source_size")
        known["source_size"] = (size[0], size[1]) if size else None
        pixels = np.frombuffer(data, dtype="<u2").reshape(rows, columns).astype(np.uint16)
        return cls(pixels=pixels, **known)


def check_size(rows: int, columns: int) -> None:
    """Refuse, before anything is decoded, a picture of no or of far too many pixels."""
    try:
        picture_header.check_size(rows, columns)
    except BadFile as bad:
        raise unreadable(bad) from None


_SENTENCES = {
    "truncated": "The file is cut off: its end is missing.",
    "no_pixels": "The file holds no picture, or by its header one without pixels.",
    "not_single_frame": "The file holds several frames, not one.",
    "unsupported_modality": "Only projection X-rays (CR, DX) are read; this file's is {kind}.",
    "unsupported_transfer_syntax": "The file is compressed in a way that is not supported.",
    "unsupported_photometric": "The picture's kind of pixels is not supported.",
    "too_large": "The file holds far more than is read of a chest X-ray.",
    "decode_failed": "The file is damaged or its header contradicts itself.",
}
_CODES = {
    **dict.fromkeys(
        ("damaged", "contradictory", "inconsistent", "too_many_parts"), "decode_failed"
    ),
    "too_many_elements": "decode_failed",
    **dict.fromkeys(
        ("too_many_pixels", "header_too_large", "unfolds_too_large", "unfolds_too_far"), "too_large"
    ),
}


def unreadable(bad: BadFile) -> Unreadable:
    """The refusal of a file whose header or structure is bad."""
    code = _CODES.get(bad.code, bad.code)
    return Unreadable(code, _SENTENCES[code].format(kind=bad.values.get("kind", "another")))


def automatic_window(pixels: Pixels, valid: NDArray[np.bool_] | None = None) -> Window:
    """A window from the 0.5th to the 99.5th percentile of the pixels (where ``valid``)."""
    # Every fourth row and column is plenty for a percentile and sixteen times faster.
    sample = pixels[::4, ::4] if min(pixels.shape) >= 64 else pixels
    if valid is not None and valid.any():
        chosen = valid[::4, ::4] if sample is not pixels else valid
        sample = sample[chosen] if chosen.any() else pixels[valid]
    low, high = (float(value) for value in np.percentile(sample, (0.5, 99.5)))
    width = max(high - low, 1.0)
    return Window((low + high) / 2, width, "automatic")


def shown_grey(picture: Picture) -> NDArray[np.uint8]:
    """The picture through its first window, black where a shutter hides it."""
    grey = windowed(picture.pixels, picture.windows[0])
    if picture.shutters:
        grey[~shutter.shown(picture.shutters, picture.rows, picture.columns)] = 0
    return grey


def windowed(pixels: NDArray[np.generic], window: Window) -> NDArray[np.uint8]:
    """Pixels through a window as 8 bits, 0 black and 255 white; the shape stays."""
    low = window.centre - window.width / 2
    scaled = pixels.astype(np.float32)  # changed in place: new arrays cost more than the sums
    scaled -= np.float32(low)
    scaled *= np.float32(255 / window.width)
    np.rint(scaled, out=scaled)
    np.clip(scaled, 0, 255, out=scaled)
    return scaled.astype(np.uint8)


def colour_share(channels: NDArray[np.generic], white: float) -> float:
    """Share of pixels whose channels (rows, columns, 3) differ by more than an eighth of white.

    An eighth is well above what JPEG does to a grey picture and well below a coloured thing.
    """
    sample = channels[::2, ::2].astype(np.float32)
    return float(np.mean(sample.max(axis=2) - sample.min(axis=2) > white / 8))
