"""A reader's draft of a picture: what is drawn and not removed. Only its reader sees it."""

import math
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Invalid
from portal.formats.display_text import clean
from portal.models import Instance, ReviewDraft
from portal.reading.case import load
from portal.studies import exams, sealed_fields
from portal.studies.sealed_fields import Annotation
from portal.vault import NotReadable, Vault

MOST: Final = 50  # on one picture
TEXT_LENGTH: Final = 80  # of an arrow
_FARTHEST: Final = 100_000.0


def save(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    picture: Any,
    sent: Any,
    now: datetime,
) -> None:
    """Keep these annotations (`sent`) of one of the study's pictures instead of the ones before; an
    empty list removes the draft. One audit row. Raises Denied where the actor may not review the
    study, then Invalid for what are no annotations or no picture of it.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = load(session, actor, study_id)
    annotations = _checked(sent)
    # Locked: a purge that goes on beside it waits, or has been.
    session.refresh(study, with_for_update={"key_share": True})
    if study.joined_into is not None or study.purged_at is not None:
        raise Denied("study")
    rows = exams.pictures(session, [study.id])[study.id]
    instance = next((row for row in rows if str(row.id) == str(picture)), None)
    if instance is None:
        raise Invalid("picture", "Name one of the case's pictures by its id.")
    draft = session.get(ReviewDraft, (actor.user_id, instance.id))
    if annotations:
        data_key = sealed_fields.instance_key_of(vault, instance)
        sealed = sealed_fields.seal_annotations(
            vault, data_key, instance.id, actor.user_id, annotations
        )
        session.merge(
            ReviewDraft(
                reader_id=actor.user_id, instance_id=instance.id, sealed_rulers=sealed, updated=now
            )
        )
    elif draft is not None:
        session.delete(draft)
    audit.append(
        session,
        "annotations_saved",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=instance.id,
        detail={"annotations": len(annotations)},
    )
    session.commit()


def draft_of(session: Session, vault: Vault, actor: Actor, picture: UUID) -> list[Annotation]:
    """The actor's draft of a picture of a case that they have just opened (`case.open_study`)."""
    draft = session.get(ReviewDraft, (actor.user_id, picture), populate_existing=True)
    instance = session.get(Instance, picture) if draft is not None else None
    session.commit()
    if draft is None or instance is None:
        return []
    try:
        data_key = sealed_fields.instance_key_of(vault, instance)
        return sealed_fields.open_annotations(vault, data_key, draft)
    except NotReadable:
        return []


def _checked(sent: Any) -> list[Annotation]:
    if not isinstance(sent, list) or len(sent) > MOST:
        raise Invalid("annotations", f"Send a list of at most {MOST} annotations.")
    return [_annotation(one) for one in sent]


def _annotation(one: Any) -> Annotation:
    line = one.get("line") if isinstance(one, dict) else None
    if not isinstance(line, list) or len(line) != 4 or not all(map(_is_place, line)):
        raise Invalid(
            "annotations", "An annotation has a line: four numbers, in pixels of the picture."
        )
    x0, y0, x1, y1 = (round(float(number), 2) for number in line)
    text = one.get("text", "")
    if one.get("kind") == "ruler" and text == "":
        return Annotation("ruler", (x0, y0, x1, y1))
    if one.get("kind") != "arrow" or not isinstance(text, str):
        raise Invalid("annotations", "An annotation is a ruler, or an arrow with a text.")
    words = clean(text, TEXT_LENGTH + 1)
    if len(words) > TEXT_LENGTH:
        raise Invalid("text_too_long", f"An arrow's text has at most {TEXT_LENGTH} characters.")
    return Annotation("arrow", (x0, y0, x1, y1), words)


def _is_place(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and abs(value) <= _FARTHEST
