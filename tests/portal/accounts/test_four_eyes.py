"""Nobody gives themself a way to patients' data unseen: what is refused, what raises an alarm."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import UUID

import pytest

from portal.access import Actor, Denied
from portal.accounts import api_tokens, invitations, people, sessions, teams
from portal.audit import alarms
from portal.errors import Invalid
from portal.models import LoginSession, Role, User
from tests.support.core import NOW, Core
from tests.support.people import PASSWORD, join


def joined(core: Core, role: Role, email: str, team: str = "Radiology") -> Actor:
    """A person whom the command line has invited."""
    return sessions.actor_of(join(core, role, email, name=email, team=team))


@pytest.fixture
def admin(core: Core) -> Actor:
    return joined(core, Role.ADMIN, "ada@example.org")


@pytest.fixture
def auditor(core: Core) -> Actor:
    return joined(core, Role.AUDITOR, "otto@example.org")


def waiting_alarms(core: Core, auditor: Actor) -> list[tuple[str, object, object]]:
    """The alarms that wait: event, how, role."""
    with core.sessions() as session:
        waiting, _ = alarms.unseen(session, auditor)
    return [(a.event, a.detail.get("how"), a.detail.get("role")) for a in reversed(waiting)]


ALARM_OF = {
    Role.TECHNOLOGIST: "patient_access_given",
    Role.READER: "patient_access_given",
    Role.AUDITOR: "auditor_made",
    Role.ADMIN: "admin_made",
}


@pytest.mark.parametrize("role", list(Role))
def test_inviting_raises_an_alarm_by_role(
    core: Core, admin: Actor, auditor: Actor, role: Role
) -> None:
    with core.sessions() as session:
        invitations.invite(session, admin, name="N", email="n@example.org", role=role, now=NOW)
    event = ALARM_OF[role]
    assert waiting_alarms(core, auditor) == [(event, "invited", role.value)]


@pytest.mark.parametrize("role", list(Role))
def test_giving_a_role_or_a_reset_raises_the_same_alarm(
    core: Core, admin: Actor, auditor: Actor, role: Role
) -> None:
    start = Role.ADMIN if role is not Role.ADMIN else Role.READER
    other = joined(core, start, "other@example.org")
    with core.sessions() as session:
        people.set_role(session, admin, other.user_id, role, NOW)
        people.set_role(
            session, admin, other.user_id, role, NOW
        )  # nothing changes: no second alarm
        people.reset_factor(session, admin, other.user_id, NOW)
    event = ALARM_OF[role]
    assert waiting_alarms(core, auditor) == [(event, how, role.value) for how in ("role", "reset")]


@pytest.mark.parametrize("role", list(Role))
def test_the_command_line_raises_no_alarm(core: Core, auditor: Actor, role: Role) -> None:
    somebody = joined(core, role, "n@example.org")
    with core.sessions() as session:
        people.reset_factor(session, None, somebody.user_id, NOW)
    assert waiting_alarms(core, auditor) == []


@pytest.mark.parametrize(
    "email", ["ada@example.org", " ADA@Example.ORG ", "ada+reader@example.org", "ada+@example.org"]
)
def test_nobody_invites_their_own_address(core: Core, admin: Actor, email: str) -> None:
    with core.sessions() as session:
        with pytest.raises(Invalid) as refused:
            invitations.invite(session, admin, name="Ada", email=email, role=Role.READER, now=NOW)
        assert refused.value.code == "email"
        assert invitations.waiting_invitations(session, NOW) == []


def test_nobody_changes_their_own_role_team_or_factor(core: Core, admin: Actor) -> None:
    with core.sessions() as session:
        elsewhere = teams.make_team(session, admin, "Elsewhere", NOW).id
        for attempt in (
            lambda: people.set_role(session, admin, admin.user_id, Role.READER, NOW),
            lambda: people.move(session, admin, admin.user_id, elsewhere, NOW),
            lambda: people.reset_factor(session, admin, admin.user_id, NOW),
        ):
            with pytest.raises(Invalid, match="yourself"):
                attempt()
        user = session.get_one(User, admin.user_id)
        assert (user.role, user.team_id) == (Role.ADMIN, admin.team_id)


@pytest.mark.parametrize("who_follows", ["the inviter", "somebody else", "nobody signed in"])
def test_following_ones_own_link_raises_an_alarm(
    core: Core, admin: Actor, auditor: Actor, who_follows: str
) -> None:
    signed_in: UUID | None = {
        "the inviter": admin.user_id,
        "somebody else": auditor.user_id,
        "nobody signed in": None,
    }[who_follows]
    with core.sessions() as session:
        _, token = invitations.invite(
            session, admin, name="N", email="n@example.org", role=Role.READER, now=NOW
        )
        invitations.accept_invitation(
            session, token, password=PASSWORD, now=NOW, signed_in=signed_in
        )
    followed = [
        event for event, _, _ in waiting_alarms(core, auditor) if event != "patient_access_given"
    ]
    assert followed == (["inviter_followed_link"] if who_follows == "the inviter" else [])


def test_moving_ends_sessions_and_tokens_and_raises_an_alarm(
    core: Core, admin: Actor, auditor: Actor
) -> None:
    reader = joined(core, Role.READER, "rita@example.org")
    with core.sessions() as session:
        user = session.get_one(User, reader.user_id)
        raw = sessions.start_session(session, user, address="", agent="", now=NOW)
        _, token = api_tokens.create_token(
            session, user, scopes=["studies:read"], name="t", lifetime=timedelta(days=1), now=NOW
        )
        team = teams.make_team(session, admin, "Elsewhere", NOW)
        people.move(session, admin, reader.user_id, team.id, NOW)
        assert sessions.load_session(session, raw, NOW) is None
        assert api_tokens.load_token(session, token, NOW) is None
        assert session.get_one(User, reader.user_id).team_id == team.id
    assert waiting_alarms(core, auditor) == [("patient_access_given", "moved", "reader")]


@pytest.mark.parametrize("role", [Role.ADMIN, Role.AUDITOR])
def test_moving_who_sees_no_case_anyway_raises_no_alarm(
    core: Core, admin: Actor, auditor: Actor, role: Role
) -> None:
    other = joined(core, role, "other@example.org")
    with core.sessions() as session:
        team = teams.make_team(session, admin, "Elsewhere", NOW)
        people.move(session, admin, other.user_id, team.id, NOW)
        assert session.get_one(User, other.user_id).team_id == team.id
    assert waiting_alarms(core, auditor) == []


OUT = {
    "disable": lambda session, who, whom: people.disable(session, who, whom, NOW),
    "role": lambda session, who, whom: people.set_role(session, who, whom, Role.READER, NOW),
    "reset": lambda session, who, whom: people.reset_factor(session, who, whom, NOW),
}


@pytest.mark.parametrize("act", OUT)
def test_of_two_admins_who_shut_each_other_out_at_once_one_stays(
    core: Core, admin: Actor, act: str
) -> None:
    pair = [admin, joined(core, Role.ADMIN, "boss@example.org")]
    acting = []
    for one in pair:
        with core.sessions() as session:
            user = session.get_one(User, one.user_id)
            sessions.start_session(session, user, address="", agent="", now=NOW)
            (login,) = sessions.sessions_of(session, user.id, NOW)
            acting.append(sessions.actor_of(user, login.id))  # both requests have been let in
    together = Barrier(2)

    def shut_out(n: int) -> bool:
        with core.sessions() as session:
            session.get_one(User, pair[1 - n].user_id)
            session.commit()
            together.wait()
            try:
                OUT[act](session, acting[n], pair[1 - n].user_id)
            except Denied:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(shut_out, range(2))) == [False, True]
    with core.sessions() as session:
        left = [len(sessions.sessions_of(session, one.user_id, NOW)) for one in pair]
    assert sorted(left) == [0, 1]


@pytest.mark.parametrize("act", OUT)
def test_who_was_shut_out_meanwhile_lets_nobody_in(core: Core, admin: Actor, act: str) -> None:
    boss = joined(core, Role.ADMIN, "boss@example.org")
    with core.sessions() as session:
        user = session.get_one(User, admin.user_id)
        sessions.start_session(session, user, address="", agent="", now=NOW)
        (login,) = sessions.sessions_of(session, user.id, NOW)
        let_in = sessions.actor_of(user, login.id)
    with core.sessions() as session:
        OUT[act](session, boss, admin.user_id)
    with core.sessions() as session, pytest.raises(Denied):
        invitations.invite(
            session, let_in, name="N", email="n@example.org", role=Role.ADMIN, now=NOW
        )


def test_moving_to_the_same_team_changes_nothing(core: Core, admin: Actor, auditor: Actor) -> None:
    reader = joined(core, Role.READER, "rita@example.org")
    with core.sessions() as session:
        user = session.get_one(User, reader.user_id)
        sessions.start_session(session, user, address="", agent="", now=NOW)
        people.move(session, admin, reader.user_id, reader.team_id, NOW)
        assert session.query(LoginSession).filter(LoginSession.ended_at.is_not(None)).all() == []
    assert waiting_alarms(core, auditor) == []


def test_there_is_one_team_by_default(core: Core) -> None:
    with core.sessions() as session:
        invitations.invite(session, None, name="A", email="a@example.org", role=Role.ADMIN, now=NOW)
        assert [team.name for team in teams.teams(session)] == ["Radiology"]


@pytest.mark.parametrize("name", ["", "   ", "Radio\u202elogy", "Radio\0logy"])
def test_a_team_needs_a_name_that_can_be_read(core: Core, admin: Actor, name: str) -> None:
    with core.sessions() as session:
        with pytest.raises(Invalid):
            teams.make_team(session, admin, name, NOW)
        with pytest.raises(Invalid):
            teams.rename_team(session, admin, admin.team_id, name, NOW)
        assert [team.name for team in teams.teams(session)] == ["Radiology"]


@pytest.mark.parametrize("name", ["Radiology", "radiology", "  Radiology  "])
def test_a_team_has_a_name_of_its_own(core: Core, admin: Actor, name: str) -> None:
    with core.sessions() as session:
        other = teams.make_team(session, admin, "Elsewhere", NOW)
        with pytest.raises(Invalid, match="already"):
            teams.make_team(session, admin, name, NOW)
        with pytest.raises(Invalid, match="already"):
            teams.rename_team(session, admin, other.id, name, NOW)
        teams.rename_team(session, admin, admin.team_id, "RADIOLOGY", NOW)  # its own, spelt anew
        assert {team.name for team in teams.teams(session)} == {"RADIOLOGY", "Elsewhere"}


def test_only_who_manages_people_makes_and_renames_teams(core: Core, auditor: Actor) -> None:
    with core.sessions() as session:
        with pytest.raises(Denied):
            teams.make_team(session, auditor, "Mine", NOW)
        with pytest.raises(Denied):
            teams.rename_team(session, auditor, auditor.team_id, "Mine", NOW)
