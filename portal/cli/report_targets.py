"""`python -m portal report-targets` and `report-sender`: the systems that get reports by HL7, and
the process that sends them.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Denied
from portal.cli.nodes import is_alive, opened, served, team_of
from portal.governance import scheduler_signs
from portal.hl7 import messages, nodes
from portal.hl7.sending import overview, probe, sender, targets
from portal.models import ReportTarget
from portal.operations.context import Failed, now, print_line
from portal.settings import Settings
from portal.vault import Vault
from portal.web.present.reports import text as report_text


def target_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command and what it can do."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    actions.add_parser("list", help="list the targets").set_defaults(act=_list)
    add = actions.add_parser("add", help="add a target: it gets the reports of a team's cases")
    add.add_argument("name", metavar="NAME", help="what people call it")
    add.add_argument("--team", required=True, help="whose reports it gets")
    add.add_argument("--host", required=True, help="where it is called")
    add.add_argument("--port", required=True, help="its port there")
    add.add_argument("--application", required=True, help="MSH-5 of the messages to it")
    add.add_argument("--facility", default="", help="MSH-6 of them")
    add.add_argument("--authority", default="", help="of patient IDs (PID-3.4)")
    add.add_argument(
        "--accession-field",
        choices=nodes.ACCESSION_FIELDS,
        default=nodes.ACCESSION_FIELDS[0],
        help="where it looks for the accession number, beside OBR-18",
    )
    add.add_argument("--charset", choices=tuple(messages.CHARSETS), default=targets.DEFAULT_CHARSET)
    add.add_argument(
        "--fingerprint", default="", help="its TLS certificate's SHA-256; empty: without TLS"
    )
    add.set_defaults(act=_add)
    for name, text, act in (
        ("test", "call a target with a query that names no patient", _test),
        ("switch-off", "let what is to be sent to a target wait", _switch_off),
        ("switch-on", "send to it again", _switch_on),
        ("end", "end a target for good; what waits is not sent", _end),
    ):
        named = actions.add_parser(name, help=text)
        named.add_argument("name", metavar="NAME")
        named.set_defaults(act=act)
    sends = actions.add_parser("sends", help="list what no target has accepted")
    sends.set_defaults(act=_sends)
    alive = actions.add_parser("alive", help="only tell whether a sender elsewhere works")
    alive.set_defaults(act=_alive)


def _list(_chosen: argparse.Namespace) -> int:
    with _opened() as (session, _vault, _settings):
        found = targets.targets(session, None)
    for target, team in found:
        ends = target.certificate_ends
        tls = "  TLS" if target.fingerprint else ""
        until = f" until {ends:%Y-%m-%d}" if ends else ""
        print_line(
            f"{target.name}  {'off' if target.disabled_at else 'on'}  {team}  "
            f"{target.host}:{target.port}{tls}{until}  {target.application} "
            f"{target.facility or '-'}  {target.accession_field}  {target.charset}"
        )
    if not found:
        print_line("No report target was added yet.")
    return 0


def _add(chosen: argparse.Namespace) -> int:
    with _opened() as (session, _vault, _settings):
        names = ("name", "host", "port", "application", "facility", "authority")
        stated = targets.Described(
            team_id=team_of(session, chosen.team),
            accession_field=chosen.accession_field,
            charset=chosen.charset,
            fingerprint=chosen.fingerprint,
            **{name: getattr(chosen, name) for name in names},
        )
        targets.add(session, None, stated, now())
    print_line("The target is added.")
    return 0


def _test(chosen: argparse.Namespace) -> int:
    with _opened() as (session, _vault, settings):
        result = probe.test(session, None, settings, _target(session, chosen).id, now())
    if result != "answers":
        raise Failed(str(probe.RESULTS[result]))
    print_line(str(probe.RESULTS[result]))
    return 0


def _switch_off(chosen: argparse.Namespace) -> int:
    return _switch(chosen, on=False)


def _switch_on(chosen: argparse.Namespace) -> int:
    return _switch(chosen, on=True)


def _switch(chosen: argparse.Namespace, *, on: bool) -> int:
    with _opened() as (session, _vault, _settings):
        targets.switch(session, None, _target(session, chosen).id, now(), on=on)
    print_line(f"The target is switched {'on' if on else 'off'}.")
    return 0


def _end(chosen: argparse.Namespace) -> int:
    with _opened() as (session, _vault, _settings):
        targets.end(session, None, _target(session, chosen).id, now())
    print_line("The target has ended.")
    return 0


def _sends(_chosen: argparse.Namespace) -> int:
    with _opened() as (session, vault, _settings):
        found = overview.sends(session, vault, None, now())
    for one in found.lines:
        print_line(
            f"{one.created:%Y-%m-%d %H:%M}  {one.target}  {one.case_number}  {one.moment}  "
            f"{one.state}  {one.reason}  {one.attempts} attempts  {one.answer}  {one.remark}"
        )
    if not found.lines:
        print_line("Nothing waits to be sent, and nothing failed.")
    return 0


def _alive(_chosen: argparse.Namespace) -> int:
    return is_alive(scheduler_signs.report_sender_works, "sender of reports")


def send_reports(_chosen: argparse.Namespace) -> int:
    """Send reports to their targets, until SIGTERM."""
    settings = Settings.from_env()
    if settings.hl7 is None:
        raise Failed("Set PLEURA_HL7_PORT, such as 2575: name and TLS files are the listener's.")
    with served(settings) as (services, engine):
        sender.run(services, engine, report_text.compose)
    return 0


@contextmanager
def _opened() -> Iterator[tuple[Session, Vault, Settings]]:
    with opened() as found:
        try:
            yield found
        except Denied:
            raise Failed("There is no such target.") from None


def _target(session: Session, chosen: argparse.Namespace) -> ReportTarget:
    named = (ReportTarget.name == chosen.name, ReportTarget.ended_at.is_(None))
    found = session.scalars(select(ReportTarget).where(*named).limit(2)).all()
    if len(found) != 1:
        raise Failed("There is no target of this name." if not found else "Two have this name.")
    return found[0]
