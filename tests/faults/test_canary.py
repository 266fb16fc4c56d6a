"""No patient data outside the vault: a patient called CANARY^ZEBRA is uploaded, read and searched.

Every place where data is stored is searched after a short working day: the
database's files and every column of every row, the data folder, the append-only file in which
Redis stores every message, and the logs of every process.
"""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pydicom
import pytest
from sqlalchemy import MetaData, select

from ml.preparation import phantom
from portal.models import JobKind, JobState, Role
from portal.web import create_app
from tests.support.portal_app import csrf_of, make_person, sign_in
from tests.support.reports.contents import text_of
from tests.support.running_portal import RunningPortal
from worker.contract import outline_runs

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

# Each is one item that could identify a patient. None of these texts occurs anywhere else.
CANARIES = {
    "name": "CANARYNAME^ZEBRA",
    "patient ID": "CANARYPID4711",
    "birth date": "19470321",
    "accession number": "CANARYACC0815",
    "description": "CANARYDESCRIPTION",
    "file name": "canaryfilename",
    "comment": "CANARYCOMMENT of the reader",
    "search": "CANARYSEARCH",
    "outline": "CANARYOUTLINEOFTHEREADER",
}


def spellings(text: str) -> Iterator[bytes]:
    """A text as it could appear in a file: plain, UTF-16, in hex, and in base64 at every offset."""
    for part in {text, *text.split("^")}:
        for spelling in {part, part.lower(), part.upper()}:
            plain = spelling.encode()
            yield plain
            yield spelling.encode("utf-16-le")
            yield plain.hex().encode()
            for offset in range(3):
                # Six bits a letter; those at the ends also depend on the neighbours.
                letters = base64.b64encode(b"\0" * offset + plain)
                yield letters[-(-offset * 8 // 6) : (offset + len(plain)) * 8 // 6]


NEEDLES = {what: sorted(set(spellings(text))) for what, text in CANARIES.items()}


def found_in(data: bytes) -> set[str]:
    """The canaries found in these bytes."""
    return {what for what, needles in NEEDLES.items() if any(n in data for n in needles)}


def chest_of_the_canary() -> bytes:
    written = phantom.dicom(phantom.draw(11, rows=384, columns=384))
    dataset = pydicom.dcmread(io.BytesIO(written))
    dataset.PatientName = CANARIES["name"]
    dataset.PatientID = CANARIES["patient ID"]
    dataset.PatientBirthDate = CANARIES["birth date"]
    dataset.AccessionNumber = CANARIES["accession number"]
    dataset.StudyDescription = CANARIES["description"]
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def work_a_day(running: RunningPortal) -> None:
    """Upload good and bad files, open every page, review, search, fail, sign out."""
    picture = chest_of_the_canary()
    study = running.submit(picture, f"{CANARIES['file name']}.dcm")
    running.submit(picture, f"{CANARIES['file name']}.dcm")  # the same again
    refused = running.client.post(
        "/studies", files={"file": (f"{CANARIES['file name']}.dcm", picture[: len(picture) // 2])}
    )
    assert refused.status_code == 422
    running.wait("the canary is done", lambda: running.settled([study]))
    job = running.job(JobKind.SEGMENT, study)
    assert job is not None
    assert job.state is JobState.DONE

    app = create_app(running.settings, clock=lambda: datetime.now(UTC))
    reader = sign_in(app, make_person(app, Role.READER, team="Test"))
    token = csrf_of(reader)
    name = app.config["SESSION_COOKIE_NAME"]
    cookie = reader.get_cookie(name)
    assert cookie is not None
    with httpx2.Client(
        base_url=running.address, cookies={name: cookie.value}, trust_env=False, timeout=20
    ) as browser:
        worklist = browser.get("/worklist")
        assert "ZEBRA" in worklist.text, "the reader does not see the patient at all"
        browser.get("/worklist", params={"q": CANARIES["search"]})
        browser.get("/worklist", params={"q": CANARIES["patient ID"]})
        assert "ZEBRA" in browser.get(f"/studies/{study}").text
        for kind in ("source", "pixels", "preview", "thumb", "probability", "mask", "overlay"):
            browser.get(f"/studies/{study}/blobs/{kind}")
        answer = browser.post(
            f"/studies/{study}/reviews",
            json={"finding": "unsure", "reason": "other", "comment": CANARIES["comment"]},
            headers={"X-CSRFToken": token, "Accept": "application/json"},
        )
        assert answer.status_code in (200, 201), answer.text
        draw(running, browser, token, study)
        report(running, browser, token, study)
        browser.get(f"/studies/{CANARIES['search']}")
        browser.get("/history")
        browser.post("/sign-out", headers={"X-CSRFToken": token})


def draw(running: RunningPortal, browser: httpx2.Client, token: str, study: UUID) -> None:
    """An outline whose runs are a text: a version, which is measured, and a draft that stays."""
    page = browser.get(f"/studies/{study}").text
    viewer = json.loads(unescape(re.search(r'data-viewer="([^"]*)"', page)[1]))  # type: ignore[index]
    lengths = CANARIES["outline"].encode()
    runs, at = list[outline_runs.Run](), 0
    for number, length in enumerate(lengths):
        runs += [(at, at + length)] if number % 2 else []
        at += length
    mask = outline_runs.encode(runs, viewer["rows"], viewer["columns"])
    assert lengths in mask

    def post(name: str, **sent: object) -> dict[str, Any]:
        headers = {"X-CSRFToken": token, "Accept": "application/json"}
        body = {"picture": viewer["picture"], **sent}
        answer = browser.post(f"/studies/{study}/outline/{name}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    drawn = {"runs": base64.b64encode(mask).decode(), "rows": viewer["rows"]}
    drawn["columns"] = viewer["columns"]
    for name, more in (("save", {"outline": str(uuid4())}), ("draft", {"number": 1})):
        post(name, lock=post("begin")["lock"], **drawn, **more)

    def is_measured() -> bool:
        job = running.job(JobKind.MEASURE, study)
        return job is not None and job.state is JobState.DONE

    running.wait("the outline is measured", is_measured)


def report(running: RunningPortal, browser: httpx2.Client, token: str, study: UUID) -> None:
    """A report is made by the render worker and read by the reader, whom it names the patient."""
    headers = {"X-CSRFToken": token, "Accept": "application/json"}
    asked = browser.post(f"/studies/{study}/reports", headers=headers)
    assert asked.status_code == 200, asked.text

    def is_made() -> bool:
        job = running.job(JobKind.REPORT, study)
        return job is not None and job.state is JobState.DONE

    running.wait("the report is made", is_made)
    pdf = browser.get(f"/studies/{study}/reports/{UUID(asked.json()['report'])}")
    assert pdf.status_code == 200
    assert "ZEBRA" in text_of(pdf.content)
    objects(running, browser, headers, study, f"{pdf.url}/dicom")


def objects(
    running: RunningPortal,
    browser: httpx2.Client,
    headers: dict[str, str],
    study: UUID,
    address: str,
) -> None:
    """The report's DICOM objects, which name the patient to the reader as well."""
    asked = browser.post(address, headers=headers)
    assert asked.status_code == 200, asked.text

    def are_made() -> bool:
        job = running.job(JobKind.ENCODE, study)
        return job is not None and job.state is JobState.DONE

    running.wait("the objects are made", are_made)
    answer = browser.get(address)
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        document = pydicom.dcmread(io.BytesIO(archive.read("picture-1-sr.dcm")))
    assert "ZEBRA" in str(document.PatientName)


def stored_bytes(running: RunningPortal) -> Iterator[tuple[str, bytes]]:
    """Every file of the installation, the log of Redis included, and every row."""
    for path in sorted(running.folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(running.folder)), path.read_bytes()
    yield from rows_of(running)


def rows_of(running: RunningPortal) -> Iterator[tuple[str, bytes]]:
    tables = MetaData()
    tables.reflect(running.engine)
    assert "studies" in tables.tables
    with running.engine.connect() as connection:
        for table in tables.sorted_tables:
            for row in connection.execute(select(table)):
                values = [
                    value if isinstance(value, bytes) else str(value).encode() for value in row
                ]
                yield f"table {table.name}", b"\0".join(values)


@pytest.mark.parametrize("which", ["running", "running_on_postgres"])
def test_no_patient_data_is_stored_in_the_clear_anywhere(
    which: str, request: pytest.FixtureRequest
) -> None:
    running: RunningPortal = request.getfixturevalue(which)
    work_a_day(running)
    searched, hits, dicom_files, messages = 0, list[str](), list[str](), 0
    for place, data in stored_bytes(running):
        searched += 1
        messages += data.count(b"pleura.segment") if "appendonly" in place else 0
        hits += [f"{what} in {place}" for what in found_in(data)]
        if data[128:132] == b"DICM":
            dicom_files.append(place)
    assert searched > 50
    assert messages >= 1, "the search never saw the log of Redis"
    assert hits == []
    assert dicom_files == []


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    for what, word in CANARIES.items():
        for place in (
            word.encode(),
            f"x{word}".encode("utf-16-le"),
            base64.b64encode(f"a {word} and more".encode()),
            word.encode().hex().encode(),
        ):
            assert what in found_in(b"before " + place + b" after")
    assert found_in(chest_of_the_canary()) >= {"name", "patient ID", "birth date", "description"}
