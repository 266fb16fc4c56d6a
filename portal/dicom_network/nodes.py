"""DICOM nodes: the systems that are known, each with its team, and who may add and change them.

A node sends in the name of an account of its own, which nobody can sign in with: it is disabled
from the beginning, has no password, and the people's page does not know it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.dicom_network.retrieving import sources
from portal.dicom_network.retrieving.sources import Queried
from portal.dicom_network.sending import choices
from portal.dicom_network.sending.choices import Chosen
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.listeners import peers
from portal.models import DicomNode, Role, Team, User
from portal.settings.allowed_hosts import is_host_name

_AE_TITLE: Final = re.compile(r"[ -\[\]-~]{1,16}")  # ASCII without control characters and backslash
_LONGEST_NAME: Final = 100


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


@dataclass(frozen=True, slots=True)
class _Checked:
    name: str
    ae_title: str
    networks: list[str]
    host: str | None
    port: int | None
    fingerprint: str | None
    gets: Chosen
    queried: Queried


def nodes(session: Session, actor: Actor | None) -> list[tuple[DicomNode, str]]:
    """All nodes with the names of their teams, by AE title. Without an actor: the command line."""
    _may_manage(actor)
    rows = session.execute(
        select(DicomNode, Team.name)
        .join(Team, Team.id == DicomNode.team_id)
        .order_by(DicomNode.ae_title)
    )
    found = [(node, team) for node, team in rows]
    session.commit()
    return found


def node(session: Session, actor: Actor | None, node_id: UUID) -> DicomNode:
    """One node, or Denied."""
    _may_manage(actor)
    found = session.get(DicomNode, node_id)
    session.commit()
    if found is None:
        raise Denied("node")
    return found


def add(session: Session, actor: Actor | None, stated: Described, now: datetime) -> DicomNode:
    """Add a node and its account. Invalid for what can't be, Conflict `ae_title` for one that is
    known.
    """
    _may_manage(actor)
    values = _checked(stated)
    team = _team(session, stated.team_id)
    node_id = uuid4()
    account = User(
        id=uuid4(),
        name=values.name,
        email=f"{node_id.hex}@dicom.invalid",
        role=Role.TECHNOLOGIST,
        team_id=team.id,
        disabled_at=now,
        created=now,
    )
    added = DicomNode(
        id=node_id,
        user_id=account.id,
        team_id=team.id,
        sends=stated.sends,
        receives=stated.receives,
        created=now,
    )
    _fill(added, values)
    session.add(account)
    _flush(session)
    session.add(added)
    _flush(session)
    choices.store(session, added, values.gets, now)
    sources.store(session, added, values.queried, now)
    _log(session, "dicom_node_added", actor, added, now)
    session.commit()
    return added


def change(
    session: Session, actor: Actor | None, node_id: UUID, stated: Described, now: datetime
) -> DicomNode:
    """Change what is stated of a node; what it sent before stays where it is. See `add`."""
    _may_manage(actor)
    values = _checked(stated)
    changed = _locked(session, node_id)
    team = _team(session, stated.team_id)
    account = session.get_one(User, changed.user_id)
    account.name, account.team_id = values.name, team.id
    changed.team_id, changed.sends, changed.receives = team.id, stated.sends, stated.receives
    _fill(changed, values)
    _flush(session)
    choices.store(session, changed, values.gets, now)
    sources.store(session, changed, values.queried, now)
    _log(session, "dicom_node_changed", actor, changed, now)
    session.commit()
    return changed


def switch(
    session: Session, actor: Actor | None, node_id: UUID, now: datetime, *, on: bool
) -> DicomNode:
    """Switch a node on or off. Off: its next association and its next data set are refused."""
    _may_manage(actor)
    changed = _locked(session, node_id)
    if on == (changed.disabled_at is not None):
        changed.disabled_at = None if on else now
        event = "dicom_node_switched_on" if on else "dicom_node_switched_off"
        _log(session, event, actor, changed, now)
    session.commit()
    return changed


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
    """Who acts when a node sends: its account, in its team, with the right to send and no other.

    The access log's rows name the node where those of a browser name the login session.
    """
    return Actor(
        user_id=sender.user_id,
        team_id=sender.team_id,
        role=Role.TECHNOLOGIST,
        permissions=frozenset({Permission.STUDY_SUBMIT}),
        session_id=sender.id,
        via="dicom",
        address=address,
    )


def receiver_of(receiver: DicomNode) -> Actor:
    """In whose name reports and objects are made that a node gets: its account, with its team's
    exams and the right to take out of them what the team shows to those who state no finding.
    """
    return Actor(
        user_id=receiver.user_id,
        team_id=receiver.team_id,
        role=Role.TECHNOLOGIST,
        permissions=frozenset({Permission.STUDY_READ, Permission.STUDY_EXPORT}),
        session_id=receiver.id,
        via="dicom_out",
    )


def sends_from(sender: DicomNode, address: str) -> bool:
    """Whether the node may call from this address."""
    return peers.lies_in(address, sender.networks)


def is_ae_title(text: str) -> bool:
    """Whether a text can be an AE title (PS3.5 6.2): 1 to 16 characters, blanks around it apart."""
    return _AE_TITLE.fullmatch(text) is not None and text == text.strip(" ") and text != ""


def _may_manage(actor: Actor | None) -> None:
    if actor is not None:
        actor.require(Permission.PEOPLE_MANAGE)


def _checked(stated: Described) -> _Checked:
    name, ae_title = " ".join(stated.name.split()), stated.ae_title.strip(" ")
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise Invalid("name", _("Give the node a name of at most %(most)s characters.", most=100))
    if not is_ae_title(ae_title):
        raise Invalid(
            "ae_title", _("An AE title has 1 to 16 characters of ASCII, without a backslash.")
        )
    networks = peers.networks_of(stated.networks)
    if stated.sends and not networks:
        raise Invalid("networks", _("State the addresses that the node sends from."))
    host, port = _place(stated.host, stated.port)
    fingerprint = peers.fingerprint_of(stated.fingerprint)
    gets = choices.checked(
        stated.objects, stated.moments, receives=stated.receives, has_place=host is not None
    )
    queried = sources.checked(
        *(stated.queried, stated.priors, stated.at_once),
        has_place=host is not None,
        has_networks=bool(networks),
    )
    return _Checked(name, ae_title, networks, host, port, fingerprint, gets, queried)


def _place(host: str, port: str) -> tuple[str | None, int | None]:
    host, port = host.strip().lower(), port.strip()
    if not host and not port:
        return None, None
    is_port = port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536
    if not is_host_name(host) or not is_port:
        raise Invalid("host", _("Give both host and port of the node, or neither."))
    return host, int(port)


def _fill(row: DicomNode, values: _Checked) -> None:
    row.name, row.ae_title, row.networks = values.name, values.ae_title, values.networks
    row.host, row.port, row.fingerprint = values.host, values.port, values.fingerprint


def _team(session: Session, team_id: UUID) -> Team:
    team = session.get(Team, team_id)
    if team is None:
        session.rollback()
        raise Invalid("team", _("Choose one of the teams."))
    return team


def _locked(session: Session, node_id: UUID) -> DicomNode:
    found: Sequence[DicomNode] = session.scalars(
        select(DicomNode)
        .where(DicomNode.id == node_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    if not found:
        session.rollback()
        raise Denied("node")
    return found[0]


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError:
        session.rollback()
        raise Conflict("ae_title", _("Another node has this AE title.")) from None


def _log(
    session: Session,
    event: str,
    actor: Actor | None,
    changed: DicomNode,
    now: datetime,
) -> None:
    """What is allowed now, as codes: an auditor sees who let in whom, and from where."""
    session.flush()
    gets, queried = choices.of(session, changed), sources.of(session, changed)
    detail: dict[str, str | int | bool | list[str] | None] = {
        "ae_title": changed.ae_title,
        "team": changed.team_id.hex,
        "sends": changed.sends,
        "receives": changed.receives,
        "networks": list(changed.networks),
        "called_at": "" if changed.host is None else f"{changed.host}:{changed.port}",
        "fingerprint": changed.fingerprint or "",
        "objects": list(gets[0]),
        "moments": list(gets[1]),
        "queried": queried.kind.value if queried.kind else "",
        "priors": queried.priors,
        "at_once": queried.at_once,
    }
    audit.append(session, event, actor=actor, now=now, subject_id=changed.id, detail=detail)
