"""Who is blind to whom while an exam waits for a second reader."""

from uuid import UUID

import pytest
from sqlalchemy import select

from portal import audit
from portal.access import Actor
from portal.critical import case_view
from portal.errors import Conflict
from portal.governance.joins import join
from portal.models import AiShown, Study, TeamChoices
from portal.operations import background_check
from portal.reading import worklist
from portal.reading.case import open_study
from portal.studies.second_reads import blindness
from tests.support.audit_log import spoil
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.outlines.pages import Page, drawn
from tests.support.pictures import dicom
from tests.support.queries.damaged_pages import overwrite_page_of
from tests.support.second_reads.readers import ask, colleague, is_blind, second_read, state


def seen_by(clinic: Clinic, actor: Actor, study_id: UUID) -> tuple[int, int, int]:
    """How many reviews, outlines and drafts a person sees."""
    with clinic.session as session:
        view = open_study(session, clinic.vault, actor, study_id, after(minutes=9))
    return len(view.reviews), len(view.outlines), len(view.outline_drafts)


def test_readers_of_the_team_who_have_not_read_are_blind_and_nobody_else(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), clinic.done()
    state(clinic, clinic.mate, study_id, "right")
    assert not is_blind(clinic, second, study_id)
    ask(clinic, clinic.mate, study_id)
    blind = {
        name
        for name in ("owner", "mate", "outsider", "colleague", "admin", "auditor")
        if is_blind(clinic, getattr(clinic, name), study_id)
    }
    assert blind == set()
    assert is_blind(clinic, second, study_id)
    state(clinic, second, study_id, "none", after(minutes=1))
    assert not is_blind(clinic, colleague(clinic, "third"), study_id)


def test_neither_sees_what_the_other_draws(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), clinic.done()
    first_page, second_page = Page(clinic, study_id, clinic.mate), Page(clinic, study_id, second)
    first_page.begin()
    first_page.save(drawn((0, 4)))
    state(clinic, clinic.mate, study_id, "right")
    ask(clinic, clinic.mate, study_id)
    assert seen_by(clinic, second, study_id) == (0, 0, 0)
    second_page.begin(after(minutes=1))
    second_page.draft(drawn((1, 3)), now=after(minutes=1))
    assert seen_by(clinic, clinic.mate, study_id) == (1, 1, 0)
    assert seen_by(clinic, second, study_id) == (0, 0, 1)
    # The first reader can't take over from them, by which each would learn of the other.
    for take_over in (False, True):
        with pytest.raises(Conflict):
            first_page.begin(after(minutes=2), take_over=take_over)
    second_page.save(drawn((1, 3)), now=after(minutes=3))
    assert seen_by(clinic, clinic.mate, study_id) == (1, 1, 0)
    state(clinic, second, study_id, "right", after(minutes=4))
    for person in (clinic.mate, second, clinic.owner):
        assert seen_by(clinic, person, study_id) == (2, 2, 0)


def test_a_first_reader_who_goes_on_drawing_keeps_what_they_drew(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), clinic.done()
    state(clinic, clinic.mate, study_id, "right")
    ask(clinic, clinic.mate, study_id)
    first_page, second_page = Page(clinic, study_id, clinic.mate), Page(clinic, study_id, second)
    first_page.begin()
    first_page.draft(drawn((0, 4)))
    opened = second_page.begin(after(minutes=1))
    assert (opened.origin, opened.is_draft, opened.shows_kept) == ("empty", False, False)
    assert [(one.author_id, one.kept, one.pixels) for one in first_page.versions()] == [
        (clinic.mate.user_id, True, 4)
    ]
    assert seen_by(clinic, second, study_id) == (0, 0, 1)
    assert seen_by(clinic, clinic.mate, study_id) == (1, 1, 0)


def test_exams_that_are_joined_keep_their_second_reads(clinic: Clinic) -> None:
    second = colleague(clinic, "second")
    one, other = clinic.done(), clinic.done()
    state(clinic, clinic.mate, other, "right")
    ask(clinic, clinic.mate, other)
    with clinic.session as session:
        join(session, clinic.vault, None, one, other, NOW)
    assert is_blind(clinic, second, one)
    with clinic.session as session:
        assert blindness.of(session, [other]).exams == {}  # which is not an exam any more
    state(clinic, second, one, "right", after(minutes=1))
    assert second_read(clinic, other).consensus == "right"


