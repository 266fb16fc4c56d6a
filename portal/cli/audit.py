"""`python -m portal audit`: the access log is verified, anchored and handed out."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import UUID

from portal import audit
from portal.audit import anchors, verification
from portal.audit import export as logbook
from portal.operations.context import Failed, now, open_portal, print_line
from portal.settings import Settings
from portal.studies import exams

_NAMED: Final = 20


def audit_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command and what it can do."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    verify = actions.add_parser("verify", help="check every row of the access log and its end")
    verify.add_argument(
        "--anchor", type=Path, metavar="FILE", help="compare with the anchors in this file too"
    )
    verify.set_defaults(act=_verify)
    write = actions.add_parser("anchor", help="write where the log ends to file and syslog, now")
    write.set_defaults(act=_anchor)
    export = actions.add_parser("export", help="hand the log out, the oldest row first")
    export.add_argument("--format", choices=sorted(logbook.FORMATS), default="csv")
    export.add_argument("--event", default="", help="only this event, such as study_opened")
    export.add_argument("--person", type=UUID, metavar="ID", help="only what this person did")
    export.add_argument("--case", default="", metavar="CASE", help="only what is about this case")
    export.add_argument("--since", default="", metavar="TIME", help="2026-03-04 or with T09:00")
    export.add_argument("--until", default="", metavar="TIME", help="the same; a day is included")
    export.set_defaults(act=_export)


def _verify(chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env(), linking=False) as (session, _vault, _engine):
        found = verification.verify(session, now())
        waiting = _waiting(found)
        if not found.is_whole:
            what = "is late" if found.is_late else "is broken"
            problem = f"The access log {what} at row {found.first_bad}: {found.problem}."
            raise Failed("\n".join([problem, *waiting]))
        print_line(f"The access log is whole: {found.count} rows.")
        for line in waiting:
            print_line(line)
        if chosen.anchor is None:
            return 0
        try:
            with chosen.anchor.open(encoding="utf-8", errors="replace") as lines:
                anchored = anchors.compare(session, lines)
        except OSError as error:
            raise Failed(f"{chosen.anchor} can't be read ({error.strerror}).") from None
        except anchors.AnchorFailed as failed:
            raise Failed(str(failed)) from None
    if anchored.problem:
        raise Failed(
            f"It is not the log that was anchored, from row {anchored.first_bad} on: "
            f"{anchored.problem}."
        )
    if not anchored.anchors:
        raise Failed("There is no anchor in this file.")
    print_line(f"It fits all of its {anchored.anchors} anchors.")
    return 0


def _waiting(found: verification.Verification) -> list[str]:
    """Which rows are not linked yet, and for how long the first has waited."""
    if found.oldest is None:
        return []
    numbers = ", ".join(str(seq) for seq in found.unlinked[:_NAMED])
    more = " …" if len(found.unlinked) > _NAMED else ""
    seconds = max(0, round((now() - found.oldest).total_seconds()))
    return [
        f"Not linked into the chain yet: {len(found.unlinked)} rows ({numbers}{more}), the first "
        f"for {seconds} seconds. The sweep links them each second."
    ]


def _anchor(_chosen: argparse.Namespace) -> int:
    settings = Settings.from_env()
    file, syslog = settings.audit_anchor_file, settings.audit_anchor_syslog
    if file is None and not syslog:
        raise Failed("Name PLEURA_AUDIT_ANCHOR_FILE or PLEURA_AUDIT_ANCHOR_SYSLOG first.")
    with open_portal(settings) as (session, _vault, _engine):
        taken = anchors.take(session, now())
    try:
        anchors.write(taken, file=file, syslog=syslog)
    except anchors.AnchorFailed as failed:
        raise Failed(str(failed)) from None
    print_line(f"Anchored at row {taken.seq}.")
    return 0


def _export(chosen: argparse.Namespace) -> int:
    try:
        criteria = audit.AuditFilter(
            event=chosen.event,
            actor_id=chosen.person,
            since=logbook.moment(chosen.since),
            until=logbook.moment(chosen.until, end=True),
        )
    except (ValueError, OverflowError):
        raise Failed("Give times like 2026-03-04 or 2026-03-04T09:00 (UTC).") from None
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        if chosen.case:
            criteria = replace(criteria, study_ids=exams.ids_of_case(session, chosen.case))
            if not criteria.study_ids:
                raise Failed("There is no case with this number, and it is not an id.")
        for line in logbook.export_all(session, criteria, chosen.format, now()):
            sys.stdout.write(line)
    return 0
