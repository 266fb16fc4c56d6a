"""Files of at most 1 MB are to cost as much as they can: on the way in, and in an export.

Of each kind and seed `--files` are read by the processes that read headers, where 0.5 s and 50 MB
are the most, and what is accepted is then listed for an export. The kernel counts time and memory:
a process that needs more than its limits ends, and the file is refused as `header_limit`.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from portal.exchange import deidentified_export
from portal.formats import zip_archive
from portal.formats.header_pool import Work
from portal.formats.limited_work import LimitedWork
from portal.formats.refusals import Limits, Refused
from portal.formats.zip_archive import ArchiveLimits
from portal.intake.check import check, pixels_digest
from tests.campaigns.campaign import Arguments, Row
from tests.support.hostile_files import costly

COLUMNS = (
    "files",
    "seed",
    "tried",
    "accepted",
    "refused, by reason",
    "at a limit",
    "most s on the way in",
    "most s in an export",
    "s",
)
ROUNDS = 10
MEGABYTE = 2**20
MOST_SECONDS = 0.5
_LIMITS = Limits(64 * MEGABYTE)
_ARCHIVE = ArchiveLimits(256 * MEGABYTE, 64 * MEGABYTE)
_UIDS = {"study": "2.25.1", "series": "2.25.2", "instance": "2.25.3"}
_PLAN = {"what": "plan", "uids": _UIDS, "pseudonym": "PLR1", "number": 1}


@dataclass
class Seen:
    """What the files of a kind and seed have cost."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    at_a_limit: list[int] = field(default_factory=list)
    way_in: float = 0.0
    in_export: float = 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this campaign."""
    parser.add_argument("--files", type=int, default=200, help="of each kind and seed")


def run(arguments: Arguments) -> list[Row]:
    """A row for each kind and seed."""
    return [
        arguments.resume.row(
            f"{kind} {seed}", partial(row, kind, seed, files=arguments.options.files)
        )
        for seed in range(arguments.seed, arguments.seed + arguments.rounds)
        for kind in costly.KINDS
    ]


def row(kind: str, seed: int, *, files: int) -> Row:
    """Make and read the files of one kind."""
    began, seen = time.monotonic(), Seen()
    work = LimitedWork(deidentified_export.MODULE)
    try:
        for number in range(files):
            data = costly.made(kind, seed, number, MEGABYTE)
            spent = Work()
            if zip_archive.looks_like(data):
                _each_of(data, spent, seen, number)
            elif _is_accepted(data, spent, seen, number) and data[:4] not in _PLAIN:
                _export(work, data, seen, number)
            seen.way_in = max(seen.way_in, spent.seconds)
    finally:
        work.close()
    reasons = ", ".join(f"{code} {count}" for code, count in seen.refused.most_common())
    cells = (
        *(kind, str(seed), str(files), str(seen.accepted), reasons),
        "; ".join([str(len(seen.at_a_limit)), *(f"no. {one}" for one in seen.at_a_limit[:3])]),
        *(f"{seen.way_in:.2f}", f"{seen.in_export:.2f}", f"{time.monotonic() - began:.0f}"),
    )
    return Row(cells, not seen.at_a_limit and seen.way_in <= MOST_SECONDS)


_PLAIN = (b"\x89PNG", b"\xff\xd8\xff\xe0")


def _is_accepted(data: bytes, spent: Work, seen: Seen, number: int) -> bool:
    try:
        upload = check("x", data, _LIMITS, spent)
        if upload.media_type == "application/dicom":
            pixels_digest(data, spent)
    except Refused as refused:
        _count(refused, seen, number)
        return False
    seen.accepted += 1
    return True


def _each_of(data: bytes, spent: Work, seen: Seen, number: int) -> None:
    """The files of a ZIP, until reading them has taken as long as it may."""
    try:
        inside = zip_archive.members(data, _ARCHIVE)
    except Refused as refused:
        _count(refused, seen, number)
        return
    began = time.thread_time()
    for member in inside:
        spent.seconds += time.thread_time() - began
        if spent.seconds > _ARCHIVE.most_seconds(len(data)):
            break
        if member.data is not None:
            _is_accepted(member.data, spent, seen, number)
        began = time.thread_time()


def _export(work: LimitedWork, data: bytes, seen: Seen, number: int) -> None:
    spent = Work()
    try:
        with work.turn() as ask:
            ask({"what": "uids"}, data, spent)
            ask({**_PLAN, "spacing_is_wrong": False}, data, spent)
    except Refused as refused:
        if refused.code == "header_limit":
            seen.at_a_limit.append(number)
    seen.in_export = max(seen.in_export, spent.seconds)


def _count(refused: Refused, seen: Seen, number: int) -> None:
    seen.refused[refused.code] += 1
    if refused.code in ("header_limit", "unreadable"):
        seen.at_a_limit.append(number)
