"""Secrets leave environments: the program starts anew and reads them from files in memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT
from worker.isolation import environment, kernel

pytestmark = pytest.mark.skipif(not kernel.LINUX, reason="Linux alone has files in memory")

PROGRAM = """
import os, pathlib, sys
from worker.isolation import environment
environment.leave(["TOKEN", "KEY"], os.environ)
print(os.getpid(), sys.argv[1:], "x-secret" in pathlib.Path("/proc/self/environ").read_text())
for _ in range(2):
    print(pathlib.Path(os.environ["TOKEN_FILE"]).read_text())
print(os.environ["OTHER"], os.environ.get("KEY_FILE"))
child = 'import os, pathlib; print(os.path.exists(os.environ["TOKEN_FILE"]))'
sys.stdout.flush()
import subprocess
subprocess.run([sys.executable, "-c", child])
"""


def run(**variables: str) -> tuple[int, list[str]]:
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "one", "two"],
        env={"PATH": os.environ["PATH"], "OTHER": "o", **variables},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    output, _ = running.communicate(timeout=60)
    return running.pid, output.splitlines()


def test_a_program_starts_anew_without_its_secrets_which_its_children_do_not_inherit() -> None:
    pid, lines = run(TOKEN="x-secret")
    assert lines == [
        f"{pid} ['one', 'two'] False",
        "x-secret",
        "x-secret",
        "o None",
        "False",
    ]


def test_descriptors_are_those_of_files_in_memory() -> None:
    variables = environment.in_memory({"TOKEN": "x-secret", "KEY": "k"})
    try:
        assert set(variables) == {"TOKEN_FILE", "KEY_FILE"}
        found = environment.descriptors({**variables, "OTHER_FILE": "/srv/key", "N": "1"})
        assert {f"/proc/self/fd/{number}" for number in found} == set(variables.values())
        assert [os.pread(number, 100, 0) for number in found] == [b"x-secret", b"k"]
    finally:
        for number in environment.descriptors(variables):
            os.close(number)
