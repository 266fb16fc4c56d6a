"""Two requests about the same people, teams or cases at once: as if one had come after the other.

The first stops after a statement until the other has ended, or waits for it.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pyotp
import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.accounts import break_glass, invitations, people, sessions, single_sign_on, teams
from portal.accounts.factors import totp
from portal.accounts.openid_connect import SignInRefused
from portal.accounts.throttle import Throttle
from portal.audit import alarms
from portal.errors import Invalid
from portal.models import AuditEvent, BreakGlass, Role, Team, User
from portal.settings.single_sign_on import SingleSignOn
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.people import PASSWORD
from tests.support.wait import only_on_postgresql, stopped_once, until_it_waits

SSO = SingleSignOn.model_validate(
    {
        "PLEURA_OIDC_ISSUER": "https://login.example.org",
        "PLEURA_OIDC_CLIENT_ID": "pleura",
        "PLEURA_OIDC_CLIENT_SECRET": "not used here",
        "PLEURA_OIDC_ROLES": "readers=reader@New",
    }
)


def beside(clinic: Clinic, words: str, first: Callable[[], Any], other: Callable[[], Any]) -> Any:
    """Do the other after a statement of the first; what the first and the other returned."""
    only_on_postgresql(clinic.core.engine)
    running = list[Future[Any]]()
    with ThreadPoolExecutor(1) as pool:

        def begin() -> None:
            running.append(pool.submit(other))
            until_it_waits(clinic.core.engine, running[0])

        with stopped_once(clinic.core.engine, words, begin):
            done = first()
        return done, running[0].result(60)


def come_in(clinic: Clinic, name: str, email: str) -> str:
    """Through the provider, with a verified address; returns why not."""
    claims = {"sub": name, "email": email, "email_verified": True, "groups": ["readers"]}
    with clinic.session as session:
        try:
            single_sign_on.person_of(session, SSO, claims, NOW)
        except SignInRefused as refused:
            session.rollback()
            return str(refused)
    return ""


def test_two_names_of_a_team_that_differ_in_case_are_not_made_at_once(clinic: Clinic) -> None:
    def make(name: str) -> str:
        with clinic.session as session:
            try:
                return teams.make_team(session, clinic.admin, name, NOW).name
            except Invalid as bad:
                return bad.code

    made = beside(clinic, "FROM teams", lambda: make("Chest"), lambda: make("CHEST"))
    assert made == ("Chest", "team")


def test_two_who_are_invited_into_a_new_team_at_once_are_in_one(clinic: Clinic) -> None:
    def invite(name: str) -> Any:
        with clinic.session as session:
            asked = {"email": f"{name}@example.org", "role": Role.READER, "team": "Chest"}
            made, _ = invitations.invite(session, None, name=name, now=NOW, **asked)
            return made.team_id

    one, two = beside(clinic, "FROM teams", lambda: invite("one"), lambda: invite("two"))
    assert one == two


def test_of_two_links_to_one_address_made_at_once_one_works(clinic: Clinic) -> None:
    def invite(role: Role) -> str:
        with clinic.session as session:
            asked = {"name": "A", "email": "new@example.org", "team": "Here", "role": role}
            return invitations.invite(session, None, now=NOW, **asked)[1]

    links = beside(
        clinic, "UPDATE invitations", lambda: invite(Role.ADMIN), lambda: invite(Role.READER)
    )
    with clinic.session as session:
        found = [invitations.open_invitation(session, link, NOW) for link in links]
    assert [one.role if one else None for one in found] == [None, Role.READER]


def test_the_first_two_of_a_group_come_in_at_once(clinic: Clinic) -> None:
    why = beside(
        clinic,
        "FROM teams",
        lambda: come_in(clinic, "one", "one@new.example"),
        lambda: come_in(clinic, "two", "two@new.example"),
    )
    assert why == ("", "")
    with clinic.session as session:
        assert len(session.scalars(select(Team).where(Team.name == "New")).all()) == 1


def test_of_two_who_name_one_address_at_once_one_is_linked(clinic: Clinic) -> None:
    email = "mate@example.org"
    with clinic.session as session:
        session.get_one(User, clinic.mate.user_id).local_sign_in = False
        session.commit()
    why = beside(
        clinic,
        "users.email = ",
        lambda: come_in(clinic, "one", email),
        lambda: come_in(clinic, "two", email),
    )
    assert sorted(map(bool, why)) == [False, True]


def test_a_link_that_is_followed_while_it_is_withdrawn_is_not_called_withdrawn(
    clinic: Clinic,
) -> None:
    asked = {"name": "New", "email": "new@example.org", "team": "Here", "role": Role.READER}
    with clinic.session as session:
        made, link = invitations.invite(session, None, now=NOW, **asked)

    def follow() -> str:
        with clinic.session as session:
            return invitations.accept_invitation(session, link, password=PASSWORD, now=NOW).email

    def withdraw() -> str:
        with clinic.session as session:
            try:
                invitations.withdraw_invitation(session, clinic.admin, made.id, NOW)
            except Invalid as bad:
                return bad.code
        return "withdrawn"

    assert beside(clinic, "UPDATE invitations", follow, withdraw) == (
        "new@example.org",
        "invitation",
    )
    events = select(AuditEvent.event).where(AuditEvent.subject_id == made.id)
    with clinic.session as session:
        assert "invitation_withdrawn" not in session.scalars(events).all()


def test_of_two_who_come_in_at_once_with_a_new_group_one_gets_the_new_role(
    clinic: Clinic,
) -> None:
    """And its alarm is raised once."""
    assert come_in(clinic, "one", "one@new.example") == ""
    with clinic.session as session:  # as a group of before
        user = session.scalars(select(User).where(User.email == "one@new.example")).one()
        user.role = Role.TECHNOLOGIST
        session.commit()
    why = beside(
        clinic,
        "users.sso_key = ",
        lambda: come_in(clinic, "one", "one@new.example"),
        lambda: come_in(clinic, "one", "one@new.example"),
    )
    assert why == ("", "")
    changed = select(AuditEvent.seq).where(
        AuditEvent.event == "role_changed", AuditEvent.subject_id == user.id
    )
    with clinic.session as session:
        assert len(session.scalars(changed).all()) == 1


def test_a_factor_that_is_set_up_during_a_reset_from_the_command_line_is_gone(
    clinic: Clinic,
) -> None:
    user_id = clinic.mate.user_id

    def reset() -> None:
        with clinic.session as session:
            people.reset_factor(session, None, user_id, NOW)

    def set_up() -> str:
        with clinic.session as session:
            user = session.get_one(User, user_id)
            secret, _ = totp.begin_totp(session, clinic.vault, user, NOW)
            try:
                totp.confirm_totp(session, clinic.vault, user, pyotp.TOTP(secret).at(NOW), NOW)
            except (sessions.SignedOut, Invalid) as refused:
                session.rollback()
                return type(refused).__name__
        return "set"

    beside(clinic, "FROM users", reset, set_up)
    with clinic.session as session:
        user = session.get_one(User, user_id)
        assert (user.password_hash, user.sealed_totp) == (None, None)


def test_two_pages_of_one_session_show_the_same_new_secret(clinic: Clinic) -> None:
    login = uuid4()

    def begin() -> str:
        with clinic.session as session:
            user = session.get_one(User, clinic.mate.user_id)
            return totp.begin_totp(session, clinic.vault, user, NOW, session_id=login)[0]

    one, two = beside(clinic, "FROM users", begin, begin)
    assert one == two


def open_case(clinic: Clinic, study_id: Any) -> bool:
    with clinic.session as session:
        try:
            break_glass.open_case(
                *(session, clinic.vault, Throttle(), clinic.outsider),
                case=str(study_id),
                reason="emergency",
                explanation="Called by the ward, their reader is away.",
                now=NOW,
                lifetime=timedelta(hours=1),
            )
        except Denied:
            return False
    return True


def grants_in_force(clinic: Clinic) -> int:
    with clinic.session as session:
        return len(
            session.scalars(select(BreakGlass.id).where(BreakGlass.ended_at.is_(None))).all()
        )


def test_a_case_that_is_opened_twice_at_once_is_open_by_one_grant(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    opened = beside(
        clinic,
        "UPDATE break_glass",
        lambda: open_case(clinic, study_id),
        lambda: open_case(clinic, study_id),
    )
    assert opened == (True, True)
    assert grants_in_force(clinic) == 1


@pytest.mark.parametrize("stop", ["FROM studies", "UPDATE break_glass"])
def test_no_grant_outlives_an_account_that_is_disabled_at_once(clinic: Clinic, stop: str) -> None:
    study_id = clinic.submit().study_id

    def disable() -> None:
        with clinic.session as session:
            people.disable(session, clinic.admin, clinic.outsider.user_id, NOW)

    beside(clinic, stop, lambda: open_case(clinic, study_id), disable)
    assert grants_in_force(clinic) == 0


def test_of_two_who_have_seen_alarms_at_once_the_one_behind_takes_nothing_back(
    clinic: Clinic,
) -> None:
    for _ in range(2):
        open_case(clinic, clinic.submit().study_id)
    with clinic.session as session:
        newest, oldest = (alarm.seq for alarm in alarms.unseen(session, clinic.auditor)[0])

    def see(up_to: int) -> None:
        with clinic.session as session:
            alarms.mark_seen(session, clinic.auditor, up_to, NOW)

    latest = "ORDER BY audit_events.seq DESC"  # how far auditors have seen already
    beside(clinic, latest, lambda: see(oldest), lambda: see(newest))
    with clinic.session as session:
        assert alarms.unseen(session, clinic.auditor) == ([], 0)
