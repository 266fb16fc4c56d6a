"""People: passwords, roles, what the log holds of them, and who may manage them."""

from datetime import datetime, timedelta

import pyotp
import pytest
from argon2 import PasswordHasher

from portal.access import Denied
from portal.accounts import api_tokens, invitations, people, sessions
from portal.accounts.factors import totp
from portal.accounts.sessions import actor_of
from portal.accounts.throttle import EVERYWHERE, Throttle, Throttled
from portal.audit import verification
from portal.models import InvitationPurpose, Role, User
from tests.support.core import NOW, Core
from tests.support.people import PASSWORD, enrol, join


def invited(core: Core) -> User:
    """A person who has followed an invitation."""
    with core.sessions() as session:
        _, token = invitations.invite(
            session, None, name="A", email="a@example.org", role=Role.READER, team="T", now=NOW
        )
        return invitations.accept_invitation(session, token, password=PASSWORD, now=NOW)


def test_only_hashes_are_stored(core: Core) -> None:
    user = invited(core)
    secret, codes = enrol(core, user)
    with core.sessions() as session:
        user = session.get_one(User, user.id)
        raw = sessions.start_session(session, user, address="", agent="", now=NOW)
        _, token = api_tokens.create_token(
            session, user, scopes=["studies:read"], name="t", lifetime=timedelta(days=1), now=NOW
        )
        everything = str(
            [
                list(session.connection().exec_driver_sql(f"SELECT * FROM {table}"))
                for table in (
                    "users",
                    "login_sessions",
                    "api_tokens",
                    "recovery_codes",
                    "invitations",
                    "audit_events",
                )
            ]
        )
    for hidden in (PASSWORD, secret, raw, token, token[4:], *codes, codes[0].replace("-", "")):
        assert hidden not in everything


def test_every_step_is_in_the_log_and_the_log_is_whole(core: Core) -> None:
    user = invited(core)
    _, codes = enrol(core, user)
    throttle = Throttle()
    with core.sessions() as session:
        assert (
            people.check_password(session, throttle, "a@example.org", "no", "10.0.0.1", NOW) is None
        )
        found = people.check_password(session, throttle, "a@example.org", PASSWORD, "10.0.0.1", NOW)
        assert found is not None
        assert totp.check_second_factor(session, core.vault, found, codes[0], NOW)
        assert not totp.check_second_factor(session, core.vault, found, codes[0], NOW)
        sessions.start_session(session, found, address="10.0.0.1", agent="", now=NOW)
        rows = session.connection().exec_driver_sql(
            "SELECT event, detail FROM audit_events ORDER BY seq"
        )
        events = [tuple(row) for row in rows]
        assert verification.verify(session).is_whole
    assert [event for event, _ in events] == [
        "team_made",
        "person_invited",
        "person_joined",
        "factor_set",
        "sign_in_refused",
        "recovery_code_used",
        "code_refused",
        "signed_in",
    ]
    assert "example.org" not in str(events)


def test_an_outdated_hash_is_replaced_at_sign_in(core: Core) -> None:
    user = join(core)
    with core.sessions() as session:
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        session.get_one(User, user.id).password_hash = cheap
        session.commit()
        people.check_password(session, Throttle(), "a@example.org", PASSWORD, "", NOW)
        stored = session.get_one(User, user.id).password_hash
    assert stored is not None
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_reset_makes_old_password_codes_and_links_useless(core: Core) -> None:
    user = join(core)
    secret, codes = enrol(core, user)
    boss = join(core, Role.ADMIN, "boss@example.org")
    with core.sessions() as session:
        first, old_token = people.reset_factor(session, actor_of(boss), user.id, NOW)
        _, token = people.reset_factor(session, actor_of(boss), user.id, NOW)
        assert first.purpose is InvitationPurpose.RESET
        assert invitations.open_invitation(session, old_token, NOW) is None
        assert (
            people.check_password(session, Throttle(), "a@example.org", PASSWORD, "", NOW) is None
        )
        row = session.get_one(User, user.id)
        for code in (pyotp.TOTP(secret).at(NOW), codes[0]):
            assert not totp.check_second_factor(session, core.vault, row, code, NOW)
        back = invitations.accept_invitation(
            session, token, password="seven green umbrellas", now=NOW
        )
        assert back.id == user.id
        assert back.sealed_totp is None


