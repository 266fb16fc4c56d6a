"""A reader's own numbers, and the numbers of all readers without names."""

from datetime import datetime, timedelta

import pytest

from portal.access import Actor, Denied
from portal.accounts.sessions import actor_of
from portal.models import AiShown, Role, TeamChoices
from portal.performance import months, own_reading
from portal.performance.own_reading import Middle, OwnReading
from portal.reading import reviews
from portal.reading.lists import claims
from tests.portal.reading.test_signing import sign
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.outlines.pages import Page, drawn
from tests.support.people import add_person
from tests.support.second_reads.readers import ask, colleague, state

NONE = OwnReading(0, 0, 0, 0, 0)


def read(clinic: Clinic, finding: str, at: datetime, actor: Actor | None = None) -> None:
    study = clinic.done(at)
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, actor or clinic.mate, study), finding=finding, now=at
        )


def test_a_reader_sees_own_numbers_and_not_those_of_another(clinic: Clinic) -> None:
    for finding in ("right", "right", "none", "unsure"):
        read(clinic, finding, after(hours=1))
    with clinic.session as session:
        assert own_reading.own(session, clinic.mate, after(hours=2)) == OwnReading(4, 2, 1, 1, 0)
        assert own_reading.own(session, clinic.outsider, after(hours=2)) == NONE


def test_an_exam_counts_once_by_the_newest_review_and_only_for_thirty_days(clinic: Clinic) -> None:
    study = clinic.done()
    for hours, finding in ((1, "none"), (2, "right")):
        with clinic.session as session:
            reviews.add_review(
                *(session, clinic.vault, clinic.mate, study),
                finding=finding,
                now=after(hours=hours),
            )
    with clinic.session as session:
        assert own_reading.own(session, clinic.mate, after(hours=3)) == OwnReading(1, 1, 0, 0, 0)
        assert own_reading.own(session, clinic.mate, after(days=31)) == NONE


def test_the_time_is_from_the_last_opening_to_the_first_finding(clinic: Clinic) -> None:
    for minute, seconds in ((1, 20), (2, 40), (3, 90)):
        study, begun = clinic.done(after(minutes=minute)), after(minutes=10 * minute)
        with clinic.session as session:
            claims.claim(session, clinic.mate, study, begun - timedelta(minutes=3))
            claims.release(session, clinic.mate, study, begun - timedelta(minutes=2))
            claims.claim(session, clinic.mate, study, begun)
        for later in (seconds, 3 * seconds):
            with clinic.session as session:
                reviews.add_review(
                    *(session, clinic.vault, clinic.mate, study),
                    finding="right",
                    comment=str(later),
                    now=begun + timedelta(seconds=later),
                )
    read(clinic, "none", after(hours=1))  # by a program: nothing was opened
    with clinic.session as session:
        found = own_reading.own(session, clinic.mate, after(hours=2))
    assert found is not None
    assert (found.exams, found.seconds) == (4, Middle(40.0, 3))


def test_outlines_are_compared_with_the_models_and_with_the_other_readers(clinic: Clinic) -> None:
    study, second = clinic.done(), colleague(clinic, "second")
    mine, other = Page(clinic, study, clinic.mate), Page(clinic, study, second)
    mine.begin()
    mine.save(drawn((0, 4)))
    state(clinic, clinic.mate, study, "right")
    ask(clinic, clinic.mate, study)
    other.begin()
    other.save(drawn((0, 2)))
    with clinic.session as session:  # before their own finding they learn nothing
        assert own_reading.own(session, second, NOW) == NONE
    state(clinic, second, study, "right", after(minutes=1))
    (first, last) = sorted(mine.versions(), key=lambda one: one.pixels, reverse=True)
    assert first.dice_model is not None
    assert last.dice_model is not None
    for actor, outline in ((clinic.mate, first), (second, last)):
        with clinic.session as session:
            found = own_reading.own(session, actor, after(minutes=2))
        assert found is not None
        assert found.dice_ai == Middle(outline.dice_model, 1)
        assert found.dice_reader.count == 1
        assert found.dice_reader.value == pytest.approx(2 * 2 / (4 + 2), abs=1e-6)


def test_where_the_ai_is_never_shown_the_reader_sees_their_time_and_nothing_of_the_ai(
    clinic: Clinic,
) -> None:
    with clinic.session as session:
        session.add(TeamChoices(team_id=clinic.mate.team_id, ai_shown=AiShown.NEVER))
        session.commit()
    for finding, minute in (("right", 1), ("none", 2)):
        study, begun = clinic.done(), after(minutes=minute)
        mine = Page(clinic, study, clinic.mate)
        mine.begin()
        mine.save(drawn((0, 4)))
        with clinic.session as session:
            claims.claim(session, clinic.mate, study, begun)
        state(clinic, clinic.mate, study, finding, begun + timedelta(seconds=20))
    with clinic.session as session:
        found = own_reading.own(session, clinic.mate, after(hours=1))
    assert found == OwnReading(2, 0, 0, 0, 0, seconds=Middle(20.0, 2), without_ai=True)


def test_a_signed_review_counts_instead_of_a_later_one(clinic: Clinic) -> None:
    study_id = clinic.done()
    sign(clinic, study_id, now=after(minutes=10))
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, study_id), finding="none", now=after(hours=2)
        )
    with clinic.session as session:
        assert own_reading.own(session, clinic.mate, after(hours=3)) == OwnReading(1, 1, 0, 0, 0)


@pytest.mark.parametrize("who", ["owner", "admin", "auditor"])
def test_who_does_not_review_has_no_numbers(clinic: Clinic, who: str) -> None:
    with clinic.session as session, pytest.raises(Denied):
        own_reading.own(session, getattr(clinic, who), NOW)


def test_readers_are_counted_without_names_and_only_where_there_are_three(clinic: Clinic) -> None:
    month = months.until(NOW)[-1]
    for actor, count in ((clinic.mate, 2), (clinic.outsider, 1)):
        for _ in range(count):
            study = clinic.done(actor=actor)
            with clinic.session as session:
                reviews.add_review(
                    *(session, clinic.vault, actor, study), finding="right", now=after(hours=1)
                )
    with clinic.session as session:
        assert own_reading.without_names(session, month) == []
        third = actor_of(add_person(session, Role.READER, "third@example.org", team="Here"))
        session.commit()
    for _ in range(3):
        read(clinic, "right", after(hours=1), third)
    with clinic.session as session:
        assert own_reading.without_names(session, month) == [1, 2, 3]
