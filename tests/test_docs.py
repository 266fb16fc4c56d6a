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
    listed = set(re.findall(r"^    ([a-z][a-z-]+)(?:\s|$)", listing, re.MULTILINE))
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
    named = set(re.findall(rf"python -m {module} ([a-z][a-z-]+)", text))
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
