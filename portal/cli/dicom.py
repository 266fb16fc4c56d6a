"""`python -m portal dicom`, `dicom-listener` and `dicom-sender`: the nodes of the DICOM network,
and the processes that take what they send and send what they get.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from ssl import SSLError
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Denied
from portal.cli.nodes import team_of
from portal.dicom_network import listener, nodes, refusals
from portal.dicom_network.outgoing import echo
from portal.dicom_network.retrieving import overview as retrievals
from portal.dicom_network.retrieving import retriever, sources
from portal.dicom_network.sending import overview, sender
from portal.dicom_network.sending.preparation import Composes
from portal.errors import Conflict, Invalid
from portal.governance import scheduler_signs
from portal.listeners import accepting
from portal.models import DicomNode
from portal.operations.context import Failed, now, open_portal, print_line
from portal.services import Services
from portal.settings import Settings
from portal.vault import Vault
from portal.web.present.reports import objects as object_text
from portal.web.present.reports import text as report_text


def dicom_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command and what it can do."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = actions.add_parser("nodes", help="list the nodes")
    show.set_defaults(act=_list)
    add = actions.add_parser("add-node", help="add a node: what it sends belongs to a team")
    add.add_argument("ae_title", metavar="AE_TITLE")
    _describing(add, is_new=True)
    add.set_defaults(act=_add)
    change = actions.add_parser("change-node", help="change what is stated of a node")
    change.add_argument("ae_title", metavar="AE_TITLE")
    _describing(change, is_new=False)
    change.set_defaults(act=_change)
    for name, text, on in (
        ("switch-off-node", "refuse what a node sends from now on", False),
        ("switch-on-node", "take it again", True),
    ):
        switch = actions.add_parser(name, help=text)
        switch.add_argument("ae_title", metavar="AE_TITLE")
        switch.set_defaults(act=_switch, on=on)
    alive = actions.add_parser(
        "alive", help="only tell whether a listener or sender elsewhere works"
    )
    alive.add_argument("--sender", action="store_true", help="a sender, not a listener")
    alive.set_defaults(act=_alive)
    test = actions.add_parser("echo", help="call a node at its host and port")
    test.add_argument("ae_title", metavar="AE_TITLE")
    test.set_defaults(act=_echo)
    refused = actions.add_parser("refused", help="list the data sets refused in thirty days")
    refused.set_defaults(act=_refused)
    sends = actions.add_parser("sends", help="list what is not stored with proof by a node yet")
    sends.set_defaults(act=_sends)

    retrieved = actions.add_parser("retrievals", help="list what is retrieved from nodes")
    retrieved.set_defaults(act=_retrievals)
    retry = actions.add_parser("retrieve-again", help="try a retrieval again now")
    retry.add_argument("retrieval", metavar="ID", type=UUID)
    retry.set_defaults(act=_retrieve_again)


def _describing(parser: argparse.ArgumentParser, *, is_new: bool) -> None:
    parser.add_argument("--name", help="what people call it")
    parser.add_argument("--team", required=is_new, help="the team that it belongs to")
    parser.add_argument(
        "--from",
        dest="networks",
        metavar="ADDRESSES",
        help="where it may send from, as 10.1.2.0/24",
    )
    parser.add_argument("--sends", choices=("yes", "no"), help="whether it may send to us")
    parser.add_argument("--receives", choices=("yes", "no"), help="whether we may send to it")
    parser.add_argument("--objects", help="what it gets, as sr,seg,sc,pr,pdf,ko; empty: nothing")
    parser.add_argument("--moments", help="when it gets that: result,verdict,signature")
    parser.add_argument("--queried", choices=("get", "move", "no"), help="how it may be queried")
    parser.add_argument(
        "--priors", choices=("yes", "no"), help="whether for each exam that arrives"
    )
    parser.add_argument("--at-once", help="how many retrievals from it at once, 1 to 4")
    parser.add_argument("--host", help="where it is called; empty: nowhere")
    parser.add_argument("--port", help="its port there")
    parser.add_argument("--fingerprint", help="its TLS certificate's SHA-256; empty: without TLS")


def _list(_chosen: argparse.Namespace) -> int:
    with _opened() as (session, _vault, _settings):
        found, queried = nodes.nodes(session, None), sources.all_of(session)
        if not found:
            print_line("No DICOM node was added yet.")
        for node, team in found:
            state = "off" if node.disabled_at else "on"
            rights = {
                "sends": node.sends,
                "receives": node.receives,
                f"queried by {queried[node.id].kind}" if node.id in queried else "": True,
            }
            does = "/".join(word for word, yes in rights.items() if yes and word)
            place = f"  at {node.host}:{node.port}" if node.host else ""
            tls = "  TLS" if node.fingerprint else ""
            print_line(
                f"{node.ae_title:16}  {state:3}  {does or '-'}  {team}  "
                f"from {', '.join(node.networks) or '-'}{place}{tls}  {node.name}"
            )
    return 0


def _add(chosen: argparse.Namespace) -> int:
    with _opened() as (session, _vault, _settings):
        stated = nodes.Described(
            name=chosen.name or chosen.ae_title,
            ae_title=chosen.ae_title,
            team_id=team_of(session, chosen.team),
            sends=chosen.sends != "no",
            receives=chosen.receives == "yes",
            networks=chosen.networks or "",
            objects=_words(chosen.objects, ()),
            moments=_words(chosen.moments, ()),
            queried=_way(chosen.queried, ""),
            priors=chosen.priors == "yes",
            at_once=chosen.at_once or "",
            host=chosen.host or "",
            port=chosen.port or "",
            fingerprint=chosen.fingerprint or "",
        )
        nodes.add(session, None, stated, now())
    print_line("The node is added.")
    return 0


def _change(chosen: argparse.Namespace) -> int:
    with _opened() as (session, _vault, _settings):
        node = _node(session, chosen.ae_title)
        before = nodes.described(session, node)

        def either(given: str | None, otherwise: str) -> str:
            return otherwise if given is None else given

        stated = nodes.Described(
            name=either(chosen.name, before.name),
            ae_title=before.ae_title,
            team_id=before.team_id if chosen.team is None else team_of(session, chosen.team),
            sends=before.sends if chosen.sends is None else chosen.sends == "yes",
            receives=before.receives if chosen.receives is None else chosen.receives == "yes",
            networks=either(chosen.networks, before.networks),
            objects=_words(chosen.objects, before.objects),
            moments=_words(chosen.moments, before.moments),
            queried=_way(chosen.queried, before.queried),
            priors=before.priors if chosen.priors is None else chosen.priors == "yes",
            at_once=either(chosen.at_once, before.at_once),
            host=either(chosen.host, before.host),
            port=either(chosen.port, before.port if chosen.host != "" else ""),
            fingerprint=either(chosen.fingerprint, before.fingerprint),
        )
        nodes.change(session, None, node.id, stated, now())
    print_line("The node is changed.")
    return 0


def _switch(chosen: argparse.Namespace) -> int:
    with _opened() as (session, _vault, _settings):
        node = _node(session, chosen.ae_title)
        nodes.switch(session, None, node.id, now(), on=chosen.on)
    print_line(f"The node is switched {'on' if chosen.on else 'off'}.")
    return 0


def _echo(chosen: argparse.Namespace) -> int:
    with _opened() as (session, _vault, settings):
        result = echo.test(session, None, settings, _node(session, chosen.ae_title).id)
    if result != "answers":
        raise Failed(str(echo.RESULTS[result]))
    print_line(str(echo.RESULTS[result]))
    return 0


def _alive(chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env(), linking=False, statement_seconds=5) as (session, _v, _e):
        if chosen.sender:
            if not scheduler_signs.sender_works(session):
                raise Failed("No DICOM sender has given a sign for a minute.")
            print_line("The DICOM sender works.")
            return 0
        if not scheduler_signs.dicom_works(session):
            raise Failed("No DICOM listener has given a sign for a minute.")
    print_line("The DICOM listener works.")
    return 0


def _refused(_chosen: argparse.Namespace) -> int:
    with _opened() as (session, vault, _settings):
        found = refusals.newest(session, vault, None, now())
        if not found:
            print_line("Nothing was refused in the last thirty days.")
        for one in found:
            print_line(
                f"{one.created:%Y-%m-%d %H:%M}  {one.status:04X}  {one.code}  {one.size} bytes  "
                f"{one.sender}{' (DICOMweb)' if one.by_web else ''}  {one.sop_uid}"
            )
    return 0


def _sends(_chosen: argparse.Namespace) -> int:
    with _opened() as (session, vault, _settings):
        found = overview.sends(session, vault, None, now())
        for one in found.lines:
            print_line(
                f"{one.created:%Y-%m-%d %H:%M}  {one.node:16}  {one.case_number}  {one.moment}  "
                f"{one.state}  {one.reason}  {one.attempts} attempts"
            )
            for it in one.objects:
                status = "" if it.status is None else f"{it.status:04X}"
                print_line(
                    f"    {it.kind:3}  {it.state}  {it.code}  {status}  {it.comment}".rstrip()
                )
        if not found.lines:
            print_line("Nothing waits to be sent, and nothing failed.")
    return 0


def _retrievals(_chosen: argparse.Namespace) -> int:
    with _opened() as (session, _vault, _settings):
        found = retrievals.retrievals(session, None, now())
        for one in found:
            print_line(
                f"{one.created:%Y-%m-%d %H:%M}  {one.id}  {one.node:16}  "
                f"{one.day or one.case_number}  {one.state}  {one.reason}  "
                f"{one.attempts} attempts  found {one.found}, "
                f"here before {one.known}, retrieved {one.retrieved}, refused {one.refused}, "
                f"not received {one.failed}"
            )
        if not found:
            print_line("Nothing was looked for in the last thirty days.")
    return 0


def _retrieve_again(chosen: argparse.Namespace) -> int:
    with _opened() as (session, _vault, _settings):
        try:
            retrievals.again(session, None, chosen.retrieval, now())
        except Denied:
            raise Failed("There is no retrieval of this id.") from None
    print_line("It is tried again.")
    return 0


def listen(_chosen: argparse.Namespace) -> int:
    """Take what DICOM nodes send, until SIGTERM."""
    settings = Settings.from_env()
    if settings.dicom is None:
        raise Failed("Set PLEURA_DICOM_PORT, such as 11112.")
    with open_portal(settings, linking=False, statement_seconds=listener.STATEMENT_SECONDS) as (
        _session,
        _vault,
        engine,
    ):
        services = Services.open(settings)
        try:
            listener.run(services, engine, settings.dicom)
        except accepting.Deaf:
            raise Failed("No connection can be accepted any more.") from None
        except SSLError:
            raise Failed("The TLS certificate, its key or the authorities can't be read.") from None
        except OSError as error:
            where = f"{settings.dicom.host}:{settings.dicom.port}"
            raise Failed(f"It can't listen at {where}: {error.strerror or error}.") from None
        finally:
            services.broker.close()
    return 0


def send(_chosen: argparse.Namespace) -> int:
    """Send to DICOM nodes what they are to get, and retrieve what is to be looked for, until
    SIGTERM.
    """
    settings = Settings.from_env()
    if settings.dicom is None:
        raise Failed("Set PLEURA_DICOM_PORT, such as 11112: nodes report there what they stored.")
    with open_portal(settings, linking=False, statement_seconds=listener.STATEMENT_SECONDS) as (
        _session,
        _vault,
        engine,
    ):
        services = Services.open(settings)
        composes = Composes(report_text.compose, object_text.compose)
        try:
            with retriever.running(services, engine):
                sender.run(services, engine, composes)
        finally:
            services.broker.close()
    return 0


@contextmanager
def _opened() -> Iterator[tuple[Session, Vault, Settings]]:
    settings = Settings.from_env()
    with open_portal(settings) as (session, vault, _engine):
        try:
            yield session, vault, settings
        except (Invalid, Conflict) as refused:
            raise Failed(refused.message) from None


def _words(given: str | None, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """Words with commas between."""
    if given is None:
        return otherwise
    return tuple(word.strip() for word in given.split(",") if word.strip())


def _way(given: str | None, otherwise: str) -> str:
    """How a node may be queried, as it is typed."""
    if given is None:
        return otherwise
    return "" if given == "no" else given


def _node(session: Session, ae_title: str) -> DicomNode:
    found = session.scalars(select(DicomNode).where(DicomNode.ae_title == ae_title)).first()
    if found is None:
        raise Failed("There is no node of this AE title.")
    return found
