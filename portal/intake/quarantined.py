"""The files in quarantine: their list, and what an administrator does with one.

A released file goes through the intake again, in the name of who sent it; the team's rules are left
out for it alone, the checks are not. Neither list nor log names the patient.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict
from portal.governance import erasure, quarantine
from portal.intake import submission
from portal.intake.check import Limits
from portal.intake.stated import Stated
from portal.languages import _
from portal.models import ArrivalRule, QuarantinedFile, Role, Team, User
from portal.teams import settings as team_settings
from portal.vault import NONCE_BYTES, NotReadable, Vault

MOST_LISTED: Final = 200


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file in quarantine, without anything of the patient. `rule` and `reason`: of the rule that
    keeps it here, empty for one that was refused.
    """

    id: UUID
    team: str
    sender: str
    via: str
    code: str
    rule: str
    reason: str
    size: int
    created: datetime

    @property
    def until(self) -> datetime:
        """When it is removed."""
        return self.created + quarantine.LASTS


@dataclass(frozen=True, slots=True)
class Held:
    """How much a team has in quarantine."""

    team: str
    files: int
    size: int

    @property
    def is_full(self) -> bool:
        """Whether nothing more is kept: no file, or none of the size of a usual picture."""
        return self.files >= quarantine.MOST_FILES or self.size >= quarantine.MOST_BYTES * 0.95


def listed(session: Session, actor: Actor) -> list[Quarantined]:
    """The newest files of all teams, the newest first."""
    actor.require(Permission.DATA_MANAGE)
    rows = session.execute(
        select(QuarantinedFile, Team.name, User.name, ArrivalRule.name, ArrivalRule.reason)
        .join(Team, Team.id == QuarantinedFile.team_id)
        .join(User, User.id == QuarantinedFile.sender_id)
        .outerjoin(ArrivalRule, ArrivalRule.id == QuarantinedFile.rule_id)
        .order_by(QuarantinedFile.created.desc(), QuarantinedFile.id)
        .limit(MOST_LISTED)
    ).all()
    session.commit()
    return [
        Quarantined(
            id=row.id,
            team=team,
            sender=sender,
            via=row.via,
            code=row.code,
            rule=rule or "",
            reason=reason or "",
            size=row.size,
            created=row.created,
        )
        for row, team, sender, rule, reason in rows
    ]


def held(session: Session, actor: Actor) -> list[Held]:
    """How much each team that has some holds."""
    actor.require(Permission.DATA_MANAGE)
    rows = session.execute(
        select(Team.name, func.count(), func.sum(QuarantinedFile.size))
        .join(Team, Team.id == QuarantinedFile.team_id)
        .group_by(Team.name)
        .order_by(Team.name)
    ).all()
    session.commit()
    return [Held(team, count, int(size)) for team, count, size in rows]


def release(
    session: Session,
    vault: Vault,
    actor: Actor,
    file_id: UUID,
    now: datetime,
    *,
    limits: Limits,
    old_exam_hours: int,
) -> submission.Submitted:
    """Take a file in as a picture of its team, and out of quarantine; the caller announces its job.

    `old_exam_hours`: of the installation, where the team has chosen none. Raises Denied for none
    that is here, Conflict `damaged`, and as `submission.submit` where it is not accepted: then it
    stays.
    """
    actor.require(Permission.DATA_MANAGE)
    row = _row(session, file_id)
    hours = team_settings.settings_of(session, row.team_id).old_exam_hours or old_exam_hours
    session.commit()
    try:
        data, known = quarantine.read(vault, row)
        filename, stated = known.pop("filename", ""), Stated(**known)
    except (NotReadable, ValueError, TypeError):
        raise Conflict("damaged", _("The file is damaged. Destroy it.")) from None
    submitted = submission.submit(
        session,
        vault,
        _sender(row, actor),
        filename,
        data,
        now,
        limits=limits,
        stated=replace(stated, old_after=timedelta(hours=hours)),
        by_rules=False,
    )
    detail: dict[str, str | int | bool | list[str] | None] = {
        "picture": submitted.instance_id.hex,
        "duplicate": submitted.duplicate,
    }
    _remove(session, vault, actor, file_id, "quarantine_released", now, submitted.study_id, detail)
    return submitted


def discard(session: Session, vault: Vault, actor: Actor, file_id: UUID, now: datetime) -> bool:
    """Destroy a file, its key and its row; Denied for none that is here.

    False where old copies of the key may still be in the database's files, which somebody reads at
    this moment: the next purge clears them as well.
    """
    actor.require(Permission.DATA_MANAGE)
    row = _row(session, file_id)
    marks = [row.wrapped_key[:NONCE_BYTES], row.sealed_stated[:NONCE_BYTES]]
    _remove(session, vault, actor, file_id, "quarantine_discarded", now)
    # Its key is in no row any more; old pages of the database go when nobody reads them.
    try:
        erasure.erase(session, marks)
    except erasure.NotErased:
        return False
    return True


def _remove(
    session: Session,
    vault: Vault,
    actor: Actor,
    file_id: UUID,
    event: str,
    now: datetime,
    study_id: UUID | None = None,
    detail: dict[str, str | int | bool | list[str] | None] | None = None,
) -> None:
    row = session.get(QuarantinedFile, file_id, with_for_update=True, populate_existing=True)
    name = row.name if row is not None else ""
    if row is not None:
        session.delete(row)
        audit.append(
            session,
            event,
            actor=actor,
            now=now,
            study_id=study_id,
            subject_id=file_id,
            detail=detail,
        )
    session.commit()
    if name:
        vault.destroy(name)


def _row(session: Session, file_id: UUID) -> QuarantinedFile:
    row = session.get(QuarantinedFile, file_id, populate_existing=True)
    if row is None:
        session.rollback()
        raise Denied("quarantined file")
    return row


def _sender(row: QuarantinedFile, actor: Actor) -> Actor:
    """Who sent it, with the right to send alone; by whose session it is now."""
    return Actor(
        user_id=row.sender_id,
        team_id=row.team_id,
        role=Role.TECHNOLOGIST,
        permissions=frozenset({Permission.STUDY_SUBMIT}),
        session_id=actor.session_id,
        via="release",
        address=actor.address,
    )
