"""Orthanc and DCMTK as receivers: Orthanc commits on a new association, dcmqrscp is asked by
C-FIND, storescp offers no proof.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from benchmarks.peers import orthanc
from portal.models import SendProof, SendState, SentState
from tests.portal.dicom_network.test_commitment import own_address
from tests.portal.reports.test_objects import analysed
from tests.support.clinic import Clinic
from tests.support.dicom.listening import OURS, listening, program
from tests.support.dicom.pacs import TITLE, Pacs
from tests.support.dicom.sending import again, objects, receiver, sending, sent, the_send

EVERYTHING = {"sr", "seg", "sc", "pr", "pdf"}


def test_orthanc_commits_to_what_it_stored(clinic: Clinic, tmp_path: Path) -> None:
    if (why := orthanc.missing()) is not None:
        pytest.skip(why)
    address = own_address()
    with (
        orthanc.orthanc(tmp_path / "data") as pacs,
        listening(
            clinic,
            PLEURA_DICOM_HOST="0.0.0.0",
            PLEURA_OUTGOING_HOSTS=f"private:{address}:{pacs.dicom_port}",
        ) as listens,
        sending(clinic, address, Pacs(port=pacs.dicom_port)) as sender,
    ):
        httpx2.put(
            f"{pacs.url}/modalities/pleura",
            json={"AET": OURS, "Host": address, "Port": listens.port},
        ).raise_for_status()
        node = receiver(clinic, Pacs(port=pacs.dicom_port), address, ae_title=orthanc.AE_TITLE)
        analysed(clinic)
        assert sent(clinic, sender, node).state in (SendState.PROVING, SendState.PROVEN)
        for _ in range(200):
            if the_send(clinic).state is SendState.PROVEN:
                break
            time.sleep(0.1)
        found = objects(clinic, the_send(clinic))
        assert set(found) == EVERYTHING
        assert {(one.state, one.proof) for one in found.values()} == {
            (SentState.PROVEN, SendProof.COMMITMENT)
        }
        there = httpx2.get(f"{pacs.url}/instances").json()
    assert len(there) == len(EVERYTHING)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def dcmtk(command: list[str], port: int, address: str) -> Iterator[None]:
    """One of DCMTK's receivers, once it listens."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                socket.create_connection((address, port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def test_dcmqrscp_is_asked_for_what_it_stored(clinic: Clinic, tmp_path: Path) -> None:
    address, port = own_address(), free_port()
    folder = tmp_path / "archive"
    folder.mkdir()
    settings = tmp_path / "dcmqrscp.cfg"
    settings.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nours = ({OURS}, {address}, 11112)\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\n{TITLE} {folder} RW (500, 1024mb) ANY\nAETable END\n"
    )
    command = [program("dcmqrscp"), "-c", str(settings), "+xy", str(port)]
    with (
        dcmtk(command, port, address),
        sending(clinic, address, Pacs(port=port)) as sender,
    ):
        node = receiver(clinic, Pacs(port=port), address)
        analysed(clinic)
        send = sent(clinic, sender, node)
        if send.state is SendState.PROVING:
            send = again(clinic, sender, node)
    found = objects(clinic, send)
    assert set(found) == EVERYTHING
    assert {(one.state, one.proof) for one in found.values()} == {
        (SentState.PROVEN, SendProof.FOUND)
    }


def test_storescp_takes_everything_and_proves_nothing(clinic: Clinic, tmp_path: Path) -> None:
    address, port = own_address(), free_port()
    folder = tmp_path / "files"
    folder.mkdir()
    command = [program("storescp"), "-aet", TITLE, "-od", str(folder), "+xa", str(port)]
    with (
        dcmtk(command, port, address),
        sending(clinic, address, Pacs(port=port)) as sender,
    ):
        node = receiver(clinic, Pacs(port=port), address)
        analysed(clinic)
        send = sent(clinic, sender, node)
    assert send.state is SendState.UNPROVEN
    files = sorted(folder.iterdir())
    assert len(files) == len(EVERYTHING)
    dump = shutil.which("dcmdump")
    if dump is not None:
        for file in files:
            subprocess.run([dump, str(file)], check=True, capture_output=True, timeout=60)
