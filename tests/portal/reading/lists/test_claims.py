"""Who reads an exam: seen by colleagues, renewed by the open page, passed over by Next."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from portal.access import Actor, Denied
from portal.accounts.sessions import actor_of
from portal.models import AuditEvent, ReadingClaim, Role
from portal.reading import worklist
from portal.reading.lists import claims
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.people import add_person


@pytest.fixture
def second(clinic: Clinic) -> Actor:
    """Another reader of the same team."""
    with clinic.session as session:
        user = add_person(session, Role.READER, "second@example.org", name="Second", team="Here")
        session.commit()
        return actor_of(user, uuid4())


def claim(clinic: Clinic, actor: Actor, study_id: UUID, seconds: float = 0) -> claims.Claim:
    with clinic.session as session:
        return claims.claim(session, actor, study_id, after(seconds=seconds))


def log(clinic: Clinic) -> list[tuple[str, UUID | None]]:
    with clinic.session as session:
        rows = session.execute(select(AuditEvent.event, AuditEvent.actor_id)).all()
    return [(event, actor) for event, actor in rows if event.startswith("reading_")]


def test_the_second_reader_sees_who_reads_until_the_mark_lapses(
    clinic: Clinic, second: Actor
) -> None:
    study_id = clinic.done()
    first = claim(clinic, clinic.mate, study_id)
    assert (first.reader, first.since) == ("Test mate", NOW)
    assert claim(clinic, second, study_id, 30) == first
    assert claim(clinic, clinic.mate, study_id, 50) == first  # renewed, and since when it was
    assert claim(clinic, second, study_id, 109) == first
    assert claim(clinic, second, study_id, 110).reader == "Second"
    assert claim(clinic, clinic.mate, study_id, 111).reader == "Second"
    mate, other = clinic.mate.user_id, second.user_id
    assert log(clinic) == [("reading_begun", mate), ("reading_begun", other)]


def test_only_its_reader_ends_a_mark(clinic: Clinic, second: Actor) -> None:
    study_id = clinic.done()
    claim(clinic, clinic.mate, study_id)
    with clinic.session as session:
        claims.release(session, second, study_id, NOW)
        assert claims.of_studies(session, [study_id], NOW)[study_id].reader == "Test mate"
        claims.release(session, clinic.mate, study_id, NOW)
        assert claims.of_studies(session, [study_id], NOW) == {}
        claims.release(session, clinic.mate, study_id, NOW)
        assert session.scalars(select(ReadingClaim)).all() == []
    assert [event for event, _ in log(clinic)] == ["reading_begun", "reading_ended"]


def test_nobody_marks_what_they_may_not_review(clinic: Clinic) -> None:
    study_id = clinic.done()
    for actor in (clinic.outsider, clinic.owner, clinic.admin):
        for change in (claims.claim, claims.release):
            with clinic.session as session, pytest.raises(Denied):
                change(session, actor, study_id, NOW)
    assert log(clinic) == []


@pytest.mark.parametrize("is_first", [True, False])
def test_two_who_ask_for_the_next_case_together_are_given_two(
    clinic: Clinic, second: Actor, is_first: bool
) -> None:
    here, one, other = (clinic.done(after(minutes=minute)) for minute in range(3))
    slow, quick = (clinic.mate, second) if is_first else (second, clinic.mate)
    given: list[UUID | None] = []

    def take(actor: Actor, meanwhile: Callable[[], object]) -> UUID | None:
        with clinic.session as session:

            def find() -> UUID | None:
                found = worklist.next_study(session, clinic.vault, actor, here, now=NOW)
                meanwhile()
                return found

            return claims.take_next(session, actor, NOW, find)

    def quick_one() -> None:
        """Asks and is answered between what the slow one found and their mark."""
        if not given:
            given.append(None)
            given[0] = take(quick, lambda: None)

    assert take(slow, quick_one) == other
    assert given == [one]
    assert log(clinic) == [("reading_begun", quick.user_id), ("reading_begun", slow.user_id)]
    assert take(slow, lambda: None) == other  # their own mark keeps nobody from it


def test_lists_show_who_reads_and_next_passes_over_it(clinic: Clinic, second: Actor) -> None:
    first, middle, last = (clinic.done(after(minutes=minute)) for minute in range(3))
    claim(clinic, clinic.mate, middle)

    def following(actor: Actor, study_id: UUID, seconds: float = 1) -> UUID | None:
        with clinic.session as session:
            return worklist.next_study(
                session, clinic.vault, actor, study_id, now=after(seconds=seconds)
            )

    assert following(second, first) == last
    assert following(clinic.mate, first) == middle  # one's own mark is no reason
    assert following(second, first, 60) == middle
    with clinic.session as session:
        rows = worklist.worklist(session, clinic.vault, clinic.owner, now=NOW).rows
        mine = worklist.worklist(session, clinic.vault, clinic.mate, reader="mine", now=NOW).rows
    assert [row.claim.reader if row.claim else None for row in rows] == [None, "Test mate", None]
    assert [row.study_id for row in mine] == [middle]
    claim(clinic, clinic.mate, first)
    claim(clinic, clinic.mate, last)
    assert following(second, middle) is None
