"""What the campaigns have in common: rows, work that can be resumed, the table in the document.

A campaign is a module of this folder. It has a docstring, `COLUMNS`, and

    run(arguments: Arguments) -> list[Row]

`arguments.seed` and `arguments.rounds` come from the command line (`ROUNDS` is the campaign's own
number of rounds), `arguments.options` has what `add_arguments(parser)` of the module declared.
Work that takes long goes through `arguments.resume`, which stores each row when it is made.

A campaign with `KEEPS_ROWS = True` has keys of rows that follow from all that a row is about: rows
that passed are kept for the next run, of whatever commit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "measured.md"
# Ignored by git.
STATE = ROOT / "build" / "campaigns"


@dataclass(frozen=True)
class Row:
    """A row of the table, and whether what it counts is as it has to be."""

    cells: tuple[str, ...]
    passed: bool = True


class Unfinished:
    """The rows of a run that was interrupted, for a run of the same code with the same options."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._path = path
        self._fingerprint = fingerprint
        self._rows: dict[str, Row] = {}
        if path.exists():
            stored = json.loads(path.read_text("utf-8"))
            if stored["fingerprint"] == fingerprint:
                self._rows = {
                    key: Row(tuple(row["cells"]), row["passed"])
                    for key, row in stored["rows"].items()
                }

    def row(self, key: str, make: Callable[[], Row], *, again_if_failed: bool = False) -> Row:
        """The stored row of this key; else the one that `make` returns, which is then stored."""
        if key not in self._rows or (again_if_failed and not self._rows[key].passed):
            self._rows[key] = make()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            rows = {key: asdict(row) for key, row in self._rows.items()}
            text = json.dumps({"fingerprint": self._fingerprint, "rows": rows})
            self._path.with_suffix(".new").write_text(text, "utf-8")
            self._path.with_suffix(".new").replace(self._path)
        return self._rows[key]

    def remove(self) -> None:
        """Forget the rows: the campaign has ended."""
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Arguments:
    """The arguments of a campaign's run."""

    seed: int
    rounds: int
    options: argparse.Namespace
    resume: Unfinished


def fingerprint(command: str) -> str:
    """What a stored row depends on: the command with its options, the commit, changes to it."""
    changes = hashlib.sha256(_git("diff", "HEAD").encode()).hexdigest()
    return f"{command} {_git('rev-parse', 'HEAD')} {changes}"


def commit() -> str:
    """The commit that is tested, and whether files differ from it."""
    return _git("rev-parse", "--short=10", "HEAD") + (
        " with changes" if _git("diff", "HEAD") else ""
    )


def table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; a row that did not pass begins with **failed**."""
    lines = [_line(columns), "|" + "---|" * len(columns)]
    for row in rows:
        first, *others = row.cells
        lines.append(_line([first if row.passed else f"**failed** {first}", *others]))
    return "\n".join(lines)


def write(name: str, text: str, document: Path = DOCUMENT) -> None:
    """Put a campaign's section into the document, in the place of its earlier one."""
    heading = f"## Campaign: {name}\n"
    before, found, after = document.read_text("utf-8").partition(heading)
    _, next_heading, others = after.partition("\n## ") if found else ("", "", "")
    section = f"{heading}{text.strip()}\n"
    document.write_text(f"{before.rstrip()}\n\n{section}{next_heading}{others}", "utf-8")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
