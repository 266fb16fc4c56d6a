"""How long an export may take: what is left out is named, in the list as in the ZIP."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from pydicom.uid import generate_uid
from sqlalchemy import select

from portal.access import Denied
from portal.exchange import deidentified_export
from portal.exchange.deidentified_export import Plan
from portal.formats.header_pool import HeaderPool
from portal.formats.limited_work import LimitedWork
from portal.models import AuditEvent
from portal.web.clinic.export import WARNINGS
from tests.campaigns.same_uid import purge
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.pictures import dicom
from tests.support.wait import noted_while_waiting


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


def test_the_database_is_free_while_an_export_waits_and_works(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id = exam(clinic, "A^B", "A^B")
    noted = noted_while_waiting(monkeypatch, clinic.core.engine)
    planned(clinic, study_id)
    assert noted == [("turn", True), *[("uids", True), ("plan", True)] * 2]
    noted.clear()
    exported(clinic, study_id)
    assert noted == [("turn", True), *[("uids", True), ("export", True)] * 2]


@pytest.mark.parametrize("at", ["turn", "uids"])
def test_what_is_purged_while_an_export_waits_or_works_is_not_given_out(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    study_id = exam(clinic, "A^B")
    owner, name = (LimitedWork, "turn") if at == "turn" else (HeaderPool, "ask")
    before = getattr(owner, name)

    def purged(*args: Any, **named: Any) -> Any:
        monkeypatch.setattr(owner, name, before)
        purge(clinic, study_id)
        return before(*args, **named)

    monkeypatch.setattr(owner, name, purged)
    with pytest.raises(Denied):
        exported(clinic, study_id)
    with clinic.session as session:
        events = session.scalars(select(AuditEvent.event)).all()
    assert "study_purged" in events
    assert "study_exported" not in events


_UIDS = '"study": "1.2", "series": "1.3", "instance": "1.4"'


@pytest.mark.parametrize(
    "answer",
    [
        "{}",
        f'{{"seconds": NaN, "bytes": 0, {_UIDS}}}',
        '{"seconds": 0.1, "bytes": 0, "study": "1.2"}',
        f'{{"seconds": 0.1, "bytes": 0, {_UIDS}, "size": "1", "warnings": []}}',
        f'{{"seconds": 0.1, "bytes": 0, {_UIDS}, "size": 1, "warnings": ["<b>"]}}',
    ],
)
def test_an_odd_answer_leaves_its_picture_out(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    work = LimitedWork("tests.support.hostile_files.taken_over", 4.0)
    monkeypatch.setattr(deidentified_export, "_work", work)
    sent = clinic.submit(dicom(ImageComments=f"ANSWER:{answer}:END"))
    try:
        plan = planned(clinic, sent.study_id)
    finally:
        work.close()
    assert plan.left_out == {1: "too_much_work"}
    assert plan.files == ["result.json", "result.csv", "masks.csv", "manifest.json"]


def test_nothing_of_an_export_is_deflated_in_the_pages_process(clinic: Clinic) -> None:
    with exported(clinic, exam(clinic, "A^B")) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
