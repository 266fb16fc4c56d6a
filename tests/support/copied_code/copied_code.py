"""A copy of the code, to change and to test: files with edits, and runs of pytest there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from xml.etree import ElementTree

from tests.support.paths import ROOT

_TEST_SECONDS = 60
_RUN_SECONDS = 900
# Of time stamps, so that no compiled module of before is taken for that of a changed file.
_later = count(int(time.time()) + 10, 2)


@dataclass(frozen=True)
class Ran:
    """A run of pytest. `outcomes`: each case, with its parameters, and what it ended with: ""
    where it passed, else why it failed. `broken`: why there are none.
    """

    outcomes: tuple[tuple[str, str], ...]
    broken: str
    seconds: float

    def of(self, test: str) -> list[str]:
        """What the cases of a test ended with; of one case, where its parameters are named."""
        return [
            why for name, why in self.outcomes if name == test or name.partition("[")[0] == test
        ]


class CopiedCode:
    """A copy below `root`, and the process that runs pytest in it."""

    def __init__(self, root: Path, process: subprocess.Popen[str]) -> None:
        self.root = root
        self._process = process

    @contextmanager
    def changed(self, texts: dict[str, str]) -> Iterator[None]:
        """The files with these texts; as before afterwards."""
        before = {path: (self.root / path).read_text("utf-8") for path in texts}
        try:
            for path, text in texts.items():
                self._write(path, text)
            yield
        finally:
            for path, text in before.items():
                self._write(path, text)

    def _write(self, path: str, text: str) -> None:
        (self.root / path).write_text(text, "utf-8")
        at = next(_later)
        os.utime(self.root / path, (at, at))

    def run(self, tests: Sequence[str], *, postgres: bool, first_only: bool = False) -> Ran:
        """Run tests, named from below tests/. `first_only`: until the first case that fails."""
        began, report = time.monotonic(), self.root.parent / "report.xml"
        output = self.root.parent / "output"
        report.unlink(missing_ok=True)
        arguments = [
            *("-q", "-n", "0", "-p", "no:cacheprovider", *(["-x"] if first_only else [])),
            *("-m", "postgres" if postgres else "not postgres", "-o", f"timeout={_TEST_SECONDS}"),
            *("-o", "junit_family=xunit2", f"--junitxml={report}"),
            *(f"tests/{test}" for test in tests),
        ]
        asked = {"arguments": arguments, "output": str(output), "seconds": _RUN_SECONDS}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(asked)}\n")
        self._process.stdin.flush()
        in_time = json.loads(self._process.stdout.readline())["in_time"]
        seconds = time.monotonic() - began
        if not in_time:
            return Ran((), f"no end within {_RUN_SECONDS} s", seconds)
        if not report.exists():
            last = " ".join(output.read_text("utf-8", "replace").split())[-200:]
            return Ran((), f"no report: {last}", seconds)
        return Ran(_read(report), "", seconds)


@contextmanager
def copied(source: Path) -> Iterator[CopiedCode]:
    """A temporary copy of what git knows of a repository or would add, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=source,
        capture_output=True,
        check=True,
    ).stdout
    with tempfile.TemporaryDirectory(prefix="switched-off-") as folder:
        root = Path(folder) / "pleura"
        root.mkdir()
        for name in filter(None, listed.decode().split("\0")):
            if (source / name).is_file() and not (source / name).is_symlink():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / name, root / name)
        with served(root) as code:
            yield code


@contextmanager
def served(root: Path) -> Iterator[CopiedCode]:
    """The code below `root`, whose files may be changed."""
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    program = ROOT / "tests" / "support" / "copied_code" / "pytest_server.py"
    process = subprocess.Popen(
        [sys.executable, str(program)],
        cwd=root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield CopiedCode(root, process)
    finally:
        process.communicate()


def _read(report: Path) -> tuple[tuple[str, str], ...]:
    outcomes = list[tuple[str, str]]()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        if case.find("skipped") is not None:
            continue
        module = case.get("classname", "").removeprefix("tests.").replace(".", "/")
        why = ""
        if (failure := case.find("failure")) is not None:
            why = failure.get("message", "") or "failed"
        elif (error := case.find("error")) is not None:
            why = f"fixture {error.get('message', '')}"
        outcomes.append((f"{module}.py::{case.get('name', '')}", why))
    return tuple(outcomes)
