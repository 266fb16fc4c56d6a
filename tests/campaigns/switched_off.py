"""Protections are switched off one by one in a copy of the code: the tests of each must fail then.

What is switched off is in `protections`. A test that passes although its protection is off proves
nothing. So does one that fails in any case: all of them are run in the unchanged copy first. The
table in the document is written after each row. A row of it that is as it should be is not tried
again where its files and those of its tests are as at the commit in its last column; who changes no
more than how a protection is switched off gives `--again`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

from tests.campaigns.campaign import Arguments, Row, commit, same_since
from tests.campaigns.protections import (
    connections,
    crowds,
    factors,
    files,
    jobs,
    log,
    people,
    pictures,
    processes,
    purges,
    server,
    trial_numbers,
    trial_others,
)
from tests.campaigns.protections.network import dicom, dicomweb, hl7, incoming
from tests.campaigns.protections.protection import Edit, Protection, edit
from tests.support.copied_code.copied_code import CopiedCode, Ran, copied
from tests.support.paths import ROOT

COLUMNS = ("about", "without", "in", "test", "result", "s", "commit")
KEEPS_ROWS = True
PROTECTIONS: tuple[Protection, ...] = (
    *jobs.PROTECTIONS,
    *server.PROTECTIONS,
    *crowds.PROTECTIONS,
    *files.PROTECTIONS,
    *pictures.PROTECTIONS,
    *purges.PROTECTIONS,
    *log.PROTECTIONS,
    *processes.PROTECTIONS,
    *people.PROTECTIONS,
    *factors.PROTECTIONS,
    *connections.PROTECTIONS,
    *trial_numbers.PROTECTIONS,
    *trial_others.PROTECTIONS,
    *dicomweb.PROTECTIONS,
    *incoming.PROTECTIONS,
    *hl7.PROTECTIONS,
    *dicom.PROTECTIONS,
)
# What tests wait for and does not come any more: in the copy they wait less long for it.
IMPATIENT = (
    edit("tests/support/served/raw_http.py", "PATIENCE = 60.0\n", "PATIENCE = 15.0\n"),
    edit("tests/support/wait.py", "seconds: float = 60) -> bool", "seconds: float = 15) -> bool"),
)
AS_IT_SHOULD = "fails"
# A test that fails by one of these may lack what the edit took away, and has tried nothing.
_NO_PROOF = ("NameError", "ImportError", "ModuleNotFoundError", "SyntaxError", "fixture ")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this campaign."""
    parser.add_argument("--only", default="", help="those whose row contains this text")
    parser.add_argument("--again", action="store_true", help="those as well that are as they were")


def run(arguments: Arguments) -> list[Row]:
    """A row for each protection that was tried now or earlier."""
    options, tested = arguments.options, commit()
    rows = {row.cells[:2]: row for row in arguments.earlier}
    chosen = [
        one
        for one in PROTECTIONS
        if options.only in f"{one.subject}, {one.without}, {one.tests}"
        and (options.again or not holds(rows.get((one.subject, one.without)), one))
    ]
    with copied(ROOT) as copy, copy.changed(with_edits(copy.root, IMPATIENT)):
        for _, group in groupby(chosen, lambda one: one.subject):
            of_subject = list(group)
            failing = failing_unchanged(copy, of_subject)
            for one in of_subject:
                made = row(copy, one, failing, tested)
                print(*made.cells, sep=" | ", file=sys.stderr, flush=True)
                rows[one.subject, one.without] = made
                arguments.save(_in_order(rows))
    return _in_order(rows)


def _in_order(rows: dict[tuple[str, ...], Row]) -> list[Row]:
    keys = [(one.subject, one.without) for one in PROTECTIONS]
    return [rows[key] for key in keys if key in rows]


def holds(earlier: Row | None, protection: Protection, root: Path = ROOT) -> bool:
    """Whether an earlier row is as it should be, and what it is about still the same."""
    if earlier is None or not earlier.passed:
        return False
    tests = {f"tests/{test.partition('::')[0]}" for test in protection.tests}
    names = sorted(tests | {one.path for one in protection.edits})
    as_now = (*_described(protection), AS_IT_SHOULD)
    return earlier.cells[:5] == as_now and same_since(earlier.cells[-1], names, root)


def failing_unchanged(copy: CopiedCode, protections: Sequence[Protection]) -> dict[str, str]:
    """The tests of these that do not pass while nothing is switched off, each with why."""
    failing = dict[str, str]()
    for postgres in (False, True):
        of_kind = [one for one in protections if one.postgres is postgres]
        if tests := list(dict.fromkeys(test for one in of_kind for test in one.tests)):
            ran = copy.run(tests, postgres=postgres)
            for test in tests:
                whys = ran.of(test) or [ran.broken or "was not run"]
                if any(whys):
                    failing[test] = next(filter(None, whys))
    return failing


def row(
    copy: CopiedCode,
    protection: Protection,
    failing: Mapping[str, str] = MappingProxyType({}),
    tested: str = "",
) -> Row:
    """What the tests of a protection do while it is switched off. `failing`: those that fail in any
    case.
    """
    seconds, result = 0.0, cannot_apply(copy.root, protection.edits)
    for test in protection.tests:
        if not result and test in failing:
            result = f"fails in any case: {test}"
    if not result:
        with copy.changed(with_edits(copy.root, protection.edits)):
            ran = copy.run(
                protection.tests,
                postgres=protection.postgres,
                first_only=len(protection.tests) == 1,
            )
        result, seconds = judged(ran, protection.tests), ran.seconds
    cells = (*_described(protection), result, f"{seconds:.0f}", tested)
    return Row(cells, result == AS_IT_SHOULD)


def _described(protection: Protection) -> tuple[str, str, str, str]:
    where = ", ".join(f"`{path}`" for path in dict.fromkeys(e.path for e in protection.edits))
    tests = ", ".join(f"`{test}`" for test in protection.tests)
    return protection.subject, protection.without, where, tests


def with_edits(root: Path, edits: Sequence[Edit]) -> dict[str, str]:
    """The files of these edits, by path, as they are then."""
    texts = dict[str, str]()
    for one in edits:
        text = texts.get(one.path) or (root / one.path).read_text("utf-8")
        texts[one.path] = text.replace(one.found, one.put)
    return texts


def cannot_apply(root: Path, edits: Sequence[Edit]) -> str:
    """Why the files below `root` can't be edited so; "" where they can."""
    for one in edits:
        path = root / one.path
        found = path.read_text("utf-8").count(one.found) if path.is_file() else 0
        if found != 1:
            return f"cannot apply: found {found} times in {one.path}"
    for name, text in with_edits(root, edits).items():
        try:
            compile(text, name, "exec") if name.endswith(".py") else None
        except SyntaxError as error:
            return f"cannot apply: {name} would be no Python ({error.msg})"
    return ""


def judged(ran: Ran, tests: Sequence[str]) -> str:
    """`AS_IT_SHOULD` where each test failed for a reason; else what is wrong with them."""
    if ran.broken:
        return ran.broken
    for test in tests:
        cases = ran.of(test)
        whys = [why for why in cases if why]
        if not cases:
            return f"{test} was not run"
        if not whys:
            return f"PASSES although it is off: {test}"
        if all(why.startswith(_NO_PROOF) for why in whys):
            return f"proves nothing: {whys[0][:100]}"
    return AS_IT_SHOULD
