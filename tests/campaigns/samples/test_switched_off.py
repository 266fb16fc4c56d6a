"""The table of protections fits the code, a sample of it is tried, and so is who tries it."""

from __future__ import annotations

import random
import subprocess
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.campaigns import switched_off
from tests.campaigns.campaign import Arguments, Row, Unfinished, commit
from tests.campaigns.protections.protection import Protection, edit, off
from tests.campaigns.switched_off import AS_IT_SHOULD, PROTECTIONS, cannot_apply, row
from tests.support.copied_code.copied_code import CopiedCode, copied, served
from tests.support.paths import ROOT

SEED = 1
QUICK = [one for one in PROTECTIONS if one.quick]
LIMIT = "def taken(number: int) -> int:\n    if number > 9:\n        return 9\n    return number\n"
TESTS = """
import limit

def test_it_is_bounded() -> None:
    assert limit.taken(20) == 9

def test_what_proves_nothing() -> None:
    assert limit.taken(5) == 5
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CopiedCode]:
    """A repository with one protection."""
    root = tmp_path_factory.mktemp("small") / "code"
    (root / "tests").mkdir(parents=True)
    (root / "limit.py").write_text(LIMIT)
    (root / "tests" / "test_limit.py").write_text(TESTS)
    settings = "[tool.pytest.ini_options]\npythonpath = ['.']\nmarkers = ['postgres: none here']\n"
    (root / "pyproject.toml").write_text(settings)
    with served(root) as code:
        yield code


def protection(found: str, put: str, *tests: str) -> Protection:
    named = (f"test_limit.py::{test}" for test in tests)
    return off("limits", "the limit", edit("limit.py", found, put), *named)


@pytest.mark.parametrize("one", PROTECTIONS, ids=lambda one: f"{one.subject}: {one.without}")
def test_each_can_be_switched_off_in_the_code_as_it_is(one: Protection) -> None:
    assert cannot_apply(ROOT, one.edits) == ""
    assert all(each.found != each.put for each in one.edits)
    assert one.tests
    for test in one.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / "tests" / file).read_text("utf-8"), test


def test_each_stands_in_the_table_once_and_waits_can_be_shortened() -> None:
    assert cannot_apply(ROOT, switched_off.IMPATIENT) == ""
    names = [(one.subject, one.without) for one in PROTECTIONS]
    assert len(set(names)) == len(names) > 100
    assert len(QUICK) > 10


@pytest.mark.parametrize(
    "one", random.Random(SEED).sample(QUICK, 2), ids=lambda one: f"{one.subject}: {one.without}"
)
def test_a_sample_passes_and_fails_without_it_and_the_table_is_written(one: Protection) -> None:
    other = next(each for each in PROTECTIONS if each.subject != one.subject)
    earlier = [Row((each.subject, each.without)) for each in (one, other)]
    options = Namespace(only=f"{one.subject}, {one.without}, ", again=False)
    written: list[Sequence[Row]] = []
    unfinished = Unfinished(Path("none"), "")
    rows = switched_off.run(Arguments(SEED, 1, options, unfinished, earlier, written.append))
    tried = next(row for row in rows if row.cells[:2] == (one.subject, one.without))
    assert tried.passed, tried.cells
    assert tried.cells[4] == AS_IT_SHOULD
    assert tried.cells[-1] == commit()
    assert written == [rows]
    assert sorted(rows, key=repr) == sorted([tried, earlier[1]], key=repr), "the others are kept"


def test_what_fails_passes_and_is_not_there_is_told_apart(small: CopiedCode) -> None:
    is_off = ("    if number > 9:\n", "    if False:\n")
    for tests, result in (
        (["test_it_is_bounded"], AS_IT_SHOULD),
        (["test_it_is_bounded", "test_what_proves_nothing"], "PASSES although it is off: "),
        (["test_that_is_not_there"], "test_limit.py::test_that_is_not_there was not run"),
    ):
        tried = row(small, protection(*is_off, *tests))
        assert tried.cells[4].startswith(result), tried.cells
        assert tried.passed is (result == AS_IT_SHOULD)
        assert (small.root / "limit.py").read_text() == LIMIT


@pytest.mark.parametrize(
    ("found", "put", "result"),
    [
        ("    if number > 99:\n", "", "cannot apply: found 0 times"),
        ("number", "", "cannot apply: found 3 times"),
        ("    if number > 9:\n", "    if :\n", "cannot apply: limit.py would be no Python"),
        ("        return 9\n", "        return nine\n", "proves nothing: NameError"),
    ],
)
def test_an_edit_that_breaks_the_code_proves_nothing(
    small: CopiedCode, found: str, put: str, result: str
) -> None:
    tried = row(small, protection(found, put, "test_it_is_bounded"))
    assert tried.cells[4].startswith(result), tried.cells
    assert not tried.passed


def test_tests_that_fail_in_any_case_are_named(small: CopiedCode) -> None:
    with small.changed({"limit.py": LIMIT.replace("return 9", "return 8")}):
        one = protection("9\n", "99\n", "test_it_is_bounded", "test_what_proves_nothing")
        failing = switched_off.failing_unchanged(small, [one])
        assert list(failing) == ["test_limit.py::test_it_is_bounded"]
        one = protection("return 8\n", "return 99\n", "test_it_is_bounded")
        tried = row(small, one, failing)
    assert tried.cells[4] == "fails in any case: test_limit.py::test_it_is_bounded"
    assert not tried.passed


def test_a_row_holds_as_long_as_its_files_are_as_they_were(tmp_path: Path) -> None:
    for name in ("limit.py", "other.py", "tests/test_limit.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    one = protection("9", "99", "test_it_is_bounded")
    cells = ("limits", "the limit", "`limit.py`", "`test_limit.py::test_it_is_bounded`", "fails")

    def holds(earlier: Row | None) -> bool:
        return switched_off.holds(earlier, one, tmp_path)

    tried = Row((*cells, "1", "HEAD"))
    assert holds(tried)
    (tmp_path / "other.py").write_text("2")
    assert holds(tried)
    assert not holds(None)
    assert not holds(Row(tried.cells, passed=False))
    assert not holds(Row((*cells, "1", "0123456789")))
    assert not holds(Row((*cells, "1", "HEAD with changes")))
    assert not holds(Row((*cells[:3], "`test_limit.py::test_of_before`", *cells[4:], "1", "HEAD")))
    for name in ("limit.py", "tests/test_limit.py"):
        (tmp_path / name).write_text("2")
        assert not holds(tried)
        (tmp_path / name).write_text("1")
        assert holds(tried)


def test_a_copy_has_what_git_knows_or_would_add(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    for name, text in ((".gitignore", "var\n"), ("a.py", "1"), ("var", "2")):
        (root / name).write_text(text)
    with copied(root) as code:
        assert sorted(path.name for path in code.root.iterdir()) == [".gitignore", "a.py"]
