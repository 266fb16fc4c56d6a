"""Contents of DICOM objects as the portal writes them, and the objects of an archive."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from worker.contract import outline_runs
from worker.contract.contents.object_content import ObjectContent, ObjectKind, ObjectsFound
from worker.contract.contents.report_content import OutlineBy, OutlineForm
from worker.encode import object_set, source

SR = "1.2.840.10008.5.1.4.1.1.88.34"
RESEARCH = "Research use only – not a medical device."
PDF = b"%PDF-1.7 a report"
MEASURED: dict[str, Any] = {
    "area_px": 1200,
    "area_mm2": 48.123456789,
    "side": "right",
    "distance_px": 107.5,
    "distance_mm": 21.5,
    "extents": [
        {
            "side": "right",
            "border_found": True,
            "fraction": 0.125,
            "apex": {"px": 40.0, "mm": 8.0},
            "upper": {"px": 30.0, "mm": 6.0},
            "middle": {"px": 20.0, "mm": 4.0},
            "lower": {"px": 10.0, "mm": 2.0},
            "collins": {"percent": 23.4, "applies": True, "reason": None},
            "rhea": {"percent": None, "applies": False, "reason": "not_erect"},
            "light": {"percent": None, "applies": False, "reason": "not_erect"},
        }
    ],
}


def uid(what: str) -> str:
    """A UID of its own for each text, as the portal derives them."""
    return f"2.25.{int(hashlib.sha256(what.encode()).hexdigest()[:32], 16)}"


def tracked(what: str) -> dict[str, str]:
    """What a finding is called in every version."""
    return {"uid": uid(what), "identifier": what}


@dataclass
class Case:
    """A picture's file with a result about it. `outcome`, `assessment` and so on as the contract
    has them; `drawn`: a reader has outlined it too.
    """

    file: bytes = field(repr=False)
    outcome: str = "found"
    assessment: str | None = None
    finding: str | None = "right"
    signed: bool = False
    drawn: bool = False
    read: bool = True
    pdf: bytes = PDF
    report: str = "one"
    before: list[dict[str, str]] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=lambda: dict(MEASURED))
    comment: str = "Comment: air at the apex"
    with_jpeg: bool = True

    def __post_init__(self) -> None:
        self.source = source.read(self.file)
        rows, columns = self.source.dataset.Rows, self.source.dataset.Columns
        self.mask = ellipse(rows, columns, columns // 3)
        self.own_mask = ellipse(rows, columns, columns // 3 + 3)
        self.jpeg = b""
        if self.with_jpeg:
            self.jpeg = cv2.imencode(".jpg", np.full((rows, columns), 90, np.uint8))[1].tobytes()

    @property
    def outlines(self) -> list[bytes]:
        """The bytes of the outlines, in the content's order."""
        rows, columns = self.mask.shape
        found = []
        if self.outcome == "found":
            found.append(cv2.imencode(".png", self.mask)[1].tobytes())
        if self.drawn:
            found.append(outline_runs.encode(_runs(self.own_mask), rows, columns))
        return found

    @property
    def content(self) -> ObjectContent:
        """What the portal would write."""
        rows, columns = self.mask.shape
        form = {"rows": rows, "columns": columns}
        outlines = []
        for data in self.outlines:
            is_ai = not outlines and self.outcome == "found"
            outlines.append(
                {
                    "by": (OutlineBy.AI if is_ai else OutlineBy.READER).value,
                    "form": (OutlineForm.PNG if is_ai else OutlineForm.RUNS).value,
                    "label": "AI outline" if is_ai else "Reader’s outline",
                    "bytes": len(data),
                    "tracked": tracked("ai" if is_ai else "outline"),
                    "measurements": self.measured,
                    **form,
                }
            )
        is_analysed = self.outcome != "not_analysed"
        return ObjectContent.parse(
            {
                "created": "2026-11-30T10:00:00Z",
                "software": "Pleura 0.1.0",
                "device_uid": uid("device"),
                "research": RESEARCH,
                "title": "Chest X-ray report",
                "identities": {
                    kind.value: {
                        "series": uid(f"{self.report}:{kind}:series"),
                        "instance": uid(f"{self.report}:{kind}"),
                    }
                    for kind in ObjectKind
                },
                "before": self.before,
                "signed": {
                    "name": "Ęwa Müller",
                    "organization": "Radiology",
                    "at": "2026-11-30T09:59:00Z",
                }
                if self.signed
                else None,
                "ai": {
                    "outcome": self.outcome,
                    "headline": {
                        "found": "AI: likely",
                        "none_found": "AI: no pneumothorax found above the threshold",
                        "not_analysed": "AI: not analysed, read unaided",
                    }[self.outcome],
                    "notes": ["Small ones are missed."] if is_analysed else [],
                    "reasons": [] if is_analysed else ["The picture is a lateral view."],
                    "model": {
                        "name": "pleura-b3",
                        "version": "1.2",
                        "sha256": "ab" * 32,
                        "operating_point": "balanced",
                        "image_threshold": 0.31,
                        "pixel_threshold": 0.5,
                        "floor": "regions below 25 pixels of the probability map are left out",
                    },
                    "probability": 0.84 if is_analysed else None,
                    "measurements": self.measured if self.outcome == "found" else None,
                    "tracked": tracked("ai"),
                },
                "reader": {
                    "finding": self.finding,
                    "assessment": self.assessment,
                    "texts": [self.comment],
                    "tracked": tracked("reader"),
                }
                if self.read
                else None,
                "jpeg_bytes": len(self.jpeg),
                "outlines": outlines,
                "pdf_bytes": len(self.pdf),
                "case": "7F3A21",
            }
        )

    def made(self) -> Set:
        """The objects."""
        found, data = object_set.archive(
            source.read(self.file), self.content, self.jpeg, self.outlines, self.pdf
        )
        return Set(found, data)


class Set:
    """An archive with its objects, each as bytes and read."""

    def __init__(self, found: ObjectsFound, data: bytes) -> None:
        self.found, self.data = found, data
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        self.files = {one.kind: files[one.file] for one in found.objects}
        self.manifest = files["manifest.json"]

    def __getitem__(self, kind: ObjectKind) -> Dataset:
        return dcmread(io.BytesIO(self.files[kind]))

    @property
    def kinds(self) -> list[str]:
        """Which objects there are."""
        return [kind.value for kind in self.files]


def ellipse(rows: int, columns: int, centre: int) -> NDArray[np.uint8]:
    """An outline with a hole in it."""
    mask = np.zeros((rows, columns), np.uint8)
    size = (max(3, columns // 8), max(4, rows // 5))
    cv2.ellipse(mask, (centre, rows // 3), size, 0, 0, 360, 255, -1)
    cv2.circle(mask, (centre, rows // 3), max(1, columns // 40), 0, -1)
    return mask


def _runs(mask: NDArray[np.uint8]) -> list[tuple[int, int]]:
    flat = np.concatenate([[0], (mask.reshape(-1) > 0).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
