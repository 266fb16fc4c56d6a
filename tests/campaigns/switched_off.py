"""Protections are switched off one by one in a copy of the code: the tests of each must fail then.

The table is in `protections`. A test that passes although its protection is off proves nothing. So
does one that fails in any case: all of them are run in the unchanged copy first. A row that was as
it should is not tried again as long as its files and those of its tests are the same; its last
column has the commit of then.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.campaigns.campaign import Arguments, Row, commit
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
from tests.campaigns.protections.network import dicomweb, incoming
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


def run(arguments: Arguments) -> list[Row]:
    """A row for each protection."""
    only = arguments.options.only
    chosen = [one for one in PROTECTIONS if only in f"{one.subject}, {one.without}, {one.tests}"]
    rows = list[Row]()
    with copied(ROOT) as copy, copy.changed(with_edits(copy.root, IMPATIENT)):
        for subject in dict.fromkeys(one.subject for one in chosen):
            own = [one for one in chosen if one.subject == subject]
            rows.append(
                _kept(
                    arguments,
                    f"unchanged {digest_of(copy.root, own)}",
                    partial(unchanged, copy, own),
                )
            )
            rows += [
                _kept(arguments, digest_of(copy.root, [one]), partial(row, copy, one))
                for one in own
            ]
    return rows


def _kept(arguments: Arguments, name: str, make: Callable[[], Row]) -> Row:
    return arguments.resume.row(name, make, again_if_failed=True)


def unchanged(copy: CopiedCode, protections: Sequence[Protection]) -> Row:
    """Whether the tests of these pass while nothing is switched off."""
    failed, seconds, number = list[str](), 0.0, 0
    for postgres in (False, True):
        of_kind = [one for one in protections if one.postgres is postgres]
        tests = list(dict.fromkeys(test for one in of_kind for test in one.tests))
        if tests:
            ran = copy.run(tests, postgres=postgres)
            failed += [ran.broken] if ran.broken else []
            failed += [test for test in tests if any(ran.of(test)) or not ran.of(test)]
            seconds, number = seconds + ran.seconds, number + len(tests)
    result = f"not: {', '.join(failed)}" if failed else "pass"
    cells = (protections[0].subject, "(nothing)", "", f"all {number} of these", result)
    return _row(cells, seconds, not failed)


def row(copy: CopiedCode, protection: Protection) -> Row:
    """What the tests of a protection do while it is switched off."""
    where = ", ".join(f"`{path}`" for path in dict.fromkeys(e.path for e in protection.edits))
    tests = ", ".join(f"`{test}`" for test in protection.tests)
    result, seconds = cannot_apply(copy.root, protection.edits), 0.0
    if not result:
        with copy.changed(with_edits(copy.root, protection.edits)):
            ran = copy.run(
                protection.tests,
                postgres=protection.postgres,
                first_only=len(protection.tests) == 1,
            )
        result, seconds = judged(ran, protection.tests), ran.seconds
    cells = (protection.subject, protection.without, where, tests, result)
    return _row(cells, seconds, result == AS_IT_SHOULD)


def _row(cells: tuple[str, ...], seconds: float, passed: bool) -> Row:
    made = Row((*cells, f"{seconds:.0f}", commit()), passed)
    print(*made.cells, sep=" | ", file=sys.stderr, flush=True)
    return made


def digest_of(root: Path, protections: Sequence[Protection]) -> str:
    """Of the protections with the files that they are in, and those of their tests."""
    names = {e.path for one in protections for e in one.edits}
    names |= {f"tests/{test.partition('::')[0]}" for one in protections for test in one.tests}
    digest = hashlib.sha256(repr(list(protections)).encode())
    for name in sorted(names):
        digest.update((root / name).read_bytes() if (root / name).is_file() else b"")
    return digest.hexdigest()


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
