"""DICOM objects of a report: asked for, made by the worker's library, downloaded."""

import io
import json
import zipfile
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import select

from portal.access import Actor, Denied
from portal.audit.verification import verify
from portal.errors import Conflict
from portal.governance import purges
from portal.jobs import claims
from portal.jobs.errors import BadResult
from portal.jobs.tickets import Ticket
from portal.models import (
    AuditEvent,
    Blob,
    BlobKind,
    Job,
    JobKind,
    JobState,
    ProofMethod,
    PurgeReason,
    Reason,
)
from portal.reading import case, signing
from portal.reading.reviews import add_review
from portal.reports import made, objects
from portal.vault import NotReadable
from portal.web.present.reports import objects as object_text
from tests.portal.reports.test_requests import PDF, ask, do
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import facts_of, prediction_of, rendered, segmented
from tests.support.outlines.pages import Page, drawn, measured
from tests.support.pictures import mask_png, picture
from worker.encode import encode_process
from worker.encode.inputs import joined

_JPEG = cv2.imencode(".jpg", np.full((8, 6), 90, np.uint8))[1].tobytes()
# Of the picture's 8 rows and 6 columns.
_MASK = mask_png(8, 6, [(8, 10), (14, 16)])


def analysed(clinic: Clinic, now: datetime = NOW, **changes: Any) -> UUID:
    """A case whose picture has a real preview and outline; `changes` are of the prediction."""
    study = clinic.submit(now=now, SeriesInstanceUID=generate_uid()).study_id
    _analyse(clinic, study, now, changes)
    return study


def _analyse(clinic: Clinic, study: UUID, now: datetime, changes: dict[str, Any]) -> None:
    ticket = clinic.claim(clinic.queued(study, JobKind.RENDER).id, now)
    assert ticket is not None
    clinic.store(ticket, now, **(rendered(8, 6) | {"preview": _JPEG}))
    follower = clinic.finish(ticket, {"facts": facts_of(8, 6)}, now)
    ticket = clinic.claim(follower, now) if follower else None
    assert ticket is not None
    prediction = prediction_of(**changes)
    if prediction["map"] is not None:
        clinic.store(ticket, now, **(segmented() | {"mask": _MASK}))
    clinic.finish(ticket, {"prediction": prediction}, now)


def reported(clinic: Clinic, study: UUID, now: datetime = NOW) -> UUID:
    """A report of the case as it is, with its PDF."""
    asked = ask(clinic, study, now)
    do(clinic, asked, now=now)
    return asked.report.id


def request(
    clinic: Clinic, study: UUID, report: UUID, now: datetime = NOW, actor: Actor | None = None
) -> list[UUID]:
    with clinic.session as session:
        return objects.request(
            *(session, clinic.vault, actor or clinic.mate, study, report),
            object_text.compose,
            now,
        )


def encode(clinic: Clinic, job: UUID, now: datetime = NOW) -> dict[str, Any]:
    """Do an encode job as a worker does: the library's own answer to the job's inputs."""
    with clinic.session as session:
        claimed = claims.claim(session, clinic.core.settings, clinic.vault, job, "w", now)
        assert claimed is not None
        assert set(claimed.inputs) == {"source", "report_content"}
        content, source = clinic.vault.get_many(
            [claimed.inputs["report_content"], claimed.inputs["source"]]
        )
        ticket = claims.open_ticket(clinic.core.settings, claimed.claim.ticket, job)
    assert content is not None
    assert source is not None
    head, parts = encode_process.answer(joined(content, source))
    assert "error" not in head, head
    clinic.store(ticket, now, types={"report": "application/zip"}, report=parts[0])
    clinic.finish(ticket, head, now)
    return head["objects"]


