"""Editing an outline: one reader at a time, a draft stored as it grows, in the end a version.

The draft is sealed under the picture's key. Who opens the editor gets a lock, which lasts while the
page gives a sign each minute. Another reader may take over: what was drawn so far becomes a version
of its author's, so nothing is overwritten. A page that has lost its lock is refused, and keeps what
it has.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.models import Instance, Outline, OutlineDraft, Study
from portal.outlines import lock_texts, pictures, starting_point, versions
from portal.outlines.versions import Written
from portal.studies import sealed_fields
from portal.studies.reader_outlines import HELD
from portal.studies.second_reads.blindness import Sight
from portal.teams import ai_visibility
from portal.vault import Vault
from worker.contract import outline_runs

_TRIES: Final = 5
_MOST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Opened:
    """An outline that may be edited now.

    `runs`: what is drawn so far; `base`: where it began, a version (`before_id`), the model's
    outline or nothing (`origin`). `job_id`: to be announced, where a draft was kept as a version;
    `shows_kept`: the person may know of it.
    """

    lock: UUID
    number: int
    runs: bytes
    base: bytes
    origin: str  # version, model or empty
    before_id: UUID | None
    is_draft: bool
    job_id: UUID | None
    shows_kept: bool


@dataclass(frozen=True, slots=True)
class SavedOutline:
    """`outline` is None where nothing differs from where the editing began."""

    outline: Outline | None
    job_id: UUID | None


def begin(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    picture: Any,
    now: datetime,
    *,
    take_over: bool = False,
) -> Opened:
    """Open a picture's outline for editing, with one audit row.

    A person's own draft goes on, also from another window; a window that takes the editor back goes
    on with what it has itself, so what the other one has stored becomes a version. Raises what
    `pictures.lock` raises,
    Conflict `being_edited` while another reader is at it, unless `take_over`. A second reader who
    may not see that another one draws (`blindness`) takes over without being asked, and nobody
    takes over from them: what the other has drawn becomes a version that only they see for now.
    """
    for _try in range(_TRIES):
        study, instance = pictures.lock(session, actor, study_id, picture)
        draft = session.get(OutlineDraft, instance.id, populate_existing=True)
        sight = ai_visibility.readings(session, [study.id]).sight(actor.user_id, study.id)
        may_take_over = sight.is_blind or (
            take_over and draft is not None and sight.knows(draft.editor_id)
        )
        if draft is not None and _is_held(draft, actor, now) and not may_take_over:
            raise Conflict("being_edited", lock_texts.held(session, draft, now))
        known = (draft.lock, draft.number) if draft is not None else None
        written = _kept(session, vault, study, instance, draft, actor, now, own=take_over)
        try:
            study, instance = pictures.lock(session, actor, study_id, picture)
            draft = session.get(OutlineDraft, instance.id, populate_existing=True)
            if known != ((draft.lock, draft.number) if draft is not None else None):
                session.rollback()
                versions.discard(vault, written)
                continue  # it was edited meanwhile: what is kept must be the last of it
            job_id = versions.add(session, written, instance, now) if written else None
            is_kept = written is not None
            draft = _locked(session, vault, instance, draft, actor, now, is_kept=is_kept)
            audit.append(
                session,
                "outline_begun",
                actor=actor,
                now=now,
                study_id=study.id,
                subject_id=instance.id,
                detail={"kept": written.outline.id.hex if written else None},
                bound=[written.outline] if written else [],
            )
        except BaseException:
            session.rollback()
            versions.discard(vault, written)
            raise
        database.commit(session)
        return _opened(session, vault, actor, instance, draft, sight, job_id)
    raise Conflict("being_edited", _("Another reader is editing this outline at this moment."))


def beat(
    session: Session, actor: Actor, study_id: UUID, picture: Any, lock: Any, now: datetime
) -> None:
    """The editor is still open; Conflict `taken_over` where it is no longer this one."""
    _study, instance = pictures.lock(session, actor, study_id, picture)
    draft = _own(session, instance, actor, lock, now)
    draft.seen_at = now
    session.commit()


def save_draft(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    picture: Any,
    lock: Any,
    number: Any,
    size: tuple[Any, Any],
    runs: Any,
    now: datetime,
) -> str:
    """Store what is drawn so far; returns the SHA-256 of what is read back from the database.

    `number` rises with each save: an older one that arrives late changes nothing. It writes no
    audit row, as it comes every few seconds; the opening of the editor has one. Raises what
    `pictures.lock` and `pictures.checked` raise, and Conflict `taken_over`.
    """
    _study, instance = pictures.lock(session, actor, study_id, picture)
    data, _found = pictures.checked(instance, *size, runs)
    draft = _own(session, instance, actor, lock, now)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= _MOST:
        raise Invalid("number", _("Number the saves from 1 on."))
    draft.seen_at = now
    if number > draft.number:
        data_key = sealed_fields.instance_key_of(vault, instance)
        draft.sealed_runs = sealed_fields.seal_outline(
            vault, data_key, instance.id, draft.lock, data
        )
        draft.number = number
    session.commit()
    stored = session.get_one(OutlineDraft, instance.id, populate_existing=True)
    session.commit()
    data_key = sealed_fields.instance_key_of(vault, instance)
    return hashlib.sha256(sealed_fields.open_outline(vault, data_key, stored) or b"").hexdigest()


def save(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    picture: Any,
    lock: Any,
    outline_id: Any,
    size: tuple[Any, Any],
    runs: Any,
    now: datetime,
) -> SavedOutline:
    """End the editing with a new version, with one audit row.

    `outline_id` is the page's own name for the version: sent again, after an answer that was lost,
    it is the same version. Nothing is added where nothing differs from where the editing began.
    """
    study, instance = pictures.lock(session, actor, study_id, picture)
    try:
        named = UUID(str(outline_id))
    except ValueError:
        raise Invalid("outline", _("Name the version by a UUID.")) from None
    data, found = pictures.checked(instance, *size, runs)
    known = session.get(Outline, named)
    if known is not None:
        session.commit()
        if (known.author_id, known.instance_id) != (actor.user_id, instance.id):
            raise Invalid("outline", _("Name the version by a new UUID."))
        if versions.read_runs(session, vault, instance, known) != data:
            raise Conflict("taken", _("This version is stored with another outline."))
        return SavedOutline(known, None)
    draft = _own(session, instance, actor, lock, now)
    sight = ai_visibility.readings(session, [study.id]).sight(actor.user_id, study.id)
    if data == starting_point.of(session, vault, actor, instance, sight)[0]:
        pictures.lock(session, actor, study_id, picture)
        session.delete(_own(session, instance, actor, lock, now))
        session.commit()
        return SavedOutline(None, None)
    held = draft.lock
    written = versions.write(
        *(session, vault, instance, actor.user_id, data, found, now),
        outline_id=named,
        authors=sight.authors,
    )
    try:
        study, instance = pictures.lock(session, actor, study_id, picture)
        session.delete(_own(session, instance, actor, held, now))
        job_id = versions.add(session, written, instance, now)
        audit.append(
            session,
            "outline_saved",
            actor=actor,
            now=now,
            study_id=study.id,
            subject_id=written.outline.id,
            detail={"pixels": written.outline.pixels},
            bound=[written.outline],
        )
    except BaseException:
        session.rollback()
        versions.discard(vault, written)
        raise
    database.commit(session)
    return SavedOutline(written.outline, job_id)


def leave(
    session: Session, actor: Actor, study_id: UUID, picture: Any, lock: Any, now: datetime
) -> None:
    """The editor was closed: a draft stays, and others need not wait for the lock to end."""
    _study, instance = pictures.lock(session, actor, study_id, picture)
    draft = _own(session, instance, actor, lock, now)
    if draft.sealed_runs is None:
        session.delete(draft)
    else:
        draft.seen_at = now - HELD
    session.commit()


def _own(
    session: Session, instance: Instance, actor: Actor, lock: Any, now: datetime
) -> OutlineDraft:
    """The draft that this lock may write; its exam is locked."""
    draft = session.get(OutlineDraft, instance.id, populate_existing=True)
    if draft is None or (draft.editor_id, str(draft.lock)) != (actor.user_id, str(lock)):
        raise Conflict("taken_over", lock_texts.lost(session, instance, draft, actor, now))
    return draft


def _is_held(draft: OutlineDraft, actor: Actor, now: datetime) -> bool:
    """Whether another reader's editor is open."""
    return draft.editor_id != actor.user_id and now - draft.seen_at < HELD


