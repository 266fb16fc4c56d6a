"""What the campaigns have in common: rows, work that can be resumed, the table in the document.

A campaign is a module of this folder. It has a docstring, `COLUMNS`, and

    run(arguments: Arguments) -> list[Row]

`arguments.seed` and `arguments.rounds` come from the command line (`ROUNDS` is the campaign's own
number of rounds), `arguments.options` has what `add_arguments(parser)` of the module declared.
Work that takes long goes through `arguments.resume`, which stores each row when it is made.

The state of a campaign with `KEEPS_ROWS = True` is its table in the document: it finds the rows of
there in `arguments.earlier`, says which of them still hold, and writes with `arguments.save`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "measured.md"
# Ignored by git.
STATE = ROOT / "build" / "campaigns"
_FAILED = "**failed** "
# Between two cells of a table; a cell's own stroke stands behind a backslash.
_BORDER = re.compile(r"(?<!\\)\|")


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

    def row(self, key: str, make: Callable[[], Row]) -> Row:
        """The stored row of this key; else the one that `make` returns, which is then stored."""
        if key not in self._rows:
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
    """The arguments of a campaign's run. `earlier`: the rows of its table in the document; `save`
    writes that table.
    """

    seed: int
    rounds: int
    options: argparse.Namespace
    resume: Unfinished
    earlier: Sequence[Row]
    save: Callable[[Sequence[Row]], None]


def fingerprint(command: str) -> str:
    """What a stored row depends on: the command with its options, the commit, changes to it."""
    changes = hashlib.sha256(_git("diff", "HEAD").encode()).hexdigest()
    return f"{command} {_git('rev-parse', 'HEAD')} {changes}"


def commit() -> str:
    """The commit that is tested, and whether files other than the document differ from it."""
    changes = _git("diff", "HEAD", "--", ".", f":!{DOCUMENT.relative_to(ROOT)}")
    return _git("rev-parse", "--short=10", "HEAD") + (" with changes" if changes else "")


def same_since(revision: str, names: Sequence[str], root: Path = ROOT) -> bool:
    """Whether these files are as they were at a commit; no, where git does not know it."""
    words = ["git", "diff", "--quiet", revision, "--", *names]
    return subprocess.run(words, cwd=root, capture_output=True, check=False).returncode == 0


def table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; a row that did not pass begins with **failed**."""
    lines = [_line(columns), "|" + "---|" * len(columns)]
    for row in rows:
        first, *others = row.cells
        lines.append(_line([first if row.passed else f"{_FAILED}{first}", *others]))
    return "\n".join(lines)


def rows_of(name: str, document: Path = DOCUMENT) -> list[Row]:
    """The rows of a campaign's table in the document."""
    section = document.read_text("utf-8").partition(f"## Campaign: {name}\n")[2]
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line[:2] == "| "]
    rows = list[Row]()
    for line in lines[1:]:
        cells = [cell.strip().replace("\\|", "|") for cell in _BORDER.split(line)[1:-1]]
        rows.append(
            Row((cells[0].removeprefix(_FAILED), *cells[1:]), not cells[0].startswith(_FAILED))
        )
    return rows


def write(name: str, text: str, document: Path = DOCUMENT) -> None:
    """Put a campaign's section into the document, in the place of its earlier one."""
    heading = f"## Campaign: {name}\n"
    before, found, after = document.read_text("utf-8").partition(heading)
    _, next_heading, others = after.partition("\n## ") if found else ("", "", "")
    section = f"{heading}{text.strip()}\n"
    new = document.with_suffix(".new")
    new.write_text(f"{before.rstrip()}\n\n{section}{next_heading}{others}", "utf-8")
    new.replace(document)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
