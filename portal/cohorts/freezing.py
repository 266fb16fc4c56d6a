"""Freezing a cohort: read exams of a team, de-identified, as files that training takes as they are.

Exam after exam: nothing is locked while files are read and written, and no more than one exam's
pictures are in memory. The folder is put in its place before the row is committed, and taken away
again if that fails.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.cohorts import folder as folders
from portal.cohorts import selection
from portal.cohorts.folder import COCO, FORMAT, INDEX, MANIFEST, SIIM, SPLITS, Writer
from portal.cohorts.selection import Exam, Filters, Picture
from portal.exchange import cohort_pictures, run_lengths
from portal.exchange.cohort_pictures import DICOM, NewIdentity
from portal.formats import mask_png
from portal.models import Cohort, Instance, Study
from portal.studies import stored_files
from portal.vault import NotReadable, Vault
from worker.contract import outline_runs
from worker.contract.outline_runs import Run
from xray_files.bad_file import BadFile

NOTE = "Research use only: not a medical device. De-identified; pictures may still be recognised."
_LABELS = {
    "none_found": "the reader found none: an empty mask",
    "reader_outline": "the newest outline by a reader",
    "ai_outline": "the AI's outline, which the reader saw and agreed with",
    "not_labelled": "no mask to learn from",
}


@dataclass(frozen=True, slots=True)
class Frozen:
    """A cohort that was frozen. `left_out`: how many pictures, by the reason."""

    cohort: Cohort
    pictures: int
    patients: int
    labelled: int
    left_out: dict[str, int]


@dataclass(slots=True)
class _Content:
    """What the tables and the manifest will hold."""

    pictures: list[dict[str, Any]] = field(default_factory=list)
    exams: list[dict[str, Any]] = field(default_factory=list)
    siim: list[tuple[str, str]] = field(default_factory=list)
    index: list[tuple[object, ...]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    folds: dict[str, int] = field(default_factory=dict)
    left_out: list[dict[str, str]] = field(default_factory=list)


def freeze(
    session: Session,
    vault: Vault,
    name: str,
    place: Path,
    filters: Filters,
    now: datetime,
    *,
    looked: bool = False,
    after: Path | None = None,
) -> Frozen:
    """Freeze what is there now under a name, as its next version, into an empty or new folder.

    `looked`: a person has looked for burned-in text in what would be left out for it. `after`: the
    folder of an earlier version, whose patients keep their folds. Raises BadFolder, OSError, Busy;
    then nothing is left of it.
    """
    folders.check_name(name)
    folds = _folds_of(after)
    study_ids = selection.ids(session, filters)
    version, earlier = _versions(session, name)
    session.commit()
    with folders.writing(place) as writer:
        content = _Content()
        for study_id in study_ids:
            exam = selection.read(session, vault, study_id, folds)
            session.commit()
            if exam is not None:
                _add_exam(vault, exam, writer, content, looked)
        _write_tables(writer, content)
        manifest = {
            "format": FORMAT,
            "name": name,
            "version": version,
            "frozen": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "team": vault.lookup("cohort:team", filters.team_id.bytes)[:8],
            "filters": {
                "since": filters.since.isoformat() if filters.since else None,
                "until": filters.until.isoformat() if filters.until else None,
                "signed": filters.signed,
            },
            "folds": selection.FOLDS,
            "looked_for_burned_in_text": looked,
            "labels": _LABELS,
            "exams": content.exams,
            "pictures": content.pictures,
            "left_out": content.left_out,
            "tombstones": sorted(earlier & _purged(session, vault)),
            "files": writer.files,
            "note": NOTE,
        }
        session.commit()
        data = folders.as_json(manifest)
        folders.write(writer.folder / MANIFEST, data)
        cohort = Cohort(
            id=uuid4(),
            name=name,
            version=version,
            team_id=filters.team_id,
            manifest_sha256=hashlib.sha256(data).hexdigest(),
            picture_names=sorted(one["id"] for one in content.pictures),
            created=now,
        )
    try:
        _enter(session, cohort, now)
    except BaseException:
        session.rollback()
        shutil.rmtree(place, ignore_errors=True)
        raise
    reasons = [one["why"] for one in content.left_out]
    return Frozen(
        cohort,
        len(content.pictures),
        len(content.folds),
        len(content.siim),
        {why: reasons.count(why) for why in dict.fromkeys(reasons)},
    )


def purged_names(session: Session, vault: Vault) -> set[str]:
    """What pictures of purged exams were called in cohorts; ends the transaction."""
    names = _purged(session, vault)
    session.commit()
    return names


def _purged(session: Session, vault: Vault) -> set[str]:
    rows = session.scalars(
        select(Instance.id)
        .join(Study, Study.id == Instance.study_id)
        .where(Study.purged_at.is_not(None))
    )
    return {selection.picture_name(vault, one) for one in rows}


def _versions(session: Session, name: str) -> tuple[int, set[str]]:
    """The number of the next version, and the pictures of all before it."""
    before = session.scalars(select(Cohort).where(Cohort.name == name)).all()
    return len(before) + 1, {one for row in before for one in row.picture_names}


def _enter(session: Session, cohort: Cohort, now: datetime) -> None:
    version = session.scalar(
        select(func.count()).select_from(Cohort).where(Cohort.name == cohort.name)
    )
    if version != cohort.version - 1:
        raise folders.BadFolder("version", "Another version was frozen meanwhile. Try again.")
    session.add(cohort)
    session.flush()
    audit.append(
        session,
        "cohort_frozen",
        now=now,
        subject_id=cohort.id,
        detail={"pictures": len(cohort.picture_names), "sha256": cohort.manifest_sha256},
        bound=[cohort],
    )
    session.commit()


def _folds_of(after: Path | None) -> dict[str, int]:
    if after is None:
        return {}
    folders.manifest_of(after)
    bad = folders.problems(after)
    if bad:
        raise folders.BadFolder("damaged", f"{after} is not as it was frozen: {bad[0]}.")
    read = json.loads((after / SPLITS).read_bytes())
    return {str(patient): int(fold) for patient, fold in read["patients"].items()}


def _add_exam(vault: Vault, exam: Exam, writer: Writer, content: _Content, looked: bool) -> None:
    added = [
        one.name for one in exam.pictures if _add_picture(vault, exam, one, writer, content, looked)
    ]
    if added:
        content.folds[exam.patient] = exam.fold
        content.exams.append(
            {
                "id": exam.name,
                "patient": exam.patient,
                "fold": exam.fold,
                "pictures": added,
                "reviews": exam.reviews,
            }
        )


def _add_picture(
    vault: Vault, exam: Exam, picture: Picture, writer: Writer, content: _Content, looked: bool
) -> bool:
    """Add a picture with its masks; False where it is left out, with the reason."""

    def left_out(why: str) -> bool:
        content.left_out.append({"id": picture.name, "exam": exam.name, "why": why})
        return False

    row = picture.instance
    if exam.is_waiting:
        return left_out("second_read")
    if not selection.is_frontal(picture):
        return left_out("not_frontal")
    if picture.source is None or picture.source.media_type != DICOM:
        return left_out("no_dicom")
    if not row.rows or not row.columns:
        return left_out("not_prepared")
    try:
        source = stored_files.read(vault, picture.data_key, picture.source)
        masks_ = _Masks.of(vault, picture)
    except (NotReadable, BadFile):
        return left_out("damaged")
    uids = {
        kind: f"2.25.{int(vault.lookup(f'cohort:{kind}', f'{exam.name}:{name}')[:32], 16)}"
        for kind, name in (("study", ""), ("series", ""), ("instance", picture.name))
    }
    made = cohort_pictures.clean(
        source,
        NewIdentity(exam.patient, uids),
        spacing_is_wrong=picture.spacing_is_wrong,
        looked=looked,
    )
    if made.why_not is not None:
        return left_out(made.why_not)
    files = masks_.write(writer, picture.name)
    writer.add(f"images/{picture.name}.dcm", made.data)
    label = masks_.label(picture)
    content.pictures.append(
        {
            "id": picture.name,
            "exam": exam.name,
            "patient": exam.patient,
            "view": row.view.value,
            "rows": masks_.size[0],
            "columns": masks_.size[1],
            "label": picture.label_from,
            "warnings": made.warnings,
            "prediction": picture.prediction,
            "files": {"image": f"images/{picture.name}.dcm", **files},
        }
    )
    _tabulate(content, exam, picture, masks_, label, writer)
    return True


@dataclass(frozen=True, slots=True)
class _Masks:
    """The masks of a picture as runs of its file's size: the AI's, and each reader's."""

    size: tuple[int, int]
    ai: list[Run] | None
    readers: dict[str, list[Run]]

    @classmethod
    def of(cls, vault: Vault, picture: Picture) -> "_Masks":
        """Read them; NotReadable or BadFile where one is damaged."""
        row = picture.instance
        assert row.rows is not None
        assert row.columns is not None
        size = picture.source_size or (row.rows, row.columns)
        ai = None
        if picture.mask is not None:
            data = stored_files.read(vault, picture.data_key, picture.mask)
            runs, rows, columns = mask_png.read(data)
            ai = mask_png.resized(runs, (rows, columns), size)
        readers = {}
        for one in picture.drawn:
            of = one.outline.rows, one.outline.columns
            data = stored_files.read(vault, picture.data_key, one.blob)
            readers[one.reader] = mask_png.resized(outline_runs.decode(data, *of), of, size)
        return cls(size, ai, readers)

    def label(self, picture: Picture) -> list[Run] | None:
        """The mask to learn from; None where there is none."""
        if picture.label_from == "none_found":
            return []
        if picture.label_from == "ai_outline":
            return self.ai
        return self.readers[picture.label.reader] if picture.label is not None else None

    def write(self, writer: Writer, name: str) -> dict[str, Any]:
        """Each as a PNG; their names."""
        files: dict[str, Any] = {"reader_masks": {}}
        if self.ai is not None:
            files["ai_mask"] = f"ai-masks/{name}.png"
            writer.add(files["ai_mask"], mask_png.write(self.ai, *self.size))
        for reader, runs in self.readers.items():
            files["reader_masks"][reader] = f"reader-masks/{reader}/{name}.png"
            writer.add(files["reader_masks"][reader], mask_png.write(runs, *self.size))
        return files


