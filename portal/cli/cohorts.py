"""`python -m portal cohort`: data sets are frozen, listed, checked; purged pictures taken out."""

import argparse
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from portal.accounts import teams
from portal.cohorts import freezing, upkeep
from portal.cohorts.folder import BadFolder
from portal.cohorts.selection import Filters
from portal.formats.limited_work import Busy
from portal.operations.context import Failed, now, open_portal, print_line
from portal.settings import Settings

_WHY = {
    "second_read": "wait for a second or third reader, who is to see no finding before",
    "not_frontal": "no frontal view",
    "no_dicom": "uploaded as PNG or JPEG: only DICOM can be de-identified",
    "not_prepared": "could not be prepared",
    "damaged": "a file of it is damaged",
    "look_first": "text may be burned in: look at them, then freeze with --looked",
    "not_cleanable": "may contain text that can't be removed",
    "too_much_work": "takes far longer to de-identify than an X-ray",
}


def cohort_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command and what it can do."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    freeze = actions.add_parser("freeze", help="write read cases as a data set")
    freeze.add_argument("name", help="small letters, digits, hyphens; again: the next version")
    freeze.add_argument("folder", type=Path, help="a new or empty folder")
    freeze.add_argument("--team", default=None, help="its name; needed where there are several")
    freeze.add_argument(
        "--from", dest="since", type=date.fromisoformat, help="arrived on this day (UTC) or later"
    )
    freeze.add_argument(
        "--to", dest="until", type=date.fromisoformat, help="arrived on this day (UTC) or before"
    )
    freeze.add_argument("--signed", action="store_true", help="signed cases alone")
    freeze.add_argument(
        "--looked",
        action="store_true",
        help="somebody has looked for text burned into the pictures; else such pictures stay out",
    )
    freeze.add_argument(
        "--after", type=Path, help="folder of an earlier version, whose patients keep their folds"
    )
    freeze.set_defaults(act=_freeze)
    show = actions.add_parser("list", help="list the cohorts that were frozen")
    show.set_defaults(act=_list)
    check = actions.add_parser("check", help="compare a cohort on disk with what was frozen")
    check.add_argument("folder", type=Path)
    check.set_defaults(act=_check)
    purge = actions.add_parser("purge", help="take pictures of purged cases out of a cohort")
    purge.add_argument("folder", type=Path)
    purge.set_defaults(act=_purge)


def _freeze(chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, vault, _engine):
        filters = Filters(_team(session, chosen.team), *_days(chosen), chosen.signed)
        try:
            done = freezing.freeze(
                session,
                vault,
                chosen.name,
                chosen.folder.absolute(),
                filters,
                now(),
                looked=chosen.looked,
                after=chosen.after,
            )
        except BadFolder as bad:
            raise Failed(bad.message) from None
        except OSError as error:
            raise Failed(f"Nothing was frozen: {error.strerror or error}.") from None
        except Busy:
            raise Failed("Nothing was frozen: the machine has too much to do.") from None
    print_line(
        f"Cohort {done.cohort.name}, version {done.cohort.version}: {done.pictures} pictures of "
        f"{done.patients} patients, {done.labelled} of them with a label."
    )
    print_line(f"SHA-256 of its manifest, in the access log too: {done.cohort.manifest_sha256}")
    for why, count in done.left_out.items():
        print_line(f"Left out: {count} ({_WHY[why]})")
    return 0


def _list(_chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        frozen = upkeep.listed(session)
        if not frozen:
            print_line("No cohort was frozen yet.")
        for one in frozen:
            print_line(
                f"{one.name} {one.version}  {one.created:%Y-%m-%d}  "
                f"{len(one.picture_names)} pictures  {one.manifest_sha256}"
            )
    return 0


def _check(chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, vault, _engine):
        try:
            found = upkeep.check(session, vault, chosen.folder)
        except BadFolder as bad:
            raise Failed(bad.message) from None
    problems = list(found.problems)
    if not found.is_known:
        problems.insert(0, "its manifest is not one that was frozen here")
    for name in found.purged:
        problems.append(f"{name}: its case was purged; `cohort purge` takes it out")
    if problems:
        raise Failed("\n".join([f"Cohort {found.name}, version {found.version}:", *problems]))
    print_line(f"Cohort {found.name}, version {found.version}: as it was frozen.")
    return 0


def _purge(chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, vault, _engine):
        try:
            gone = upkeep.purge(session, vault, chosen.folder, now())
        except BadFolder as bad:
            raise Failed(bad.message) from None
        except OSError as error:
            raise Failed(f"Not done yet, try again: {error.strerror or error}.") from None
    print_line(f"Taken out: {len(gone)}. tombstones.json names them.")
    return 0


def _team(session: Session, name: str | None) -> UUID:
    known = teams.teams(session)
    session.commit()
    found = [one for one in known if name in (None, one.name)]
    if len(found) != 1:
        names = ", ".join(one.name for one in known) or "none"
        raise Failed(f"Name one team with --team: {names}.")
    return found[0].id


def _days(chosen: argparse.Namespace) -> tuple[datetime | None, datetime | None]:
    since = datetime.combine(chosen.since, time(), UTC) if chosen.since else None
    until = (
        datetime.combine(chosen.until, time(), UTC) + timedelta(days=1) if chosen.until else None
    )
    return since, until