def _kept(
    session: Session,
    vault: Vault,
    study: Study,
    instance: Instance,
    draft: OutlineDraft | None,
    actor: Actor,
    now: datetime,
    *,
    own: bool,
) -> Written | None:
    """Another reader's draft, or `own` one, written as a version; ends the transaction."""
    data, sight = None, Sight()
    if draft is not None and (own or draft.editor_id != actor.user_id):
        data_key = sealed_fields.instance_key_of(vault, instance)
        data = sealed_fields.open_outline(vault, data_key, draft)
        # It is compared with what its editor sees.
        sight = ai_visibility.readings(session, [study.id]).sight(draft.editor_id, study.id)
    if (
        data is None
        or draft is None
        or data == starting_point.of(session, vault, actor, instance, sight)[0]
    ):
        session.commit()
        return None
    assert instance.rows is not None
    assert instance.columns is not None
    runs = outline_runs.decode(data, instance.rows, instance.columns)
    return versions.write(
        *(session, vault, instance, draft.editor_id, data, runs, now),
        kept=True,
        authors=sight.authors,
    )


def _locked(
    session: Session,
    vault: Vault,
    instance: Instance,
    draft: OutlineDraft | None,
    actor: Actor,
    now: datetime,
    *,
    is_kept: bool,
) -> OutlineDraft:
    """The draft under a new lock, without what another reader has drawn, or is a version now."""
    lock = uuid4()
    if draft is None:
        draft = OutlineDraft(instance_id=instance.id, number=0)
        session.add(draft)
    elif draft.editor_id == actor.user_id and not is_kept:
        data_key = sealed_fields.instance_key_of(vault, instance)
        data = sealed_fields.open_outline(vault, data_key, draft)
        if data is not None:
            draft.sealed_runs = sealed_fields.seal_outline(vault, data_key, instance.id, lock, data)
    else:
        draft.sealed_runs, draft.number = None, 0
    if draft.editor_id != actor.user_id:
        draft.since = now
    draft.editor_id, draft.lock, draft.seen_at = actor.user_id, lock, now
    session.flush()
    return draft


def _opened(
    session: Session,
    vault: Vault,
    actor: Actor,
    instance: Instance,
    draft: OutlineDraft,
    sight: Sight,
    job_id: UUID | None,
) -> Opened:
    base, origin, before_id = starting_point.of(session, vault, actor, instance, sight)
    data_key = sealed_fields.instance_key_of(vault, instance)
    drawn = sealed_fields.open_outline(vault, data_key, draft)
    session.commit()
    return Opened(
        lock=draft.lock,
        number=draft.number,
        runs=base if drawn is None else drawn,
        base=base,
        origin=origin,
        before_id=before_id,
        is_draft=drawn is not None,
        job_id=job_id,
        shows_kept=not sight.is_blind,
    )
