"""Orthanc as a hospital's PACS: it sends a picture here, and asks whether it is stored."""

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from benchmarks.peers import orthanc
from portal.models import Instance, Job
from tests.portal.dicom_network.test_commitment import own_address
from tests.support.clinic import Clinic
from tests.support.dicom.listening import OURS, add_node, listening
from tests.support.dicom.sender import DX
from tests.support.pictures import dicom


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc.Orthanc]:
    if (why := orthanc.missing()) is not None:
        pytest.skip(why)
    with orthanc.orthanc(tmp_path_factory.mktemp("orthanc") / "data") as running:
        yield running


def ask(pacs: orthanc.Orthanc, method: str, path: str, **more: Any) -> Any:
    answer = httpx2.request(method, f"{pacs.url}{path}", timeout=60, **more)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def test_orthanc_sends_and_commits(clinic: Clinic, pacs: orthanc.Orthanc) -> None:
    address = own_address()
    add_node(
        clinic,
        ae_title=orthanc.AE_TITLE,
        networks=f"127.0.0.1 {address}",
        host=address,
        port=str(pacs.dicom_port),
    )
    for earlier in ask(pacs, "GET", "/instances"):
        ask(pacs, "DELETE", f"/instances/{earlier}")
    pacs.store(dicom(SOPInstanceUID="1.2.3.41", SeriesInstanceUID="1.2.3.4"))
    (instance,) = ask(pacs, "GET", "/instances")
    allowed = f"private:{address}:{pacs.dicom_port}"
    with listening(clinic, PLEURA_OUTGOING_HOSTS=allowed, PLEURA_DICOM_HOST="0.0.0.0") as listens:
        place = {"AET": OURS, "Host": address, "Port": listens.port}
        ask(pacs, "PUT", "/modalities/pleura", json=place)
        ask(pacs, "POST", "/modalities/pleura/echo", json={})
        for _ in range(2):
            sent = ask(pacs, "POST", "/modalities/pleura/store", json={"Resources": [instance]})
            assert (sent["InstancesCount"], sent["FailedInstancesCount"]) == (1, 0)
        asked = ask(
            pacs,
            "POST",
            "/modalities/pleura/storage-commitment",
            json={"DicomInstances": [[DX, "1.2.3.41"], [DX, "1.2.3.42"]]},
        )
        for _ in range(300):
            report = ask(pacs, "GET", f"/storage-commitment/{asked['ID']}")
            if report["Status"] != "Pending":
                break
            time.sleep(0.1)
    assert report["Status"] == "Failure"
    assert [one["SOPInstanceUID"] for one in report["Success"]] == ["1.2.3.41"]
    assert [one["SOPInstanceUID"] for one in report["Failures"]] == ["1.2.3.42"]
    with clinic.session as session:
        rows = session.scalar(select(func.count()).select_from(Instance))
        jobs = session.scalar(select(func.count()).select_from(Job))
    assert (rows, jobs) == (1, 1)
