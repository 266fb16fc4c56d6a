"""The way of a second read: asked for or drawn, a second finding, and a third where they differ."""

from uuid import uuid4

import pytest
from sqlalchemy import select

from portal.access import Actor, Denied
from portal.audit import verification
from portal.critical import findings as critical_findings
from portal.errors import Conflict
from portal.models import AuditEvent, CriticalState, Finding, Review, SecondRead, Stratum, Study
from portal.reading.case import open_study, study_state
from portal.studies.second_reads import progress
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import REFUSED
from tests.support.second_reads.readers import ask, colleague, is_blind, second_read, state


@pytest.fixture
def second(clinic: Clinic) -> Actor:
    return colleague(clinic, "second")


@pytest.fixture
def third(clinic: Clinic) -> Actor:
    return colleague(clinic, "third")


def steps(clinic: Clinic, study_id: object, *people: Actor) -> list[str | None]:
    found = []
    for one in people:
        with clinic.session as session:
            view = open_study(session, clinic.vault, one, study_id, after(hours=1))  # type: ignore[arg-type]
            found.append(view.second_read.step if view.second_read else None)
    return found


def test_two_readers_who_agree_are_done(clinic: Clinic, second: Actor, third: Actor) -> None:
    study_id = clinic.done()
    first = state(clinic, clinic.mate, study_id, "right")
    ask(clinic, clinic.mate, study_id)
    assert steps(clinic, study_id, clinic.mate, second, third) == ["waiting", "blind", "blind"]
    review = state(clinic, second, study_id, "right", after(minutes=1))
    row = second_read(clinic, study_id)
    assert (row.first_review_id, row.second_review_id) == (first.id, review.id)
    assert (row.consensus, row.ended, row.third_review_id) == ("right", after(minutes=1), None)
    assert steps(clinic, study_id, clinic.mate, second, third) == ["agreed"] * 3


@pytest.mark.parametrize(
    ("one", "other"), [("right", "left"), ("right", "none"), ("none", "unsure"), ("both", "left")]
)
def test_where_the_findings_differ_a_third_reader_decides(
    clinic: Clinic, second: Actor, third: Actor, one: str, other: str
) -> None:
    study_id = clinic.done()
    state(clinic, clinic.mate, study_id, one, comment="as I see it")
    ask(clinic, clinic.mate, study_id)
    state(clinic, second, study_id, other, after(minutes=1))
    assert steps(clinic, study_id, clinic.mate, second, third) == ["disagreed"] * 3
    # The first two can correct themselves, which decides nothing.
    state(clinic, clinic.mate, study_id, other, after(minutes=2))
    state(clinic, second, study_id, one, after(minutes=3))
    assert second_read(clinic, study_id).ended is None
    with clinic.session as session:
        view = open_study(session, clinic.vault, third, study_id, after(minutes=4))
        assert view.second_read is not None
        assert view.second_read.may_decide
        assert [(seen.finding, seen.comment) for seen in view.reviews][:2] == [
            (one, "as I see it"),
            (other, ""),
        ]
    decision = state(clinic, third, study_id, "left", after(minutes=5))
    row = second_read(clinic, study_id)
    assert (row.third_review_id, row.consensus) == (decision.id, "left")
    assert steps(clinic, study_id, clinic.mate, second, third) == ["decided"] * 3


def test_a_second_readers_unsigned_finding_stands_only_once_the_second_read_has_ended(
    clinic: Clinic, second: Actor, third: Actor
) -> None:
    study_id = clinic.done()
    state(clinic, clinic.mate, study_id, "right")
    ask(clinic, clinic.mate, study_id)

    def standing(person: Actor) -> tuple[object, str]:
        with clinic.session as session:
            found = study_state(session, person, study_id)
        assert found.finding is found.standing.finding
        return found.finding, found.standing.author

    everybody = (clinic.mate, clinic.owner, second, third)
    state(clinic, second, study_id, "none", after(minutes=1))
    assert {standing(person) for person in everybody} == {("right", "Test mate")}
    state(clinic, clinic.mate, study_id, "left", after(minutes=2))  # corrects themselves
    state(clinic, second, study_id, "unsure", after(minutes=3))
    assert {standing(person) for person in everybody} == {("left", "Test mate")}
    state(clinic, third, study_id, "both", after(minutes=4))
    assert {standing(person) for person in everybody} == {("both", "Test third")}


