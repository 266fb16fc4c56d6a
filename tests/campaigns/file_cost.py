"""Files of at most 1 MB are to cost as much as they can: on the way in, and when asked for later.

Of each kind and seed `--files` are read by the processes that read headers, where 0.5 s and 50 MB
are the most, and what is accepted is then listed for an export, where a question may take as much
as `deidentify_process` allows. An overlay is drawn for the largest picture of them. The kernel
counts time and memory: a process that needs more than its limits ends, and the file is refused as
`header_limit`.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from portal.exchange import deidentified_export, deidentify_process
from portal.formats import mask_png, zip_archive
from portal.formats.header_pool import Work
from portal.formats.limited_work import LimitedWork
from portal.formats.refusals import Limits, Refused
from portal.formats.zip_archive import ArchiveLimits
from portal.intake.check import check, pixels_digest
from portal.reading import drawn_overlay, served_files
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
    "most s of a question of an export",
    "largest, by pixels",
    "s of its overlay",
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
    in_overlay: float = 0.0
    largest: tuple[int, int] = (0, 0)  # rows and columns


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
    if seen.accepted:
        _overlay(seen)
    reasons = ", ".join(f"{code} {count}" for code, count in seen.refused.most_common())
    cells = (
        *(kind, str(seed), str(files), str(seen.accepted), reasons),
        "; ".join([str(len(seen.at_a_limit)), *(f"no. {one}" for one in seen.at_a_limit[:3])]),
        *(f"{spent:.2f}" for spent in (seen.way_in, seen.in_export)),
        "{} × {}".format(*seen.largest),
        f"{seen.in_overlay:.2f}",
        f"{time.monotonic() - began:.0f}",
    )
    return Row(cells, not seen.at_a_limit and _is_within_limits(seen))


def _is_within_limits(seen: Seen) -> bool:
    return (
        seen.way_in <= MOST_SECONDS
        and seen.in_export <= deidentify_process.SECONDS + MEGABYTE / 2**23
        and seen.in_overlay <= drawn_overlay.SECONDS
    )


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
    size = upload.header["rows"], upload.header["columns"]
    seen.largest = max(seen.largest, size, key=lambda one: one[0] * one[1])
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
    for asked in ({"what": "uids"}, {**_PLAN, "spacing_is_wrong": False}):
        spent = Work()
        try:
            with work.turn() as ask:
                ask(asked, data, spent)
        except Refused as refused:
            if refused.code == "header_limit":
                seen.at_a_limit.append(number)
        seen.in_export = max(seen.in_export, spent.seconds)


def _overlay(seen: Seen) -> None:
    """The largest picture of the accepted ones, half of it in the model's outline.

    Its pixels come from a worker: what the file decides is how many they are.
    """
    rows, columns = seen.largest
    pixels = bytes(range(256)) * (rows * columns // 128 + 1)
    mask = mask_png.write([(0, rows * columns // 2)], rows, columns)
    asked = {"rows": rows, "columns": columns, "centre": 2**15, "width": 2**16}
    size, spent = 2 * rows * columns, Work()
    work = LimitedWork(served_files.MODULE, drawn_overlay.SECONDS)
    try:
        with work.turn() as ask:
            ask(asked | {"mask": size}, pixels[:size] + mask, spent)
    except Refused:
        seen.at_a_limit.append(-1)
    finally:
        work.close()
    seen.in_overlay = spent.seconds


def _count(refused: Refused, seen: Seen, number: int) -> None:
    seen.refused[refused.code] += 1
    if refused.code in ("header_limit", "unreadable"):
        seen.at_a_limit.append(number)
