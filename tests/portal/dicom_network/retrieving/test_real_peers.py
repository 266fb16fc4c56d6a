"""Orthanc and DCMTK's dcmqrscp as archives, by C-GET and by C-MOVE to our listener."""

from pathlib import Path

import httpx2
import pytest

from benchmarks.peers import orthanc
from portal.models import RetrievalState
from tests.portal.dicom_network.retrieving.test_attempt import WAYS, exam
from tests.portal.dicom_network.sending.test_real_peers import dcmtk, free_port
from tests.portal.dicom_network.test_commitment import own_address
from tests.support.clinic import Clinic
from tests.support.dicom import archive
from tests.support.dicom.archive import TITLE, film, retrieving, source, step
from tests.support.dicom.listening import OURS, as_path, listening, program, run

DAYS = ("20210101", "20230101", "20220101", "20200101")


def films() -> list[bytes]:
    """Of four days; and one of somebody else."""
    return [*(film(day) for day in DAYS), film("20240101", PatientID="SOMEBODY")]


@pytest.mark.parametrize("way", WAYS)
def test_dcmqrscp(clinic: Clinic, tmp_path: Path, way: str) -> None:
    address, port = own_address(), free_port()
    folder = tmp_path / "archive"
    folder.mkdir()
    with listening(clinic, PLEURA_DICOM_HOST="0.0.0.0") as listens:
        settings = tmp_path / "dcmqrscp.cfg"
        settings.write_text(
            f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
            f"HostTable BEGIN\nours = ({OURS}, {address}, {listens.port})\nHostTable END\n"
            "VendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\n{TITLE} {folder} RW (500, 1024mb) ANY\nAETable END\n"
        )
        command = [program("dcmqrscp"), "-c", str(settings), str(port)]
        with (
            dcmtk(command, port, address),
            retrieving(clinic, address, port) as retriever,
        ):
            files = [
                as_path(tmp_path, data, f"{number}.dcm") for number, data in enumerate(films())
            ]
            kept = run("storescu", "-aet", OURS, "-aec", TITLE, address, port, *files)
            assert kept.returncode == 0, kept.stderr
            node = source(clinic, port, address, queried=way)
            exam(clinic)
            assert retriever.look() == 1
            found = step(clinic, retriever, node)
    assert (found.state, found.reason) == (RetrievalState.DONE, "")
    assert archive.counts(found) == (3, 0, 3, 0, 0)
    assert sum(one.is_old for one in archive.studies(clinic)) == 3


@pytest.mark.parametrize("way", WAYS)
def test_orthanc(clinic: Clinic, tmp_path: Path, way: str) -> None:
    if (why := orthanc.missing()) is not None:
        pytest.skip(why)
    address = own_address()
    with (
        orthanc.orthanc(tmp_path / "data") as pacs,
        listening(clinic, PLEURA_DICOM_HOST="0.0.0.0") as listens,
        retrieving(clinic, address, pacs.dicom_port) as retriever,
    ):
        for data in films():
            pacs.store(data)
        httpx2.put(
            f"{pacs.url}/modalities/pleura",
            json={"AET": OURS, "Host": address, "Port": listens.port},
        ).raise_for_status()
        node = source(clinic, pacs.dicom_port, address, ae_title=orthanc.AE_TITLE, queried=way)
        exam(clinic)
        assert retriever.look() == 1
        found = step(clinic, retriever, node)
    assert (found.state, found.reason) == (RetrievalState.DONE, "")
    assert archive.counts(found) == (3, 0, 3, 0, 0)
    assert sum(one.is_old for one in archive.studies(clinic)) == 3