def test_only_admins_manage_people(core: Core) -> None:
    user, other = join(core), join(core, Role.AUDITOR, "b@example.org")
    attempts = [
        lambda session, who: people.disable(session, who, other.id, NOW),
        lambda session, who: people.enable(session, who, other.id, NOW),
        lambda session, who: people.set_role(session, who, other.id, Role.ADMIN, NOW),
        lambda session, who: people.reset_factor(session, who, other.id, NOW),
        lambda session, who: people.end_sessions_of(session, who, other.id, NOW),
        lambda session, who: invitations.invite(
            session, who, name="C", email="c@example.org", role=Role.ADMIN, now=NOW
        ),
    ]
    for attempt in attempts:
        with core.sessions() as session, pytest.raises(Denied):
            attempt(session, actor_of(user))


def tries(core: Core, throttle: Throttle, email: str, address: str, now: datetime) -> str:
    """The answer to a person without the password."""
    with core.sessions() as session:
        try:
            assert (
                people.check_password(session, throttle, email, "wrong words", address, now) is None
            )
        except Throttled:
            return "wait"
        return "wrong"


def gets_in(core: Core, throttle: Throttle, address: str, now: datetime) -> bool:
    """Whether the owner of `a@example.org` does."""
    with core.sessions() as session:
        found = people.check_password(session, throttle, "a@example.org", PASSWORD, address, now)
        return found is not None


def test_who_knows_an_address_keeps_its_owner_out_nowhere_else(core: Core) -> None:
    join(core)
    throttle = Throttle()
    answers: dict[str, list[str]] = {"a@example.org": [], "nobody@example.org": []}
    for second in range(400):
        now = NOW + timedelta(seconds=second)
        for n, (email, found) in enumerate(answers.items()):
            found.append(tries(core, throttle, email, f"203.0.113.{n}", now))
        if second % 97 == 96:
            assert gets_in(core, throttle, "198.51.100.7", now)
    known, unknown = answers.values()
    assert known == unknown  # nobody learns who has an account
    assert known.count("wait") > 350


def test_many_addresses_at_once_keep_nobody_out_of_their_own_place(core: Core) -> None:
    user = join(core)
    throttle = Throttle()
    with core.sessions() as session:
        for address in ("198.51.100.7", "2001:db8:1:2::7"):
            sessions.start_session(session, user, address=address, agent="", now=NOW)
    for _ in range(EVERYWHERE.tries):
        throttle.take([(EVERYWHERE, "a@example.org")], NOW)
    with pytest.raises(Throttled):
        gets_in(core, throttle, "203.0.113.1", NOW)
    assert gets_in(core, throttle, "198.51.100.7", NOW)
    assert gets_in(core, throttle, "2001:db8:1:2:ffff::1", NOW)
    later = NOW + timedelta(minutes=16)
    assert gets_in(core, throttle, "203.0.113.1", later)


def test_who_knows_one_factor_alone_keeps_nobody_out_at_the_other(core: Core) -> None:
    user = join(core)
    secret, _ = enrol(core, user)
    throttle = Throttle()

    def answer(code: str, address: str, now: datetime) -> str:
        with core.sessions() as session:
            row = session.get_one(User, user.id)
            try:
                right = totp.check_second_factor(
                    session, core.vault, row, code, now, throttle=throttle, address=address
                )
            except Throttled:
                return "wait"
            return "in" if right else "wrong"

    with core.sessions() as session:
        user = session.get_one(User, user.id)
        sessions.start_session(session, user, address="198.51.100.7", agent="", now=NOW)
    for quarter in range(8):
        now = NOW + timedelta(minutes=16 * quarter)
        answers = [answer("000000", "203.0.113.9", now) for _ in range(7)]
        assert answers == ["wrong"] * 5 + ["wait"] * 2
        # The owner, where they were never before.
        assert answer(pyotp.TOTP(secret).at(now), "192.0.2.1", now) == "in"
    for host in range(8):  # and now from many places at once
        answers += [answer("000000", f"203.0.113.{host}", now) for _ in range(5)]
    assert answers[-5:] == ["wait"] * 5
    now += timedelta(seconds=30)
    assert answer(pyotp.TOTP(secret).at(now), "192.0.2.1", now) == "wait"
    assert answer(pyotp.TOTP(secret).at(now), "198.51.100.7", now) == "in"


def test_no_account_is_named_with_signs_that_nobody_can_type(core: Core) -> None:
    join(core)
    for email in ("a\0b", "a@example.org\0", "\0", "a\x1f@example.org"):
        assert tries(core, Throttle(), email, "203.0.113.1", NOW) == "wrong"
