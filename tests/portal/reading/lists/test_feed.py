"""What changes is sent to the lists that show it: looked for once, whatever the number of lists."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from portal.access import Actor
from portal.accounts.sessions import actor_of
from portal.critical import open_findings
from portal.models import AiShown, AuditEvent, LoginSession, Role, TeamChoices
from portal.reading import reviews, worklist
from portal.reading.lists import claims
from portal.reading.lists.feed import Feed, OpenList, Update
from portal.reading.shown_results import Shown
from portal.studies.status import State
from portal.teams import ai_visibility
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.people import add_person
from tests.support.queries.query_plan import selects


class Lists(Feed):
    """A feed without its thread; `opened` are the lists and what each was sent."""

    def __init__(self, clinic: Clinic) -> None:
        super().__init__(
            clinic.core.sessions, Shown(), lambda: after(minutes=10), timedelta(minutes=15)
        )
        self._thread = None
        self.clinic = clinic

    def open(self, actor: Actor, *ids: UUID, known: int = 0) -> list[Update | None]:
        sent: list[Update | None] = []
        session_id = self.sign_in(actor)
        mine = Actor(actor.user_id, actor.team_id, actor.role, actor.permissions, session_id)
        self._lists.add(OpenList(mine, frozenset(ids), NOW, known, sent.append))
        return sent

    def sign_in(self, actor: Actor) -> UUID:
        with self.clinic.session as session:
            row = LoginSession(
                token_hash=uuid4().hex,
                user_id=actor.user_id,
                created=NOW,
                last_seen=NOW,
                expires=after(hours=10),
            )
            session.add(row)
            session.commit()
            return row.id


@pytest.fixture
def lists(clinic: Clinic) -> Lists:
    return Lists(clinic)


def log(clinic: Clinic) -> list[tuple[UUID | None, str]]:
    with clinic.session as session:
        query = select(AuditEvent).where(AuditEvent.event == "results_read")
        return [(row.actor_id, row.detail) for row in session.scalars(query)]


def test_a_change_goes_to_the_lists_that_show_it_and_may(clinic: Clinic, lists: Lists) -> None:
    one, other = clinic.submit().study_id, clinic.submit().study_id
    shows, shows_other = lists.open(clinic.mate, one), lists.open(clinic.mate, other)
    outside = lists.open(clinic.outsider, one)  # names it, and may not see it
    lists.look()
    lists.look()
    assert shows == shows_other == outside == []
    clinic.segment(clinic.render(one))
    lists.look()
    (update,) = shows
    assert update is not None
    assert list(update.rows) == [one]
    assert update.rows[one].state.result is not None
    assert (update.counts.to_read, update.counts.positive) == (2, 1)
    assert [list(sent.rows) for sent in (*shows_other, *outside) if sent] == [[], []]
    assert [sent.counts.to_read for sent in outside if sent] == [0]
    assert [(actor, one.hex in detail) for actor, detail in log(clinic)] == [
        (clinic.mate.user_id, True)
    ]
    lists.look()
    assert len(shows) == 1


def test_reading_marks_and_reviews_are_changes(clinic: Clinic, lists: Lists) -> None:
    study_id = clinic.done()
    sent = lists.open(clinic.mate, study_id)
    lists.look()
    with clinic.session as session:
        claims.claim(session, clinic.mate, study_id, after(minutes=10))
    lists.look()
    with clinic.session as session:
        reviews.add_review(
            session, clinic.vault, clinic.mate, study_id, finding="right", now=after(minutes=10)
        )
    lists.look()
    with clinic.session as session:
        claims.release(session, clinic.mate, study_id, after(minutes=10))
    lists.look()
    rows = [update.rows[study_id] for update in sent if update]
    assert [row.claim.reader if row.claim else None for row in rows] == [
        *("Test mate", "Test mate"),
        None,
    ]
    assert [row.reader for row in rows] == [None, "Test mate", "Test mate"]
    assert len(log(clinic)) == 1  # once the session was shown it


def test_an_attempt_that_begins_is_a_change(clinic: Clinic, lists: Lists) -> None:
    study_id = clinic.submit().study_id
    sent = lists.open(clinic.mate, study_id)
    lists.look()
    assert clinic.claim(clinic.job(study_id).id) is not None
    lists.look()
    lists.look()
    assert [update.rows[study_id].state.state.value for update in sent if update] == ["preparing"]


def test_arrivals_are_counted_for_each_list(clinic: Clinic, lists: Lists) -> None:
    clinic.submit(now=after(minutes=1))
    knows, knows_not = lists.open(clinic.mate, known=1), lists.open(clinic.mate)
    lists.look()
    clinic.submit(now=after(minutes=2))
    clinic.submit(now=after(minutes=2), actor=clinic.outsider)
    lists.look()
    assert [update.arrived for update in (*knows, *knows_not) if update] == [1, 2]


def test_a_look_is_one_statement_whatever_the_number_of_lists(clinic: Clinic, lists: Lists) -> None:
    shown = [clinic.submit().study_id for _ in range(3)]
    made = {}
    for number in (1, 50):
        for _ in range(number):
            lists.open(clinic.mate, *shown)
        lists.look()
        with selects(clinic.core.engine) as idle:
            lists.look()
        clinic.segment(clinic.render(shown.pop()))
        with selects(clinic.core.engine) as busy, clinic.session as session:
            changed = lists._changed(session)
            lists._updates(session, list(lists._lists), changed)
        made[number] = (len(idle), len(busy))
    assert made[1] == made[50]
    assert made[1][0] == 1


def busy_reader(clinic: Clinic, number: int) -> Actor:
    """One of many readers of the team."""
    with clinic.session as session:
        email = f"busy-{number}@example.org"
        user = add_person(session, Role.READER, email, name=f"Busy {number}", team="Here")
        session.commit()
        return actor_of(user, uuid4())


@pytest.mark.parametrize("policy", list(AiShown))
def test_a_change_takes_as_many_statements_for_thirty_people_as_for_two(
    clinic: Clinic, lists: Lists, policy: AiShown
) -> None:
    waiting, late, drawn = (clinic.submit().study_id for _ in range(3))
    with clinic.session as session:
        session.add(TeamChoices(team_id=clinic.mate.team_id, ai_shown=policy))
        session.commit()
    render = clinic.render(late)
    read_by(clinic, clinic.mate, late, "none")
    clinic.segment(render)  # positive only after it was read
    clinic.render(drawn)
    read_by(clinic, clinic.mate, drawn, "right")  # a critical finding that the reader is asked of
    people = [clinic.mate, *(busy_reader(clinic, number) for number in range(29))]
    read_by(clinic, people[1], late, "none")
    made = []
    for some in (people[:2], people[2:]):
        for one in some:
            lists.open(one, waiting, late, drawn)
        with selects(clinic.core.engine) as busy, clinic.session as session:
            updates = lists._updates(session, list(lists._lists), {waiting, late, drawn})
        made.append(len(busy))
    with clinic.session as session:
        for opened, update in updates:
            visible = ai_visibility.visible_in_lists(session, opened.actor)
            assert update.counts == worklist.waiting(session, opened.actor, visible)
            assert update.critical == open_findings.of_actor(session, opened.actor)
            hidden = ai_visibility.hidden(session, opened.actor, list(update.rows))
            is_bare = update.rows[late].state.result is None
            assert is_bare is (late in hidden)
    assert len(updates) == len(people)
    assert made[0] == made[1]


def read_by(clinic: Clinic, actor: Actor, study_id: UUID, finding: str) -> None:
    with clinic.session as session:
        reviews.add_review(
            session, clinic.vault, actor, study_id, finding=finding, now=after(minutes=5)
        )


@pytest.mark.parametrize("how", ["ended", "idle", "over"])
def test_the_end_of_a_login_ends_its_list(clinic: Clinic, lists: Lists, how: str) -> None:
    study_id = clinic.submit().study_id
    sent = lists.open(clinic.mate, study_id)
    lists.look()
    ends = {
        "ended": {"ended_at": NOW},
        "idle": {"last_seen": after(minutes=-6)},
        "over": {"expires": NOW},
    }
    with clinic.session as session:
        session.execute(update(LoginSession).values(ends[how]))
        session.commit()
    clinic.segment(clinic.render(study_id))
    lists.look()
    assert sent == [None]
    assert log(clinic) == []
    assert lists._lists == set()


@pytest.mark.parametrize("policy", [AiShown.AFTER_VERDICT, AiShown.NEVER])
def test_each_reader_is_sent_what_they_may_see_of_the_ai(
    clinic: Clinic, lists: Lists, policy: AiShown
) -> None:
    one, other = clinic.submit().study_id, clinic.submit().study_id
    segments = clinic.render(one), clinic.render(other)
    with clinic.session as session:
        session.add(TeamChoices(team_id=clinic.mate.team_id, ai_shown=policy))
        session.commit()
        reviews.add_review(session, clinic.vault, clinic.mate, one, finding="right", now=NOW)
    sent = lists.open(clinic.mate, one, other)
    lists.look()
    for segment in segments:
        clinic.segment(segment)
    lists.look()
    (update,) = sent
    assert update is not None
    shown = {i: row.state.result is not None for i, row in update.rows.items()}
    assert shown == {one: policy is AiShown.AFTER_VERDICT, other: False}
    late = 1 if policy is AiShown.AFTER_VERDICT else 0
    assert (update.counts.to_read, update.counts.positive) == (1 + late, None)
    assert update.rows[other].state.state is State.READY
