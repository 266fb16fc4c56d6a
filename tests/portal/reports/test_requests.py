"""Reports that are asked for: what they hold, once, again after a change, and never of a purge."""

import hashlib
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from portal.access import Actor, Denied
from portal.audit.verification import verify
from portal.errors import Conflict
from portal.governance import purges
from portal.jobs import claims
from portal.jobs.errors import BadResult
from portal.jobs.tickets import Ticket
from portal.models import (
    Blob,
    BlobKind,
    Job,
    JobKind,
    JobState,
    ModelVersion,
    ProofMethod,
    PurgeReason,
    Report,
    ReportFile,
    RetractionReason,
)
from portal.reading import case, signing
from portal.reading.case import load
from portal.reading.reviews import add_review
from portal.reports import made, requests
from portal.reports.requests import Requested
from portal.vault import NotReadable
from portal.web.present.reports import lines as report_lines
from portal.web.present.reports import text as report_text
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.outlines.pages import Page, drawn, measured
from tests.support.second_reads import readers
from tests.support.second_reads.readers import ask as ask_for_second
from tests.support.second_reads.readers import colleague, state
from worker.contract.contents import report_content
from worker.contract.contents.report_content import ReportContent

PDF = b"%PDF-1.7 a report"


def ask(
    clinic: Clinic,
    study: UUID,
    now: datetime = NOW,
    actor: Actor | None = None,
    *,
    with_ai: bool = True,
) -> Requested:
    with clinic.session as session:
        return requests.request(
            session,
            clinic.vault,
            actor or clinic.mate,
            study,
            report_text.compose,
            now,
            with_ai=with_ai,
        )


def result_of(data: bytes = PDF) -> dict[str, Any]:
    return {"report": {"pages": 2, "sha256": hashlib.sha256(data).hexdigest()}}


def content_of(clinic: Clinic, asked: Requested) -> tuple[ReportContent, list[bytes]]:
    """What a worker reads when it claims the job."""
    assert asked.job_id is not None
    with clinic.session as session:
        claimed = claims.claim(session, clinic.core.settings, clinic.vault, asked.job_id, "w", NOW)
        assert claimed is not None
        (found,) = clinic.vault.get_many([claimed.inputs["report_content"]])
        assert found is not None
    with clinic.session as session:
        job = session.get_one(Job, asked.job_id)
        job.state, job.lease_until = JobState.QUEUED, None
        session.commit()
    return report_content.unpack(found)


def do(clinic: Clinic, asked: Requested, data: bytes = PDF, now: datetime = NOW) -> None:
    assert asked.job_id is not None
    ticket = clinic.claim(asked.job_id, now)
    assert ticket is not None
    clinic.store(ticket, now, report=data)
    clinic.finish(ticket, result_of(data), now)


def texts(content: ReportContent) -> str:
    return " | ".join(
        f"{row.label}: {row.text}" for one in content.sections for row in one.rows
    ) + " | ".join(note for one in content.sections for note in one.notes)


def test_a_report_holds_patient_result_finding_outlines_and_pictures(clinic: Clinic) -> None:
    study = clinic.done()
    page = Page(clinic, study, clinic.mate)
    page.begin()
    page.save(drawn((3, 12)))
    page.measure(measured(9))
    with clinic.session as session:
        add_review(
            session,
            clinic.vault,
            clinic.mate,
            study,
            finding="right",
            comment="Air at the apex.\nSecond line.",
            now=NOW,
        )
    content, parts = content_of(clinic, ask(clinic, study))
    text = texts(content)
    assert {row.label: row.text for row in content.exam}["Patient"]
    for part in (
        "Pneumothorax: Right",
        "Comment: Air at the apex.\nSecond line.",
        "Reader: Test mate",
        "Result: Pneumothorax likely",
        "Probability: 0.91",
        "Name and version: pleura-lite2 1.0",
        "Operating point: balanced",
        "Greatest distance: 18 mm",
        "Drawn by: Test mate",
    ):
        assert part in text, text
    assert content.state == "Preliminary – not signed"
    assert "Research use only" in content.research
    (picture,) = content.pictures
    assert [one.label for one in picture.outlines] == ["Reader’s outline"]  # the model's is empty
    assert len(parts) == 2


