"""`python -m portal audit`: the access log is verified, anchored and handed out."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from portal import audit
from portal.audit import anchor_file, anchored_check, anchors, verification
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
        "--anchor",
        type=Path,
        metavar="FILE",
        help="also compare with the anchors in this file, such as a syslog's",
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
    settings = Settings.from_env()
    with open_portal(settings, linking=False) as (session, _vault, _engine):
        checked = anchored_check.check(session, settings, now())
        found = checked.log
        waiting = _waiting(found)
        if not found.is_whole:
            what = "is late" if found.is_late and not found.bad_records else "is broken"
            if found.is_partial and not found.problem:
                what = "can't be read whole"
            more = len(found.findings) - _NAMED
            lines = [*found.findings[:_NAMED], *([f"and {more} more"] if more > 0 else [])]
            if checked.contradiction:
                lines.append(f"not the log that was anchored, {checked.contradiction}")
            elif found.is_partial:
                lines += [one for one in (checked.reach, checked.refused) if one]
            raise Failed("\n".join([f"The access log {what}:", *lines, *waiting]))
        print_line(
            f"The access log is whole: {found.count} rows, and {found.records} records that they "
            "are about."
        )
        for line in waiting:
            print_line(line)
        _fail_unless_it_fits(checked.anchored, checked.refused)
        print_line(checked.reach)
        if chosen.anchor is not None:
            _compare(session, settings, chosen.anchor)
    return 0


def _compare(session: Session, settings: Settings, file: Path) -> None:
    """Compare with the anchors of another file, such as a syslog's."""
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            found = anchors.compare(session, lines)
    except OSError as error:
        raise Failed(f"{file} can't be read ({error.strerror}).") from None
    except anchors.AnchorFailed as failed:
        raise Failed(f"{file}: {failed}") from None
    _fail_unless_it_fits(found, "")
    if not found.anchors:
        raise Failed("There is no anchor in this file.")
    print_line(f"{file}: {anchored_check.reach_of(found, settings, now())}")


def _fail_unless_it_fits(found: anchors.Anchored | None, refused: str) -> None:
    if refused:
        raise Failed(f"The access log can't be compared with its anchors: {refused}")
    if found is not None and found.problem:
        raise Failed(
            f"It is not the log that was anchored, from row {found.first_bad} on: {found.problem}."
        )


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
    with open_portal(settings) as (session, _vault, _engine):
        file = anchors.place(session, settings)
        try:
            taken = anchor_file.keep(session, settings, now())
        except anchors.AnchorFailed as failed:
            raise Failed(str(failed)) from None
    print_line(f"Anchored at row {taken.seq}, in {file}.")
    return 0


def _export(chosen: argparse.Namespace) -> int:
    try:
        criteria = audit.AuditFilter(
            event=chosen.event,
            actor_ids=(chosen.person,) if chosen.person else (),
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
