"""`python -m portal hl7` and `hl7-listener`, as who runs a portal uses them."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

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
