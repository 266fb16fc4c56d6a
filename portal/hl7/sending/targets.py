"""Targets: the hospital's systems that get reports, each with its team, and who may add, switch and
end them. One that has ended gets nothing any more, and stays in the access log.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict, Invalid
from portal.hl7.messages import CHARSETS
from portal.hl7.nodes import ACCESSION_FIELDS
from portal.hl7.sending import ledger
from portal.languages import _
from portal.listeners import peers
from portal.models import ReportSend, ReportTarget, Role, Team
from portal.settings import Settings
from portal.settings.allowed_hosts import is_host_name
from portal.vault.encryption import certificate_end

DEFAULT_CHARSET: Final = "UNICODE UTF-8"
ENDS_SOON: Final = timedelta(days=30)
_LONGEST_NAME: Final = 100
_LONGEST_PART: Final = 180
_SEPARATORS: Final = frozenset("|^~\\&")


@dataclass(frozen=True, slots=True)
class Described:
    """What is stated of a target, as it is typed."""

    name: str
    team_id: UUID
    host: str
    port: str
    application: str
    facility: str = ""
    authority: str = ""
    accession_field: str = ACCESSION_FIELDS[0]
    charset: str = DEFAULT_CHARSET
    fingerprint: str = ""


def targets(session: Session, actor: Actor | None) -> list[tuple[ReportTarget, str]]:
    """All that have not ended, with their teams. Without an actor: the command line."""
    may_manage(actor)
    rows = session.execute(
        select(ReportTarget, Team.name)
        .join(Team, Team.id == ReportTarget.team_id)
        .where(ReportTarget.ended_at.is_(None))
        .order_by(ReportTarget.name, ReportTarget.id)
    )
    found = [(target, team) for target, team in rows]
    session.commit()
    return found


def add(session: Session, actor: Actor | None, stated: Described, now: datetime) -> ReportTarget:
    """Add a target: it gets what happens from now on. Invalid for what can't be, Conflict `host`
    for a system that gets the team's reports already.
    """
    may_manage(actor)
    added = _checked(session, stated, now)
    same = select(ReportTarget.id).where(
        ReportTarget.ended_at.is_(None),
        ReportTarget.team_id == added.team_id,
        ReportTarget.host == added.host,
        ReportTarget.port == added.port,
        ReportTarget.application == added.application,
        ReportTarget.facility == added.facility,
    )
    if session.scalar(same.limit(1)) is not None:
        session.rollback()
        raise Conflict("host", _("This system gets the team’s reports already."))
    session.add(added)
    session.flush()
    _log(session, "report_target_added", actor, added, now)
    session.commit()
    return added


def switch(
    session: Session, actor: Actor | None, target_id: UUID, now: datetime, *, on: bool
) -> ReportTarget:
    """Switch a target on or off. Off: what is to be sent waits."""
    may_manage(actor)
    changed = _locked(session, target_id)
    if on == (changed.disabled_at is not None):
        changed.disabled_at = None if on else now
        event = "report_target_switched_on" if on else "report_target_switched_off"
        _log(session, event, actor, changed, now)
    session.commit()
    return changed


def end(session: Session, actor: Actor | None, target_id: UUID, now: datetime) -> ReportTarget:
    """End a target for good; what waits is not sent."""
    may_manage(actor)
    ended = _locked(session, target_id)
    ended.ended_at = now
    ended.disabled_at = ended.disabled_at or now
    _log(session, "report_target_ended", actor, ended, now)
    session.flush()
    waiting = select(ReportSend).where(
        ReportSend.target_id == target_id, ReportSend.finished_at.is_(None)
    )
    for row in session.scalars(waiting.with_for_update()).all():
        ledger.settle_dropped(session, row, "target_ended", now)
    session.commit()
    return ended


def one(session: Session, actor: Actor | None, target_id: UUID) -> ReportTarget:
    """A target: Denied where there is none, Conflict `ended` for one that has ended."""
    may_manage(actor)
    return _there(session, session.get(ReportTarget, target_id, populate_existing=True))


def actor_of(target: ReportTarget) -> Actor:
    """In whose name an exam is opened for a target: with its team's exams, and what the team shows
    to those who state no finding.
    """
    return Actor(
        user_id=target.id,
        team_id=target.team_id,
        role=Role.TECHNOLOGIST,
        permissions=frozenset({Permission.STUDY_READ, Permission.STUDY_EXPORT}),
        session_id=target.id,
        via="hl7_out",
    )


def note_certificate(session: Session, target_id: UUID, ends: datetime | None) -> None:
    """Keep when the certificate ends that a target has just shown; commits."""
    if ends is not None:
        found = session.get(ReportTarget, target_id, populate_existing=True)
        if found is not None and found.certificate_ends != ends:
            found.certificate_ends = ends
    session.commit()


def own_certificate_ends(settings: Settings) -> datetime | None:
    """When the certificate ends that we show; None where there is none that can be read."""
    files = settings.hl7.tls_files if settings.hl7 is not None else None
    if files is None:
        return None
    try:
        return certificate_end(files[0].read_bytes())
    except (OSError, ValueError):
        return None


def may_manage(actor: Actor | None) -> None:
    """Denied unless the actor manages people and nodes."""
    if actor is not None:
        actor.require(Permission.PEOPLE_MANAGE)


def _checked(session: Session, stated: Described, now: datetime) -> ReportTarget:
    name = " ".join(stated.name.split())
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise Invalid("name", _("Give the target a name of at most %(most)s characters.", most=100))
    host, port = stated.host.strip().lower(), stated.port.strip()
    is_port = port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536
    if not is_host_name(host) or not is_port:
        raise Invalid("host", _("Give the target’s host and port."))
    if stated.accession_field not in ACCESSION_FIELDS:
        raise Invalid("accession_field", _("Choose one of the fields."))
    if stated.charset not in CHARSETS:
        raise Invalid("charset", _("Choose one of the character sets."))
    application = _part("application", stated.application, stated.charset)
    if not application:
        raise Invalid("application", _("State the target’s application (MSH-5)."))
    target = ReportTarget(
        id=uuid4(),
        team_id=stated.team_id,
        name=name,
        host=host,
        port=int(port),
        application=application,
        facility=_part("facility", stated.facility, stated.charset),
        authority=_part("authority", stated.authority, stated.charset),
        accession_field=stated.accession_field,
        charset=stated.charset,
        fingerprint=peers.fingerprint_of(stated.fingerprint),
        since=now,
        looked_until=now,
        created=now,
    )
    if session.get(Team, stated.team_id) is None:
        session.rollback()
        raise Invalid("team", _("Choose one of the teams."))
    return target


def _part(field: str, text: str, charset: str) -> str:
    found = text.strip()
    if len(found) > _LONGEST_PART or not found.isprintable() or _SEPARATORS & set(found):
        raise Invalid(
            field, _("At most %(most)s characters, without | ^ ~ \\ and &.", most=_LONGEST_PART)
        )
    try:
        found.encode(CHARSETS[charset])
    except UnicodeEncodeError:
        raise Invalid(field, _("The character set lacks one of these characters.")) from None
    return found


def _locked(session: Session, target_id: UUID) -> ReportTarget:
    found = session.get(ReportTarget, target_id, with_for_update=True, populate_existing=True)
    return _there(session, found)


def _there(session: Session, found: ReportTarget | None) -> ReportTarget:
    if found is None or found.ended_at is not None:
        session.rollback()
        if found is None:
            raise Denied("target")
        raise Conflict("ended", _("The target has ended."))
    return found


def _log(
    session: Session, event: str, actor: Actor | None, row: ReportTarget, now: datetime
) -> None:
    """Where reports go now, as codes."""
    detail: audit.Detail = {
        "team": row.team_id.hex,
        "called_at": f"{row.host}:{row.port}",
        "application": row.application,
        "facility": row.facility,
        "authority": row.authority,
        "accession_field": row.accession_field,
        "charset": row.charset,
        "fingerprint": row.fingerprint or "",
    }
    audit.append(session, event, actor=actor, now=now, subject_id=row.id, detail=detail)
