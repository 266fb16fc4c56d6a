"""A reader's draft of a picture: rulers that are drawn and not removed. Only its reader sees it.

It is sealed under the picture's key, and a purge of the case removes it.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Invalid
from portal.models import Instance, ReviewDraft
from portal.reading.case import load
from portal.studies import exams, sealed_fields
from portal.vault import NotReadable, Vault

# From x, y to x, y in pixels of the source.
Ruler = tuple[float, float, float, float]
MOST_RULERS: Final = 50
_FARTHEST: Final = 100_000.0


def save_rulers(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    picture: Any,
    sent: Any,
    now: datetime,
) -> None:
    """Keep these rulers (`sent`) of one of the study's pictures instead of the ones before; an
    empty list removes the draft. One audit row. Raises Denied where the actor may not review the
    study, then Invalid for what are no rulers or no picture of it.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = load(session, actor, study_id)
    rulers = _checked(sent)
    # Locked: a purge that goes on beside it waits, or has been.
    session.refresh(study, with_for_update={"key_share": True})
    if study.joined_into is not None or study.purged_at is not None:
        raise Denied("study")
    rows = exams.pictures(session, [study.id])[study.id]
    instance = next((row for row in rows if str(row.id) == str(picture)), None)
    if instance is None:
        raise Invalid("picture", "Name one of the case's pictures by its id.")
    draft = session.get(ReviewDraft, (actor.user_id, instance.id))
    if rulers:
        data_key = sealed_fields.instance_key_of(vault, instance)
        sealed = sealed_fields.seal_rulers(vault, data_key, instance.id, actor.user_id, rulers)
        session.merge(
            ReviewDraft(
                reader_id=actor.user_id, instance_id=instance.id, sealed_rulers=sealed, updated=now
            )
        )
    elif draft is not None:
        session.delete(draft)
    audit.append(
        session,
        "rulers_saved",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=instance.id,
        detail={"rulers": len(rulers)},
    )
    session.commit()


def rulers_of(session: Session, vault: Vault, actor: Actor, picture: UUID) -> list[Ruler]:
    """The actor's rulers of a picture of a case that they have just opened (`case.open_study`)."""
    draft = session.get(ReviewDraft, (actor.user_id, picture), populate_existing=True)
    instance = session.get(Instance, picture) if draft is not None else None
    session.commit()
    if draft is None or instance is None:
        return []
    try:
        data_key = sealed_fields.instance_key_of(vault, instance)
        return sealed_fields.open_rulers(vault, data_key, draft)
    except NotReadable:
        return []


def _checked(sent: Any) -> Sequence[Ruler]:
    if not isinstance(sent, list) or len(sent) > MOST_RULERS:
        raise Invalid("rulers", f"Send a list of at most {MOST_RULERS} rulers.")
    found = []
    for ruler in sent:
        if not isinstance(ruler, list) or len(ruler) != 4 or not all(map(_is_place, ruler)):
            raise Invalid("rulers", "A ruler is a list of four numbers, in pixels of the picture.")
        found.append(tuple(round(float(number), 2) for number in ruler))
    return found  # type: ignore[return-value]  # four numbers each, checked above


def _is_place(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and abs(value) <= _FARTHEST