def _tabulate(
    content: _Content,
    exam: Exam,
    picture: Picture,
    found: _Masks,
    label: list[Run] | None,
    writer: Writer,
) -> None:
    """The picture's lines in the tables; an unlabelled one is in the index alone."""
    view = picture.instance.view.value
    age = exam.age_band if exam.age_band is not None else ""
    sex = exam.sex if exam.sex in ("F", "M") else ""
    content.index.append((picture.name, exam.patient, exam.fold, view, sex, age))
    if label is None:
        return
    number = len(content.images) + 1
    content.siim.append((picture.name, run_lengths.siim(label, found.size)))
    writer.add(f"masks/{picture.name}.png", mask_png.write(label, *found.size))
    content.images.append(
        {
            "id": number,
            "file_name": f"images/{picture.name}.dcm",
            "height": found.size[0],
            "width": found.size[1],
        }
    )
    if label:
        content.annotations.append(
            {
                "id": len(content.annotations) + 1,
                "image_id": number,
                "category_id": 1,
                "iscrowd": 1,
                **run_lengths.coco(label, found.size),
            }
        )


def _write_tables(writer: Writer, content: _Content) -> None:
    writer.add(SIIM, folders.as_csv(("ImageId", "EncodedPixels"), content.siim))
    columns = ("ImageId", "patient", "fold", "view", "sex", "age")
    writer.add(INDEX, folders.as_csv(columns, content.index))
    coco = {
        "info": {"description": NOTE},
        "images": content.images,
        "annotations": content.annotations,
        "categories": [{"id": 1, "name": "pneumothorax"}],
    }
    writer.add(COCO, folders.as_json(coco))
    writer.add(SPLITS, folders.as_json({"folds": selection.FOLDS, "patients": content.folds}))
