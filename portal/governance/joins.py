"""Joining two exams that are one: the pictures of one go over to the other.

Keys are wrapped anew for their new place, and no file is touched. The exam that is joined stays as
a row, for its reviews and what was written under its key; its id and number lead to the other.
Legal holds of either hold both, and a purge destroys both.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, not_, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.languages import _
from portal.models import Job, Sex, Study, StudyName
from portal.studies import exams, sealed_fields, worklist_order
from portal.studies.locks import lock_exams
from portal.vault import Vault

# What an exam takes over from the one that is joined into it where it has none of its own.
_FILLED: tuple[str, ...] = ("patient_key", "patient_id_key", "accession_key", "age_band")


def join(
    session: Session,
    vault: Vault,
    actor: Actor | None,
    survivor_id: UUID,
    absorbed_id: UUID,
    now: datetime,
) -> Study:
    """Join an exam into another of the same team; returns the one that holds all pictures now.

    For administrators and the command line (`actor` None). Raises Denied, VaultError where a key
    does not open, or Conflict: `no_such_case`, `already_purged`, `already_joined` (either of them),
    `another_team`, `same_case`. Then nothing is changed.
    """
    if actor is not None:
        actor.require(Permission.DATA_MANAGE)
    try:
        survivor, absorbed = _locked(session, survivor_id, absorbed_id)
        moved = exams.pictures(session, [absorbed_id])[absorbed_id]
        for instance in moved:
            data_key = sealed_fields.instance_key_of(vault, instance)
            wrapped = vault.wrap(data_key, survivor_id, instance.id)
            instance.wrapped_key, instance.key_id = wrapped.wrapped, wrapped.key_id
            instance.study_id = survivor_id
    except BaseException:
        session.rollback()
        raise
    session.execute(update(Job).where(Job.study_id == absorbed_id).values(study_id=survivor_id))
    absorbed.joined_into = survivor_id
    if _has_its_uid_elsewhere(session, absorbed):
        absorbed.study_uid_key = None
    session.execute(
        update(Study).where(Study.joined_into == absorbed_id).values(joined_into=survivor_id)
    )
    for name in _FILLED:
        if getattr(survivor, name) is None:
            setattr(survivor, name, getattr(absorbed, name))
    if survivor.sex is Sex.UNKNOWN:
        survivor.sex = absorbed.sex
    times = [time for time in (survivor.acquired, absorbed.acquired) if time is not None]
    survivor.acquired = min(times, default=None)
    if survivor.is_old != absorbed.is_old:  # one that is new is enough
        since = survivor.new_since or absorbed.new_since
        since = since or (absorbed.created if survivor.is_old else None)
        exams.make_new(session, survivor, since)
    _take_over_names(session, survivor_id, absorbed_id)
    worklist_order.place(session, survivor_id)
    audit.append(
        session,
        "studies_joined",
        actor=actor,
        now=now,
        study_id=survivor_id,
        subject_id=absorbed_id,
        detail={"pictures": [instance.id.hex for instance in moved]},
    )
    session.commit()
    return survivor


def _take_over_names(session: Session, survivor_id: UUID, absorbed_id: UUID) -> None:
    """The exam is found by the family names of either."""
    own = select(StudyName.key).where(StudyName.study_id == survivor_id)
    keys = session.scalars(
        select(StudyName.key).where(StudyName.study_id == absorbed_id, StudyName.key.not_in(own))
    ).all()
    session.add_all(StudyName(study_id=survivor_id, key=key) for key in keys)


def _has_its_uid_elsewhere(session: Session, absorbed: Study) -> bool:
    """Whether another row of the team leads from its StudyInstanceUID to an exam: one is enough."""
    same_uid = exists().where(
        Study.team_id == absorbed.team_id,
        Study.study_uid_key == absorbed.study_uid_key,
        not_(Study.needs_upgrade),
        Study.id != absorbed.id,
    )
    return bool(session.scalar(select(same_uid)))


def _locked(session: Session, survivor_id: UUID, absorbed_id: UUID) -> tuple[Study, Study]:
    """Both exams, with their jobs, locked and fit to be joined."""
    if survivor_id == absorbed_id:
        raise Conflict("same_case", _("A case can't be joined into itself."))
    # With the pictures: a rotation that moves their keys meanwhile would mix its half with ours.
    found = lock_exams(session, [survivor_id, absorbed_id])
    survivor, absorbed = found.get(survivor_id), found.get(absorbed_id)
    if survivor is None or absorbed is None:
        raise Conflict("no_such_case", _("There is no such case."))
    if survivor.purged_at is not None or absorbed.purged_at is not None:
        raise Conflict("already_purged", _("One of these cases was purged before."))
    if survivor.joined_into is not None or absorbed.joined_into is not None:
        raise Conflict("already_joined", _("One of these cases was joined into another before."))
    if survivor.team_id != absorbed.team_id:
        raise Conflict("another_team", _("The cases belong to different teams."))
    return survivor, absorbed
