"""What every object of a set is made from, and what every one of them states."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from worker import outline_mask
from worker.contract.contents.object_content import ObjectContent, ObjectKind, TrackedOutline
from worker.contract.contents.report_content import OutlineBy
from worker.encode.source import Source

Mask = NDArray[np.uint8]
MANUFACTURER: Final = "Pleura"
# Series of a set, after those of the modality.
_SERIES: Final = {
    ObjectKind.CAPTURE: (9001, "AI result, picture"),
    ObjectKind.STRUCTURED_REPORT: (9002, "AI result, measurements"),
    ObjectKind.SEGMENTATION: (9003, "AI result, outline"),
    ObjectKind.PRESENTATION: (9004, "AI result, outline as graphics"),
    ObjectKind.REPORT: (9005, "Report"),
    ObjectKind.REJECTION: (9006, "AI result rejected"),
}
_PLAIN: Final = str.maketrans({"–": "-", "—": "-", "’": "'", "“": '"', "”": '"', "…": "..."})
# Of a mask's rings: larger ones first, and each within so many points.
RINGS_MOST: Final = 200
_POINTS_MOST: Final = 4000


@dataclass(frozen=True, slots=True)
class Outlined:
    """An outline, and its mask of the file's rows and columns; never empty."""

    about: TrackedOutline
    mask: Mask = field(repr=False)

    @property
    def is_ai(self) -> bool:
        """Whether it is the model's."""
        return self.about.by is OutlineBy.AI


@dataclass(frozen=True, slots=True)
class Parts:
    """Header, content, picture, outlines and report of one set."""

    source: Source
    content: ObjectContent
    jpeg: bytes = field(repr=False)
    outlines: list[Outlined]
    pdf: bytes = field(repr=False)

    @property
    def image(self) -> Dataset:
        """What objects inherit from and refer to."""
        return self.source.dataset

    @property
    def created(self) -> datetime:
        """When the set was asked for, the only time that its objects state as their own."""
        return moment(self.content.created)

    @property
    def serial_number(self) -> str:
        """Of the device, which is the model: objects of two models differ in it."""
        model = self.content.ai.model
        return model.sha256[:16] if model else "none"

    @property
    def versions(self) -> list[str]:
        """Of the software and of the model."""
        model = self.content.ai.model
        named = [f"{model.name} {model.version}"[:64]] if model else []
        return [self.content.software, *named]

    def named(self, kind: ObjectKind) -> dict[str, Any]:
        """The arguments of highdicom that every object has."""
        number, described = _SERIES[kind]
        identity = self.content.identities[kind]
        return {
            "series_instance_uid": identity.series,
            "series_number": number,
            "sop_instance_uid": identity.instance,
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MANUFACTURER,
            "software_versions": self.versions,
            "device_serial_number": self.serial_number,
            "series_description": f"{described} (research use only)",
        }


def of(
    source: Source, content: ObjectContent, jpeg: bytes, outlines: list[bytes], pdf: bytes
) -> Parts:
    """The parts, with each outline as a mask of the file's size; ValueError for broken ones."""
    size = (source.dataset.Rows, source.dataset.Columns)
    _check_spacing(source, content)
    found = []
    for about, data in zip(content.outlines, outlines, strict=True):
        mask = outline_mask.read(about, data)
        if mask.shape != size:  # the file's pixels are not square
            mask = np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
        if mask.any():
            found.append(Outlined(about, mask))
    return Parts(source, content, jpeg, found, pdf)


def _check_spacing(source: Source, content: ObjectContent) -> None:
    """A spacing by which the lungs would be no adult's is not inherited."""
    measured = [content.ai.measurements, *(one.measurements for one in content.outlines)]
    if any(one is not None and one.spacing_problem == "not_plausible" for one in measured):
        for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
            if keyword in source.dataset:
                delattr(source.dataset, keyword)
                source.note("left_out", keyword)


def rings(mask: Mask, tolerance: float) -> list[NDArray[np.float64]]:
    """The borders of a mask's regions and holes as closed (x, y) lines, in pixels of the mask.

    Through the centres of the border's pixels, counted from the corner of the first pixel as DICOM
    does; no further than `tolerance` pixels from them.
    """
    found, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    lines = []
    for ring in sorted(found, key=len, reverse=True)[:RINGS_MOST]:
        points = cv2.approxPolyDP(ring, tolerance, closed=True)[:, 0]
        while len(points) > _POINTS_MOST:
            tolerance *= 2
            points = cv2.approxPolyDP(ring, tolerance, closed=True)[:, 0]
        lines.append(np.vstack([points, points[:1]]).astype(np.float64) + 0.5)
    return lines


def moment(text: str) -> datetime:
    """A time of the content."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def stamp(made: Dataset, parts: Parts) -> None:
    """Replace the times at which the object happened to be written by the set's, in UTC."""
    day, time = parts.created.strftime("%Y%m%d"), parts.created.strftime("%H%M%S")
    made.TimezoneOffsetFromUTC = "+0000"
    made.InstanceCreationDate, made.InstanceCreationTime = day, time
    made.SeriesDate, made.SeriesTime = day, time
    for keyword in ("Content", "PresentationCreation"):
        if f"{keyword}Date" in made:
            setattr(made, f"{keyword}Date", day)
            setattr(made, f"{keyword}Time", time)
    for library in made.get("ContributingEquipmentSequence", ()):
        library.ContributionDateTime = f"{day}{time}"


def further_uid(instance: str, what: str) -> str:
    """A UID for a part of an object, the same for the same object (PS3.5 B.2)."""
    digest = hashlib.sha256(f"{instance}:{what}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def plain(text: str) -> str:
    """The same with the typewriter's signs for typographic ones, for old readers."""
    return text.translate(_PLAIN)
