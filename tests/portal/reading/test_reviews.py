"""Reviews and purging: reviews are only added, a purged study can't be recovered."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from portal import errors
from portal.access import Denied
from portal.audit import verification
from portal.errors import Invalid
from portal.governance import purges
from portal.jobs import claims
from portal.jobs.errors import Lost
from portal.models import AuditEvent, Job, JobState, PurgeReason, Review, ReviewSeen, Study
from portal.reading import case, reviews, worklist
from portal.reading.case_records import ReviewView
from portal.vault import NotReadable
from tests.portal.vault.test_vault import files
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import REFUSED
from tests.support.pictures import dicom, jpeg

MISTAKE = PurgeReason.SENT_BY_MISTAKE


def save(clinic: Clinic, study_id: UUID, actor: Any = None, **values: Any) -> reviews.Saved:
    with clinic.session as session:
        given = {"finding": "right", "now": NOW} | values
        return reviews.add_review(session, clinic.vault, actor or clinic.mate, study_id, **given)


def review(clinic: Clinic, study_id: UUID, actor: Any = None, **values: Any) -> Review:
    return save(clinic, study_id, actor, **values).review


def versions(clinic: Clinic, study_id: UUID) -> list[ReviewView]:
    with clinic.session as session:
        return case.open_study(session, clinic.vault, clinic.mate, study_id, NOW).reviews


NONE_FOUND = {"band": "none_found", "probability": 0.04}


def failed(clinic: Clinic, *, render: bool) -> UUID:
    study_id = clinic.submit().study_id
    job_id = clinic.job(study_id).id if render else clinic.render(study_id)
    ticket = clinic.claim(job_id)
    assert ticket is not None
    clinic.fail(ticket, "decode_failed", "permanent")
    return study_id


@pytest.mark.parametrize("person", ["owner", "outsider", "colleague", "admin", "auditor"])
def test_only_a_reader_of_the_team_reviews(clinic: Clinic, person: str) -> None:
    study_id = clinic.done()
    with pytest.raises(Denied):
        review(clinic, study_id, getattr(clinic, person))
    with clinic.session as session:
        assert session.scalars(select(Review)).all() == []


def test_a_picture_that_comes_in_during_a_review_was_not_seen(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = {"StudyInstanceUID": "1.2.3.5"}
    study_id = clinic.submit(**uid, SOPInstanceUID="1.2.3.5.1").study_id
    clinic.segment(clinic.render(study_id))
    look, coming = reviews.status.of_studies, list[Future[Any]]()
    with ThreadPoolExecutor(1) as pool:

        def look_and_send(*args: Any) -> Any:
            found = look(*args)
            if not coming:
                coming.append(pool.submit(clinic.submit, **uid, SOPInstanceUID="1.2.3.5.2"))
                wait(coming, timeout=1)
            return found

        monkeypatch.setattr(reviews.status, "of_studies", look_and_send)
        review(clinic, study_id)
        assert coming[0].result(60).study_id == study_id
    with clinic.session as session:
        assert not session.get_one(Study, study_id).is_read
        assert len(session.scalars(select(ReviewSeen)).all()) == 1


def test_reviews_are_added_and_the_last_one_counts(clinic: Clinic) -> None:
    study_id = clinic.done()
    review(clinic, study_id, finding="unsure", reason="poor_image", comment="one\r\n\x00two")
    review(clinic, study_id, size="10_to_30", now=after(minutes=1))
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.owner, study_id, NOW)
    assert [(r.finding, r.size, r.verdict, r.reasons, r.comment) for r in view.reviews] == [
        ("unsure", None, "unsure", ("poor_image",), "one\ntwo"),
        ("right", "10_to_30", "agree", (), ""),
    ]
    assert (view.state.finding, view.state.reviewed) == ("right", "agree")
    assert view.reviews[0].reader == "Test mate"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"finding": "maybe"}, "unknown_finding"),
        ({"finding": ""}, "unknown_finding"),
        ({"finding": "none", "reason": "because"}, "unknown_reason"),
        ({"size": "huge"}, "unknown_size"),
        ({"finding": "none", "size": "below_10"}, "size_without_finding"),
        ({"finding": "unsure", "size": "unknown"}, "size_without_finding"),
        ({"comment": "x" * 2001}, "comment_too_long"),
    ],
)
def test_unknown_values_are_refused(clinic: Clinic, values: dict[str, str], code: str) -> None:
    study_id = clinic.done()
    with pytest.raises(Invalid) as bad:
        review(clinic, study_id, **values)
    assert bad.value.code == code


def test_a_review_takes_no_other_field(clinic: Clinic) -> None:
    for field in ("reader_id", "verdict"):
        with pytest.raises(TypeError):
            review(clinic, clinic.done(), **{field: "agree"})


@pytest.mark.parametrize(
    ("result", "finding", "reason"),
    [
        ({}, "right", "missed"),  # beside a positive
        ({}, "left", "missed"),
        ({}, "right", "false_alarm"),
        (NONE_FOUND, "none", "false_alarm"),
        (NONE_FOUND, "left", "wrong_side"),
        (REFUSED, "right", "missed"),
    ],
)
def test_a_reason_that_does_not_fit_is_refused(
    clinic: Clinic, result: dict[str, Any], finding: str, reason: str
) -> None:
    study_id = clinic.done(**result)
    with pytest.raises(errors.Conflict) as conflict:
        review(clinic, study_id, finding=finding, reason=reason)
    assert conflict.value.code == "reason_does_not_fit"
    assert versions(clinic, study_id) == []


@pytest.mark.parametrize(
    ("result", "finding", "reason"),
    [
        ({}, "none", "false_alarm"),
        ({}, "left", "wrong_side"),
        ({}, "right", None),
        (NONE_FOUND, "both", "missed"),
        (NONE_FOUND, "none", None),
        (REFUSED, "right", None),
    ],
)
def test_who_disagrees_without_a_reason_gets_the_one_that_is_true(
    clinic: Clinic, result: dict[str, Any], finding: str, reason: str | None
) -> None:
    for given in (None, ""):
        assert review(clinic, clinic.done(**result), finding=finding, reason=given).reason == reason


def test_several_reasons_are_stated_in_one_order_and_stay_with_the_finding(
    clinic: Clinic,
) -> None:
    study_id = clinic.done()
    stated = review(clinic, study_id, finding="none", reason="poor_image,skin_fold,poor_image")
    assert stated.reasons == ("skin_fold", "poor_image")
    assert (stated.reason, stated.further_reasons) == ("skin_fold", ["poor_image"])
    again = review(clinic, study_id, finding="none", reason="skin_fold,poor_image")
    assert again.id == stated.id
    longer = review(
        clinic,
        study_id,
        finding="none",
        comment="A fold.",
        after=stated.id.hex,
        now=after(minutes=1),
    )
    assert longer.reasons == stated.reasons
    one = review(
        *(clinic, study_id),
        finding="none",
        reason="skin_fold",
        after=longer.id.hex,
        now=after(minutes=2),
    )
    assert (one.id != longer.id, one.reasons, one.further_reasons) == (True, ("skin_fold",), None)


@pytest.mark.parametrize(
    ("reason", "error", "code"),
    [
        ("skin_fold,missed", errors.Conflict, "reason_does_not_fit"),
        ("skin_fold,because", Invalid, "unknown_reason"),
        ("skin_fold;poor_image", Invalid, "unknown_reason"),
    ],
)
def test_of_several_reasons_each_must_be_known_and_fit(
    clinic: Clinic, reason: str, error: type[Exception], code: str
) -> None:
    study_id = clinic.done()
    with pytest.raises(error) as refused:
        review(clinic, study_id, finding="none", reason=reason)
    assert getattr(refused.value, "code", "") == code
    assert versions(clinic, study_id) == []


@pytest.mark.parametrize("finding", ["none", "unsure"])
def test_a_picture_that_could_not_be_prepared_has_nothing_to_judge(
    clinic: Clinic, finding: str
) -> None:
    study_id = failed(clinic, render=True)
    with pytest.raises(errors.Conflict) as conflict:
        review(clinic, study_id, finding=finding)
    assert conflict.value.code == "no_picture"


def test_what_was_found_elsewhere_can_be_stated_for_any_picture(clinic: Clinic) -> None:
    study_id = failed(clinic, render=True)
    assert review(clinic, study_id, finding="left").verdict == "unaided"


def test_a_case_without_a_result_is_read_unaided(clinic: Clinic) -> None:
    """There is nothing to agree with."""
    for study_id in (failed(clinic, render=False), clinic.done(**REFUSED)):
        for minute, finding in enumerate(("none", "right")):
            stated = review(clinic, study_id, finding=finding, now=after(minutes=minute))
            assert (stated.verdict, stated.reason) == ("unaided", None)


def test_before_the_result_a_finding_is_one_read_unaided(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    with pytest.raises(errors.Conflict):
        review(clinic, study_id, finding="none")
    segmenting = clinic.render(study_id)
    assert review(clinic, study_id, finding="right").verdict == "unaided"
    clinic.segment(segmenting)
    # The same finding beside the result is another version: now it agrees.
    assert review(clinic, study_id, now=after(minutes=1)).verdict == "agree"


def test_a_review_leaves_the_prediction_unchanged(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        before = case.open_study(session, clinic.vault, clinic.mate, study_id, NOW).picture
    review(clinic, study_id, finding="none", reason="false_alarm")
    with clinic.session as session:
        after_it = case.open_study(session, clinic.vault, clinic.mate, study_id, NOW).picture
    assert before.prediction is not None
    assert after_it.prediction == before.prediction


# Purging


def test_a_purged_study_is_gone_and_its_log_stays(clinic: Clinic) -> None:
    study_id, other = clinic.done(), clinic.done()
    review(clinic, study_id, comment="a comment")
    with clinic.session as session:
        study = session.get_one(Study, study_id)
        assert study.wrapped_key is not None
        purges.purge(session, clinic.vault, clinic.admin, study_id, NOW, reason=MISTAKE)
    with clinic.session as session:
        study = session.get_one(Study, study_id)
        assert (study.wrapped_key, study.key_id, study.sealed_phi, study.patient_key) == (None,) * 4
        with pytest.raises(Denied):
            case.open_study(session, clinic.vault, clinic.mate, study_id, NOW)
    with clinic.session as session:
        rows = worklist.worklist(session, clinic.vault, clinic.mate, now=NOW).rows
        assert [row.study_id for row in rows] == [other]
    assert len(files(clinic.core.data_dir)) == 6
    with clinic.session as session:
        assert session.scalars(select(AuditEvent).where(AuditEvent.event == "study_purged")).one()
        assert verification.verify(session).is_whole


def test_a_purged_picture_can_be_sent_again(clinic: Clinic) -> None:
    data = dicom()
    first = clinic.submit(data)
    with clinic.session as session:
        purges.purge(session, clinic.vault, clinic.admin, first.study_id, NOW, reason=MISTAKE)
    again = clinic.submit(data)
    assert not again.duplicate
    assert again.study_id != first.study_id


def test_a_worker_loses_the_job_of_a_purged_study(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    ticket = clinic.claim(clinic.job(study_id).id)
    assert ticket is not None
    with clinic.session as session:
        purges.purge(session, clinic.vault, clinic.admin, study_id, NOW, reason=MISTAKE)
    with pytest.raises(Lost):
        clinic.store(ticket, thumb=jpeg())
    with clinic.session as session:
        assert not claims.heartbeat(session, clinic.core.settings, ticket)
        job = session.scalars(select(Job)).one()
        assert (job.state, job.error_code) == (JobState.FAILED, "purged")
        with pytest.raises(errors.Conflict):
            claims.retry(session, clinic.admin, job.id, NOW)
    assert files(clinic.core.data_dir) == []


@pytest.mark.parametrize("person", ["owner", "mate", "outsider", "colleague", "auditor"])
def test_nobody_but_an_administrator_can_purge(clinic: Clinic, person: str) -> None:
    study_id = clinic.done()
    with clinic.session as session, pytest.raises(Denied):
        purges.purge(session, clinic.vault, getattr(clinic, person), study_id, NOW, reason=MISTAKE)


def test_a_key_from_an_old_backup_opens_nothing_after_a_rotation(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        study = session.get_one(Study, study_id)
        wrapped, key_id = study.wrapped_key, study.key_id
        assert wrapped is not None
        assert key_id is not None
        purges.purge(session, clinic.vault, clinic.admin, study_id, NOW, reason=MISTAKE)
    assert clinic.vault.data_key(study_id, wrapped, key_id)  # as long as the ring has its key
    clinic.vault.add_key(NOW)
    clinic.vault.drop_keys(set(), after(hours=2))
    with pytest.raises(NotReadable):
        clinic.vault.data_key(study_id, wrapped, key_id)