def test_without_the_ai_nothing_of_it_is_in_a_report(clinic: Clinic) -> None:
    study = clinic.done()
    content, _ = content_of(clinic, ask(clinic, study, with_ai=False))
    text = texts(content) + content.model_dump_json()
    for part in ("AI", "likely", "0.91", "pleura-lite2", "Dice"):
        assert part not in text, part


@pytest.mark.parametrize(
    ("finding", "reason", "text"),
    [
        ("right", "chest_drain", "Reason: Chest drain"),
        ("unsure", "poor_image", "Reason: Poor picture"),
        ("unsure", "poor_image,other", "Reason: Poor picture; Other"),
        ("unsure", "skin_fold,poor_image", "Reason: Poor picture"),
        ("none", "skin_fold", ""),  # the reason for another finding than the AI's
    ],
)
def test_without_the_ai_the_readers_reason_is_there_unless_it_states_what_the_ai_found(
    clinic: Clinic, finding: str, reason: str, text: str
) -> None:
    study = clinic.done()
    state(clinic, clinic.mate, study, finding, reason=reason)
    found = texts(content_of(clinic, ask(clinic, study, with_ai=False))[0])
    assert text in found
    assert ("Reason: " in found) is bool(text)


def test_a_blind_second_readers_report_has_no_outline_of_the_first_on_its_pictures(
    clinic: Clinic,
) -> None:
    study, second = clinic.done(), colleague(clinic, "second")
    page = Page(clinic, study, clinic.mate)
    page.begin()
    page.save(drawn((3, 12)))
    state(clinic, clinic.mate, study, "right")
    ask_for_second(clinic, clinic.mate, study)

    def outlined(actor: Actor) -> list[str]:
        content, _ = content_of(clinic, ask(clinic, study, actor=actor))
        return [one.label for picture in content.pictures for one in picture.outlines]

    assert outlined(second) == []
    assert outlined(clinic.mate) == ["Reader’s outline"]


def test_the_same_report_is_made_once_and_kept_when_the_case_changes(clinic: Clinic) -> None:
    study = clinic.done()
    first = ask(clinic, study)
    assert ask(clinic, study, after(minutes=1)).report.id == first.report.id
    do(clinic, first)
    again = ask(clinic, study, after(minutes=2))
    assert (again.report.id, again.job_id) == (first.report.id, None)
    with clinic.session as session:
        add_review(session, clinic.vault, clinic.mate, study, finding="none", now=after(minutes=3))
    second = ask(clinic, study, after(minutes=4))
    assert second.report.id != first.report.id
    do(clinic, second, b"%PDF-1.7 another", after(minutes=4))
    with clinic.session as session:
        listed = made.listed(session, clinic.mate, study)
        assert [(one.number, one.state) for one in listed.reports] == [(1, "ready"), (2, "ready")]
        assert listed.reports[0].sha256 == hashlib.sha256(PDF).hexdigest()
        read = made.read(
            session, clinic.vault, clinic.mate, study, first.report.id, after(minutes=5)
        )
        assert read.data == PDF
        assert read.name == f"report-{listed.case_number}-1.pdf"
        # What it was made from is gone, and the log binds both rows.
        kinds = session.scalars(select(Blob.kind).where(Blob.kind == BlobKind.REPORT_CONTENT))
        assert kinds.all() == []
        assert verify(session).is_whole


def test_asking_reading_and_making_write_one_row_each(clinic: Clinic) -> None:
    study = clinic.done()
    with clinic.session as session:
        before = session.scalar(select(func.count()).select_from(audit_rows()))
    asked = ask(clinic, study)
    with clinic.session as session:
        assert session.scalar(select(func.count()).select_from(audit_rows())) == before + 1
    do(clinic, asked)
    with clinic.session as session:
        made.read(session, clinic.vault, clinic.mate, study, asked.report.id, NOW)
        events = session.scalars(
            select(audit_rows().c.event).order_by(audit_rows().c.seq.desc()).limit(1)
        ).one()
    assert events == "report_read"


def audit_rows() -> Any:
    from portal.models import AuditEvent

    return AuditEvent.__table__


def test_a_report_that_failed_is_tried_again(clinic: Clinic) -> None:
    study = clinic.done()
    asked = ask(clinic, study)
    assert asked.job_id is not None
    for _ in range(3):
        ticket = clinic.claim(asked.job_id)
        assert ticket is not None
        clinic.fail(ticket, "report_unavailable", "transient")
    with clinic.session as session:
        (one,) = made.listed(session, clinic.mate, study).reports
    assert (one.state, one.error_code) == ("failed", "report_unavailable")
    again = ask(clinic, study)
    assert (again.report.id, again.job_id) == (asked.report.id, asked.job_id)
    do(clinic, again)


