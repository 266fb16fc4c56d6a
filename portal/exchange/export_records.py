"""What the database holds of a case that is exported, read at once and in one transaction.

Making an export takes seconds, and waiting for another one more. On SQLite a transaction locks out
all who write, so none is open meanwhile: what is read here is all that an export needs.
"""

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from portal.access import Actor
from portal.errors import Conflict
from portal.exchange import export_texts, exported_outlines
from portal.exchange.exported_outlines import Drawn
from portal.models import Blob, BlobKind, Instance, Job, JobKind, JobState, Study
from portal.studies import exams, sealed_fields, stored_files
from portal.studies.sealed_fields import open_patient
from portal.teams import ai_visibility
from portal.teams.ai_visibility import Visibility
from portal.vault import Vault
from worker.contract.error_codes import ErrorCode

# A render job's finding that the pixels are damaged: the door reads headers alone.
_DAMAGED: Final = (ErrorCode.DECODE_FAILED, ErrorCode.TRUNCATED)


@dataclass(frozen=True, slots=True)
class PictureRecord:
    """A picture of the case: where its files are, and what is known of it."""

    instance: Instance
    data_key: bytes = field(repr=False)
    source: Blob | None
    mask: Blob | None
    drawn: Drawn | None
    is_damaged: bool
    by_reader: list[Drawn]
    prediction: dict[str, Any] | None
    reader_outlines: list[dict[str, Any]]
    drawn_lines: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """The case: its patient's number, its pictures in the order of arrival, and its result."""

    study: Study
    patient_number: str = field(repr=False)
    pictures: list[PictureRecord]
    result: dict[str, Any]


def read(
    session: Session,
    vault: Vault,
    actor: Actor,
    study: Study,
    most: int,
    too_many: Conflict,
    ai: Visibility,
) -> CaseRecord:
    """Read them, as far as the actor sees them; the caller ends the transaction. `too_many` where
    it has more than `most`. `ai`: whether who asks may see what the AI found; otherwise nothing of
    it is in the record.
    """
    reads = ai_visibility.readings(session, [study.id])
    authors, hides = reads.authors(actor, study.id), reads.hides_findings(actor, study.id)
    number = open_patient(vault, sealed_fields.key_of(vault, study), study).patient_id
    pictures = exams.pictures(session, [study.id])[study.id]
    if len(pictures) > most:
        raise too_many
    predictions = exams.last_predictions(session, [study.id]) if ai.is_visible else {}
    leading = exams.leading(pictures)
    shown = export_texts.prediction(predictions.get(leading.id), leading)
    return CaseRecord(
        study,
        number or f"study {study.id}",
        [
            PictureRecord(
                instance,
                sealed_fields.instance_key_of(vault, instance),
                stored_files.current(session, instance.id, BlobKind.SOURCE),
                stored_files.current(session, instance.id, BlobKind.MASK)
                if ai.is_visible
                else None,
                exported_outlines.newest(session, instance, authors),
                _is_damaged(session, instance.id),
                exported_outlines.of_each_reader(session, instance, authors),
                export_texts.prediction(predictions.get(instance.id), instance),
                exported_outlines.numbers(session, instance, authors, compared=ai.is_visible),
                export_texts.drawn_lines(session, vault, study.id, instance, pictures)
                if not hides
                else [],
            )
            for instance in pictures
        ],
        export_texts.result(session, study.id, shown, ai, with_reviews=not hides),
    )


def _is_damaged(session: Session, instance_id: UUID) -> bool:
    """Whether its preparation failed because the pixels are damaged."""
    found = exists().where(
        Job.instance_id == instance_id,
        Job.kind == JobKind.RENDER,
        Job.state == JobState.FAILED,
        Job.error_code.in_(_DAMAGED),
    )
    return bool(session.scalar(select(found)))
