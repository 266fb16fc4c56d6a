"""Joining two exams that are one: the pictures of one go over to the other.

Keys are wrapped anew for their new place, and no file is touched. The exam that is joined stays as
a row, for its reviews and what was written under its key; its id and number lead to the other.
Legal holds of either hold both, and a purge destroys both.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.models import Instance, Job, Sex, Study
from portal.studies import exams, sealed_fields, worklist_order
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


def _locked(session: Session, survivor_id: UUID, absorbed_id: UUID) -> tuple[Study, Study]:
    """Both exams, with their jobs, locked and fit to be joined."""
    if survivor_id == absorbed_id:
        raise Conflict("same_case", "A case can't be joined into itself.")
    both = sorted((survivor_id, absorbed_id))
    session.scalars(
        select(Job.id).where(Job.study_id.in_(both)).order_by(Job.id).with_for_update()
    ).all()
    weak = {"key_share": True}
    found = {
        study_id: session.get(Study, study_id, with_for_update=weak, populate_existing=True)
        for study_id in both
    }
    # The pictures too: a rotation that moves their keys meanwhile would mix its half with ours.
    session.scalars(
        select(Instance.id)
        .where(Instance.study_id == absorbed_id)
        .order_by(Instance.id)
        .with_for_update(key_share=True)
    ).all()
    survivor, absorbed = found[survivor_id], found[absorbed_id]
    if survivor is None or absorbed is None:
        raise Conflict("no_such_case", "There is no such case.")
    if survivor.purged_at is not None or absorbed.purged_at is not None:
        raise Conflict("already_purged", "One of these cases was purged before.")
    if survivor.joined_into is not None or absorbed.joined_into is not None:
        raise Conflict("already_joined", "One of these cases was joined into another before.")
    if survivor.team_id != absorbed.team_id:
        raise Conflict("another_team", "The cases belong to different teams.")
    return survivor, absorbed
