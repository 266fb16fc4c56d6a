"""Systems that send HL7: which are known, each with its team, and who may add and change them.

A node sends in the name of an account of its own, as a DICOM node does: nobody can sign in with it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict, Invalid
from portal.hl7.messages import CHARSETS
from portal.languages import _
from portal.listeners import peers
from portal.models import Hl7Message, Hl7Node, Role, Team, User

# Where a message may have the accession number, after IPC-1, which is always looked at.
ACCESSION_FIELDS: Final = ("OBR-18", "OBR-3", "OBR-2")
_LONGEST_NAME: Final = 100
_LONGEST_PART: Final = 180
_SEPARATORS: Final = frozenset("|^~\\&")


@dataclass(frozen=True, slots=True)
class Described:
    """What is stated of a node, as it is typed: `networks` is a text."""

    name: str
    application: str
    facility: str
    team_id: UUID
    networks: str = ""
    fingerprint: str = ""
    authority: str = ""
    accession_field: str = ACCESSION_FIELDS[0]
    charset: str = "ASCII"


@dataclass(frozen=True, slots=True)
class Listed:
    """A node with its team's name and when it last sent a message that was taken."""

    node: Hl7Node
    team: str
    last: datetime | None


def nodes(session: Session, actor: Actor | None) -> list[Listed]:
    """All nodes, by application and facility. Without an actor: the command line."""
    _may_manage(actor)
    rows = session.execute(
        select(Hl7Node, Team.name)
        .join(Team, Team.id == Hl7Node.team_id)
        .order_by(Hl7Node.application, Hl7Node.facility)
    ).all()
    newest = select(Hl7Message.node_id, func.max(Hl7Message.created))
    last = {row[0]: row[1] for row in session.execute(newest.group_by(Hl7Message.node_id))}
    session.commit()
    return [Listed(node, team, last.get(node.id)) for node, team in rows]


def add(session: Session, actor: Actor | None, stated: Described, now: datetime) -> Hl7Node:
    """Add a node and its account. Invalid for what can't be, Conflict `application` for an
    application and facility that are known.
    """
    _may_manage(actor)
    node_id = uuid4()
    added = Hl7Node(id=node_id, created=now)
    _fill(session, added, stated)
    account = User(
        id=uuid4(),
        name=added.name,
        email=f"{node_id.hex}@hl7.invalid",
        role=Role.TECHNOLOGIST,
        team_id=added.team_id,
        disabled_at=now,
        created=now,
    )
    added.user_id = account.id
    session.add(account)
    _flush(session)
    session.add(added)
    _flush(session)
    _log(session, "hl7_node_added", actor, added, now)
    session.commit()
    return added


def change(
    session: Session, actor: Actor | None, node_id: UUID, stated: Described, now: datetime
) -> Hl7Node:
    """Change what is stated of a node; what it sent before stays with the team it was sent to.
    See `add`.
    """
    _may_manage(actor)
    changed = _locked(session, node_id)
    account = session.get_one(User, changed.user_id)
    try:
        _fill(session, changed, stated)
    except Invalid:
        session.rollback()
        raise
    account.name, account.team_id = changed.name, changed.team_id
    _flush(session)
    _log(session, "hl7_node_changed", actor, changed, now)
    session.commit()
    return changed


def switch(
    session: Session, actor: Actor | None, node_id: UUID, now: datetime, *, on: bool
) -> Hl7Node:
    """Switch a node on or off. Off: its next message is refused."""
    _may_manage(actor)
    changed = _locked(session, node_id)
    if on == (changed.disabled_at is not None):
        changed.disabled_at = None if on else now
        event = "hl7_node_switched_on" if on else "hl7_node_switched_off"
        _log(session, event, actor, changed, now)
    session.commit()
    return changed


def described(row: Hl7Node) -> Described:
    """What is stated of a node, as it would be typed."""
    return Described(
        name=row.name,
        application=row.application,
        facility=row.facility,
        team_id=row.team_id,
        networks=", ".join(row.networks),
        fingerprint=row.fingerprint or "",
        authority=row.authority,
        accession_field=row.accession_field,
        charset=row.charset,
    )


def actor_of(sender: Hl7Node, address: str) -> Actor:
    """Who acts when a node sends: its account, in its team, with no permission of its own. The
    access log's rows name the node where those of a browser name the login session.
    """
    return Actor(
        user_id=sender.user_id,
        team_id=sender.team_id,
        role=Role.TECHNOLOGIST,
        permissions=frozenset(),
        session_id=sender.id,
        via="hl7",
        address=address,
    )


def _may_manage(actor: Actor | None) -> None:
    if actor is not None:
        actor.require(Permission.PEOPLE_MANAGE)


def _fill(session: Session, row: Hl7Node, stated: Described) -> None:
    name = " ".join(stated.name.split())
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise Invalid("name", _("Give the node a name of at most %(most)s characters.", most=100))
    application = _part("application", stated.application)
    facility, authority = _part("facility", stated.facility), _part("authority", stated.authority)
    if not application:
        raise Invalid("application", _("State the application that its messages name in MSH-3."))
    networks = peers.networks_of(stated.networks)
    if not networks:
        raise Invalid("networks", _("State the addresses that the node sends from."))
    if stated.accession_field not in ACCESSION_FIELDS:
        raise Invalid("accession_field", _("Choose one of the fields."))
    if stated.charset not in CHARSETS:
        raise Invalid("charset", _("Choose one of the character sets."))
    fingerprint = peers.fingerprint_of(stated.fingerprint)
    if session.get(Team, stated.team_id) is None:
        session.rollback()
        raise Invalid("team", _("Choose one of the teams."))
    row.name, row.team_id = name, stated.team_id
    row.application, row.facility, row.authority = application, facility, authority
    row.accession_field, row.charset = stated.accession_field, stated.charset
    row.networks, row.fingerprint = networks, fingerprint


def _part(field: str, text: str) -> str:
    found = text.strip()
    if len(found) > _LONGEST_PART or not found.isprintable() or _SEPARATORS & set(found):
        raise Invalid(
            field,
            _("At most %(most)s characters, without | ^ ~ \\ and &.", most=_LONGEST_PART),
        )
    return found


def _locked(session: Session, node_id: UUID) -> Hl7Node:
    found = session.get(Hl7Node, node_id, with_for_update=True, populate_existing=True)
    if found is None:
        session.rollback()
        raise Denied("node")
    return found


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError:
        session.rollback()
        raise Conflict(
            "application", _("Another node has this application and facility.")
        ) from None


def _log(session: Session, event: str, actor: Actor | None, row: Hl7Node, now: datetime) -> None:
    """What is allowed now, as codes: an auditor sees who let in whom, and from where."""
    detail: dict[str, str | int | bool | list[str] | None] = {
        "application": row.application,
        "facility": row.facility,
        "team": row.team_id.hex,
        "networks": list(row.networks),
        "authority": row.authority,
        "accession_field": row.accession_field,
        "charset": row.charset,
        "fingerprint": row.fingerprint or "",
    }
    audit.append(session, event, actor=actor, now=now, subject_id=row.id, detail=detail)
