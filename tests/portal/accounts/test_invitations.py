"""Invitations: one person for each link, whatever happens at once or meanwhile."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from portal.access import Denied
from portal.accounts import invitations, people
from portal.accounts.sessions import actor_of
from portal.errors import Invalid
from portal.models import AuditEvent, Role, User
from tests.support.core import NOW, Core
from tests.support.people import PASSWORD, join


def test_a_link_followed_twice_at_once_makes_one_person(core: Core) -> None:
    with core.sessions() as session:
        _, token = invitations.invite(
            session, None, name="A", email="a@example.org", role=Role.READER, team="T", now=NOW
        )

    def follow(_: int) -> bool:
        with core.sessions() as session:
            try:
                invitations.accept_invitation(session, token, password=PASSWORD, now=NOW)
            except Denied:
                return False
            return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(follow, range(4))) == [False, False, False, True]
    with core.sessions() as session:
        assert len(people.people(session)) == 1


def test_an_invitation_is_for_new_people_alone(core: Core) -> None:
    join(core)
    with core.sessions() as session, pytest.raises(Invalid) as refused:
        invitations.invite(
            session, None, name="B", email="A@Example.org", role=Role.READER, team="T", now=NOW
        )
    assert refused.value.code == "email"


def test_a_team_is_named_with_signs_that_can_be_read(core: Core) -> None:
    boss = join(core, Role.ADMIN, "boss@example.org")
    with core.sessions() as session, pytest.raises(Invalid) as refused:
        invitations.invite(
            session,
            actor_of(boss),
            name="N",
            email="n@x.org",
            role=Role.READER,
            team="T\0",
            now=NOW,
        )
    assert refused.value.code == "team"


@pytest.mark.parametrize("leaves", ["disabled", "demoted"])
def test_who_leaves_the_administrators_leaves_no_link_behind(core: Core, leaves: str) -> None:
    leaving, boss = join(core, Role.ADMIN), join(core, Role.ADMIN, "boss@example.org")
    victim = join(core, Role.READER, "v@example.org")
    with core.sessions() as session:
        who = {"name": "Back", "role": Role.ADMIN, "now": NOW}
        links = [
            invitations.invite(session, actor_of(leaving), email="back@example.org", **who)[1],
            people.reset_factor(session, actor_of(leaving), victim.id, NOW)[1],
        ]
        _, valid = invitations.invite(session, actor_of(boss), email="kept@example.org", **who)
        assert all(invitations.open_invitation(session, link, NOW) for link in links)
        if leaves == "disabled":
            people.disable(session, actor_of(boss), leaving.id, NOW)
        else:
            people.set_role(session, actor_of(boss), leaving.id, Role.READER, NOW)
        assert [invitations.open_invitation(session, link, NOW) for link in links] == [None, None]
        assert invitations.open_invitation(session, valid, NOW) is not None
        event = session.query(AuditEvent).order_by(AuditEvent.seq.desc()).first()
        assert event is not None
        assert '"links":2' in event.detail


def test_a_link_sent_to_somebody_who_is_disabled_opens_nothing(core: Core) -> None:
    user, boss = join(core), join(core, Role.ADMIN, "boss@example.org")
    with core.sessions() as session:
        _, link = people.reset_factor(session, actor_of(boss), user.id, NOW)
        people.disable(session, actor_of(boss), user.id, NOW)
        assert invitations.open_invitation(session, link, NOW) is None


@pytest.mark.parametrize("by", ["withdrawal", "newer link", "disabled inviter"])
def test_a_link_withdrawn_while_its_password_is_hashed_lets_nobody_in(core: Core, by: str) -> None:
    inviter, boss = join(core, Role.ADMIN), join(core, Role.ADMIN, "boss@example.org")
    who = {"name": "N", "email": "n@example.org", "role": Role.ADMIN}
    with core.sessions() as session:
        made, link = invitations.invite(session, actor_of(inviter), now=NOW, **who)
    later = NOW + timedelta(seconds=1)

    def withdraw(_session: Session) -> None:
        with core.sessions() as other:
            if by == "withdrawal":
                invitations.withdraw_invitation(other, actor_of(boss), made.id, later)
            elif by == "newer link":
                invitations.invite(other, actor_of(boss), now=later, **who)
            else:
                people.disable(other, actor_of(boss), inviter.id, later)

    with core.sessions() as session:
        # The link was looked at and found to be good; what follows is the hashing.
        event.listen(session, "after_commit", withdraw, once=True)
        with pytest.raises(Denied):
            invitations.accept_invitation(session, link, password=PASSWORD, now=NOW)
    with core.sessions() as session:
        assert {user.email for user in people.people(session)} == {inviter.email, boss.email}


def test_a_link_for_whoever_has_an_account_meanwhile_opens_nothing(core: Core) -> None:
    boss = join(core, Role.ADMIN, "boss@example.org")
    with core.sessions() as session:
        _, link = invitations.invite(
            session, actor_of(boss), name="N", email="n@example.org", role=Role.READER, now=NOW
        )
        session.add(
            User(
                name="N",
                email="n@example.org",
                role=Role.READER,
                team_id=boss.team_id,
                sso_key="k" * 64,
                created=NOW,
            )
        )
        session.commit()
        with pytest.raises(Denied):
            invitations.accept_invitation(session, link, password=PASSWORD, now=NOW)
        (newcomer,) = (user for user in people.people(session) if user.email == "n@example.org")
        assert newcomer.password_hash is None


def test_a_reset_link_opens_nothing_while_its_person_is_disabled(core: Core) -> None:
    user, boss = join(core), join(core, Role.ADMIN, "boss@example.org")
    with core.sessions() as session:
        people.disable(session, actor_of(boss), user.id, NOW)
        _, link = people.reset_factor(session, actor_of(boss), user.id, NOW)
        assert invitations.open_invitation(session, link, NOW) is None
        with pytest.raises(Denied):
            invitations.accept_invitation(session, link, password=PASSWORD, now=NOW)
        people.enable(session, actor_of(boss), user.id, NOW)
        back = invitations.accept_invitation(
            session, link, password="seven green umbrellas", now=NOW
        )
        assert back.id == user.id


def test_an_invitation_finds_its_team_however_it_is_written_and_the_log_names_it(
    core: Core,
) -> None:
    boss = join(core, Role.ADMIN, "boss@example.org")
    with core.sessions() as session:
        teams = set()
        for number, team in enumerate(("Chest clinic", "chest CLINIC", " Chest  clinic ")):
            invitation, _ = invitations.invite(
                session,
                actor_of(boss),
                name="N",
                email=f"n{number}@x.org",
                role=Role.READER,
                team=team,
                now=NOW,
            )
            teams.add(invitation.team_id)
        (team_id,) = teams
        rows = session.query(AuditEvent).order_by(AuditEvent.seq)
        made = rows.filter_by(event="team_made").all()[-1]
        assert (made.actor_id, made.subject_id) == (boss.id, team_id)
        invited = rows.filter_by(event="person_invited").all()[-1]
        assert json.loads(invited.detail)["team"] == str(team_id)