def made_of(clinic: Clinic, study: UUID, report: UUID) -> dict[str, Any]:
    """The downloaded ZIP: each object read, and the list."""
    with clinic.session as session:
        found = objects.read(session, clinic.vault, clinic.mate, study, report, NOW)
    with zipfile.ZipFile(io.BytesIO(found.data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    listed = json.loads(files.pop("manifest.json"))
    read = {name: dcmread(io.BytesIO(data)) for name, data in files.items()}
    return {"name": found.name, "listed": listed, **read}


def full(clinic: Clinic, study: UUID, now: datetime = NOW) -> dict[str, Any]:
    """Report, objects and download of the case as it is."""
    report = reported(clinic, study, now)
    for job in request(clinic, study, report, now):
        encode(clinic, job, now)
    return made_of(clinic, study, report)


def texts(document: Dataset) -> str:
    """Every text and code of a structured report in one line."""
    found = [str(document.get("TextValue", ""))]
    for code in document.get("ConceptCodeSequence", ()):
        found.append(code.CodeMeaning)
    found += [texts(item) for item in document.get("ContentSequence", ())]
    return " | ".join(one for one in found if one)


def test_a_report_becomes_objects_that_name_patient_result_and_model(clinic: Clinic) -> None:
    study = analysed(clinic)
    found = full(clinic, study)
    with clinic.session as session:
        number = made.listed(session, clinic.mate, study).case_number
    assert found["name"] == f"dicom-{number}-1.zip"
    names = [f"picture-1-{kind}.dcm" for kind in ("sr", "seg", "sc", "pr", "pdf")]
    assert [one for one in found if one.startswith("picture")] == names
    document = found["picture-1-sr.dcm"]
    assert str(document.PatientName) == "PHANTOM^ONE"
    assert document.AccessionNumber == "A-77"
    stated = texts(document)
    for part in (
        *("AI: Pneumothorax likely", "pleura-lite2", "Operating point: balanced"),
        *("Research use only", f"Case {number}", "All algorithms succeeded; with findings"),
    ):
        assert part in stated, stated
    assert document.VerificationFlag == "UNVERIFIED"
    segmented = found["picture-1-seg.dcm"].pixel_array.reshape(-1)
    assert np.flatnonzero(segmented).tolist() == [8, 9, 14, 15]
    assert found["picture-1-pdf.dcm"].EncapsulatedDocument.rstrip(b"\0") == PDF
    listed = found["listed"]["pictures"][0]
    assert [one["file"] for one in listed["objects"]] == [name.split("-")[-1] for name in names]


def test_nothing_of_it_lies_in_the_clear_and_its_content_is_removed(clinic: Clinic) -> None:
    study = analysed(clinic)
    full(clinic, study)
    with clinic.session as session:
        kinds = session.scalars(select(Blob.kind)).all()
        assert BlobKind.REPORT_CONTENT not in kinds
        assert kinds.count(BlobKind.REPORT) == 2
        assert verify(session).is_whole
    for path in clinic.core.data_dir.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"DICM" not in data, path
            assert b"PHANTOM" not in data, path


def test_signing_makes_a_verified_set_that_replaces_the_first(clinic: Clinic) -> None:
    study = analysed(clinic)
    first = full(clinic, study)
    sign(clinic, study, "right")
    second = full(clinic, study, after(minutes=5))
    one, two = first["picture-1-sr.dcm"], second["picture-1-sr.dcm"]
    assert (one.VerificationFlag, two.VerificationFlag) == ("UNVERIFIED", "VERIFIED")
    assert str(two.VerifyingObserverSequence[0].VerifyingObserverName) == "Test mate^"
    assert two.VerifyingObserverSequence[0].VerifyingOrganization == "Here"
    before = two.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert before.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    tracking = [one["picture-1-seg.dcm"].SegmentSequence[0].TrackingUID for one in (first, second)]
    assert tracking[0] == tracking[1]
    assert "Accepted" in texts(two)
    assert "picture-1-ko.dcm" not in second


def test_a_rejected_result_gets_a_rejection_note(clinic: Clinic) -> None:
    study = analysed(clinic)
    first = full(clinic, study)
    sign(clinic, study, "none", reason=f"{Reason.SKIN_FOLD},{Reason.POOR_IMAGE}")
    second = full(clinic, study, after(minutes=5))
    stated = texts(second["picture-1-sr.dcm"])
    assert "Rejected" in stated
    assert "None seen" in stated
    assert "Reason: Skin fold or line taken for pleura; Poor picture" in stated
    named = str(second["picture-1-ko.dcm"])
    for kind in ("seg", "sc", "pr"):
        assert second[f"picture-1-{kind}.dcm"].SOPInstanceUID in named
        assert first[f"picture-1-{kind}.dcm"].SOPInstanceUID in named


def test_a_readers_outline_makes_it_accepted_with_changes(clinic: Clinic) -> None:
    study = analysed(clinic)
    page = Page(clinic, study, clinic.mate)
    page.begin()
    page.save(drawn((3, 12)))
    page.measure(measured(9))
    with clinic.session as session:
        add_review(session, clinic.vault, clinic.mate, study, finding="right", now=NOW)
    found = full(clinic, study)
    assert "Accepted with changes" in texts(found["picture-1-sr.dcm"])
    masks = found["picture-1-seg.dcm"].pixel_array.reshape(2, -1)
    assert np.flatnonzero(masks[1]).tolist() == list(range(3, 12))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        (
            {"band": "none_found", "probability": 0.1, "measurements": None},
            "no pneumothorax found above the threshold",
        ),
        (
            {
                "quality": {
                    "verdict": "refused",
                    "reasons": [{"code": "lateral", "message": "A lateral view."}],
                },
                **dict.fromkeys(
                    ("probability", "band", "map", "measurements", "uncertainty", "region")
                ),
            },
            "A lateral view.",
        ),
    ],
    ids=["none found", "refused"],
)
def test_every_exam_gets_an_answer(clinic: Clinic, changes: dict[str, Any], part: str) -> None:
    study = analysed(clinic, **changes)
    found = full(clinic, study)
    assert [one for one in found if one.startswith("picture")] == [
        f"picture-1-{kind}.dcm" for kind in ("sr", "sc", "pdf")
    ]
    assert part in texts(found["picture-1-sr.dcm"])


