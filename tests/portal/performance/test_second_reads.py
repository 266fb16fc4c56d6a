"""What the boards count of second reads: drawn ones alone, each as many as it was drawn from."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from portal.access import Actor
from portal.models import Review, SecondRead, Study
from portal.performance import months, second_reads, summaries
from portal.performance.board import Board, board
from portal.studies.second_reads import progress
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.second_reads.readers import ask, colleague, second_read, state

NOTHING = {"band": "none_found", "probability": 0.02}


def drawn(clinic: Clinic, actor: Actor, finding: str, chance: float, **result: object) -> UUID:
    """An exam whose first finding was stated, and which was drawn with this probability."""
    study_id = clinic.done(**result)
    first = state(clinic, actor, study_id, finding)
    with clinic.session as session:
        study, review = session.get_one(Study, study_id), session.get_one(Review, first.id)
        result = progress._result(session, study)
        progress._add(session, study, review, result, NOW, probability=chance)
        session.commit()
    return study_id


def numbers(clinic: Clinic) -> Board:
    with clinic.session as session:
        summaries.refresh(session, NOW)
    with clinic.session as session:
        return board(session, clinic.admin, first="", last="", model="", now=NOW)


def test_strata_pairs_and_what_waits_are_counted_by_their_weights(clinic: Clinic) -> None:
    second, third = colleague(clinic, "second"), colleague(clinic, "third")
    agreed = drawn(clinic, clinic.mate, "right", 0.5)
    state(clinic, second, agreed, "right", after(minutes=1))
    missed = drawn(clinic, clinic.mate, "left", 0.1, **NOTHING)
    state(clinic, second, missed, "none", after(minutes=1))
    state(clinic, third, missed, "left", after(minutes=2))
    unsure = drawn(clinic, clinic.mate, "unsure", 0.1, **NOTHING)
    state(clinic, second, unsure, "unsure", after(minutes=1))
    differ = drawn(clinic, clinic.mate, "none", 0.2, **NOTHING)
    state(clinic, second, differ, "right", after(minutes=1))
    drawn(clinic, clinic.mate, "none", 0.2, **NOTHING)
    asked = clinic.done()
    state(clinic, clinic.mate, asked, "right")
    ask(clinic, clinic.mate, asked)
    state(clinic, second, asked, "right", after(minutes=1))

    found = numbers(clinic).second
    assert {
        name: (one.all.count, one.all.weight, one.positive.weight)
        for name, one in found.strata.items()
    } == {
        "likely": (1, 2.0, 2.0),
        "none_found": (1, 10.0, 10.0),
    }
    assert found.sensitivity.value == pytest.approx(2 / 12)
    assert found.waiting == {"second": 1, "third": 1, "unsure": 1}
    assert {pair: cell.weight for pair, cell in found.pairs[True].items()} == {
        ("right", "right"): 2.0,
        ("left", "none"): 10.0,
        ("unsure", "unsure"): 10.0,
        ("none", "right"): 5.0,
    }
    assert found.pairs[False] == {}


def test_a_month_without_second_reads_has_sums_of_nothing(clinic: Clinic) -> None:
    clinic.done()
    with clinic.session as session:
        found = second_reads.of_month(session, months.until(NOW)[-1])
    assert found == {
        "strata": [],
        "pairs": [],
        "open": {"second": 0, "third": 0, "unsure": 0},
        "dice": [],
    }
    assert numbers(clinic).second.sensitivity.value is None


def test_exams_of_other_months_do_not_count(clinic: Clinic) -> None:
    study_id = drawn(clinic, clinic.mate, "right", 0.5)
    with clinic.session as session:
        session.get_one(Study, study_id).created = NOW - timedelta(days=10)
        session.commit()
        this, before = (second_reads.of_month(session, m) for m in months.until(NOW)[:-3:-1])
    assert (this["open"]["second"], before["open"]["second"]) == (0, 1)


def test_readers_who_did_not_see_the_ai_are_apart(clinic: Clinic) -> None:
    second = colleague(clinic, "second")
    study_id = drawn(clinic, clinic.mate, "right", 0.5)
    state(clinic, second, study_id, "right", after(minutes=1))
    with clinic.session as session:
        row = session.get_one(SecondRead, second_read(clinic, study_id).id)
        assert session.get_one(Review, row.second_review_id).ai_visible is False
        assert session.get_one(Review, row.first_review_id).ai_visible is True
    assert uuid4() != study_id
    found = numbers(clinic).second
    assert list(found.pairs[True]) == [("right", "right")]
