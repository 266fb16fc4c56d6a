"""How long an export may take: what is left out is named, in the list as in the ZIP."""

import io
import json
import zipfile
from collections.abc import Iterator
from uuid import UUID

import pytest
from pydicom.uid import generate_uid

from portal.exchange import deidentified_export
from portal.exchange.deidentified_export import Plan
from portal.formats.limited_work import LimitedWork
from portal.web.clinic.export import WARNINGS
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.pictures import dicom


@pytest.fixture
def _slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process of which pictures of SLOW^... reach the limits."""
    work = LimitedWork("tests.support.hostile_files.slow_exporter", 4.0)
    monkeypatch.setattr(deidentified_export, "_work", work)
    yield
    work.close()


def exam(clinic: Clinic, *names: str) -> UUID:
    uid, study_id = generate_uid(), None
    for minutes, name in enumerate(names):
        data = dicom(StudyInstanceUID=uid, PatientID="A-1", PatientName=name)
        study_id = clinic.submit(data, now=after(minutes=minutes)).study_id
    assert study_id is not None
    return study_id


def planned(clinic: Clinic, study_id: UUID) -> Plan:
    with clinic.session as session:
        return deidentified_export.plan(session, clinic.vault, clinic.mate, study_id, NOW)


def exported(clinic: Clinic, study_id: UUID) -> zipfile.ZipFile:
    with clinic.session as session:
        made = deidentified_export.export(
            session, clinic.vault, clinic.mate, study_id, NOW, looked=True
        )
    return zipfile.ZipFile(io.BytesIO(made.data))


@pytest.mark.usefixtures("_slow")
def test_pictures_that_take_too_long_are_named_and_end_the_work_on_others(clinic: Clinic) -> None:
    """Each counts 4 s: after the fourth, of 15 s none are left."""
    study_id = exam(clinic, "A^B", *["SLOW^X"] * 4, "A^B", "SLOW^X")
    reasons = dict.fromkeys(range(2, 6), "too_much_work") | {6: "no_time", 7: "no_time"}
    plan = planned(clinic, study_id)
    assert plan.left_out == reasons
    assert "image-1.dcm" in plan.files
    assert [code for code in plan.warnings if code in reasons.values()] == [
        *("too_much_work", "no_time")
    ]
    with exported(clinic, study_id) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        results = json.loads(archive.read("result.json"))["pictures"]
        assert archive.namelist() == plan.files
    named = {one["picture"]: one["why"] for one in manifest["left_out"]}
    assert named == reasons
    assert [one["files"] for one in results] == [["image-1.dcm"], *[[]] * 6]
    assert set(reasons.values()) <= set(WARNINGS)


def test_nothing_of_an_export_is_deflated_in_the_pages_process(clinic: Clinic) -> None:
    with exported(clinic, exam(clinic, "A^B")) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
