"""The documents stay true: settings, commands and files that they name exist, and the reverse."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from portal.settings import Settings
from portal.settings.declaration import Variable
from tests.support.paths import ROOT
from worker.settings import VARIABLES as WORKER_VARIABLES

OPERATION = (ROOT / "docs" / "operation.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands_of(module: str) -> set[str]:
    """The sub-commands that `python -m MODULE --help` lists."""
    listing = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = set(re.findall(r"^    ([a-z][a-z0-9-]+)(?:\s|$)", listing, re.MULTILINE))
    assert len(listed) > 3, f"python -m {module} --help lists no commands"
    return listed


@pytest.mark.parametrize("variable", Settings.describe(), ids=lambda variable: variable.name)
def test_every_setting_of_the_portal_is_in_the_operation_guide(variable: Variable) -> None:
    assert f"| `{variable.name}` | {variable.default} | {variable.meaning} |\n" in OPERATION


def test_every_variable_that_the_worker_reads_is_in_the_operation_guide() -> None:
    assert {name for name in WORKER_VARIABLES if f"| `{name}` |" not in OPERATION} == set()


@pytest.mark.parametrize("module", ["portal", "ml"])
def test_every_command_in_the_documents_exists(module: str) -> None:
    text = "\n".join(path.read_text("utf-8") for path in DOCUMENTS)
    named = set(re.findall(rf"python -m {module} ([a-z][a-z0-9-]+)", text))
    assert named
    assert named <= commands_of(module)


@pytest.mark.parametrize("command", ["run", "test", "demo", "help"])
def test_the_readme_names_the_make_targets_that_exist(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(rf"^{command}:", makefile, re.MULTILINE)
    assert f"make {command}" in README


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize(("page", "at_least"), [("security.md", 30), ("trial.md", 100)])
def test_every_test_that_a_page_names_exists(page: str, at_least: int) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", text)
    assert len(named) > at_least
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"def {name}(" not in (ROOT / "tests" / file).read_text("utf-8")
    ]
    assert missing == []


def test_every_line_of_the_trials_has_a_test() -> None:
    text = (ROOT / "docs" / "trial.md").read_text("utf-8")
    rows = [row for row in text.splitlines() if row.startswith("| ") and "| tests |" not in row]
    assert [row for row in rows if "::test_" not in row.split(" | ")[1]] == []


def untested_lines(text: str) -> list[str]:
    """Of security's tables the rows that claim something, and do not name a test for it.

    A table of requirements has a column for their state, one of findings a last column for fixes
    or tests. A row is named by its first two cells.
    """
    without, judged, state = list[str](), False, -1
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            judged, state = False, -1
        elif cells[-1] in ("tests", "fix and test"):
            judged, state = True, cells.index("state") if "state" in cells else -1
        elif judged and not line.startswith("|---"):
            claims = state < 0 or cells[state].startswith(("holds", "partly"))
            if claims and not re.search(r"`[\w/]+\.py::test_\w+`", cells[-1]):
                without.append(" | ".join(cells[:2]))
    return without


def test_what_holds_has_a_test() -> None:
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    assert untested_lines(text) == []
    assert text.count("| state | tests |") >= 3  # the tables that are meant are still there


@pytest.mark.parametrize(
    ("table", "found"),
    [
        (
            "| # | requirement | state | tests |\n|---|---|---|---|\n| 1 | a | holds | - |",
            ["1 | a"],
        ),
        ("| # | requirement | state | tests |\n| 1 | a | holds; but | `a.py` |", ["1 | a"]),
        ("| # | requirement | state | tests |\n| 1 | a | missing | - |", []),
        ("| # | requirement | state | tests |\n| 1 | a | holds | `a/b.py::test_c` |", []),
        ("| weakness | fix and test |\n|---|---|\n| w | a limit |", ["w | a limit"]),
        ("| seen then | now | tests |\n| w | a limit | `tests of it` |", ["w | a limit"]),
        ("| secret | where |\n| key | a file |", []),
    ],
)
def test_a_claim_without_a_test_is_found(table: str, found: list[str]) -> None:
    assert untested_lines(table) == found


# Each was in the operation guide after the program had been changed.
@pytest.mark.parametrize(
    "untrue", ["codes of an earlier version keep working", "would fail its jobs"]
)
def test_what_is_no_longer_true_is_in_no_document(untrue: str) -> None:
    assert not [path.name for path in DOCUMENTS if untrue in path.read_text("utf-8")]
