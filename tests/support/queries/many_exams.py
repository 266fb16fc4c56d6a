"""Many reviewed exams at once, as rows alone: nothing of them can be decrypted."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, text

from portal.models import (
    READ,
    Band,
    Instance,
    Job,
    JobKind,
    JobState,
    Review,
    Study,
    Verdict,
    VerdictState,
)
from tests.support.clinic import Clinic
from tests.support.core import NOW


def add_reviewed(clinic: Clinic, count: int) -> None:
    """Exams of the other team, a minute apart and the last at NOW, each with a picture and a
    review; half of them are joined into the one before.
    """
    theirs = {"team_id": clinic.outsider.team_id, "uploaded_by": clinic.outsider.user_id}
    rows: dict[Any, list[dict[str, Any]]] = {Study: [], Instance: [], Job: [], Review: []}
    before = None
    for number in range(count):
        study_id, picture_id, at = uuid4(), uuid4(), NOW - timedelta(minutes=number)
        joined_into = before if number % 2 else None
        before = study_id
        rows[Study].append(
            {
                **theirs,
                "id": study_id,
                "created": at,
                "case_number": study_id.hex[:6].upper(),
                "joined_into": joined_into,
                "rank": READ,
                "weight": -at.timestamp(),
                "is_read": True,
                "is_seen": True,
                "band": Band.NONE_FOUND,
                "verdict": VerdictState.PRELIMINARY,
            }
        )
        rows[Instance].append(
            {
                **theirs,
                "id": picture_id,
                "study_id": joined_into or study_id,
                "arrived_in": study_id,
                "media_type": "application/dicom",
                "size": 1,
                "created": at,
            }
        )
        rows[Job].append(
            {
                "kind": JobKind.RENDER,
                "state": JobState.DONE,
                "study_id": joined_into or study_id,
                "instance_id": picture_id,
                "idempotency_key": f"render:{picture_id.hex}",
                "created": at,
            }
        )
        rows[Review].append(
            {
                "study_id": study_id,
                "reader_id": clinic.outsider.user_id,
                "verdict": Verdict.UNSURE,
                "created": at,
            }
        )
    with clinic.session as session:
        for table, values in rows.items():
            session.execute(insert(table), values)
        session.execute(text("ANALYZE"))
        session.commit()