def test_a_first_reader_who_corrects_themselves_meanwhile_is_compared_as_they_see_it_now(
    clinic: Clinic, second: Actor
) -> None:
    study_id = clinic.done()
    first = state(clinic, clinic.mate, study_id, "none")
    ask(clinic, clinic.mate, study_id)
    state(clinic, clinic.mate, study_id, "right", after(minutes=1))
    assert is_blind(clinic, second, study_id)
    state(clinic, second, study_id, "right", after(minutes=2))
    row = second_read(clinic, study_id)
    assert (row.consensus, row.first_review_id) == (Finding.RIGHT, first.id)


def test_a_second_reader_is_asked_for_once_and_by_who_has_read(
    clinic: Clinic, second: Actor
) -> None:
    study_id = clinic.done()
    with pytest.raises(Conflict, match="your own finding first"):
        ask(clinic, clinic.mate, study_id)
    state(clinic, clinic.mate, study_id, "right")
    for person in (clinic.outsider, clinic.owner, clinic.admin):
        with pytest.raises(Denied):
            ask(clinic, person, study_id)
    row = ask(clinic, clinic.mate, study_id)
    assert (row.probability, row.asked_by) == (None, clinic.mate.user_id)
    with pytest.raises(Conflict, match="already"):
        ask(clinic, clinic.mate, study_id)
    state(clinic, second, study_id, "right", after(minutes=1))
    with pytest.raises(Conflict, match="already"):
        ask(clinic, second, study_id)
    with clinic.session as session:
        events = session.scalars(select(AuditEvent.event).where(AuditEvent.subject_id == row.id))
        assert events.all() == ["second_read_asked"]
        assert verification.verify(session).bad_records == ()


@pytest.mark.parametrize(
    ("result", "stratum"),
    [
        ({"band": "likely"}, Stratum.LIKELY),
        ({"band": "possible", "probability": 0.6}, Stratum.POSSIBLE),
        ({"band": "none_found", "probability": 0.04}, Stratum.NONE_FOUND),
        (REFUSED, Stratum.NO_RESULT),
        (None, Stratum.NO_RESULT),
    ],
)
def test_a_drawn_exam_names_stratum_probability_and_model(
    clinic: Clinic, result: dict[str, object] | None, stratum: Stratum
) -> None:
    study_id = clinic.submit().study_id if result is None else clinic.done(**result)
    if result is None:
        clinic.render(study_id)
    first = state(clinic, clinic.mate, study_id, "right")
    with clinic.session as session:
        study = session.get_one(Study, study_id)
        review = session.get_one(Review, first.id)
        row = progress.draw(session, study, review, 100, NOW)
        assert row is not None
        assert (row.stratum, row.probability, row.asked_by) == (stratum, 1.0, None)
        assert (row.model_id is None) is (result is None)
        assert progress.draw(session, study, review, 0, NOW) is None


def test_the_database_takes_no_row_that_is_neither_drawn_nor_asked_for(clinic: Clinic) -> None:
    study_id = clinic.done()
    review = state(clinic, clinic.mate, study_id, "right")
    with clinic.session as session:
        session.add(
            SecondRead(
                id=uuid4(),
                study_id=study_id,
                first_review_id=review.id,
                stratum=Stratum.LIKELY,
                created=NOW,
            )
        )
        with pytest.raises(Exception, match=r"(?i)check"):
            session.flush()


@pytest.mark.parametrize(
    ("stated", "marked", "expected"),
    [
        ("none", None, ["right"]),
        ("right", False, ["right"]),
        ("left", False, ["right"]),
        ("left", None, ["right", "left"]),
        ("left", True, ["right", "left"]),
    ],
)
def test_a_blind_second_reader_ends_no_critical_finding_that_they_have_not_seen(
    clinic: Clinic,
    second: Actor,
    third: Actor,
    stated: str,
    marked: bool | None,
    expected: list[str],
) -> None:
    study_id = clinic.done()
    state(clinic, clinic.mate, study_id, "right")
    ask(clinic, clinic.mate, study_id)
    state(clinic, second, study_id, stated, after(minutes=1), critical=marked)

    def is_open() -> list[str]:
        with clinic.session as session:
            rows = critical_findings.of_exam(session, study_id)
            return [row.finding.value for row in rows if row.state is CriticalState.OPEN]

    assert is_open() == expected
    state(clinic, third, study_id, "left", after(minutes=2))  # who has seen both
    assert is_open() == ["left"]