def test_asked_for_again_they_are_the_same_and_uids_follow_from_the_record(clinic: Clinic) -> None:
    study = analysed(clinic)
    report = reported(clinic, study)
    (job,) = request(clinic, study, report)
    encode(clinic, job)
    found = made_of(clinic, study, report)
    assert request(clinic, study, report) == []
    again = made_of(clinic, study, report)
    assert [str(found[one]) for one in found] == [str(again[one]) for one in again]


def test_what_failed_is_tried_again_with_the_same_content(clinic: Clinic) -> None:
    study = analysed(clinic)
    report = reported(clinic, study)
    (job,) = request(clinic, study, report)
    for _ in range(3):
        ticket = clinic.claim(job)
        assert ticket is not None
        clinic.fail(ticket, "objects_unavailable", "transient")
    with clinic.session as session:
        (listed,) = made.listed(session, clinic.mate, study).reports
    assert listed.objects is not None
    assert (listed.objects.state, listed.objects.error_code) == ("failed", "objects_unavailable")
    assert request(clinic, study, report) == [job]
    encode(clinic, job)
    with clinic.session as session:
        assert made.states(session, clinic.mate, study) == {
            report.hex: "ready",
            f"{report.hex}:objects": "ready",
        }


def test_a_case_that_changed_gets_a_new_report_first(clinic: Clinic) -> None:
    study = analysed(clinic)
    report = reported(clinic, study)
    with clinic.session as session:
        add_review(session, clinic.vault, clinic.mate, study, finding="none", now=after(minutes=1))
    with pytest.raises(Conflict) as refused:
        request(clinic, study, report, after(minutes=2))
    assert refused.value.code == "changed"
    with clinic.session as session:
        assert session.scalars(select(Job).where(Job.kind == JobKind.ENCODE)).all() == []
        kinds = session.scalars(select(Blob.kind)).all()
    assert BlobKind.REPORT_CONTENT not in kinds


def test_before_the_report_is_made_there_are_none(clinic: Clinic) -> None:
    study = analysed(clinic)
    asked = ask(clinic, study)
    with pytest.raises(Conflict) as refused:
        request(clinic, study, asked.report.id)
    assert refused.value.code == "not_ready"


def test_a_report_without_the_ai_has_none(clinic: Clinic) -> None:
    study = analysed(clinic)
    asked = ask(clinic, study, with_ai=False)
    do(clinic, asked)
    with pytest.raises(Conflict) as refused:
        request(clinic, study, asked.report.id)
    assert refused.value.code == "no_ai_result"


