"""Which patient keys mean one patient: those that readers have merged, directly or by others."""

from typing import Final
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, aliased

from portal.models import PatientMerge, Study

_MOST: Final = 200  # keys of one patient
_ONE: Final = aliased(Study, name="one_exam")
_OTHER: Final = aliased(Study, name="other_exam")


def keys_of(session: Session, team_id: UUID, patient_key: str) -> frozenset[str]:
    """This key and all that are merged with it in the team."""
    known, fresh = {patient_key}, {patient_key}
    while fresh and len(known) < _MOST:
        pairs = session.execute(
            select(_ONE.patient_key, _OTHER.patient_key)
            .select_from(PatientMerge)
            .join(_ONE, _ONE.id == PatientMerge.one_id)
            .join(_OTHER, _OTHER.id == PatientMerge.other_id)
            .where(
                PatientMerge.team_id == team_id,
                PatientMerge.undone_at.is_(None),
                or_(_ONE.patient_key.in_(fresh), _OTHER.patient_key.in_(fresh)),
            )
        ).all()
        fresh = {key for pair in pairs for key in pair if key is not None} - known
        known |= fresh
    return frozenset(known)
