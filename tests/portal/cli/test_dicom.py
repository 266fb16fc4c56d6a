"""`python -m portal dicom` and `dicom-listener`, as who runs a portal uses them."""

import argparse
import re
import signal
import subprocess
import sys
from pathlib import Path

from portal.standalone.options import add_arguments, options_of
from tests.portal.cli.test_commands import environment, folder, run
from tests.support.dicom.listening import as_path
from tests.support.dicom.listening import run as run_program
from tests.support.paths import ROOT
from tests.support.pictures import dicom

__all__ = ["folder"]


def test_a_node_is_added_listed_changed_and_switched_off(folder: Path) -> None:
    run(folder, "create-admin", "--team", "Radiology")
    added = ("dicom", "add-node", "CT_1", "--team", "Radiology", "--from", "10.1.2.0/24")
    assert run(folder, *added, "--name", "Scanner 1").returncode == 0
    again = run(folder, *added)
    assert (again.returncode, again.stderr) == (1, "Another node has this AE title.\n")
    listed = run(folder, "dicom", "nodes").stdout
    assert re.fullmatch(r"CT_1 +on  +sends  Radiology  from 10\.1\.2\.0/24  Scanner 1\n", listed)
    place = ("--host", "ct.example.org", "--port", "104", "--receives", "yes")
    assert run(folder, "dicom", "change-node", "CT_1", *place).returncode == 0
    assert run(folder, "dicom", "switch-off-node", "CT_1").returncode == 0
    listed = run(folder, "dicom", "nodes").stdout
    assert all(text in listed for text in ("off", "sends/receives", "at ct.example.org:104"))
    assert run(folder, "dicom", "change-node", "CT_1", "--host", "").returncode == 0
    echoed = run(folder, "dicom", "echo", "CT_1")
    assert (echoed.returncode, echoed.stderr) == (1, "The node has no host and port.\n")
    assert run(folder, "dicom", "switch-on-node", "CT_1").returncode == 0
    found = run(folder, "dicom", "refused").stdout
    assert found == "Nothing was refused in the last thirty days.\n"


def test_how_a_node_is_queried_is_given_by_command(folder: Path) -> None:
    run(folder, "create-admin", "--team", "Radiology")
    added = ("dicom", "add-node", "ARCHIVE", "--team", "Radiology", "--sends", "no")
    place = ("--host", "pacs.example.org", "--port", "104")
    assert "needs a host and a port" in run(folder, *added, "--queried", "get").stderr
    assert run(folder, *added, *place, "--queried", "get", "--at-once", "2").returncode == 0
    assert "queried by get" in run(folder, "dicom", "nodes").stdout
    moved = run(folder, "dicom", "change-node", "ARCHIVE", "--queried", "move")
    assert "State the addresses" in moved.stderr
    found = run(folder, "dicom", "retrievals").stdout
    assert found == "Nothing was looked for in the last thirty days.\n"
    again = run(folder, "dicom", "retrieve-again", "00000000-0000-0000-0000-000000000001")
    assert (again.returncode, again.stderr) == (1, "There is no retrieval of this id.\n")
    assert run(folder, "dicom", "change-node", "ARCHIVE", "--queried", "no").returncode == 0
    assert "queried" not in run(folder, "dicom", "nodes").stdout


def test_the_listener_listens_gives_a_sign_and_stops(folder: Path, tmp_path: Path) -> None:
    run(folder, "create-admin", "--team", "Radiology")
    added = ("dicom", "add-node", "CR_1", "--team", "Radiology", "--from", "127.0.0.1")
    assert run(folder, *added).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "portal", "dicom-listener"],
        env=environment(folder, PLEURA_DICOM_PORT="0", PLEURA_DICOM_FREE_MB="0"),
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
            found = re.search(r"PLEURA listens at port (\d+)", line)
        titles = ("-aet", "CR_1", "-aec", "PLEURA", "127.0.0.1", found[1])
        assert run_program("echoscu", *titles).returncode == 0
        sent = run_program("storescu", *titles, as_path(tmp_path, dicom()))
        assert sent.returncode == 0, sent.stderr
        assert run(folder, "dicom", "alive").returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "PHANTOM" not in process.stderr.read()
    finally:
        process.kill()
        process.wait(60)


def test_what_a_node_gets_is_given_by_command_and_the_sender_gives_a_sign(folder: Path) -> None:
    run(folder, "create-admin", "--team", "Radiology")
    added = ("dicom", "add-node", "PACS", "--team", "Radiology", "--sends", "no")
    gets = ("--receives", "yes", "--objects", "sr,seg", "--moments", "signature")
    assert "needs a host and a port" in run(folder, *added, *gets).stderr
    place = ("--host", "pacs.example.org", "--port", "104")
    assert run(folder, *added, *gets, *place).returncode == 0
    assert run(folder, "dicom", "sends").stdout == "Nothing waits to be sent, and nothing failed.\n"
    assert "No DICOM sender" in run(folder, "dicom", "alive", "--sender").stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "portal", "dicom-sender"],
        env=environment(folder) | {"PLEURA_DICOM_PORT": "11112"},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert "sending to DICOM nodes" in process.stderr.readline()
        for _ in range(50):
            if run(folder, "dicom", "alive", "--sender").returncode == 0:
                break
        else:
            raise AssertionError("the sender gave no sign")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)


def test_up_listens_where_it_is_asked_to() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert options_of(parser.parse_args(["--dicom"])).dicom
    assert not options_of(parser.parse_args([])).dicom
