"""Exams that wait for a second or third reader: by arrival, each for who may read it."""

from uuid import UUID

import pytest

from portal.access import Actor
from portal.models import TeamChoices
from portal.reading.lists import claims
from portal.reading.second_reads import waiting
from tests.portal.reading.lists.test_around_damage import damage
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.second_reads.readers import ask, colleague, second_read, state


def lists(clinic: Clinic, actor: Actor) -> tuple[list[UUID], list[UUID]]:
    with clinic.session as session:
        found = waiting.waiting(session, clinic.vault, actor, NOW)
    return tuple([row.study_id for row in one.rows] for one in (found.second, found.third))  # type: ignore[return-value]


def asked(clinic: Clinic, minutes: int, finding: str = "right", **result: object) -> UUID:
    study_id = clinic.done(after(minutes=minutes), **result)
    state(clinic, clinic.mate, study_id, finding, after(hours=1))
    ask(clinic, clinic.mate, study_id, after(hours=1))
    return study_id


def test_exams_wait_by_arrival_whatever_was_found(clinic: Clinic) -> None:
    second, third = colleague(clinic, "second"), colleague(clinic, "third")
    late = asked(clinic, 3, "right")
    early = asked(clinic, 1, "none", band="none_found", probability=0.02)
    middle = asked(clinic, 2, "unsure", band="possible", probability=0.6)
    assert lists(clinic, second) == ([early, middle, late], [])
    assert lists(clinic, clinic.mate) == lists(clinic, clinic.outsider) == ([], [])
    state(clinic, second, middle, "none", after(hours=2))
    assert lists(clinic, second) == ([early, late], [])
    assert lists(clinic, third) == ([early, late], [middle])
    with clinic.session as session:
        assert waiting.count(session, third) == 3
        assert waiting.following(session, third, early, NOW) == middle
        assert waiting.following(session, third, late, NOW) == early
        claims.claim(session, second, early, NOW)
        assert waiting.following(session, third, late, NOW) == middle


def test_the_second_reader_s_claim_does_not_wait_for_the_first_one_s(clinic: Clinic) -> None:
    second = colleague(clinic, "second")
    study_id = asked(clinic, 0)
    with clinic.session as session:
        claims.claim(session, clinic.mate, study_id, NOW)
        assert claims.claim(session, second, study_id, NOW).reader == "Test second"
        assert claims.claim(session, clinic.mate, study_id, NOW).reader == "Test second"
        assert (
            claims.claim(session, colleague(clinic, "third"), study_id, NOW).reader == "Test second"
        )


def test_the_team_s_share_of_exams_is_drawn_when_the_first_finding_is_stated(
    clinic: Clinic,
) -> None:
    with clinic.session as session:
        session.add(TeamChoices(team_id=clinic.mate.team_id, second_read_percent=100))
        session.commit()
    study_id = clinic.done()
    first = state(clinic, clinic.mate, study_id, "none")
    row = second_read(clinic, study_id)
    assert (row.first_review_id, row.probability, row.asked_by) == (first.id, 1.0, None)
    state(clinic, clinic.mate, study_id, "right", after(minutes=1))
    assert second_read(clinic, study_id).id == row.id
    assert lists(clinic, colleague(clinic, "second")) == ([study_id], [])


def test_the_next_one_is_found_where_another_that_waits_cannot_be_read(clinic: Clinic) -> None:
    if clinic.core.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reads a table of few rows whole")
    second = colleague(clinic, "second")
    damaged = asked(clinic, 0)
    for number in range(12):
        clinic.submit(PatientID=f"P-{number}", now=after(minutes=number))
    early, late = asked(clinic, 20), asked(clinic, 21)
    damage(clinic, damaged)
    with clinic.session as session:
        assert waiting.following(session, second, early, NOW) == late
        assert waiting.following(session, second, late, NOW) == early
