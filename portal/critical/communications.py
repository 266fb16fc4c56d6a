"""Who was informed of a critical finding: the record that closes it, and how it is read."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import PATIENT_ROLES, Actor, Permission
from portal.critical import findings
from portal.errors import Conflict, Invalid
from portal.formats.display_text import clean
from portal.languages import _
from portal.models import Communication, CriticalFinding, CriticalState, Means, Study, User
from portal.studies import sealed_fields
from portal.vault import NotReadable, Vault

PERSON_LENGTH: Final = 120
_DAY: Final = 24 * 60  # minutes


@dataclass(frozen=True, slots=True)
class Stated:
    """What a reader records, as it was sent: `informed_by` is the id of a person of the team, empty
    for the reader; `minutes_ago` counts back from now, empty for now.
    """

    person: str = field(repr=False)
    means: str
    read_back: str
    minutes_ago: str = ""
    informed_by: str = ""


def record(
    session: Session, vault: Vault, actor: Actor, study_id: UUID, stated: Stated, now: datetime
) -> Communication:
    """Record who was informed, by whom, when and how, and close the exam's critical finding.

    Of a finding that is closed it is a further record. One audit row. Raises Invalid for what is
    not complete, Conflict where the exam has no critical finding, Denied.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = findings.lock(session, actor, study_id)
    row = _latest(session, study)
    person, means, read_back = _checked(stated)
    informed_by = _colleague(session, actor, stated.informed_by)
    made = Communication(
        id=uuid4(),
        finding_id=row.id,
        study_id=study.id,
        informed_by=informed_by,
        informed_at=now - timedelta(minutes=_minutes(stated.minutes_ago)),
        means=means,
        read_back=read_back,
        author_id=actor.user_id,
        created=now,
    )
    made.sealed_person = sealed_fields.seal_informed(
        vault, sealed_fields.key_of(vault, study), made.id, person
    )
    session.add(made)
    if row.state is CriticalState.OPEN:
        findings.close(session, actor, study, row, now)
    session.flush()
    audit.append(
        session,
        "critical_communicated",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=made.id,
        detail={"means": means.value, "read_back": read_back},
        bound=[row, made],
    )
    session.commit()
    return made


def _latest(session: Session, study: Study) -> CriticalFinding:
    known = findings.of_exam(session, study.id)
    is_open = [row for row in known if row.state is CriticalState.OPEN]
    closed = [row for row in known if row.state is CriticalState.CLOSED]
    found = is_open or closed
    if not found:
        raise Conflict("not_open", _("This case has no critical finding. Look at it again."))
    return found[-1]


def _checked(stated: Stated) -> tuple[str, Means, bool]:
    person = clean(stated.person, PERSON_LENGTH + 1)
    if not person:
        raise Invalid("person", _("State who was informed."))
    if len(person) > PERSON_LENGTH:
        raise Invalid("person", _("At most %(most)s characters.", most=PERSON_LENGTH))
    try:
        means = Means(stated.means)
    except ValueError:
        raise Invalid("means", _("Choose how they were informed.")) from None
    if stated.read_back not in ("yes", "no"):
        raise Invalid("read_back", _("State whether it was read back."))
    return person, means, stated.read_back == "yes"


def _minutes(text: str) -> int:
    typed = text.strip() or "0"
    # Python reads no number of thousands of digits.
    if not (typed.isascii() and typed.isdecimal() and len(typed) < 9 and int(typed) <= _DAY):
        raise Invalid("minutes_ago", _("A whole number of minutes from 0 to %(most)s.", most=_DAY))
    return int(typed)


def _colleague(session: Session, actor: Actor, text: str) -> UUID:
    if not text:
        return actor.user_id
    try:
        user = session.get(User, UUID(text))
    except ValueError:
        user = None
    if user is None or user.team_id != actor.team_id or user.role not in PATIENT_ROLES:
        raise Invalid("informed_by", _("Choose somebody of your team."))
    return user.id


@dataclass(frozen=True, slots=True)
class CommunicationView:
    """A record of who was informed."""

    person: str = field(repr=False)
    informed_by: str
    informed_at: datetime
    means: Means
    read_back: bool
    author: str


def of_findings(
    session: Session, vault: Vault, rows: list[CriticalFinding]
) -> dict[UUID, list[CommunicationView]]:
    """The records of these findings, the oldest first; the caller has checked that the actor may
    read the exam. A name that does not open any more is named so.
    """
    found: dict[UUID, list[CommunicationView]] = {row.id: [] for row in rows}
    if not rows:
        return found
    query = (
        select(Communication, Study)
        .join(Study, Study.id == Communication.study_id)
        .where(Communication.finding_id.in_(found))
        .order_by(Communication.created, Communication.id)
    )
    listed = session.execute(query).all()
    people = {one for row, _ in listed for one in (row.informed_by, row.author_id)}
    names = dict(session.execute(select(User.id, User.name).where(User.id.in_(people))).all())
    for row, study in listed:
        found[row.finding_id].append(
            CommunicationView(
                person=_person(vault, study, row),
                informed_by=names[row.informed_by],
                informed_at=row.informed_at,
                means=row.means,
                read_back=row.read_back,
                author=names[row.author_id],
            )
        )
    return found


def _person(vault: Vault, study: Study, row: Communication) -> str:
    try:
        return sealed_fields.open_informed(vault, sealed_fields.key_of(vault, study), row)
    except NotReadable:
        return "(not readable)"