def test_a_picture_that_is_no_dicom_has_none(clinic: Clinic) -> None:
    study = clinic.submit(data=picture()).study_id
    clinic.segment(clinic.render(study))
    report = reported(clinic, study)
    with pytest.raises(Conflict) as refused:
        request(clinic, study, report)
    assert refused.value.code == "no_dicom"


def test_who_may_not_see_the_case_gets_no_objects(clinic: Clinic) -> None:
    study = analysed(clinic)
    report = reported(clinic, study)
    (job,) = request(clinic, study, report)
    encode(clinic, job)
    for actor in (clinic.outsider, clinic.owner, clinic.admin, clinic.auditor):
        with pytest.raises(Denied):
            request(clinic, study, report, actor=actor)
        with clinic.session as session, pytest.raises(Denied):
            objects.read(session, clinic.vault, actor, study, report, NOW)
    with pytest.raises(Denied):
        request(clinic, study, uuid4())


def test_asking_and_reading_write_one_row_each(clinic: Clinic) -> None:
    study = analysed(clinic)
    report = reported(clinic, study)
    (job,) = request(clinic, study, report)
    encode(clinic, job)
    made_of(clinic, study, report)
    with clinic.session as session:
        events = session.scalars(select(AuditEvent.event).order_by(AuditEvent.seq)).all()
    assert events[-4:] == ["objects_requested", "job_claimed", "job_finished", "objects_read"]


@pytest.mark.parametrize("broken", ["digest", "not listed", "deflated", "no zip"])
def test_an_archive_that_cannot_be_is_refused(clinic: Clinic, broken: str) -> None:
    study = analysed(clinic)
    (job,) = request(clinic, study, reported(clinic, study))
    with clinic.session as session:
        claimed = claims.claim(session, clinic.core.settings, clinic.vault, job, "w", NOW)
        assert claimed is not None
        content, source = clinic.vault.get_many(
            [claimed.inputs["report_content"], claimed.inputs["source"]]
        )
        ticket = claims.open_ticket(clinic.core.settings, claimed.claim.ticket, job)
    assert content is not None
    assert source is not None
    head, (data,) = encode_process.answer(joined(content, source))
    if broken == "digest":
        head["objects"]["sha256"] = "0" * 64
    elif broken == "not listed":
        head["objects"]["objects"].pop()
    elif broken == "no zip":
        data = b"nothing"
    else:
        data = _deflated(data)
    with pytest.raises(BadResult):
        _send(clinic, ticket, data, head)


def _send(clinic: Clinic, ticket: Ticket, data: bytes, head: dict[str, Any]) -> None:
    clinic.store(ticket, NOW, types={"report": "application/zip"}, report=data)
    clinic.finish(ticket, head, NOW)


def _deflated(data: bytes) -> bytes:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return stream.getvalue()


def test_of_a_purged_case_nothing_is_left(clinic: Clinic) -> None:
    study = analysed(clinic)
    report = reported(clinic, study)
    (job,) = request(clinic, study, report)
    encode(clinic, job)
    with clinic.session as session:
        names = session.scalars(select(Blob.name).where(Blob.job_id == job)).all()
        purges.purge(
            session, clinic.vault, None, study, after(days=1), reason=PurgeReason.TEST_DATA
        )
    assert len(names) == 1
    with pytest.raises(NotReadable):
        clinic.vault.sealed_file(names[0])
    with clinic.session as session, pytest.raises(Denied):
        objects.read(session, clinic.vault, clinic.mate, study, report, NOW)
    with clinic.session as session:
        assert session.get_one(Job, job).state is JobState.DONE
        assert verify(session).is_whole


def sign(clinic: Clinic, study: UUID, finding: str, **more: Any) -> None:
    with clinic.session as session:
        opened = case.open_study(session, clinic.vault, clinic.mate, study, after(minutes=1))
        signing.sign(
            *(session, clinic.vault, clinic.mate, study),
            finding=finding,
            shown=opened.shown,
            after="",
            proof=signing.Proof(ProofMethod.PASSWORD_CODE, NOW),
            now=after(minutes=1),
            **more,
        )
