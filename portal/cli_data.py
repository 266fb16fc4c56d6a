"""The commands about the life of data: purge, retention."""

import argparse
import json

from portal import custody, purging, retention
from portal.command import Failed, now, opened, say
from portal.conflict import Conflict
from portal.models import PurgeReason
from portal.settings import Settings

_SHOWN = 50


def purge_options(parser: argparse.ArgumentParser) -> None:
    """Describe `purge`."""
    parser.add_argument("case", help="the case's number or id")
    parser.add_argument(
        "--reason", required=True, choices=[reason.value for reason in PurgeReason], help="why"
    )
    parser.add_argument(
        "--reference", default="", help="the number of a letter or file, such as DS-2026/14"
    )


def purge(chosen: argparse.Namespace) -> int:
    """Destroy one case and print the proof."""
    with opened(Settings.from_env()) as (s, vault, _engine):
        found = custody.find_cases(s, None, chosen.case, now())
        if not found:
            raise Failed("There is no such case. Give its number (six signs) or its id.")
        if len(found) > 1:
            lines = [f"{case.study_id}  {case.team}  {case.created:%Y-%m-%d}" for case in found]
            raise Failed(
                "\n".join(["Several cases have this number. Give one of the ids:", *lines])
            )
        try:
            done = purging.purge(
                s,
                vault,
                None,
                found[0].study_id,
                now(),
                reason=PurgeReason(chosen.reason),
                reference=chosen.reference,
            )
        except Conflict as conflict:
            raise Failed(conflict.message) from None
        left = purging.remains(s, vault, done.study_id)
    say(json.dumps(json.loads(done.proof), indent=2))
    say(f"Digest of this proof, in the access log too: {done.digest}")
    if not left.nothing:
        raise Failed(f"Not all of it is gone: {left.files} files are left; the sweep takes them.")
    say("Looked again: no key, no sealed value, no lookup and no file of it is left.")
    return 0


def retention_options(parser: argparse.ArgumentParser) -> None:
    """Describe `retention`."""
    parser.add_argument(
        "--purge", action="store_true", help="purge what is listed; without it nothing is changed"
    )


def keep(chosen: argparse.Namespace) -> int:
    """List the cases whose time has ended, or purge them."""
    settings = Settings.from_env()
    with opened(settings) as (s, vault, _engine):
        for kind, days in retention.days_of(settings).items():
            say(f"{kind}: kept {f'{days} days' if days else 'for good'}.")
        held = retention.held_back(s, settings, now())
        if held:
            say(f"Kept by a legal hold although their time has ended: {held}.")
        if chosen.purge:
            done = retention.run(s, vault, settings, now())
            say(f"Purged: {len(done.purged)}.")
            if done.left:
                raise Failed(f"Not purged: {', '.join(one.case_number for one in done.left)}.")
            return 0
        due = retention.due(s, settings, now())
    for one in due[:_SHOWN]:
        say(f"{one.study_id}  case {one.case_number}  {one.kind} since {one.since:%Y-%m-%d}")
    if len(due) > _SHOWN:
        say(f"… and {len(due) - _SHOWN} more.")
    say(f"{len(due)} would be purged. Nothing was changed." if due else "Nothing is due.")
    return 0
