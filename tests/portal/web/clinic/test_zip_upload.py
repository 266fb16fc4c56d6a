"""A ZIP at the API and on the upload page: a line for each file in it."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from portal.models import AuditEvent, Role, db
from portal.web.api import openapi
from portal.web.present import wording
from tests.support.core import make_settings
from tests.support.hostile_files.bad_files import zipped
from tests.support.people import Person
from tests.support.pictures import dicom, picture
from tests.support.portal_app import csrf_of, make_app, make_person, make_token, post, sign_in


def disc() -> bytes:
    """What a CD of another hospital holds."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("DICOMDIR", b"a directory")
        archive.writestr("A/one.png", picture(1))
        archive.writestr("A/same.png", picture(1))
        archive.writestr("A/CANARY^ZEBRA.txt", b"a letter")
        archive.writestr("A/inside.zip", zipped())
    return stream.getvalue()


def send(app: Flask, person: Person, data: bytes) -> TestResponse:
    """By the API."""
    token = make_token(app, person, "studies:write", "studies:read")
    return app.test_client().post(
        "/api/v1/studies",
        data={"file": (io.BytesIO(data), "disc.zip")},
        headers={"Authorization": f"Bearer {token}"},
    )


def test_a_program_reads_what_became_of_each_file(app: Flask, technologist: Person) -> None:
    answer = send(app, technologist, disc())
    assert answer.status_code == 202
    assert "Location" not in answer.headers
    found = answer.get_json()["files"]
    assert [(f["name"], f["outcome"], f["code"]) for f in found] == [
        ("DICOMDIR", "skipped", None),
        ("A/one.png", "received", None),
        ("A/same.png", "duplicate", None),
        ("A/CANARY^ZEBRA.txt", "refused", "not_an_image"),
        ("A/inside.zip", "refused", "member_archive"),
    ]
    assert found[1]["study"]["id"] == found[2]["study"]["id"]
    assert found[3]["detail"].endswith(".")
    with app.app_context():
        events = db.session.scalars(db.select(AuditEvent.event)).all()
    assert events.count("study_submitted") == 1
    assert events.count("study_sent_again") == 1


def one_uid_twice() -> bytes:
    """Two pictures of two patients under one SOPInstanceUID, as some copying tools make them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in (1, 2):
            data = dicom(
                SOPInstanceUID="1.2.3.4", PatientID=f"P-{number}", pixels=bytes([number, 0]) * 48
            )
            archive.writestr(f"{number}.dcm", data)
    return stream.getvalue()


def test_a_uid_that_comes_twice_hides_no_picture(
    app: Flask, technologist: Person, reader: Person
) -> None:
    found = send(app, technologist, one_uid_twice()).get_json()["files"]
    assert [(f["outcome"], f["study"]["same_uid"]) for f in found] == [
        ("received", False),
        ("received", True),
    ]
    assert found[0]["study"]["id"] != found[1]["study"]["id"]
    client = sign_in(app, reader)
    for here, there in ((0, 1), (1, 0)):
        page = client.get(f"/studies/{found[here]['study']['id']}").text
        assert wording.SAME_UID in page
        assert f"/studies/{found[there]['study']['id']}" in page


@pytest.mark.parametrize("script", [True, False])
def test_the_upload_page_shows_that_a_uid_came_twice(
    app: Flask, technologist: Person, script: bool
) -> None:
    client = sign_in(app, technologist)
    headers = {"Accept": "application/json"} if script else {}
    file = {"file": (io.BytesIO(one_uid_twice()), "disc.zip")}
    answer = post(client, "/studies", file, headers=headers)
    if script:
        assert [f["remark"] for f in answer.get_json()["files"]] == [None, wording.SAME_UID]
    else:
        assert answer.text.count(wording.SAME_UID) == 1
        assert answer.text.count(": received") == 2


def test_the_answer_has_the_described_schema(app: Flask, technologist: Person) -> None:
    jsonschema = pytest.importorskip("jsonschema_rs")
    document = openapi.build()
    described = document["paths"]["/api/v1/studies"]["post"]["responses"]["202"]["content"][
        "application/json"
    ]
    schema: dict[str, Any] = {**described["schema"], "components": document["components"]}
    check = jsonschema.validator_for(schema)
    for data in (disc(), one_uid_twice(), picture(9)):
        assert list(check.iter_errors(send(app, technologist, data).get_json())) == []
    assert not check.is_valid({"files": [{"name": "x"}]})


def test_a_zip_that_can_not_be_opened_is_a_problem(app: Flask, technologist: Person) -> None:
    answer = send(app, technologist, disc()[:-40])
    assert answer.status_code == 422
    assert answer.get_json()["code"] == "archive_damaged"


def test_a_zip_may_be_larger_than_a_file_but_not_than_its_own_limit(tmp_path: Path) -> None:
    app = make_app(make_settings(tmp_path, PLEURA_MAX_UPLOAD_MB="1", PLEURA_MAX_ARCHIVE_MB="3"))
    person = make_person(app, Role.TECHNOLOGIST)

    def of(megabytes: int) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("x.png", picture())
            for number in range(megabytes):
                archive.writestr(f"{number}.bin", bytes(2**20))
        return stream.getvalue()

    assert send(app, person, of(2)).get_json()["files"][0]["outcome"] == "received"
    refused = send(app, person, of(3))
    assert (refused.status_code, refused.get_json()["code"]) == (413, "archive_too_large")
    refused = send(app, person, of(6))
    assert refused.status_code == 413


def test_the_page_without_script_has_a_line_for_each_file(app: Flask, technologist: Person) -> None:
    client = sign_in(app, technologist)
    answer = post(client, "/studies", {"file": (io.BytesIO(disc()), "disc.zip")}, page="/upload")
    assert answer.status_code == 200
    assert answer.text.count('class="file" data-state=') == 5
    for words in ("Skipped: not a picture", "received", "already known", "is not opened"):
        assert words in answer.text
    assert "disc.zip / A/one.png" in answer.text


def test_the_browser_reads_the_same_as_json(app: Flask, technologist: Person) -> None:
    client = sign_in(app, technologist)
    answer = post(
        client,
        "/studies",
        {"file": (io.BytesIO(disc()), "disc.zip")},
        headers={"Accept": "application/json"},
    )
    assert answer.status_code == 202
    found = answer.get_json()["files"]
    assert [f["outcome"] for f in found] == [
        "skipped", "received", "duplicate", "refused", "refused",
    ]  # fmt: skip
    assert found[1]["url"] == f"/studies/{found[1]['id']}"


def test_a_file_without_a_name_is_answered_like_any_other(app: Flask, technologist: Person) -> None:
    client = sign_in(app, technologist)
    parts = [("csrf_token", "", csrf_of(client).encode()), ("file", '; filename=""', picture(41))]
    body = b"".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode()
        + value
        + b"\r\n"
        for name, more, value in parts
    )
    answer = client.post(
        "/studies", data=body + b"--x--\r\n", content_type="multipart/form-data; boundary=x"
    )
    assert answer.status_code == 200
    assert "A file without a name" in answer.text
    assert "received" in answer.text
