"""Dice and reading time of each reader: nameless unless the team has set it, and never so few that
one knows who it is.
"""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select

from portal.access import Actor
from portal.accounts.sessions import actor_of
from portal.models import AiShown, Instance, Outline, Role, TeamChoices
from portal.performance import months, readers, summaries, tables
from portal.performance.board import Board, board
from portal.performance.intervals import LEAST
from portal.performance.readers import NOT_SHOWN, Median, ReaderNumbers
from portal.reading import reviews
from portal.reading.lists import claims
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.people import add_person
from tests.support.second_reads.readers import ask, colleague, state


def read(clinic: Clinic, actor: Actor, seconds: int, dice: float | None = None) -> UUID:
    """An exam that a reader opened, outlined and reviewed."""
    study = clinic.done(actor=actor if actor is clinic.outsider else clinic.owner)
    begun = after(minutes=1)
    with clinic.session as session:
        claims.claim(session, actor, study, begun)
    state(clinic, actor, study, "right", begun + timedelta(seconds=seconds))
    if dice is not None:
        with clinic.session as session:
            picture = session.scalar(select(Instance.id).where(Instance.study_id == study))
            assert picture is not None
            session.add(outline(picture, actor, dice))
            session.commit()
    return study


def outline(picture: UUID, actor: Actor, dice: float) -> Outline:
    return Outline(
        instance_id=picture,
        author_id=actor.user_id,
        blob_id=uuid4(),
        file_sha256="ab" * 32,
        rows=8,
        columns=6,
        pixels=3,
        dice_model=dice,
        kept=False,
        created=NOW,
    )


def shown(clinic: Clinic) -> Board:
    with clinic.session as session:
        summaries.compute(session, months.until(NOW)[-1], NOW)
    with clinic.session as session:
        return board(session, clinic.admin, first="", last="", model="", now=NOW)


def choose(clinic: Clinic, **chosen: object) -> None:
    with clinic.session as session:
        session.execute(delete(TeamChoices).where(TeamChoices.team_id == clinic.mate.team_id))
        session.add(TeamChoices(team_id=clinic.mate.team_id, **chosen))
        session.commit()


def three(clinic: Clinic) -> list[Actor]:
    """Three readers of one team, each with LEAST exams, the last two with outlines."""
    actors = [clinic.mate, colleague(clinic, "second"), colleague(clinic, "third")]
    for actor, seconds, dice in zip(actors, (90, 30, 60), (None, 0.8, 0.9), strict=True):
        for _ in range(LEAST):
            read(clinic, actor, seconds, dice)
    return actors


def test_nameless_readers_are_shown_by_their_numbers_and_only_beside_two_others(
    clinic: Clinic,
) -> None:
    actors = three(clinic)
    found = shown(clinic)
    few = (LEAST, 19)
    assert found.readers == ReaderNumbers(
        [
            readers.ReaderRow("A", None, seconds=Median(30, *few)),
            readers.ReaderRow("B", None, seconds=Median(60, *few)),
            readers.ReaderRow("C", None, seconds=Median(90, *few)),
        ],
        is_left_out=True,  # two readers have outlines: each would know the other's number
    )
    for saved in (tables.as_csv(found, "readers"), tables.readers_json(found)):
        assert "Test" not in saved
        assert not any(actor.user_id.hex in saved for actor in actors)
        assert "0.8" not in saved

    for _ in range(LEAST):
        read(clinic, actors[0], 90, 0.7)
    dice = {row.key: row.dice for row in shown(clinic).readers.rows}
    assert dice == {"A": Median(0.8, *few), "B": Median(0.9, *few), "C": Median(0.7, *few)}


@pytest.mark.parametrize(("people", "each"), [(2, LEAST), (3, LEAST - 1)])
def test_of_too_few_readers_or_exams_nothing_is_shown(
    clinic: Clinic, people: int, each: int
) -> None:
    actors = [clinic.mate, colleague(clinic, "second"), colleague(clinic, "third")]
    for actor in actors[:people]:
        for _ in range(each):
            read(clinic, actor, 30, 0.9)
    assert shown(clinic).readers == ReaderNumbers([], is_left_out=True)


