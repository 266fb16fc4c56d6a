"""The corpus of bad files, sent to a real portal: a reason each, no fault, nothing left behind."""

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from portal.formats.refusals import REASONS
from portal.intake.check import Limits, Refused, check
from portal.models import Blob, Instance, Job, Role, Study, db
from tests.support.core import Clock, make_settings
from tests.support.hostile_files.bad_files import (
    ACCEPTED,
    BAD_FILES,
    BAD_NAMES,
    encoded,
    grey,
    wholes,
)
from tests.support.pictures import picture
from tests.support.portal_app import make_app, make_person, make_token


@dataclass
class Intake:
    """A portal of which everything that a file could leave behind is watched."""

    app: Flask
    token: str
    folder: Path

    def send(self, name: str, data: bytes) -> TestResponse:
        """One file by the API."""
        return self.app.test_client().post(
            "/api/v1/studies",
            data={"file": (io.BytesIO(data), name)},
            headers={"Authorization": f"Bearer {self.token}"},
        )

    def send_raw(self, name: str, data: bytes) -> TestResponse:
        """One file under a name that no client library would write."""
        body = (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="'
            + name.encode()
            + b'"\r\n\r\n'
            + data
            + b"\r\n--x--\r\n"
        )
        return self.app.test_client().post(
            "/api/v1/studies",
            data=body,
            content_type="multipart/form-data; boundary=x",
            headers={"Authorization": f"Bearer {self.token}"},
        )

    def stored(self) -> tuple[int, ...]:
        """Rows of studies, instances, files and jobs; then files on disk, temporary ones too."""
        with self.app.app_context():
            counts = [
                db.session.scalar(select(func.count()).select_from(table)) or 0
                for table in (Study, Instance, Blob, Job)
            ]
        blobs = [path for path in (self.folder / "data" / "blobs").rglob("*") if path.is_file()]
        return (*counts, len(blobs))

    def elsewhere(self) -> set[Path]:
        """Files that are neither sealed ones nor the database's."""
        return {
            path
            for path in self.folder.rglob("*")
            if path.is_file() and "blobs" not in path.parts and "pleura.db" not in path.name
        }


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intake]:
    folder = tmp_path_factory.mktemp("intake")
    app = make_app(make_settings(folder / "data"), Clock())
    token = make_token(app, make_person(app, Role.TECHNOLOGIST), "studies:write")
    (folder / "tmp").mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(folder / "tmp")
    yield Intake(app, token, folder)
    tempfile.tempdir = before


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_with_its_reason_or_taken_whole(intake: Intake, name: str) -> None:
    bad = BAD_FILES[name]
    before, others = intake.stored(), intake.elsewhere()
    answer = intake.send("x.dcm", bad.make())
    reply = answer.get_json()
    if bad.intake == ACCEPTED:
        assert answer.status_code == 202, reply
        assert intake.stored() == tuple(number + 1 for number in before)
    else:
        assert 400 <= answer.status_code < 500
        assert reply["code"] == bad.intake
        assert reply["detail"].endswith(".")
        assert intake.stored() == before
    assert intake.elsewhere() == others


def test_every_code_of_the_corpus_has_a_sentence_of_its_own() -> None:
    codes = {bad.intake for bad in BAD_FILES.values()} - {ACCEPTED}
    assert codes <= set(REASONS)
    assert len({REASONS[code] for code in codes}) == len(codes)


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_name_leads_nowhere(intake: Intake, name: str) -> None:
    before, others = intake.stored(), intake.elsewhere()
    shade = BAD_NAMES.index(name) + 1
    answer = intake.send_raw(name, picture(shade))
    # A line's end or a NUL within the name ends the form's header: then there is no such file.
    if answer.status_code == 202:
        assert intake.stored() == tuple(number + 1 for number in before)
    else:
        assert answer.status_code in (400, 415, 422)
        assert intake.stored() == before
    assert "Set-Cookie" not in answer.headers
    assert intake.elsewhere() == others


@pytest.mark.parametrize("kind", wholes())
def test_a_file_cut_at_every_kilobyte_is_refused(kind: str) -> None:
    whole = wholes()[kind]
    limits = Limits(2**24)
    check("whole", whole, limits)
    for length in range(1024, len(whole), 1024):
        with pytest.raises(Refused) as refused:
            check("cut", whole[:length], limits)
        assert refused.value.code in ("truncated", "no_pixels")


def test_a_valid_file_after_all_of_them_is_still_taken(intake: Intake) -> None:
    assert intake.send("y.png", encoded(".png", grey(70, 60))).status_code == 202
