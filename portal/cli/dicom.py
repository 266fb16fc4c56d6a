"""`python -m portal dicom`, `dicom-listener` and `dicom-sender`: the nodes of the DICOM network,
and the processes that take what they send and send what they get.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Denied
from portal.cli.nodes import NodeCommands, given, is_alive, listening_at, opened, served
from portal.dicom_network import listener, nodes, refusals
from portal.dicom_network.outgoing import echo
from portal.dicom_network.retrieving import overview as retrievals
from portal.dicom_network.retrieving import retriever, sources
from portal.dicom_network.sending import overview, sender
from portal.dicom_network.sending.preparation import Composes
from portal.governance import scheduler_signs
from portal.models import DicomNode
from portal.operations.context import Failed, now, print_line
from portal.settings import Settings
from portal.web.present.reports import objects as object_text
from portal.web.present.reports import text as report_text


def dicom_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command and what it can do."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _NODES.add_to(actions)
    alive = actions.add_parser(
        "alive", help="only tell whether a listener or sender elsewhere works"
    )
    alive.add_argument("--sender", action="store_true", help="a sender, not a listener")
    alive.set_defaults(act=_alive)
    test = actions.add_parser("echo", help="call a node at its host and port")
    _naming(test)
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


def listen(_chosen: argparse.Namespace) -> int:
    """Take what DICOM nodes send, until SIGTERM."""
    settings = Settings.from_env()
    if settings.dicom is None:
        raise Failed("Set PLEURA_DICOM_PORT, such as 11112.")
    with served(settings) as (services, engine), listening_at(settings.dicom):
        listener.run(services, engine, settings.dicom)
    return 0


def send(_chosen: argparse.Namespace) -> int:
    """Send to DICOM nodes what they are to get, and retrieve what is to be looked for, until
    SIGTERM.
    """
    settings = Settings.from_env()
    if settings.dicom is None:
        raise Failed("Set PLEURA_DICOM_PORT, such as 11112: nodes report there what they stored.")
    with served(settings) as (services, engine), retriever.running(services, engine):
        sender.run(services, engine, Composes(report_text.compose, object_text.compose))
    return 0


def _naming(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ae_title", metavar="AE_TITLE")


def _describing(parser: argparse.ArgumentParser) -> None:
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


def _lines(session: Session) -> Iterator[str]:
    queried = sources.all_of(session)
    for node, team in nodes.nodes(session, None):
        state = "off" if node.disabled_at else "on"
        rights = {"sends": node.sends, "receives": node.receives}
        if node.id in queried:
            rights[f"queried by {queried[node.id].kind}"] = True
        does = "/".join(word for word, yes in rights.items() if yes)
        place = f"  at {node.host}:{node.port}" if node.host else ""
        tls = "  TLS" if node.fingerprint else ""
        yield (
            f"{node.ae_title:16}  {state:3}  {does or '-'}  {team}  "
            f"from {', '.join(node.networks) or '-'}{place}{tls}  {node.name}"
        )


def _node(session: Session, chosen: argparse.Namespace) -> DicomNode:
    named = DicomNode.ae_title == chosen.ae_title
    found = session.scalars(select(DicomNode).where(named)).first()
    if found is None:
        raise Failed("There is no node of this AE title.")
    return found


def _stated(chosen: argparse.Namespace, team_id: UUID) -> nodes.Described:
    return nodes.Described(
        name=chosen.name or chosen.ae_title,
        ae_title=chosen.ae_title,
        team_id=team_id,
        **_own(chosen),
    )


def _changed(session: Session, chosen: argparse.Namespace, node: DicomNode) -> nodes.Described:
    before = nodes.described(session, node)
    if chosen.host == "":  # a port alone can't be
        before = replace(before, port="")
    return replace(before, **given(chosen, "name", "team_id"), **_own(chosen))


def _own(chosen: argparse.Namespace) -> dict[str, Any]:
    """What was given of a DICOM node: choices as they are, words with commas between them."""
    found = given(chosen, "networks", "fingerprint", "host", "port", "at_once")
    allowed = given(chosen, "sends", "receives", "priors")
    found |= {name: yes == "yes" for name, yes in allowed.items()}
    found |= {name: "" if way == "no" else way for name, way in given(chosen, "queried").items()}
    for name, text in given(chosen, "objects", "moments").items():
        found[name] = tuple(word.strip() for word in text.split(",") if word.strip())
    return found


def _echo(chosen: argparse.Namespace) -> int:
    with opened() as (session, _vault, settings):
        result = echo.test(session, None, settings, _node(session, chosen).id)
    if result != "answers":
        raise Failed(str(echo.RESULTS[result]))
    print_line(str(echo.RESULTS[result]))
    return 0


def _alive(chosen: argparse.Namespace) -> int:
    if chosen.sender:
        return is_alive(scheduler_signs.sender_works, "DICOM sender")
    return is_alive(scheduler_signs.dicom_works, "DICOM listener")


def _refused(_chosen: argparse.Namespace) -> int:
    with opened() as (session, vault, _settings):
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
    with opened() as (session, vault, _settings):
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
    with opened() as (session, _vault, _settings):
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
    with opened() as (session, _vault, _settings):
        try:
            retrievals.again(session, None, chosen.retrieval, now())
        except Denied:
            raise Failed("There is no retrieval of this id.") from None
    print_line("It is tried again.")
    return 0


_NODES: Final = NodeCommands(
    word="DICOM",
    room=nodes,
    naming=_naming,
    describing=_describing,
    lines=_lines,
    node=_node,
    stated=_stated,
    changed=_changed,
    needs_networks=False,
)
