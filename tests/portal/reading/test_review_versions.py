"""Versions of a review: what a further one keeps, and what is no further one."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from portal import errors
from portal.audit import verification
from portal.models import Reason, Review, Study, Verdict
from portal.reading import case, worklist
from portal.web.present import list_rows, review_view
from tests.portal.reading.test_reviews import review, save, versions
from tests.support.clinic import Clinic, after
from tests.support.core import NOW


def test_a_later_comment_keeps_reason_and_size(clinic: Clinic) -> None:
    study_id = clinic.done()
    review(clinic, study_id, finding="none", reason="skin_fold")
    review(clinic, study_id, finding="none", comment="a fold", now=after(minutes=1))
    review(clinic, study_id, finding="left", size="above_30", now=after(minutes=2))
    review(clinic, study_id, finding="left", comment="drain", now=after(minutes=3))
    found = [
        (one.finding, one.size, one.reasons, one.comment) for one in versions(clinic, study_id)
    ]
    assert found == [
        ("none", None, ("skin_fold",), ""),
        ("none", None, ("skin_fold",), "a fold"),
        ("left", "above_30", ("wrong_side",), ""),
        ("left", "above_30", ("wrong_side",), "drain"),
    ]
    # Taken back on purpose.
    review(clinic, study_id, finding="left", size="", now=after(minutes=4))
    assert versions(clinic, study_id)[-1].size is None


def test_the_same_twice_is_one_version(clinic: Clinic) -> None:
    study_id = clinic.done()
    first = save(clinic, study_id, size="below_10", comment="apical")
    for again in ({}, {"comment": "apical"}, {"size": "below_10", "comment": "apical"}):
        saved = save(clinic, study_id, now=after(minutes=1), **again)
        assert (saved.is_new, saved.review.id, saved.comment) == (False, first.review.id, "apical")
    assert first.is_new
    assert len(versions(clinic, study_id)) == 1
    with clinic.session as session:
        assert verification.verify(session).is_whole
    # Another comment, size or reader is another version, and so is a return to what was before.
    for minute, values in enumerate(
        ({"comment": "basal"}, {"size": "10_to_30"}, {"finding": "none"}, {"finding": "right"}), 2
    ):
        assert save(clinic, study_id, now=after(minutes=minute), **values).is_new


def test_a_second_click_is_no_second_version(clinic: Clinic) -> None:
    """Both from the same page, at once: the second one waits, and finds the first."""
    study_id = clinic.done()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(save, clinic, study_id, after="") for _ in range(2)]
        saved = [one.result(60) for one in both]
    assert sorted(one.is_new for one in saved) == [False, True]
    assert len(versions(clinic, study_id)) == 1


def test_the_second_of_two_windows_learns_of_the_first(clinic: Clinic) -> None:
    study_id = clinic.done()
    first = save(clinic, study_id, after="")
    with pytest.raises(errors.Conflict, match="Another version was saved") as conflict:
        save(clinic, study_id, finding="none", comment="a fold", after="", now=after(minutes=1))
    assert conflict.value.code == "reviewed"
    assert len(versions(clinic, study_id)) == 1
    known = first.review.id.hex
    saved = save(
        clinic, study_id, finding="none", comment="a fold", after=known, now=after(hours=1)
    )
    assert saved.is_new


def test_the_same_again_counts_once_another_picture_has_come(clinic: Clinic) -> None:
    uid = {"StudyInstanceUID": "1.2.3.7"}
    study_id = clinic.submit(**uid, SOPInstanceUID="1.2.3.7.1").study_id
    clinic.render(study_id)
    assert save(clinic, study_id, finding="none").is_new
    clinic.submit(**uid, SOPInstanceUID="1.2.3.7.2")
    assert save(clinic, study_id, finding="none", now=after(minutes=1)).is_new
    with clinic.session as session:
        assert session.get_one(Study, study_id).is_read


def test_a_review_of_a_version_before_stays_readable(clinic: Clinic) -> None:
    """It has a verdict and no finding."""
    study_id = clinic.done()
    with clinic.session as session:
        old = Review(
            study_id=study_id,
            reader_id=clinic.mate.user_id,
            verdict=Verdict.DISAGREE,
            reason=Reason.MISSED,
            created=NOW,
        )
        session.add(old)
        session.commit()
        view = case.open_study(session, clinic.vault, clinic.mate, study_id, NOW)
        (row,) = worklist.worklist(session, clinic.vault, clinic.mate, now=NOW).rows
    (line,) = review_view.review_lines(view.reviews, clinic.mate, None)
    assert (line.label, line.size, line.reason) == ("Disagreed", "", "Missed a pneumothorax")
    assert list_rows.row(row).status.verdict == "preliminary · disagreed"
    # The finding that follows takes nothing over from it.
    assert review(clinic, study_id, after=old.id.hex, now=after(minutes=1)).reason is None
