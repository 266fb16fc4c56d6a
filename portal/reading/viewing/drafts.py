"""A reader's draft of a picture: what is drawn and not removed. Only its reader sees it.

Each save names the version that it follows, so that of two windows neither overwrites what the
other has stored meanwhile.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict, Invalid
from portal.formats.display_text import clean
from portal.languages import _
from portal.models import Instance, ReviewDraft
from portal.reading.case import load
from portal.studies import exams, sealed_fields
from portal.studies.sealed_fields import Annotation
from portal.vault import NotReadable, Vault

MOST: Final = 50  # on one picture
TEXT_LENGTH: Final = 80  # of an arrow
_FARTHEST: Final = 100_000.0
_VERSION: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Draft:
    """What is drawn on a picture, and its version: "" where there is no draft, or one of a version
    before.
    """

    annotations: Sequence[Annotation] = ()
    version: str = ""


NO_DRAFT: Final = Draft()


class Changed(Conflict):
    """Another draft was stored since the version that a save follows: `draft`."""

    def __init__(self, draft: Draft) -> None:
        super().__init__(
            "drawn_elsewhere",
            _(
                "Rulers or arrows were changed in another window meanwhile. Nothing was "
                "overwritten."
            ),
        )
        self.draft = draft


def save(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    picture: Any,
    sent: Any,
    versions: tuple[Any, Any],
    now: datetime,
) -> None:
    """Keep these annotations (`sent`) of one of the study's pictures instead of the ones before; an
    empty list removes the draft. One audit row. `versions`: the one that the page had, "" for none,
    and that of this save, 32 hexadecimal digits, or "" for an empty list; sent again with the same
    it is stored once. Raises Denied where the actor may not review the study, then Invalid for what
    are no annotations, versions or no picture of it, Changed where another draft is there.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = load(session, actor, study_id)
    annotations = _checked(sent)
    after, version = _versions(versions, is_empty=not annotations)
    # Locked: a purge that goes on beside it waits, or has been.
    session.refresh(study, with_for_update={"key_share": True})
    if study.joined_into is not None or study.purged_at is not None:
        raise Denied("study")
    rows = exams.pictures(session, [study.id])[study.id]
    instance = next((row for row in rows if str(row.id) == str(picture)), None)
    if instance is None:
        raise Invalid("picture", _("Name one of the case's pictures by its id."))
    key = (actor.user_id, instance.id)
    draft = session.get(ReviewDraft, key, with_for_update=True, populate_existing=True)
    there = (draft.version or "") if draft is not None else ""
    if there not in (after, version):
        raise Changed(_opened(session, vault, draft))
    if annotations:
        data_key = sealed_fields.instance_key_of(vault, instance)
        sealed = sealed_fields.seal_annotations(
            vault, data_key, instance.id, actor.user_id, annotations
        )
        if draft is None:
            draft = ReviewDraft(reader_id=actor.user_id, instance_id=instance.id)
            session.add(draft)
        draft.sealed_rulers, draft.version, draft.updated = sealed, version, now
    elif draft is not None:
        session.delete(draft)
    try:
        session.flush()
    except IntegrityError:  # the first ones of two windows at the same moment
        session.rollback()
        draft = session.get(ReviewDraft, key, populate_existing=True)
        raise Changed(_opened(session, vault, draft)) from None
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


def draft_of(session: Session, vault: Vault, actor: Actor, picture: UUID) -> Draft:
    """The actor's draft of a picture of a case that they have just opened (`case.open_study`)."""
    draft = session.get(ReviewDraft, (actor.user_id, picture), populate_existing=True)
    return _opened(session, vault, draft)


def _opened(session: Session, vault: Vault, draft: ReviewDraft | None) -> Draft:
    """A draft, without what a damaged one would hold; ends the transaction."""
    instance = session.get(Instance, draft.instance_id) if draft is not None else None
    session.commit()
    if draft is None or instance is None:
        return NO_DRAFT
    found: list[Annotation] = []
    try:
        data_key = sealed_fields.instance_key_of(vault, instance)
        found = sealed_fields.open_annotations(vault, data_key, draft)
    except NotReadable:
        pass
    return Draft(found, draft.version or "")


def _versions(sent: tuple[Any, Any], *, is_empty: bool) -> tuple[str, str]:
    after, version = sent
    for one, may_be_empty in ((after, True), (version, is_empty)):
        is_version = isinstance(one, str) and _VERSION.fullmatch(one)
        if not is_version and not (may_be_empty and one == ""):
            raise Invalid("version", _("Reload the page: it sent no version of what was drawn."))
    return after, version


def _checked(sent: Any) -> list[Annotation]:
    if not isinstance(sent, list) or len(sent) > MOST:
        raise Invalid("annotations", _("Send a list of at most %(most)s annotations.", most=MOST))
    return [_annotation(one) for one in sent]


def _annotation(one: Any) -> Annotation:
    line = one.get("line") if isinstance(one, dict) else None
    if not isinstance(line, list) or len(line) != 4 or not all(map(_is_place, line)):
        raise Invalid(
            "annotations", _("An annotation has a line: four numbers, in pixels of the picture.")
        )
    x0, y0, x1, y1 = (round(float(number), 2) for number in line)
    text = one.get("text", "")
    if one.get("kind") == "ruler" and text == "":
        return Annotation("ruler", (x0, y0, x1, y1))
    if one.get("kind") != "arrow" or not isinstance(text, str):
        raise Invalid("annotations", _("An annotation is a ruler, or an arrow with a text."))
    words = clean(text, TEXT_LENGTH + 1)
    if len(words) > TEXT_LENGTH:
        raise Invalid(
            "text_too_long", _("An arrow's text has at most %(most)s characters.", most=TEXT_LENGTH)
        )
    return Annotation("arrow", (x0, y0, x1, y1), words)


def _is_place(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= _FARTHEST  # NaN is not, either
