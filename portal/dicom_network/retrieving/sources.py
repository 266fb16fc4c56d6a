"""Which nodes may be queried, and how. None, unless it is chosen."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.errors import Invalid
from portal.languages import _, lazy
from portal.models import DicomNode, DicomSource, RetrieveKind

KINDS: Final = {
    RetrieveKind.GET: lazy("by C-GET"),
    RetrieveKind.MOVE: lazy("by C-MOVE to this portal’s AE title"),
}
LEAST_AT_ONCE: Final = 1
MOST_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Queried:
    """How a node is queried. `kind`: None where it is not. `priors`: by itself, when an exam
    arrives; else when somebody asks for it.
    """

    kind: RetrieveKind | None = None
    priors: bool = False
    at_once: int = LEAST_AT_ONCE


NOT_QUERIED: Final = Queried()


def of(session: Session, node: DicomNode) -> Queried:
    """How a node is queried."""
    found = session.get(DicomSource, node.id)
    return NOT_QUERIED if found is None else _queried(found)


def all_of(session: Session) -> dict[UUID, Queried]:
    """How each node is queried that may be."""
    found = {one.node_id: _queried(one) for one in session.scalars(select(DicomSource))}
    session.commit()
    return found


def are_moved_by(session: Session, node: DicomNode) -> bool:
    """Whether the node calls our listener with what it is asked for."""
    found = session.get(DicomSource, node.id, populate_existing=True)
    return found is not None and found.kind is RetrieveKind.MOVE


def checked(
    kind: str, priors: bool, at_once: str, *, has_place: bool, has_networks: bool
) -> Queried:
    """The choice as it is stored; Invalid `queried` or `at_once` for what can't be."""
    if not kind:
        return NOT_QUERIED
    if kind not in {one.value for one in KINDS}:
        raise Invalid("queried", _("Choose one of the ways listed."))
    if not has_place:
        raise Invalid("host", _("A node that is queried needs a host and a port."))
    chosen = RetrieveKind(kind)
    if chosen is RetrieveKind.MOVE and not has_networks:
        raise Invalid("networks", _("State the addresses that the node sends from."))
    text = at_once.strip() or str(LEAST_AT_ONCE)
    digits = text.isascii() and text.isdecimal() and len(text) == 1
    if not digits or not LEAST_AT_ONCE <= int(text) <= MOST_AT_ONCE:
        raise Invalid("at_once", _("A whole number from 1 to 4."))
    return Queried(chosen, priors, int(text))


def store(session: Session, node: DicomNode, chosen: Queried, now: datetime) -> None:
    """Keep the choice in the caller's transaction. A node that was not asked by itself until now
    is asked about exams that arrive from now on.
    """
    found = session.get(DicomSource, node.id)
    if chosen.kind is None:
        if found is not None:
            session.delete(found)
        return
    if found is None:
        found = DicomSource(node_id=node.id, priors=False, since=now, looked_until=now)
        session.add(found)
    if chosen.priors and not found.priors:
        found.since = found.looked_until = now
    found.kind, found.priors, found.at_once = chosen.kind, chosen.priors, chosen.at_once


def _queried(row: DicomSource) -> Queried:
    return Queried(row.kind, row.priors, row.at_once)
