"""DICOM nodes: what is stated of one beside what `listeners.nodes` has of every kind."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from portal.access import Actor, Denied, Permission
from portal.dicom_network.retrieving import sources
from portal.dicom_network.retrieving.sources import Queried
from portal.dicom_network.sending import choices
from portal.dicom_network.sending.choices import Chosen
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.listeners import nodes as of_any_kind
from portal.listeners import peers
from portal.listeners.nodes import Detail, Kind
from portal.models import DicomNode
from portal.settings.allowed_hosts import is_host_name

_AE_TITLE: Final = re.compile(r"[ -\[\]-~]{1,16}")  # ASCII without control characters and backslash


@dataclass(frozen=True, slots=True)
class Described:
    """What is stated of a node, as it is typed: `networks` and `port` are texts. `objects`,
    `moments`: what it gets, see `sending.choices`. `queried`, `priors`, `at_once`: whether and how
    it is queried, see `retrieving.sources`.
    """

    name: str
    ae_title: str
    team_id: UUID
    sends: bool = True
    receives: bool = False
    networks: str = ""
    host: str = ""
    port: str = ""
    fingerprint: str = ""
    objects: tuple[str, ...] = ()
    moments: tuple[str, ...] = ()
    queried: str = ""
    priors: bool = False
    at_once: str = ""


def nodes(session: Session, actor: Actor | None) -> list[tuple[DicomNode, str]]:
    """All nodes with the names of their teams, by AE title. Without an actor: the command line."""
    return of_any_kind.listed(session, actor, _KIND)


def node(session: Session, actor: Actor | None, node_id: UUID) -> DicomNode:
    """One node, or Denied."""
    of_any_kind.require_manager(actor)
    found = session.get(DicomNode, node_id)
    session.commit()
    if found is None:
        raise Denied("node")
    return found


def add(session: Session, actor: Actor | None, stated: Described, now: datetime) -> DicomNode:
    """Add a node and its account. Invalid for what can't be, Conflict `ae_title` for one that is
    known.
    """
    return of_any_kind.add(session, actor, _KIND, stated, now)


def change(
    session: Session, actor: Actor | None, node_id: UUID, stated: Described, now: datetime
) -> DicomNode:
    """Change what is stated of a node; what it sent before stays where it is. See `add`."""
    return of_any_kind.change(session, actor, _KIND, node_id, stated, now)


def switch(
    session: Session, actor: Actor | None, node_id: UUID, now: datetime, *, on: bool
) -> DicomNode:
    """Switch a node on or off. Off: its next association and its next data set are refused."""
    return of_any_kind.switch(session, actor, _KIND, node_id, now, on=on)


def described(session: Session, row: DicomNode) -> Described:
    """What is stated of a node, as it would be typed."""
    objects, moments = choices.of(session, row)
    queried = sources.of(session, row)
    session.commit()
    return Described(
        name=row.name,
        ae_title=row.ae_title,
        team_id=row.team_id,
        sends=row.sends,
        receives=row.receives,
        networks=", ".join(row.networks),
        host=row.host or "",
        port="" if row.port is None else str(row.port),
        fingerprint=row.fingerprint or "",
        objects=objects,
        moments=moments,
        queried=queried.kind.value if queried.kind else "",
        priors=queried.priors,
        at_once=str(queried.at_once),
    )


def actor_of(sender: DicomNode, address: str) -> Actor:
    """Who acts when a node sends: its account, with the right to send and no other."""
    return of_any_kind.actor_of(sender, "dicom", {Permission.STUDY_SUBMIT}, address)


def receiver_of(receiver: DicomNode) -> Actor:
    """In whose name reports and objects are made that a node gets: its account, with its team's
    exams and the right to take out of them what the team shows to those who state no finding.
    """
    return of_any_kind.actor_of(
        receiver, "dicom_out", {Permission.STUDY_READ, Permission.STUDY_EXPORT}
    )


def sends_from(sender: DicomNode, address: str) -> bool:
    """Whether the node may call from this address."""
    return peers.lies_in(address, sender.networks)


def is_ae_title(text: str) -> bool:
    """Whether a text can be an AE title (PS3.5 6.2): 1 to 16 characters, blanks around it apart."""
    return _AE_TITLE.fullmatch(text) is not None and text == text.strip(" ") and text != ""


def _fill(row: DicomNode, stated: Described) -> None:
    ae_title = stated.ae_title.strip(" ")
    if not is_ae_title(ae_title):
        raise Invalid(
            "ae_title", _("An AE title has 1 to 16 characters of ASCII, without a backslash.")
        )
    if stated.sends and not row.networks:
        raise Invalid("networks", _("State the addresses that the node sends from."))
    row.ae_title, row.sends, row.receives = ae_title, stated.sends, stated.receives
    row.host, row.port = _place(stated.host, stated.port)
    _gets(row, stated)
    _queried(row, stated)


def _gets(row: DicomNode, stated: Described) -> Chosen:
    """What it is to get; Invalid for what can't be."""
    return choices.checked(
        stated.objects, stated.moments, receives=row.receives, has_place=row.host is not None
    )


def _queried(row: DicomNode, stated: Described) -> Queried:
    """How it may be queried; Invalid for what can't be."""
    return sources.checked(
        *(stated.queried, stated.priors, stated.at_once),
        has_place=row.host is not None,
        has_networks=bool(row.networks),
    )


def _store(session: Session, row: DicomNode, stated: Described, now: datetime) -> None:
    choices.store(session, row, _gets(row, stated), now)
    sources.store(session, row, _queried(row, stated), now)


def _place(host: str, port: str) -> tuple[str | None, int | None]:
    host, port = host.strip().lower(), port.strip()
    if not host and not port:
        return None, None
    is_port = port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536
    if not is_host_name(host) or not is_port:
        raise Invalid("host", _("Give both host and port of the node, or neither."))
    return host, int(port)


def _known() -> Conflict:
    return Conflict("ae_title", _("Another node has this AE title."))


def _detail(session: Session, row: DicomNode) -> Detail:
    objects, moments = choices.of(session, row)
    queried = sources.of(session, row)
    return {
        "ae_title": row.ae_title,
        "sends": row.sends,
        "receives": row.receives,
        "called_at": "" if row.host is None else f"{row.host}:{row.port}",
        "objects": list(objects),
        "moments": list(moments),
        "queried": queried.kind.value if queried.kind else "",
        "priors": queried.priors,
        "at_once": queried.at_once,
    }


_KIND: Final = Kind(
    table=DicomNode,
    order=(DicomNode.ae_title,),
    word="dicom",
    fill=_fill,
    known=_known,
    detail=_detail,
    store=_store,
)
