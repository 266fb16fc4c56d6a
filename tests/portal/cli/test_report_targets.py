"""`python -m portal report-targets` and `report-sender`, as who runs a portal uses them."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.portal.cli.test_commands import environment, folder, run
from tests.support.paths import ROOT

__all__ = ["folder"]
ADDED = (
    *("report-targets", "add", "Our RIS", "--team", "Radiology"),
    *("--host", "ris.example", "--port", "2576", "--application", "RIS"),
)


def test_a_target_is_added_listed_tested_switched_and_ended(folder: Path) -> None:
    run(folder, "create-admin", "--team", "Radiology")
    assert run(folder, *ADDED, "--accession-field", "OBR-3").returncode == 0
    again = run(folder, *ADDED)
    assert (again.returncode, again.stderr) == (
        1,
        "This system gets the team’s reports already.\n",
    )
    listed = run(folder, "report-targets", "list").stdout
    assert re.fullmatch(
        r"Our RIS  on  Radiology  ris\.example:2576  RIS -  OBR-3  UNICODE UTF-8\n", listed
    )
    tested = run(folder, "report-targets", "test", "Our RIS", PLEURA_HL7_PORT="0")
    assert (tested.returncode, "PLEURA_HL7_PLAIN" in tested.stderr) == (1, True)
    assert run(folder, "report-targets", "switch-off", "Our RIS").returncode == 0
    assert "  off  " in run(folder, "report-targets", "list").stdout
    assert run(folder, "report-targets", "switch-on", "Our RIS").returncode == 0
    assert "Nothing waits to be sent" in run(folder, "report-targets", "sends").stdout
    assert run(folder, "report-targets", "end", "Our RIS").returncode == 0
    assert run(folder, "report-targets", "list").stdout == "No report target was added yet.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("end", "Nobody's"), "no target of this name"),
        (("test", "Nobody's"), "no target of this name"),
        (("alive",), "No sender of reports has given a sign"),
        (("add", "X", *ADDED[3:4], "Nobody's", *ADDED[5:]), "no team of this name"),
    ],
)
def test_what_can_not_be_done_has_a_reason(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run(folder, "report-targets", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_sender_gives_a_sign_and_stops(folder: Path) -> None:
    assert "PLEURA_HL7_PORT" in run(folder, "report-sender").stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "portal", "report-sender"],
        env=environment(folder, PLEURA_HL7_PORT="0"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        ends = time.monotonic() + 60
        while run(folder, "report-targets", "alive").returncode:
            assert process.poll() is None
            assert time.monotonic() < ends, "no sign"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait(60)
