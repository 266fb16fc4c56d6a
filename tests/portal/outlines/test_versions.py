"""Versions of an outline: what they are compared with, that they stay, and who reads them."""

from uuid import uuid4

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from portal.access import Denied
from portal.errors import Conflict, Invalid
from portal.governance import purge_proofs, purges
from portal.jobs.errors import BadResult
from portal.models import (
    Blob,
    BlobKind,
    JobKind,
    Outline,
    OutlineDraft,
    PurgeReason,
    ReviewSeen,
    Study,
)
from portal.operations import integrity
from portal.outlines import versions
from portal.reading import reviews
from portal.reading.case import open_study
from portal.studies import reader_outlines
from portal.vault import NONCE_BYTES, NotReadable
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import REFUSED, segmented
from tests.support.outlines.pages import COLUMNS, EMPTY, ROWS, Page, drawn, measured
from tests.support.pictures import mask_png

FIRST, SECOND = drawn((0, 4)), drawn((2, 6))


def page_of(clinic: Clinic, mask: bytes | None = None, **changes: object) -> Page:
    """A page of a case whose model outline is `mask` (empty by default)."""
    study_id = clinic.submit().study_id
    job = clinic.render(study_id)
    if mask is None:
        clinic.segment(job, **changes)
    else:
        ticket = clinic.claim(job)
        assert ticket is not None
        clinic.store(ticket, NOW, **segmented() | {"mask": mask})
        from tests.support.jobs import prediction_of

        clinic.finish(ticket, {"prediction": prediction_of()}, NOW)
    return Page(clinic, study_id, clinic.mate)


def save(page: Page, runs: bytes, minutes: int = 0) -> Outline:
    page.begin(after(minutes=minutes))
    saved = page.save(runs, now=after(minutes=minutes))
    assert saved.outline is not None
    return saved.outline


def test_a_version_has_its_dice_to_the_model_and_to_the_version_before(clinic: Clinic) -> None:
    page = page_of(clinic, mask_png(ROWS, COLUMNS, [(0, 2)]))
    assert page.begin().origin == "model"
    assert page.opened.runs == drawn((0, 2))
    first = save(page, FIRST)
    assert (first.pixels, first.dice_before) == (4, None)
    assert first.dice_model == pytest.approx(2 * 2 / (2 + 4))
    second = save(page, SECOND, 1)
    assert (second.dice_before, second.before_id) == (pytest.approx(2 * 2 / 8), first.id)
    assert second.dice_model == 0


def test_corrected_to_empty_is_a_correction_like_any_other(clinic: Clinic) -> None:
    page = page_of(clinic, mask_png(ROWS, COLUMNS, [(0, 2)]))
    outline = save(page, EMPTY)
    assert (outline.pixels, outline.dice_model) == (0, 0.0)
    assert page.begin().runs == EMPTY


@pytest.mark.parametrize("result", [{"band": "none_found", "probability": 0.05}, REFUSED])
def test_a_missed_pneumothorax_can_be_drawn(clinic: Clinic, result: dict[str, object]) -> None:
    page = page_of(clinic, **result)
    assert page.begin().origin == "empty"
    outline = save(page, FIRST)
    assert outline.dice_model == (None if result is REFUSED else 0.0)


def test_what_differs_in_nothing_is_no_version(clinic: Clinic) -> None:
    page = page_of(clinic, mask_png(ROWS, COLUMNS, [(0, 2)]))
    page.begin()
    page.draft(FIRST)
    assert page.save(drawn((0, 2))).outline is None
    with clinic.session as session:
        assert session.scalar(select(func.count()).select_from(OutlineDraft)) == 0


def test_sent_again_it_is_the_same_version(clinic: Clinic) -> None:
    page = page_of(clinic)
    page.begin()
    named = uuid4()
    page.save(FIRST, named)
    again = page.save(FIRST, named)  # its answer was lost, and the lock has ended with it
    assert again.outline is not None
    assert len(page.versions()) == 1
    with pytest.raises(Conflict):
        page.save(SECOND, named)
    with pytest.raises(Invalid):
        page.save(SECOND, "no id")


def test_the_model_keeps_its_own_outline(clinic: Clinic) -> None:
    mask = mask_png(ROWS, COLUMNS, [(0, 2)])
    page = page_of(clinic, mask)
    with clinic.session as session:
        before = session.execute(select(Blob.id, Blob.name).where(Blob.kind == BlobKind.MASK)).all()
    save(page, FIRST)
    with clinic.session as session:
        assert (
            session.execute(select(Blob.id, Blob.name).where(Blob.kind == BlobKind.MASK)).all()
            == before
        )


def test_versions_are_read_by_who_may_see_the_case(clinic: Clinic) -> None:
    page = page_of(clinic)
    outline = save(page, FIRST)
    with clinic.session as session:
        read = versions.read(session, clinic.vault, clinic.owner, page.study_id, outline.id, NOW)
        assert read[0] == FIRST
    for study_id, actor in ((page.study_id, clinic.outsider), (clinic.done(), clinic.mate)):
        with clinic.session as session, pytest.raises(Denied):
            versions.read(session, clinic.vault, actor, study_id, outline.id, NOW)