def test_a_later_exam_of_the_patient_does_not_name_the_finding_of_the_first_reader(
    clinic: Clinic,
) -> None:
    second = colleague(clinic, "second")
    earlier, later = (
        clinic.submit(dicom(PatientID="SAME", StudyTime=time)).study_id
        for time in ("070000", "080000")
    )
    for study_id in (earlier, later):
        clinic.segment(clinic.render(study_id))
    state(clinic, clinic.mate, earlier, "right")
    ask(clinic, clinic.mate, earlier)

    def named(actor: Actor) -> bool:
        with clinic.session as session:
            return case_view.of_case(session, clinic.vault, actor, later).earlier is not None

    assert (named(clinic.mate), named(second)) == (True, False)
    state(clinic, second, earlier, "right", after(minutes=1))
    assert named(second)


@pytest.mark.parametrize(
    ("policy", "is_blind_after"),
    [(AiShown.WITH_PICTURE, False), (AiShown.NEVER, False), (AiShown.AFTER_VERDICT, True)],
)
def test_who_had_opened_the_exam_before_becomes_no_second_reader(
    clinic: Clinic, policy: AiShown, is_blind_after: bool
) -> None:
    """They have seen the AI result or the first finding, unless the team hides both till then."""
    with clinic.session as session:
        session.add(TeamChoices(team_id=clinic.mate.team_id, ai_shown=policy))
        session.commit()
    early, late, study_id = colleague(clinic, "early"), colleague(clinic, "late"), clinic.done()
    with clinic.session as session:
        open_study(session, clinic.vault, early, study_id, NOW)
    state(clinic, clinic.mate, study_id, "right", after(minutes=1))
    ask(clinic, clinic.mate, study_id, after(minutes=2))
    with clinic.session as session:
        open_study(session, clinic.vault, late, study_id, after(minutes=3))
    for reader, expected in ((early, is_blind_after), (late, True)):
        assert is_blind(clinic, reader, study_id) is expected
        with clinic.session as session:
            listed = blindness.may_become_second(reader)
            assert (session.scalar(select(Study.id).where(listed)) == study_id) is expected
    state(clinic, early, study_id, "right", after(minutes=4))
    assert (second_read(clinic, study_id).second_review_id is not None) is is_blind_after


@pytest.mark.parametrize("kind", ["a text that is no time", "a damaged page"])
def test_a_row_of_the_log_that_cannot_be_read_stops_no_exam_and_shows_nothing_more(
    clinic: Clinic, kind: str
) -> None:
    """Nobody counts as one who had opened its exam; all else goes on, and damage is found."""
    core, is_page = clinic.core, kind == "a damaged page"
    if core.engine.dialect.name != "sqlite" and not is_page:
        pytest.skip("PostgreSQL stores no text as a time")
    early, damaged, other = colleague(clinic, "early"), clinic.done(), clinic.done()
    for study_id in (damaged, other):
        state(clinic, clinic.mate, study_id, "right")
    mark = "mark-of-the-damaged-row"
    with clinic.session as session:
        for number in range(240):
            about = damaged if number == 120 else None
            detail = {"text": mark if about else "x" * 200}
            event = "study_opened" if about else "tested"
            audit.append(session, event, actor=early, now=NOW, study_id=about, detail=detail)
        session.commit()
    for study_id in (damaged, other):
        ask(clinic, clinic.mate, study_id, after(minutes=2))
    assert not is_blind(clinic, early, damaged)
    if is_page:
        overwrite_page_of(core.engine, "audit_events", f"detail LIKE '%{mark}%'", mark)
    else:
        spoil(core, "audit_events", "at", "xx", f"detail LIKE '%{mark}%'")
    for study_id in (damaged, other):
        assert is_blind(clinic, early, study_id)
        assert not is_blind(clinic, clinic.mate, study_id)
        assert seen_by(clinic, early, study_id) == (0, 0, 0)
        assert seen_by(clinic, clinic.mate, study_id) == (1, 0, 0)
    with clinic.session as session:
        page = worklist.worklist(session, clinic.vault, early, now=after(minutes=9))
    assert {row.study_id for row in page.rows} == {damaged, other}
    assert not any(row.damaged or row.state.finding for row in page.rows)
    state(clinic, early, damaged, "right", after(minutes=10))
    assert second_read(clinic, damaged).second_review_id is not None
    if is_page:
        assert background_check.structure(core.engine)
    else:
        found = background_check.problems_of_log(core.engine, core.settings, after(minutes=10))
        assert any("audit_events" in one for one in found)
