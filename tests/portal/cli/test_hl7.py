"""`python -m portal hl7` and `hl7-listener`, as who runs a portal uses them."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.portal.cli.test_commands import environment, folder, run
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import CANARY, Peer
from tests.support.paths import ROOT

__all__ = ["folder"]
NODE = ("RIS", "HOSP")


def test_a_node_is_added_listed_changed_and_switched_off(folder: Path) -> None:
    run(folder, "create-admin", "--team", "Radiology")
    added = ("hl7", "add-node", *NODE, "--team", "Radiology", "--from", "10.1.2.0/24")
    assert run(folder, *added, "--name", "Our RIS").returncode == 0
    again = run(folder, *added)
    assert (again.returncode, again.stderr) == (
        1,
        "Another node has this application and facility.\n",
    )
    listed = run(folder, "hl7", "nodes").stdout
    assert re.fullmatch(
        r"RIS HOSP  on  Radiology  from 10\.1\.2\.0/24  OBR-18  nothing yet  Our RIS\n", listed
    )
    more = ("--accession-field", "OBR-3", "--charset", "8859/1", "--authority", "HOSP")
    assert run(folder, "hl7", "change-node", *NODE, *more, "--name", "RIS 2").returncode == 0
    assert run(folder, "hl7", "switch-off-node", *NODE).returncode == 0
    listed = run(folder, "hl7", "nodes").stdout
    assert all(text in listed for text in ("off", "OBR-3", "RIS 2"))
    assert run(folder, "hl7", "switch-on-node", *NODE).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add-node", *NODE, "--team", "Nobody's", "--from", "10.0.0.1"), "no team of this name"),
        (("switch-off-node", "NOBODY", ""), "no node of this application"),
        (("alive",), "No HL7 listener has given a sign"),
    ],
)
def test_what_can_not_be_done_has_a_reason(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run(folder, "hl7", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_listener_needs_a_port_and_readable_certificates(folder: Path, tmp_path: Path) -> None:
    assert "PLEURA_HL7_PORT" in run(folder, "hl7-listener").stderr
    path = tmp_path / "none.pem"
    path.write_bytes(b"no certificate")
    files = {f"PLEURA_HL7_{n}_FILE": str(path) for n in ("CERTIFICATE", "KEY", "CA")}
    unreadable = run(folder, "hl7-listener", PLEURA_HL7_PORT="0", **files)
    assert "can't be read" in unreadable.stderr
    assert "Traceback" not in unreadable.stderr


def test_the_listener_listens_gives_a_sign_and_stops(folder: Path) -> None:
    run(folder, "create-admin", "--team", "Radiology")
    added = ("hl7", "add-node", "HIS", "HOSP", "--team", "Radiology", "--from", "127.0.0.1")
    assert run(folder, *added).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "portal", "hl7-listener"],
        env=environment(folder, PLEURA_HL7_PORT="0"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = None
        while found is None:
            line = process.stderr.readline()
            assert line, "the listener ended"
            found = re.search(r"PLEURA listens for HL7 at port (\d+)", line)
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=30) as connected:
            peer = Peer(connected)
            assert peer.send(made.oru(f"Text {CANARY}", application="HIS")).code == "AA"
            assert (
                peer.send(made.oru(f"Text {CANARY}", state=CANARY, application="HIS")).code == "AE"
            )
        assert run(folder, "hl7", "alive").returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert CANARY not in process.stderr.read()
    finally:
        process.kill()
        process.wait(60)
