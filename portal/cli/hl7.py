"""`python -m portal hl7` and `hl7-listener`: the systems that send HL7, and the process that takes
what they send.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ssl import SSLError

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.cli.nodes import team_of
from portal.errors import Conflict, Invalid
from portal.governance import scheduler_signs
from portal.hl7 import listener, messages, nodes
from portal.listeners import accepting
from portal.models import Hl7Node
from portal.operations.context import Failed, now, open_portal, print_line
from portal.services import Services
from portal.settings import Settings


def hl7_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command and what it can do."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = actions.add_parser("nodes", help="list the nodes")
    show.set_defaults(act=_list)
    add = actions.add_parser("add-node", help="add a node: what it sends belongs to a team")
    _naming(add)
    _describing(add, is_new=True)
    add.set_defaults(act=_add)
    change = actions.add_parser("change-node", help="change what is stated of a node")
    _naming(change)
    _describing(change, is_new=False)
    change.set_defaults(act=_change)
    for name, text, on in (
        ("switch-off-node", "refuse what a node sends from now on", False),
        ("switch-on-node", "take it again", True),
    ):
        switch = actions.add_parser(name, help=text)
        _naming(switch)
        switch.set_defaults(act=_switch, on=on)
    alive = actions.add_parser("alive", help="only tell whether a listener elsewhere works")
    alive.set_defaults(act=_alive)


def _naming(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("application", metavar="APPLICATION", help="MSH-3 of its messages")
    parser.add_argument("facility", metavar="FACILITY", help='MSH-4 of them; "" for none')


def _describing(parser: argparse.ArgumentParser, *, is_new: bool) -> None:
    parser.add_argument("--name", help="what people call it")
    parser.add_argument("--team", required=is_new, help="the team that it belongs to")
    parser.add_argument(
        "--from",
        dest="networks",
        metavar="ADDRESSES",
        required=is_new,
        help="where it may send from, as 10.1.2.0/24",
    )
    parser.add_argument("--fingerprint", help="its TLS certificate's SHA-256; empty: without TLS")
    parser.add_argument("--authority", help="whose patient IDs count (PID-3.4)")
    parser.add_argument(
        "--accession-field", choices=nodes.ACCESSION_FIELDS, help="where the accession number is"
    )
    parser.add_argument(
        "--charset", choices=tuple(messages.CHARSETS), help="of messages that name none (ASCII)"
    )


def _list(_chosen: argparse.Namespace) -> int:
    with _opened() as session:
        found = nodes.nodes(session, None)
        if not found:
            print_line("No HL7 node was added yet.")
        for one in found:
            node = one.node
            last = f"last {one.last:%Y-%m-%d %H:%M}" if one.last else "nothing yet"
            print_line(
                f"{node.application} {node.facility or '-'}  "
                f"{'off' if node.disabled_at else 'on'}  {one.team}  "
                f"from {', '.join(node.networks)}{'  TLS' if node.fingerprint else ''}  "
                f"{node.accession_field}  {last}  {node.name}"
            )
    return 0


def _add(chosen: argparse.Namespace) -> int:
    with _opened() as session:
        stated = nodes.Described(
            name=chosen.name or chosen.application,
            application=chosen.application,
            facility=chosen.facility,
            team_id=team_of(session, chosen.team),
        )
        nodes.add(session, None, _with(stated, chosen), now())
    print_line("The node is added.")
    return 0


def _change(chosen: argparse.Namespace) -> int:
    with _opened() as session:
        node = _node(session, chosen)
        stated = _with(nodes.described(node), chosen)
        if chosen.team is not None:
            stated = replace(stated, team_id=team_of(session, chosen.team))
        if chosen.name is not None:
            stated = replace(stated, name=chosen.name)
        nodes.change(session, None, node.id, stated, now())
    print_line("The node is changed.")
    return 0


def _with(stated: nodes.Described, chosen: argparse.Namespace) -> nodes.Described:
    names = ("networks", "fingerprint", "authority", "accession_field", "charset")
    given = {name: value for name in names if (value := getattr(chosen, name)) is not None}
    return replace(stated, **given)


def _switch(chosen: argparse.Namespace) -> int:
    with _opened() as session:
        nodes.switch(session, None, _node(session, chosen).id, now(), on=chosen.on)
    print_line(f"The node is switched {'on' if chosen.on else 'off'}.")
    return 0


def _alive(_chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env(), linking=False, statement_seconds=5) as (session, _v, _e):
        if not scheduler_signs.hl7_works(session):
            raise Failed("No HL7 listener has given a sign for a minute.")
    print_line("The HL7 listener works.")
    return 0


def listen_to_hl7(_chosen: argparse.Namespace) -> int:
    """Take what HL7 nodes send, until SIGTERM."""
    settings = Settings.from_env()
    if settings.hl7 is None:
        raise Failed("Set PLEURA_HL7_PORT, such as 2575.")
    with open_portal(settings, linking=False, statement_seconds=listener.STATEMENT_SECONDS) as (
        _session,
        _vault,
        engine,
    ):
        services = Services.open(settings)
        try:
            listener.run(services, engine, settings.hl7)
        except accepting.Deaf:
            raise Failed("No connection can be accepted any more.") from None
        except SSLError:
            raise Failed("The TLS certificate, its key or the authorities can't be read.") from None
        except OSError as error:
            where = f"{settings.hl7.host}:{settings.hl7.port}"
            raise Failed(f"It can't listen at {where}: {error.strerror or error}.") from None
        finally:
            services.broker.close()
    return 0


@contextmanager
def _opened() -> Iterator[Session]:
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        try:
            yield session
        except (Invalid, Conflict) as refused:
            raise Failed(refused.message) from None


def _node(session: Session, chosen: argparse.Namespace) -> Hl7Node:
    named = (Hl7Node.application == chosen.application, Hl7Node.facility == chosen.facility)
    found = session.scalars(select(Hl7Node).where(*named)).first()
    if found is None:
        raise Failed("There is no node of this application and facility.")
    return found
