"""The pictures of a report, with the outlines on them, as files that the worker draws."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.orm import Session

from portal.formats import mask_png
from portal.models import Blob, BlobKind, Instance, Outline
from portal.reading.case_records import StudyView
from portal.studies import exams, reader_outlines, sealed_fields, stored_files
from portal.vault import NotReadable, Vault
from worker.contract.contents.report_content import (
    CONTENT_BYTES_MAX,
    PICTURES_MOST,
    OutlineBy,
    OutlineForm,
)
from xray_files.bad_file import BadFile

# Room for the text beside the pictures.
_BYTES_MOST = CONTENT_BYTES_MAX - 2 * 2**20


@dataclass(frozen=True, slots=True)
class OutlineFile:
    """An outline's bytes, and its size in pixels."""

    by: OutlineBy
    form: OutlineForm
    rows: int
    columns: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture of the exam as JPEG, with what is drawn on it."""

    instance_id: UUID
    rows: int
    columns: int
    jpeg: bytes = field(repr=False)
    outlines: list[OutlineFile]


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where the files of a picture are."""

    instance: Instance
    data_key: bytes = field(repr=False)
    preview: Blob
    mask: Blob | None
    outline: Outline | None
    runs: Blob | None


def of(session: Session, vault: Vault, view: StudyView, *, with_ai: bool) -> list[PictureFile]:
    """The files of the first pictures, frontal ones before others; ends the transaction.

    Pictures that are not prepared are left out, and an outline whose file is damaged, too;
    NotReadable for a picture that is damaged.
    """
    stored = _stored(session, vault, view, with_ai)
    session.commit()
    found, size = list[PictureFile](), 0
    for one in stored[:PICTURES_MOST]:
        made = _read(vault, one)
        size += len(made.jpeg) + sum(len(outline.data) for outline in made.outlines)
        if size > _BYTES_MOST:
            break
        found.append(made)
    return found


def _stored(session: Session, vault: Vault, view: StudyView, with_ai: bool) -> list[_Stored]:
    rows = exams.pictures(session, [view.study_id])[view.study_id]
    # Those of the view: what is hidden there from who asks (`blindness`) is on no picture, either.
    drawn = reader_outlines.newest_counting(view.outlines)
    results = {one.instance_id: one.prediction for one in view.pictures}
    found = []
    for row in _frontal_first(rows):
        preview = stored_files.current(session, row.id, BlobKind.PREVIEW)
        if preview is None or not row.rows or not row.columns:
            continue
        outline = session.get(Outline, drawn[row.id].outline_id) if row.id in drawn else None
        prediction = results.get(row.id)
        has_mask = with_ai and prediction is not None and prediction.result.band is not None
        found.append(
            _Stored(
                row,
                sealed_fields.instance_key_of(vault, row),
                preview,
                stored_files.current(session, row.id, BlobKind.MASK) if has_mask else None,
                outline,
                session.get(Blob, outline.blob_id) if outline is not None else None,
            )
        )
    return found


def _frontal_first(rows: Sequence[Instance]) -> list[Instance]:
    return sorted(rows, key=lambda row: not row.view.is_frontal)


def _read(vault: Vault, stored: _Stored) -> PictureFile:
    row = stored.instance
    assert row.rows is not None
    assert row.columns is not None
    jpeg = stored_files.read(vault, stored.data_key, stored.preview)
    return PictureFile(row.id, row.rows, row.columns, jpeg, _outlines(vault, stored))


def _outlines(vault: Vault, stored: _Stored) -> list[OutlineFile]:
    """The model's outline, unless it is empty, and the newest one of a reader."""
    found = []
    if stored.mask is not None:
        try:
            data = stored_files.read(vault, stored.data_key, stored.mask)
            runs, rows, columns = mask_png.read(data)
        except (BadFile, NotReadable):
            runs = []
        if runs:
            found.append(OutlineFile(OutlineBy.AI, OutlineForm.PNG, rows, columns, data))
    if stored.outline is not None and stored.runs is not None and stored.outline.pixels:
        try:
            data = stored_files.read(vault, stored.data_key, stored.runs)
        except NotReadable:
            return found
        size = stored.outline.rows, stored.outline.columns
        found.append(OutlineFile(OutlineBy.READER, OutlineForm.RUNS, *size, data))
    return found
