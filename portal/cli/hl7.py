"""`python -m portal hl7` and `hl7-listener`: the systems that send HL7, and the process that takes
what they send.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.cli.nodes import NodeCommands, given, is_alive, listening_at, served
from portal.governance import scheduler_signs
from portal.hl7 import listener, messages, nodes
from portal.models import Hl7Node
from portal.operations.context import Failed
from portal.settings import Settings

_OWN: Final = ("networks", "fingerprint", "authority", "accession_field", "charset")


def hl7_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command and what it can do."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _NODES.add_to(actions)
    alive = actions.add_parser("alive", help="only tell whether a listener elsewhere works")
    alive.set_defaults(act=_alive)


def listen_to_hl7(_chosen: argparse.Namespace) -> int:
    """Take what HL7 nodes send, until SIGTERM."""
    settings = Settings.from_env()
    if settings.hl7 is None:
        raise Failed("Set PLEURA_HL7_PORT, such as 2575.")
    with served(settings) as (services, engine), listening_at(settings.hl7):
        listener.run(services, engine, settings.hl7)
    return 0


def _naming(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("application", metavar="APPLICATION", help="MSH-3 of its messages")
    parser.add_argument("facility", metavar="FACILITY", help='MSH-4 of them; "" for none')


def _describing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--authority", help="whose patient IDs count (PID-3.4)")
    parser.add_argument(
        "--accession-field", choices=nodes.ACCESSION_FIELDS, help="where the accession number is"
    )
    parser.add_argument(
        "--charset", choices=tuple(messages.CHARSETS), help="of messages that name none (ASCII)"
    )


def _lines(session: Session) -> Iterator[str]:
    for one in nodes.nodes(session, None):
        node = one.node
        last = f"last {one.last:%Y-%m-%d %H:%M}" if one.last else "nothing yet"
        yield (
            f"{node.application} {node.facility or '-'}  "
            f"{'off' if node.disabled_at else 'on'}  {one.team}  "
            f"from {', '.join(node.networks)}{'  TLS' if node.fingerprint else ''}  "
            f"{node.accession_field}  {last}  {node.name}"
        )


def _node(session: Session, chosen: argparse.Namespace) -> Hl7Node:
    named = (Hl7Node.application == chosen.application, Hl7Node.facility == chosen.facility)
    found = session.scalars(select(Hl7Node).where(*named)).first()
    if found is None:
        raise Failed("There is no node of this application and facility.")
    return found


def _stated(chosen: argparse.Namespace, team_id: UUID) -> nodes.Described:
    return nodes.Described(
        name=chosen.name or chosen.application,
        application=chosen.application,
        facility=chosen.facility,
        team_id=team_id,
        **given(chosen, *_OWN),
    )


def _changed(_session: Session, chosen: argparse.Namespace, node: Hl7Node) -> nodes.Described:
    return replace(nodes.described(node), **given(chosen, "name", "team_id", *_OWN))


def _alive(_chosen: argparse.Namespace) -> int:
    return is_alive(scheduler_signs.hl7_works, "HL7 listener")


_NODES: Final = NodeCommands(
    word="HL7",
    room=nodes,
    naming=_naming,
    describing=_describing,
    lines=_lines,
    node=_node,
    stated=_stated,
    changed=_changed,
    needs_networks=True,
)
