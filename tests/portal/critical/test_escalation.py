"""Critical findings go along the rota, by a clock that the test moves on."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.critical import case_view, escalation, findings, open_findings, rota
from portal.errors import Invalid
from portal.models import (
    AuditEvent,
    Channel,
    CriticalFinding,
    Notification,
    Role,
    TeamChoices,
    User,
)
from tests.portal.critical.test_communications import record
from tests.portal.critical.test_findings import events, exam, read, states, verified
from tests.portal.teams.test_ai_visibility import AFTER, set_policy
from tests.support.audit_log import spoil
from tests.support.clinic import Clinic, after
from tests.support.people import add_person
from tests.support.second_reads.readers import ask, colleague
from tests.support.wait import only_on_sqlite

WAIT = 30  # minutes, where the team has chosen nothing
READ = 10  # the minute at which `read` states the finding


def reader(clinic: Clinic, name: str, team: str = "Here", role: Role = Role.READER) -> UUID:
    with clinic.session as session:
        user = add_person(
            session, role, f"{name.lower()}@example.org".replace(" ", "."), name=name, team=team
        )
        session.commit()
        return user.id


def choose(clinic: Clinic, *people: UUID) -> None:
    with clinic.session as session:
        rota.choose(session, clinic.admin, clinic.mate.team_id, people, after())


def run(clinic: Clinic, minutes: float) -> int:
    with clinic.session as session:
        return escalation.run(session, after(minutes=minutes))


def row_of(clinic: Clinic) -> CriticalFinding:
    with clinic.session as session:
        return session.scalars(select(CriticalFinding)).one()


def mails(clinic: Clinic, event: str) -> list[str]:
    with clinic.session as session:
        query = (
            select(User.name)
            .join(Notification, Notification.user_id == User.id)
            .where(Notification.event == event, Notification.channel == Channel.EMAIL)
        )
        return sorted(session.scalars(query))


def test_it_goes_from_one_to_the_next_and_ends_in_a_clear_state(clinic: Clinic) -> None:
    first, second = reader(clinic, "First"), reader(clinic, "Second")
    choose(clinic, first, second)
    read(clinic, exam(clinic))
    assert run(clinic, READ + WAIT - 0.1) == 0
    assert run(clinic, READ + WAIT) == 1
    assert row_of(clinic).due == after(minutes=READ + 2 * WAIT)
    assert run(clinic, READ + WAIT + 1) == 0
    assert mails(clinic, "critical_passed_on") == ["First"]
    assert run(clinic, READ + 2 * WAIT) == 1
    assert run(clinic, READ + 3 * WAIT) == 1
    assert run(clinic, READ + 9 * WAIT) == 0
    with clinic.session as session:
        strip = open_findings.of_actor(session, clinic.mate)
    assert (strip.unanswered, strip.oldest[0].is_unanswered, strip.oldest[0].asked) == (1, True, "")
    assert mails(clinic, "critical_passed_on") == ["First", "Second"]
    assert mails(clinic, "critical_unanswered") == ["First", "Second", "Test mate"]
    expected = ["critical_opened", *["critical_passed_on"] * 2, "critical_unanswered"]
    assert events(clinic) == expected
    assert verified(clinic)


def test_without_a_rota_nobody_is_left_to_ask(clinic: Clinic) -> None:
    read(clinic, exam(clinic))
    assert run(clinic, READ + WAIT) == 1
    assert row_of(clinic).exhausted_at == after(minutes=READ + WAIT)
    assert mails(clinic, "critical_unanswered") == ["Test mate"]


def test_who_stated_it_is_not_asked_again(clinic: Clinic) -> None:
    second = reader(clinic, "Second")
    choose(clinic, clinic.mate.user_id, second)
    read(clinic, exam(clinic))
    run(clinic, READ + WAIT)
    assert [UUID(one["person"]) for one in row_of(clinic).asked] == [clinic.mate.user_id, second]


def test_who_can_not_be_asked_any_more_is_passed_over(clinic: Clinic) -> None:
    people = [reader(clinic, name) for name in ("Disabled", "Moved", "Technologist", "Here still")]
    choose(clinic, *people)
    with clinic.session as session:
        users = [session.get_one(User, one) for one in people]
        users[0].disabled_at = after()
        users[1].team_id = clinic.outsider.team_id
        users[2].role = Role.TECHNOLOGIST
        session.commit()
    read(clinic, exam(clinic))
    run(clinic, READ + WAIT)
    assert row_of(clinic).asked[-1]["person"] == people[3].hex


def test_who_sees_to_it_has_the_time_once_more(clinic: Clinic) -> None:
    second = reader(clinic, "Second")
    choose(clinic, second)
    study_id = exam(clinic)
    read(clinic, study_id)
    with clinic.session as session:
        findings.acknowledge(session, clinic.mate, study_id, after(minutes=READ + 20))
    assert run(clinic, READ + WAIT) == 0
    assert run(clinic, READ + 20 + WAIT) == 1
    row = row_of(clinic)
    assert (row.asked[-1]["person"], row.acknowledged_by) == (second.hex, None)
    run(clinic, READ + 20 + 2 * WAIT)  # everybody was asked
    with clinic.session as session:
        findings.acknowledge(session, clinic.mate, study_id, after(minutes=120))
        assert open_findings.of_actor(session, clinic.mate).unanswered == 0
    assert run(clinic, 120 + WAIT) == 1  # and did not see to it
    assert row_of(clinic).exhausted_at is not None


def test_an_exam_that_cannot_be_read_keeps_back_no_other(clinic: Clinic) -> None:
    only_on_sqlite(clinic.core.engine)
    second = reader(clinic, "Second")
    choose(clinic, second)
    damaged, other = exam(clinic, "A"), exam(clinic, "B", 2)
    read(clinic, damaged)
    read(clinic, other, now=after(minutes=READ + 1))
    spoil(clinic.core, "studies", "created", "xx", f"id = '{damaged.hex}'")
    assert run(clinic, READ + 2 * WAIT) == 1
    with clinic.session as session:
        (row,) = findings.of_exam(session, other)
    assert row.asked[-1]["person"] == second.hex


def test_what_is_closed_or_withdrawn_goes_no_further(clinic: Clinic) -> None:
    one, other = exam(clinic, "A"), exam(clinic, "B", 2)
    read(clinic, one)
    read(clinic, other)
    record(clinic, one)
    read(clinic, other, "none", now=after(minutes=15))
    assert run(clinic, 600) == 0
    assert (states(clinic, one), states(clinic, other)) == (
        [("right", "closed")],
        [("right", "withdrawn")],
    )


def test_the_case_page_says_who_comes_next(clinic: Clinic) -> None:
    choose(clinic, reader(clinic, "Second"))
    study_id = exam(clinic)
    read(clinic, study_id)
    with clinic.session as session:
        (shown,) = case_view.of_case(session, clinic.vault, clinic.mate, study_id).findings
    assert (shown.asked_now, shown.following) == ("Test mate", "Second")
    assert shown.due == after(minutes=READ + WAIT)
    assert [one.at for one in shown.asked] == [after(minutes=READ)]


def test_two_sweeps_at_once_ask_one_person(clinic: Clinic) -> None:
    choose(clinic, reader(clinic, "First"), reader(clinic, "Second"))
    read(clinic, exam(clinic))
    now = after(minutes=READ + WAIT)
    with clinic.session as one, clinic.session as other:
        assert (escalation.run(one, now), escalation.run(other, now)) == (1, 0)
    assert len(row_of(clinic).asked) == 2


def test_the_rota_has_readers_of_the_team_once_and_not_too_many(clinic: Clinic) -> None:
    first, second = reader(clinic, "First"), reader(clinic, "Second")
    foreign, technologist = clinic.outsider.user_id, clinic.owner.user_id
    for wrong in ([first, first], [foreign], [technologist], [uuid4()]):
        with pytest.raises(Invalid):
            choose(clinic, *wrong)
    crowd = [reader(clinic, f"N{number}") for number in range(rota.MOST + 1)]
    with pytest.raises(Invalid, match="at most"):
        choose(clinic, *crowd)
    choose(clinic, first, second)
    choose(clinic, second, first)
    choose(clinic, second, first)  # no change, no row
    with clinic.session as session:
        assert [one.id for one in rota.people_of(session, clinic.mate.team_id)] == [second, first]
        rows = session.scalars(select(AuditEvent).where(AuditEvent.event == "rota_changed")).all()
        assert len(rows) == 2
        for actor in (clinic.mate, clinic.owner, clinic.auditor):
            with pytest.raises(Denied):
                rota.choose(session, actor, clinic.mate.team_id, [first], after())
        with pytest.raises(Denied):
            rota.choose(session, clinic.admin, uuid4(), [], after())


def test_times_are_those_of_the_team(clinic: Clinic) -> None:
    team_id = clinic.mate.team_id
    with clinic.session as session:
        assert rota.wait_of(session, team_id) == timedelta(minutes=WAIT)
        session.add(TeamChoices(team_id=team_id, escalation_minutes=5))
        session.commit()
    read(clinic, exam(clinic))
    assert row_of(clinic).due == after(minutes=READ + 5)
    with clinic.session as session:
        session.get_one(TeamChoices, team_id).escalates = False
        session.commit()
        assert rota.wait_of(session, team_id) is None
    assert run(clinic, READ + 5) == 1
    assert (row_of(clinic).due, row_of(clinic).exhausted_at) == (None, None)
    assert events(clinic)[-1] == "critical_not_passed_on"
    assert verified(clinic)
    other = exam(clinic, "B", 2)
    read(clinic, other)
    with clinic.session as session:
        assert findings.of_exam(session, other)[0].due is None


def test_the_first_on_the_rota_is_informed_at_once_and_asked_later(clinic: Clinic) -> None:
    first, second = reader(clinic, "First"), reader(clinic, "Second")
    choose(clinic, clinic.mate.user_id, first, second)
    study_id = exam(clinic)
    read(clinic, study_id)
    read(clinic, study_id, comment="Said once more.")
    assert mails(clinic, "critical_opened") == ["First"]  # once, and not who stated it
    with clinic.session as session:
        strip = open_findings.of_actor(session, clinic.mate)
        (shown,) = case_view.of_case(session, clinic.vault, clinic.mate, study_id).findings
    assert (strip.oldest[0].asked, strip.oldest[0].informed) == ("Test mate", "First")
    assert (shown.asked_now, shown.informed, shown.following) == ("Test mate", "First", "First")
    run(clinic, READ + WAIT)
    assert mails(clinic, "critical_passed_on") == ["First"]
    with clinic.session as session:
        strip = open_findings.of_actor(session, clinic.mate)
    assert (strip.oldest[0].asked, strip.oldest[0].informed) == ("First", "")
    assert verified(clinic)


def test_where_the_team_asks_nobody_nobody_is_informed(clinic: Clinic) -> None:
    choose(clinic, reader(clinic, "First"))
    with clinic.session as session:
        session.add(TeamChoices(team_id=clinic.mate.team_id, escalates=False))
        session.commit()
    read(clinic, exam(clinic))
    assert mails(clinic, "critical_opened") == []


@pytest.mark.parametrize("why", ["policy", "second_read"])
def test_who_is_informed_sees_what_is_hidden_from_the_others(clinic: Clinic, why: str) -> None:
    first, other = colleague(clinic, "first"), colleague(clinic, "other")
    choose(clinic, first.user_id)
    study_id = exam(clinic)
    read(clinic, study_id)
    if why == "policy":
        set_policy(clinic, AFTER)
    else:
        ask(clinic, clinic.mate, study_id)
    with clinic.session as session:
        seen = [open_findings.of_actor(session, one).count for one in (first, other)]
    assert seen == [1, 0]


def test_what_a_clock_ahead_has_put_off_is_due_once_the_clock_is_right(clinic: Clinic) -> None:
    choose(clinic, reader(clinic, "First"), reader(clinic, "Second"))
    read(clinic, exam(clinic))
    assert run(clinic, READ + 24 * 60) == 1  # a day ahead: asked too early
    assert row_of(clinic).due == after(minutes=READ + 24 * 60 + WAIT)
    assert run(clinic, READ + 1) == 1
    assert row_of(clinic).due == after(minutes=READ + 1 + WAIT)
    assert mails(clinic, "critical_passed_on") == ["First", "Second"]
    assert run(clinic, READ + 2) == 0
