"""A case that was read before the AI's result comes back once the AI has found something."""

from typing import Any
from uuid import UUID

import pytest

from portal.errors import Conflict
from portal.models import POSITIVE, READ, Study
from portal.reading import reviews, worklist
from portal.studies import status
from portal.studies.status import StudyState
from portal.web.present import list_rows, wording
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import REFUSED, facts_of, rendered
from tests.support.pictures import dicom

NONE_FOUND = {"band": "none_found", "probability": 0.04}
POSSIBLE = {"band": "possible", "probability": 0.6}


def read(clinic: Clinic, study_id: UUID, finding: str = "none", minute: int = 1) -> None:
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, study_id),
            finding=finding,
            now=after(minutes=minute),
        )


def look(clinic: Clinic, study_id: UUID) -> tuple[StudyState, Study]:
    with clinic.session as session:
        return (
            status.of_studies(session, [study_id])[study_id],
            session.get_one(Study, study_id),
        )


@pytest.mark.parametrize("found", [{}, POSSIBLE])
def test_read_unaided_then_found_is_to_be_read_again(clinic: Clinic, found: Any) -> None:
    study_id = clinic.submit().study_id
    segment = clinic.render(study_id)
    read(clinic, study_id)
    state, study = look(clinic, study_id)
    assert (study.is_read, study.rank, state.found_after_reading) == (True, READ, False)
    clinic.segment(segment, **found)
    state, study = look(clinic, study_id)
    assert (study.is_read, study.rank, state.found_after_reading) == (False, POSITIVE, True)
    assert (state.reviewed, state.finding) == ("unaided", "none")  # as it was stated
    with clinic.session as session:
        page = worklist.worklist(session, clinic.vault, clinic.mate, state="to_read", now=NOW)
    (row,) = page.rows
    assert (row.study_id, page.counts.to_read) == (study_id, 1)
    assert wording.FOUND_AFTER_READING_SHORT in list_rows.row(row).status.detail
    read(clinic, study_id, "right", minute=2)
    state, study = look(clinic, study_id)
    assert (study.is_read, state.found_after_reading) == (True, False)


def test_the_same_finding_once_more_reads_it_too(clinic: Clinic) -> None:
    """The reader stays with what they stated; it is another version, because they saw more."""
    study_id = clinic.submit().study_id
    segment = clinic.render(study_id)
    read(clinic, study_id, "unsure")
    clinic.segment(segment)
    read(clinic, study_id, "unsure", minute=2)
    state, study = look(clinic, study_id)
    assert (study.is_read, state.found_after_reading) == (True, False)


@pytest.mark.parametrize("end", [NONE_FOUND, REFUSED])
def test_nothing_found_later_changes_nothing(clinic: Clinic, end: dict[str, Any]) -> None:
    study_id = clinic.submit().study_id
    segment = clinic.render(study_id)
    read(clinic, study_id)
    clinic.segment(segment, **end)
    state, study = look(clinic, study_id)
    assert (study.is_read, state.found_after_reading) == (True, False)


def test_what_was_found_before_it_was_read_is_not_late(clinic: Clinic) -> None:
    study_id = clinic.done()
    state, _ = look(clinic, study_id)
    assert not state.found_after_reading  # nobody has read it
    read(clinic, study_id)
    state, study = look(clinic, study_id)
    assert (study.is_read, state.found_after_reading) == (True, False)


def test_one_picture_of_several_is_enough(clinic: Clinic) -> None:
    """The first one has a result when both are read, the second one has it later."""
    uid = {"StudyInstanceUID": "1.2.3.7"}
    first = clinic.submit(dicom(**uid, SOPInstanceUID="1.2.3.7.1"))
    clinic.segment(clinic.render(first.study_id), **NONE_FOUND)
    second = clinic.submit(dicom(**uid, SOPInstanceUID="1.2.3.7.2", pixels=bytes([7, 0]) * 48))
    assert second.study_id == first.study_id
    assert second.job_id is not None
    ticket = clinic.claim(second.job_id)
    assert ticket is not None
    clinic.store(ticket, **rendered(8, 6))
    segment = clinic.finish(ticket, {"facts": facts_of(8, 6)})
    assert segment is not None
    read(clinic, first.study_id)
    clinic.segment(segment)
    state, study = look(clinic, first.study_id)
    assert (study.is_read, state.found_after_reading) == (False, True)
    assert (state.finding, study.rank) == ("none", POSITIVE)


def test_a_result_that_came_while_the_page_was_open_was_not_seen(clinic: Clinic) -> None:
    """Of two pictures one becomes likely between look and save; the other is analysed still."""
    uid = {"StudyInstanceUID": "1.2.3.7"}
    first = clinic.submit(dicom(**uid, SOPInstanceUID="1.2.3.7.1"))
    found = clinic.render(first.study_id)
    second = clinic.submit(dicom(**uid, SOPInstanceUID="1.2.3.7.2", pixels=bytes([7, 0]) * 48))
    ticket = clinic.claim(second.job_id)
    clinic.store(ticket, **rendered(8, 6))
    last = clinic.finish(ticket, {"facts": facts_of(8, 6)})
    opened, _ = look(clinic, first.study_id)
    assert opened.as_seen == "analysing/2/0"
    clinic.segment(found)
    with clinic.session as session, pytest.raises(Conflict) as changed:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, first.study_id),
            finding="none",
            seen=opened.as_seen,
            now=after(minutes=1),
        )
    assert changed.value.code == "changed"
    state, _ = look(clinic, first.study_id)
    assert state.as_seen == "analysing/2/1"
    read(clinic, first.study_id, "none", minute=2)  # who has seen the first result disagrees
    state, _ = look(clinic, first.study_id)
    assert state.reviewed == "disagree"
    clinic.segment(last, **NONE_FOUND)
    state, study = look(clinic, first.study_id)
    assert (state.as_seen, study.is_read, state.found_after_reading) == ("done/2", True, False)