@pytest.mark.parametrize(
    ("data", "result"),
    [
        (b"no pdf", result_of(b"no pdf")),
        (PDF, result_of(b"other")),
        (PDF, {"report": {"pages": 0, "sha256": "a" * 64}}),
        (PDF, {"report": {"pages": 1}}),
        (PDF, {"facts": {}}),
        (b"", result_of()),
    ],
)
def test_a_result_that_cannot_be_is_refused(
    clinic: Clinic, data: bytes, result: dict[str, Any]
) -> None:
    study = clinic.done()
    asked = ask(clinic, study)
    assert asked.job_id is not None
    ticket = clinic.claim(asked.job_id)
    assert ticket is not None
    outputs = {"report": data} if data else {}
    with pytest.raises(BadResult):
        _send(clinic, ticket, outputs, result)
    with clinic.session as session:
        assert session.scalars(select(ReportFile)).all() == []


def _send(
    clinic: Clinic, ticket: Ticket, outputs: dict[str, bytes], result: dict[str, Any]
) -> None:
    clinic.store(ticket, NOW, **outputs)
    clinic.finish(ticket, result)


def test_a_signed_report_names_who_signed_and_is_kept(clinic: Clinic) -> None:
    study = clinic.done()
    with clinic.session as session:
        opened = case.open_study(session, clinic.vault, clinic.mate, study, NOW)
        signing.sign(
            session,
            clinic.vault,
            clinic.mate,
            study,
            finding="right",
            comment="As signed.",
            shown=opened.shown,
            after="",
            proof=signing.Proof(ProofMethod.PASSWORD_CODE, NOW),
            now=NOW,
        )
    signed = ask(clinic, study)
    assert signed.report.signature_id is not None
    content, _ = content_of(clinic, signed)
    assert content.is_signed
    assert content.state.startswith("Final – signed by Test mate, ")
    assert "Signature 1: Test mate, " in texts(content)
    do(clinic, signed, now=after(minutes=6))
    # What comes later is another version, in which the signed finding stands.
    with clinic.session as session:
        add_review(session, clinic.vault, clinic.mate, study, finding="none", now=after(minutes=7))
    later = ask(clinic, study, after(minutes=8))
    assert later.report.id != signed.report.id
    content, _ = content_of(clinic, later)
    text = texts(content)
    assert "Pneumothorax: Right" in text
    assert "As signed." in text
    assert "not signed: the signed one stands" in text
    with clinic.session as session:
        listed = made.listed(session, clinic.mate, study).reports
    assert [(one.is_signed, one.state) for one in listed] == [(True, "ready"), (True, "waiting")]
    assert listed[0].sha256 == hashlib.sha256(PDF).hexdigest()


def test_what_came_after_a_report_is_marked_beside_it(clinic: Clinic) -> None:
    study = clinic.done()
    with clinic.session as session:
        opened = case.open_study(session, clinic.vault, clinic.mate, study, NOW)
        signing.sign(
            *(session, clinic.vault, clinic.mate, study),
            finding="right",
            comment="",
            shown=opened.shown,
            after="",
            proof=signing.Proof(ProofMethod.PASSWORD_CODE, NOW),
            now=NOW,
        )
    ask(clinic, study, after(minutes=1))

    def outdated() -> list[bool]:
        with clinic.session as session:
            listed = made.listed(session, clinic.mate, study)
        lines = report_lines.panel(listed).lines
        return [bool(line.outdated) for line in reversed(lines)]

    assert outdated() == [False]
    with clinic.session as session:
        signing.add_addendum(
            *(session, clinic.vault, clinic.mate, study, "Seen with the ward."),
            proof=signing.Proof(ProofMethod.PASSWORD_CODE, NOW),
            now=after(minutes=2),
        )
    assert outdated() == [True]
    ask(clinic, study, after(minutes=3))
    assert outdated() == [True, False]
    with clinic.session as session:
        (model,) = session.scalars(select(ModelVersion))
        model.retracted_at, model.retraction_reason = (
            after(minutes=4),
            RetractionReason.INCIDENT,
        )
        session.commit()
    assert outdated() == [True, True]


