"""No patient data outside the vault: a patient called CANARY^ZEBRA is sent in, read and searched.

Every place where bytes come to rest is looked through after a whole working day in small: the
database's files and every column of every row, the data folder, the append-only file in which
Redis keeps every message that it was ever given, and the logs of every process.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pydicom
import pytest
from sqlalchemy import MetaData, select

from ml.preparation import phantom
from portal.models import JobKind, JobState, Role
from portal.web import create_app
from tests.support.portal_app import csrf_of, make_person, sign_in
from tests.support.running_portal import House

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

# Each stands for one thing that could name a patient. No word of them occurs anywhere else.
CANARIES = {
    "name": "CANARYNAME^ZEBRA",
    "patient ID": "CANARYPID4711",
    "birth date": "19470321",
    "accession number": "CANARYACC0815",
    "description": "CANARYDESCRIPTION",
    "file name": "canaryfilename",
    "comment": "CANARYCOMMENT of the reader",
    "search": "CANARYSEARCH",
}


def spellings(word: str) -> Iterator[bytes]:
    """A word as it could stand in a file: plain, wide, in hex, and in base64 at every offset."""
    for part in {word, *word.split("^")}:
        for text in {part, part.lower(), part.upper()}:
            plain = text.encode()
            yield plain
            yield text.encode("utf-16-le")
            yield plain.hex().encode()
            for offset in range(3):
                # Six bits a letter; those at the ends also depend on the neighbours.
                letters = base64.b64encode(b"\0" * offset + plain)
                yield letters[-(-offset * 8 // 6) : (offset + len(plain)) * 8 // 6]


NEEDLES = {what: sorted(set(spellings(word))) for what, word in CANARIES.items()}


def found_in(data: bytes) -> set[str]:
    """What is named in these bytes."""
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


def live_a_day(house: House) -> None:
    """Send good and bad files, look at every page, judge, search, fail, sign out."""
    picture = chest_of_the_canary()
    study = house.submit(picture, f"{CANARIES['file name']}.dcm")
    house.submit(picture, f"{CANARIES['file name']}.dcm")  # the same again
    refused = house.client.post(
        "/studies", files={"file": (f"{CANARIES['file name']}.dcm", picture[: len(picture) // 2])}
    )
    assert refused.status_code == 422
    house.wait("the canary is done", lambda: house.settled([study]))
    job = house.job(JobKind.SEGMENT, study)
    assert job is not None
    assert job.state is JobState.DONE

    app = create_app(house.settings, clock=lambda: datetime.now(UTC))
    reader = sign_in(app, make_person(app, Role.READER, team="Test"))
    token = csrf_of(reader)
    name = app.config["SESSION_COOKIE_NAME"]
    cookie = reader.get_cookie(name)
    assert cookie is not None
    with httpx2.Client(
        base_url=house.address, cookies={name: cookie.value}, trust_env=False, timeout=20
    ) as browser:
        worklist = browser.get("/worklist")
        assert "ZEBRA" in worklist.text, "the reader does not see the patient at all"
        browser.get("/worklist", params={"q": CANARIES["search"]})
        browser.get("/worklist", params={"q": CANARIES["patient ID"]})
        assert "ZEBRA" in browser.get(f"/studies/{study}").text
        for kind in ("source", "pixels", "preview", "thumb", "probability", "mask", "overlay"):
            browser.get(f"/studies/{study}/blobs/{kind}")
        said = browser.post(
            f"/studies/{study}/reviews",
            json={"verdict": "unsure", "reason": "other", "comment": CANARIES["comment"]},
            headers={"X-CSRFToken": token, "Accept": "application/json"},
        )
        assert said.status_code in (200, 201), said.text
        browser.get(f"/studies/{CANARIES['search']}")
        browser.get("/history")
        browser.post("/sign-out", headers={"X-CSRFToken": token})


def resting_places(house: House) -> Iterator[tuple[str, bytes]]:
    """Every file of the installation, Redis's own record of all it was told, every row."""
    for path in sorted(house.folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(house.folder)), path.read_bytes()
    yield from rows_of(house)


def rows_of(house: House) -> Iterator[tuple[str, bytes]]:
    tables = MetaData()
    tables.reflect(house.engine)
    assert "studies" in tables.tables
    with house.engine.connect() as connection:
        for table in tables.sorted_tables:
            for row in connection.execute(select(table)):
                values = [
                    value if isinstance(value, bytes) else str(value).encode() for value in row
                ]
                yield f"table {table.name}", b"\0".join(values)


@pytest.mark.parametrize("which", ["house", "postgres_house"])
def test_no_patient_data_rests_anywhere_in_the_clear(
    which: str, request: pytest.FixtureRequest
) -> None:
    house: House = request.getfixturevalue(which)
    live_a_day(house)
    looked, hits, dicom_files, rings = 0, list[str](), list[str](), 0
    for place, data in resting_places(house):
        looked += 1
        rings += data.count(b"pleura.segment") if "appendonly" in place else 0
        hits += [f"{what} in {place}" for what in found_in(data)]
        if data[128:132] == b"DICM":
            dicom_files.append(place)
    assert looked > 50
    assert rings >= 1, "the search never saw what Redis keeps"
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
