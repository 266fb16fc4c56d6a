"""Nodes: systems that may connect, by DICOM or HL7. Each belongs to a team; who may add and change
them, and what the access log tells of that, is the same for all.

A node acts in the name of an account of its own, which nobody can sign in with: it is disabled
from the beginning, has no password, and the people's page does not know it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, Protocol, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Denied, Permission, Via
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.listeners import peers
from portal.models import DicomNode, Hl7Node, Role, Team, User

_LONGEST_NAME: Final = 100

Node = TypeVar("Node", DicomNode, Hl7Node)


class Described(Protocol):
    """What is stated of any node, as it is typed: `networks` is a text."""

    @property
    def name(self) -> str: ...
    @property
    def team_id(self) -> UUID: ...
    @property
    def networks(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...


Stated = TypeVar("Stated", bound=Described)
Detail = dict[str, str | int | bool | list[str] | None]


@dataclass(frozen=True, slots=True)
class Kind(Generic[Node, Stated]):
    """What one kind of node has of its own.

    table: of its rows, with the columns of their `order`.
    word: with which its events and its accounts' addresses are named.
    fill: puts what is stated of this kind alone into a row; Invalid for what can't be. What is
    stated of every node is there by then.
    known: the conflict of a node that is there already.
    detail: what the access log tells beside what it tells of every node.
    store: keeps what is stated in other rows, in the same transaction.
    """

    table: type[Node]
    order: tuple[Any, ...]
    word: str
    fill: Callable[[Node, Stated], None]
    known: Callable[[], Conflict]
    detail: Callable[[Session, Node], Detail]
    store: Callable[[Session, Node, Stated, datetime], None] = lambda *_stated: None


def listed(
    session: Session, actor: Actor | None, kind: Kind[Node, Stated]
) -> list[tuple[Node, str]]:
    """All nodes with the names of their teams. Without an actor: the command line."""
    require_manager(actor)
    rows = session.execute(
        select(kind.table, Team.name)
        .join(Team, Team.id == kind.table.team_id)
        .order_by(*kind.order)
    )
    found = [(node, team) for node, team in rows]
    session.commit()
    return found


def add(
    session: Session, actor: Actor | None, kind: Kind[Node, Stated], stated: Stated, now: datetime
) -> Node:
    """Add a node and its account. Invalid for what can't be, Conflict for one that is known."""
    require_manager(actor)
    added = kind.table(id=uuid4(), created=now)
    _fill(session, kind, added, stated)
    account = User(
        id=uuid4(),
        name=added.name,
        email=f"{added.id.hex}@{kind.word}.invalid",
        role=Role.TECHNOLOGIST,
        team_id=added.team_id,
        disabled_at=now,
        created=now,
    )
    added.user_id = account.id
    session.add(account)
    _flush(session, kind)
    session.add(added)
    _flush(session, kind)
    kind.store(session, added, stated, now)
    _log(session, kind, "added", actor, added, now)
    session.commit()
    return added


def change(
    session: Session,
    actor: Actor | None,
    kind: Kind[Node, Stated],
    node_id: UUID,
    stated: Stated,
    now: datetime,
) -> Node:
    """Change what is stated of a node; what it sent before stays where it is. See `add`."""
    require_manager(actor)
    changed = _locked(session, kind, node_id)
    account = session.get_one(User, changed.user_id)
    try:
        _fill(session, kind, changed, stated)
    except Invalid:
        session.rollback()
        raise
    account.name, account.team_id = changed.name, changed.team_id
    _flush(session, kind)
    kind.store(session, changed, stated, now)
    _log(session, kind, "changed", actor, changed, now)
    session.commit()
    return changed


def switch(
    session: Session,
    actor: Actor | None,
    kind: Kind[Node, Stated],
    node_id: UUID,
    now: datetime,
    *,
    on: bool,
) -> Node:
    """Switch a node on or off. Off: what it sends next is refused."""
    require_manager(actor)
    changed = _locked(session, kind, node_id)
    if on == (changed.disabled_at is not None):
        changed.disabled_at = None if on else now
        _log(session, kind, f"switched_{'on' if on else 'off'}", actor, changed, now)
    session.commit()
    return changed


def actor_of(
    node: DicomNode | Hl7Node, via: Via, permissions: Collection[Permission], address: str = ""
) -> Actor:
    """Who acts when a node does: its account, in its team, with these permissions alone.

    The access log's rows name the node where those of a browser name the login session.
    """
    return Actor(
        user_id=node.user_id,
        team_id=node.team_id,
        role=Role.TECHNOLOGIST,
        permissions=frozenset(permissions),
        session_id=node.id,
        via=via,
        address=address,
    )


def networks(session: Session, table: type[DicomNode] | type[Hl7Node]) -> list[str]:
    """Where nodes that are switched on call from."""
    database.begin_reading(session)
    rows = session.scalars(select(table.networks).where(table.disabled_at.is_(None))).all()
    session.commit()
    return [network for row in rows for network in row]


def require_manager(actor: Actor | None) -> None:
    """Denied for who may not let others in. Without an actor: the command line."""
    if actor is not None:
        actor.require(Permission.PEOPLE_MANAGE)


def _fill(session: Session, kind: Kind[Node, Stated], row: Node, stated: Stated) -> None:
    """What is stated, in the row. Nothing is asked of the database once the row has changed."""
    name = " ".join(stated.name.split())
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise Invalid("name", _("Give the node a name of at most %(most)s characters.", most=100))
    networks, fingerprint = (
        peers.networks_of(stated.networks),
        peers.fingerprint_of(stated.fingerprint),
    )
    if session.get(Team, stated.team_id) is None:
        session.rollback()
        raise Invalid("team", _("Choose one of the teams."))
    row.name, row.team_id = name, stated.team_id
    row.networks, row.fingerprint = networks, fingerprint
    kind.fill(row, stated)


def _locked(session: Session, kind: Kind[Node, Stated], node_id: UUID) -> Node:
    found = session.get(kind.table, node_id, with_for_update=True, populate_existing=True)
    if found is None:
        session.rollback()
        raise Denied("node")
    return found


def _flush(session: Session, kind: Kind[Node, Stated]) -> None:
    try:
        session.flush()
    except IntegrityError:
        session.rollback()
        raise kind.known() from None


def _log(
    session: Session,
    kind: Kind[Node, Stated],
    what: str,
    actor: Actor | None,
    row: Node,
    now: datetime,
) -> None:
    """What is allowed now, as codes: an auditor sees who let in whom, and from where."""
    session.flush()  # what `store` has removed is gone
    detail: Detail = {
        "team": row.team_id.hex,
        "networks": list(row.networks),
        "fingerprint": row.fingerprint or "",
    }
    event = f"{kind.word}_node_{what}"
    audit.append(
        session,
        event,
        actor=actor,
        now=now,
        subject_id=row.id,
        detail=detail | kind.detail(session, row),
    )