def test_who_may_not_see_the_case_gets_no_report(clinic: Clinic) -> None:
    study = clinic.done()
    asked = ask(clinic, study)
    do(clinic, asked)
    for actor in (clinic.outsider, clinic.owner, clinic.admin, clinic.auditor):
        with pytest.raises(Denied):
            ask(clinic, study, actor=actor)
        with clinic.session as session, pytest.raises(Denied):
            made.read(session, clinic.vault, actor, study, asked.report.id, NOW)
        with clinic.session as session, pytest.raises(Denied):
            made.listed(session, actor, study)
    other = clinic.done()
    for wrong in (uuid4(), asked.report.id):
        with clinic.session as session, pytest.raises(Denied):
            made.read(session, clinic.vault, clinic.mate, other, wrong, NOW)


def test_a_case_that_is_being_prepared_has_no_report(clinic: Clinic) -> None:
    study = clinic.submit().study_id
    with pytest.raises(Conflict) as refused:
        ask(clinic, study)
    assert refused.value.code == "not_ready"
    with clinic.session as session:
        assert session.scalars(select(Report)).all() == []


def test_of_a_purged_case_nothing_is_left_and_none_is_made(clinic: Clinic) -> None:
    study = clinic.done()
    first = ask(clinic, study)
    do(clinic, first)
    with clinic.session as session:
        add_review(session, clinic.vault, clinic.mate, study, finding="none", now=NOW)
    waiting = ask(clinic, study)
    ticket = clinic.claim(waiting.job_id) if waiting.job_id else None
    assert ticket is not None
    with clinic.session as session:
        names = session.scalars(
            select(Blob.name).where(Blob.kind.in_((BlobKind.REPORT, BlobKind.REPORT_CONTENT)))
        ).all()
        purges.purge(
            session, clinic.vault, None, study, after(days=1), reason=PurgeReason.TEST_DATA
        )
    assert len(names) == 2
    for name in names:
        with pytest.raises(NotReadable):
            clinic.vault.sealed_file(name)
    with pytest.raises(Denied):
        ask(clinic, study)
    with clinic.session as session, pytest.raises(Denied):
        made.read(session, clinic.vault, clinic.mate, study, first.report.id, NOW)
    with clinic.session as session:
        job = session.scalars(
            select(Job).where(Job.kind == JobKind.REPORT, Job.id == waiting.job_id)
        ).one()
        assert (job.state, job.error_code) == (JobState.FAILED, "purged")
        assert verify(session).is_whole


def test_a_disk_that_is_full_leaves_nothing_behind(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = clinic.done()

    def full(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(clinic.vault), "put", full)
        with pytest.raises(OSError, match="No space"):
            ask(clinic, study)
    with clinic.session as session:
        assert session.scalars(select(Report)).all() == []
        assert session.scalars(select(Job).where(Job.kind == JobKind.REPORT)).all() == []
        assert load(session, clinic.mate, study)
    assert ask(clinic, study).job_id is not None


def test_a_file_that_was_exchanged_is_not_given_out(clinic: Clinic) -> None:
    study = clinic.done()
    asked = ask(clinic, study)
    do(clinic, asked)
    with clinic.session as session:
        blob = session.scalars(select(Blob).where(Blob.kind == BlobKind.REPORT)).one()
    clinic.vault.destroy(blob.name)
    with clinic.session as session, pytest.raises(NotReadable):
        made.read(session, clinic.vault, clinic.mate, study, asked.report.id, NOW)


def test_a_report_for_a_second_reader_draws_nothing_of_the_first(clinic: Clinic) -> None:
    study = clinic.done()
    second = readers.colleague(clinic, "second")
    page = Page(clinic, study, clinic.mate)
    page.begin()
    page.save(drawn((3, 12)))
    page.measure(measured(9))
    readers.state(clinic, clinic.mate, study, "right")
    readers.ask(clinic, clinic.mate, study)
    assert readers.is_blind(clinic, second, study)
    content, parts = content_of(clinic, ask(clinic, study, actor=second))
    assert [one.outlines for one in content.pictures] == [[]]
    assert len(parts) == 1
    assert "Test mate" not in texts(content)
    first, _ = content_of(clinic, ask(clinic, study, actor=clinic.mate))
    assert [len(one.outlines) for one in first.pictures] == [1]