def test_a_version_is_never_changed_or_removed(clinic: Clinic) -> None:
    outline = save(page_of(clinic), FIRST)
    for change in ("UPDATE outlines SET pixels = 1", "DELETE FROM outlines"):
        with clinic.session as session, pytest.raises(DBAPIError, match="append-only"):
            session.connection().exec_driver_sql(change)
    assert outline.pixels == 4


def test_a_review_names_the_outline_that_was_there(clinic: Clinic) -> None:
    page = page_of(clinic)
    outline = save(page, FIRST)
    seen = reader_outlines.as_seen([outline.id])
    with clinic.session as session:
        found = reviews.add_review(
            *(session, clinic.vault, clinic.mate, page.study_id),
            finding="right",
            drawn=seen,
            now=NOW,
        )
        row = session.scalars(select(ReviewSeen)).one()
        assert (row.review_id, row.outline_id) == (found.review.id, outline.id)
    save(page, SECOND, 1)
    with clinic.session as session, pytest.raises(Conflict) as refused:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, page.study_id),
            finding="left",
            drawn=seen,
            now=after(minutes=2),
        )
    assert refused.value.code == "outlined"


def test_it_is_measured_by_a_job_and_shown_beside_the_models(clinic: Clinic) -> None:
    page = page_of(clinic)
    save(page, FIRST)
    job = clinic.queued(page.study_id, JobKind.MEASURE)
    ticket = clinic.claim(job.id)
    assert ticket is not None
    with pytest.raises(BadResult, match="another area"):
        clinic.finish(ticket, measured(5))
    with pytest.raises(BadResult, match="leaves the picture"):
        clinic.finish(ticket, measured(4, distance_line=[0, 0, 70, 1]))
    with pytest.raises(BadResult):
        clinic.finish(ticket, {"prediction": {}})
    clinic.finish(ticket, measured(4))
    with clinic.session as session:
        view = open_study(session, clinic.vault, clinic.mate, page.study_id, NOW)
    assert [one.measuring for one in view.outlines] == ["done"]
    assert view.outlines[0].measurements is not None
    assert view.outlines[0].measurements["side"] == "left"


def test_the_measure_job_reads_its_own_version_alone(clinic: Clinic) -> None:
    from portal.jobs import claims, files

    page = page_of(clinic)
    save(page, FIRST)
    page.measure(measured(4))
    save(page, SECOND, 1)
    job = clinic.queued(page.study_id, JobKind.MEASURE)
    with clinic.session as session:
        claimed = claims.claim(
            *(session, clinic.core.settings, clinic.vault, job.id, "worker-1", NOW)
        )
        assert claimed is not None
        inputs = files.inputs_of(clinic.vault, claimed)
        assert inputs is not None
        assert inputs["review_mask"] == SECOND
        assert claimed.claim.facts is not None
        ticket = claims.open_ticket(clinic.core.settings, claimed.claim.ticket, job.id)
        assert files.read_input(session, clinic.vault, ticket, "review_mask")[0] == SECOND


def test_a_case_does_not_wait_for_its_outline_to_be_measured(clinic: Clinic) -> None:
    page = page_of(clinic)
    save(page, FIRST)
    job = clinic.queued(page.study_id, JobKind.MEASURE)
    ticket = clinic.claim(job.id)
    assert ticket is not None
    clinic.fail(ticket, "pixels_do_not_fit", "permanent")
    with clinic.session as session:
        view = open_study(session, clinic.vault, clinic.mate, page.study_id, NOW)
    assert view.state.state == "done"
    assert [one.measuring for one in view.outlines] == ["failed"]


def test_a_purge_removes_masks_and_drafts_and_states_it(clinic: Clinic) -> None:
    page = page_of(clinic)
    save(page, FIRST)
    page.begin(after(minutes=1))
    page.draft(SECOND)
    with clinic.session as session:
        sealed = session.scalars(select(OutlineDraft.sealed_runs)).one()
        name = session.scalars(select(Blob.name).where(Blob.kind == BlobKind.REVIEW_MASK)).one()
        assert sealed is not None
        study = session.get_one(Study, page.study_id)
        assert sealed[:NONCE_BYTES].hex() in purge_proofs.ToDestroy.of(session, study).marks()
        session.commit()
        proof = purges.purge(
            *(session, clinic.vault, clinic.admin, page.study_id, after(minutes=1)),
            reason=PurgeReason.TEST_DATA,
        )
        assert proof is not None
        assert name in proof.proof
        assert not clinic.vault.has(name)
        assert session.scalar(select(func.count()).select_from(OutlineDraft)) == 0
        assert purges.residual_data(session, clinic.vault, page.study_id).is_empty
    with pytest.raises(Denied):
        page.begin()


def test_a_changed_file_of_an_outline_is_found(clinic: Clinic) -> None:
    page = page_of(clinic)
    outline = save(page, FIRST)
    page.begin(after(minutes=1))
    page.draft(SECOND)
    with clinic.session as session:
        report = integrity.inspect(
            session, clinic.vault, after(minutes=2), progress=lambda *_: None
        )
        assert report.findings == []
        name = session.get_one(Blob, outline.blob_id).name
    clinic.vault.destroy(name)
    with clinic.session as session:
        report = integrity.inspect(
            session, clinic.vault, after(minutes=2), progress=lambda *_: None
        )
        assert "outlines.blob_id" in {one.what for one in report.findings}
        with pytest.raises(NotReadable):
            versions.read(session, clinic.vault, clinic.mate, page.study_id, outline.id, NOW)