def test_names_stand_where_the_team_has_set_it_and_there_alone(clinic: Clinic) -> None:
    three(clinic)
    for _ in range(LEAST):
        read(clinic, clinic.outsider, 40, 0.6)
    choose(clinic, names_on_board=True)
    found = shown(clinic)
    exact = (LEAST, LEAST)
    assert found.readers == ReaderNumbers(
        [
            readers.ReaderRow("1", "Test mate", NOT_SHOWN, Median(90, *exact)),
            readers.ReaderRow("2", "Test second", Median(0.8, *exact), Median(30, *exact)),
            readers.ReaderRow("3", "Test third", Median(0.9, *exact), Median(60, *exact)),
        ],
        is_left_out=True,  # the only reader of the other team
    )
    assert ",3,Test third,dice_to_ai,0.9,10," in tables.as_csv(found, "readers")
    choose(clinic, names_on_board=False)
    assert {row.name for row in shown(clinic).readers.rows} == {None}


def test_an_exam_counts_once_its_second_read_has_ended(clinic: Clinic) -> None:
    choose(clinic, names_on_board=True)
    second = colleague(clinic, "second")
    studies = [read(clinic, clinic.mate, 30, 0.9) for _ in range(LEAST)]
    ask(clinic, clinic.mate, studies[0])
    assert shown(clinic).readers.rows[0].seconds == NOT_SHOWN
    state(clinic, second, studies[0], "right", after(hours=1))
    row = shown(clinic).readers.rows[0]
    assert (row.name, row.dice.value, row.seconds.value) == ("Test mate", 0.9, 30)


def test_where_a_team_never_sees_the_ai_its_outlines_are_not_compared(clinic: Clinic) -> None:
    choose(clinic, names_on_board=True, ai_shown=AiShown.NEVER)
    for _ in range(LEAST):
        read(clinic, clinic.mate, 30, 0.9)
    (row,) = shown(clinic).readers.rows
    assert (row.dice, row.seconds.value) == (NOT_SHOWN, 30)


def test_the_first_review_counts_and_the_newest_outline_of_each_picture(clinic: Clinic) -> None:
    choose(clinic, names_on_board=True)
    for _ in range(LEAST):
        study = read(clinic, clinic.mate, 30, 0.5)
        with clinic.session as session:
            (picture,) = session.scalars(select(Instance.id).where(Instance.study_id == study))
            last = outline(picture, clinic.mate, 0.9)
            last.created = after(minutes=1)
            kept = outline(picture, clinic.mate, 0.1)
            kept.created, kept.kept = after(minutes=2), True
            session.add_all([last, kept])
            session.commit()
        with clinic.session as session:
            reviews.add_review(
                *(session, clinic.vault, clinic.mate, study), finding="none", now=after(hours=2)
            )
    (row,) = shown(clinic).readers.rows
    assert (row.dice, row.seconds) == (Median(0.9, LEAST, LEAST), Median(30, LEAST, LEAST))


def test_months_are_added_up_and_counts_of_the_nameless_are_ranges(clinic: Clinic) -> None:
    with clinic.session as session:
        people = [
            actor_of(add_person(session, Role.READER, f"r{at}@example.org")) for at in range(3)
        ]
        session.commit()
        contents = [
            {"by_reader": [[one.user_id.hex, [[10, many], [20, 1]], []] for one in people]}
            for many in (4, 15, 1500)
        ]
        for upto, expected in ((2, (20, 49)), (3, (1000, None))):
            found = readers.board(session, contents[:upto])
            assert [row.seconds for row in found.rows] == [Median(10, *expected)] * 3
        assert readers.board(session, [{}]) == ReaderNumbers([])


def test_letters_go_on_after_z(clinic: Clinic) -> None:
    with clinic.session as session:
        people = [add_person(session, Role.READER, f"r{at}@example.org") for at in range(28)]
        session.commit()
        content = {"by_reader": [[one.id.hex, [[at, LEAST]], []] for at, one in enumerate(people)]}
        keys = [row.key for row in readers.board(session, [content]).rows]
    assert keys[0] == "A"
    assert keys[25:] == ["Z", "AA", "AB"]
