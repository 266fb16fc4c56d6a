"""HL7 nodes: what is stated of one beside what `listeners.nodes` has of every kind."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.access import Actor
from portal.errors import Conflict, Invalid
from portal.hl7.messages import CHARSETS
from portal.languages import _
from portal.listeners import nodes as of_any_kind
from portal.listeners.nodes import Detail, Kind
from portal.models import Hl7Message, Hl7Node

# Where a message may have the accession number, after IPC-1, which is always looked at.
ACCESSION_FIELDS: Final = ("OBR-18", "OBR-3", "OBR-2")
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
    found = of_any_kind.listed(session, actor, _KIND)
    newest = select(Hl7Message.node_id, func.max(Hl7Message.created))
    last = {row[0]: row[1] for row in session.execute(newest.group_by(Hl7Message.node_id))}
    session.commit()
    return [Listed(node, team, last.get(node.id)) for node, team in found]


def add(session: Session, actor: Actor | None, stated: Described, now: datetime) -> Hl7Node:
    """Add a node and its account. Invalid for what can't be, Conflict `application` for an
    application and facility that are known.
    """
    return of_any_kind.add(session, actor, _KIND, stated, now)


def change(
    session: Session, actor: Actor | None, node_id: UUID, stated: Described, now: datetime
) -> Hl7Node:
    """Change what is stated of a node; what it sent before stays with the team it was sent to.
    See `add`.
    """
    return of_any_kind.change(session, actor, _KIND, node_id, stated, now)


def switch(
    session: Session, actor: Actor | None, node_id: UUID, now: datetime, *, on: bool
) -> Hl7Node:
    """Switch a node on or off. Off: its next message is refused."""
    return of_any_kind.switch(session, actor, _KIND, node_id, now, on=on)


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
    """Who acts when a node sends: its account, with no permission of its own."""
    return of_any_kind.actor_of(sender, "hl7", (), address)


def _fill(row: Hl7Node, stated: Described) -> None:
    application = _part("application", stated.application)
    facility, authority = _part("facility", stated.facility), _part("authority", stated.authority)
    if not application:
        raise Invalid("application", _("State the application that its messages name in MSH-3."))
    if not row.networks:
        raise Invalid("networks", _("State the addresses that the node sends from."))
    if stated.accession_field not in ACCESSION_FIELDS:
        raise Invalid("accession_field", _("Choose one of the fields."))
    if stated.charset not in CHARSETS:
        raise Invalid("charset", _("Choose one of the character sets."))
    row.application, row.facility, row.authority = application, facility, authority
    row.accession_field, row.charset = stated.accession_field, stated.charset


def _part(field: str, text: str) -> str:
    found = text.strip()
    if len(found) > _LONGEST_PART or not found.isprintable() or _SEPARATORS & set(found):
        raise Invalid(
            field,
            _("At most %(most)s characters, without | ^ ~ \\ and &.", most=_LONGEST_PART),
        )
    return found


def _known() -> Conflict:
    return Conflict("application", _("Another node has this application and facility."))


def _detail(_session: Session, row: Hl7Node) -> Detail:
    return {
        "application": row.application,
        "facility": row.facility,
        "authority": row.authority,
        "accession_field": row.accession_field,
        "charset": row.charset,
    }


_KIND: Final = Kind(
    table=Hl7Node,
    order=(Hl7Node.application, Hl7Node.facility),
    word="hl7",
    fill=_fill,
    known=_known,
    detail=_detail,
)
