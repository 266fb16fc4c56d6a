"""All objects of one picture, written as files, and the archive that holds them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from worker.contract.contents.object_content import (
    MANIFEST,
    Assessment,
    MadeObject,
    ObjectContent,
    ObjectKind,
    ObjectsFound,
)
from worker.encode import (
    capture,
    parts,
    presentation,
    rejection,
    report_document,
    structured_report,
)
from worker.encode import segmentation as segmentations
from worker.encode.parts import Parts
from worker.encode.source import Source

_NO_DATE: Final = (1980, 1, 1, 0, 0, 0)
# Of the files' meta information: made once, as a UUID (PS3.5 B.2).
_IMPLEMENTATION: Final = "2.25.304487546812007837404926522118119351079"


def archive(
    source: Source, content: ObjectContent, jpeg: bytes, outlines: Sequence[bytes], pdf: bytes
) -> tuple[ObjectsFound, bytes]:
    """What was made, and the ZIP. The same input gives the same bytes.

    ValueError for a picture or an outline that can't be read.
    """
    made = make(parts.of(source, content, jpeg, list(outlines), pdf))
    files = {kind: _file(dataset) for kind, dataset in made.items()}
    listed = [
        MadeObject(
            kind=kind,
            file=f"{kind.value}.dcm",
            sop_class=dataset.SOPClassUID,
            series=dataset.SeriesInstanceUID,
            instance=dataset.SOPInstanceUID,
            sha256=hashlib.sha256(files[kind]).hexdigest(),
        )
        for kind, dataset in made.items()
    ]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for kind, data in files.items():
            packed.writestr(zipfile.ZipInfo(f"{kind.value}.dcm", _NO_DATE), data)
        text = {"objects": [one.as_json() for one in listed], "notes": source.notes}
        body = json.dumps(text, indent=2, sort_keys=True).encode() + b"\n"
        packed.writestr(zipfile.ZipInfo(MANIFEST, _NO_DATE), body)
    whole = stream.getvalue()
    digest = hashlib.sha256(whole).hexdigest()
    return ObjectsFound(objects=listed, notes=source.notes, sha256=digest), whole


def make(of: Parts) -> dict[ObjectKind, Dataset]:
    """The objects that belong to what was found, by kind."""
    made = dict[ObjectKind, Dataset]()
    drawn = segmentations.make(of) if of.outlines else None
    made[ObjectKind.STRUCTURED_REPORT] = structured_report.make(of, drawn)
    if drawn is not None:
        made[ObjectKind.SEGMENTATION] = drawn
    if of.jpeg:
        made[ObjectKind.CAPTURE] = capture.make(of)
    if of.outlines and of.source.is_grey:
        made[ObjectKind.PRESENTATION] = presentation.make(of)
    elif of.outlines:
        of.source.notes.append("no_presentation_of_colour")
    if of.pdf:
        made[ObjectKind.REPORT] = report_document.make(of)
    reader = of.content.reader
    if of.content.signed and reader and reader.assessment is Assessment.REJECTED:
        shown = [made[kind] for kind in rejection.SHOWING if kind in made]
        if shown or rejection.earlier(of):
            made[ObjectKind.REJECTION] = rejection.make(of, shown)
    return made


def _file(dataset: Dataset) -> bytes:
    dataset.file_meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    dataset.file_meta.ImplementationVersionName = "PLEURA"
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()
