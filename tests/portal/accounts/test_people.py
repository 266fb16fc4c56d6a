"""People at the core: invitations, factors, tokens, and races, on SQLite and PostgreSQL."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pyotp
import pytest
from argon2 import PasswordHasher
from sqlalchemy import event
from sqlalchemy.orm import Session

from portal.access import Actor, Denied, Permission
from portal.accounts import api_tokens, invitations, people, sessions, totp
from portal.accounts.throttle import EVERYWHERE, Throttle, Throttled
from portal.accounts.totp import matching_step, qr_code
from portal.audit import verification
from portal.errors import Invalid
from portal.models import ApiToken, AuditEvent, InvitationPurpose, LoginSession, Role, User
from tests.support.place import NOW, Place

PASSWORD = "blue kettle on tuesday"


def join(place: Place, role: Role = Role.READER, email: str = "a@example.org") -> User:
    """Somebody who has followed an invitation, without a second factor."""
    with place.sessions() as session:
        _, token = invitations.invite(
            session, None, name="A", email=email, role=role, team="T", now=NOW
        )
        return invitations.accept_invitation(session, token, password=PASSWORD, now=NOW)


def enrol(place: Place, user: User) -> tuple[str, list[str]]:
    """Give them a second factor, confirmed with the code of the step before."""
    with place.sessions() as session:
        row = session.get_one(User, user.id)
        secret, _ = totp.begin_totp(session, place.vault, row, NOW)
        code = pyotp.TOTP(secret).at(NOW - timedelta(seconds=30))
        return secret, totp.confirm_totp(session, place.vault, row, code, NOW)


def actor(user: User) -> Actor:
    """They act."""
    return sessions.actor_of(user)


def test_only_hashes_are_stored(place: Place) -> None:
    user = join(place)
    secret, codes = enrol(place, user)
    with place.sessions() as session:
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


def test_every_step_is_in_the_log_and_the_log_is_whole(place: Place) -> None:
    user = join(place)
    _, codes = enrol(place, user)
    throttle = Throttle()
    with place.sessions() as session:
        assert (
            people.check_password(session, throttle, "a@example.org", "no", "10.0.0.1", NOW) is None
        )
        found = people.check_password(session, throttle, "a@example.org", PASSWORD, "10.0.0.1", NOW)
        assert found is not None
        assert totp.check_second_factor(session, place.vault, found, codes[0], NOW)
        assert not totp.check_second_factor(session, place.vault, found, codes[0], NOW)
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


def test_a_link_followed_twice_at_once_makes_one_person(place: Place) -> None:
    with place.sessions() as session:
        _, token = invitations.invite(
            session, None, name="A", email="a@example.org", role=Role.READER, team="T", now=NOW
        )

    def follow(_: int) -> bool:
        with place.sessions() as session:
            try:
                invitations.accept_invitation(session, token, password=PASSWORD, now=NOW)
            except Denied:
                return False
            return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(follow, range(4))) == [False, False, False, True]
    with place.sessions() as session:
        assert len(people.people(session)) == 1


def test_a_code_used_twice_at_once_opens_once(place: Place) -> None:
    user = join(place)
    secret, codes = enrol(place, user)
    for code in (pyotp.TOTP(secret).at(NOW), codes[3]):

        def use(_: int, code: str = code) -> bool:
            with place.sessions() as session:
                row = session.get_one(User, user.id)
                return totp.check_second_factor(session, place.vault, row, code, NOW)

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(use, range(4))) == [False, False, False, True]


def test_an_outdated_hash_is_replaced_at_sign_in(place: Place) -> None:
    user = join(place)
    with place.sessions() as session:
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        session.get_one(User, user.id).password_hash = cheap
        session.commit()
        people.check_password(session, Throttle(), "a@example.org", PASSWORD, "", NOW)
        stored = session.get_one(User, user.id).password_hash
    assert stored is not None
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_an_invitation_is_for_new_people_alone(place: Place) -> None:
    join(place)
    with place.sessions() as session, pytest.raises(Invalid) as refused:
        invitations.invite(
            session, None, name="B", email="A@Example.org", role=Role.READER, team="T", now=NOW
        )
    assert refused.value.code == "email"


def test_a_reset_makes_old_password_codes_and_links_useless(place: Place) -> None:
    user = join(place)
    secret, codes = enrol(place, user)
    boss = join(place, Role.ADMIN, "boss@example.org")
    with place.sessions() as session:
        first, old_token = people.reset_factor(session, actor(boss), user.id, NOW)
        _, token = people.reset_factor(session, actor(boss), user.id, NOW)
        assert first.purpose is InvitationPurpose.RESET
        assert invitations.open_invitation(session, old_token, NOW) is None
        assert (
            people.check_password(session, Throttle(), "a@example.org", PASSWORD, "", NOW) is None
        )
        row = session.get_one(User, user.id)
        for code in (pyotp.TOTP(secret).at(NOW), codes[0]):
            assert not totp.check_second_factor(session, place.vault, row, code, NOW)
        back = invitations.accept_invitation(
            session, token, password="seven green umbrellas", now=NOW
        )
        assert back.id == user.id
        assert back.sealed_totp is None


def test_a_waiting_secret_is_the_same_until_its_code_comes(place: Place) -> None:
    user = join(place)
    with place.sessions() as session:
        row = session.get_one(User, user.id)
        first, uri = totp.begin_totp(session, place.vault, row, NOW)
        again, _ = totp.begin_totp(session, place.vault, row, NOW)
        assert first == again
        assert uri.startswith("otpauth://totp/Pleura:a%40example.org?secret=")
        with pytest.raises(Invalid):
            totp.confirm_totp(session, place.vault, row, "12", NOW)
        assert row.sealed_totp is None


def test_a_new_secret_is_for_the_session_that_began_it_and_a_quarter_of_an_hour(
    place: Place,
) -> None:
    user = join(place)
    _, codes = enrol(place, user)
    mine, other = uuid4(), uuid4()
    with place.sessions() as session:
        row, vault = session.get_one(User, user.id), place.vault

        def begin(session_id: UUID, minutes: int) -> str:
            moment = NOW + timedelta(minutes=minutes)
            return totp.begin_totp(session, vault, row, moment, session_id=session_id)[0]

        def confirm(session_id: UUID, minutes: int, secret: str) -> list[str]:
            moment = NOW + timedelta(minutes=minutes)
            code = pyotp.TOTP(secret).at(moment)
            return totp.confirm_totp(session, vault, row, code, moment, session_id=session_id)

        waiting = begin(other, 0)
        with pytest.raises(Invalid):
            confirm(mine, 1, waiting)  # the page that somebody else left open
        assert begin(mine, 1) != waiting
        waiting = begin(mine, 14)
        assert waiting == begin(mine, 15)
        with pytest.raises(Invalid):
            confirm(mine, 16, waiting)
        assert begin(mine, 16) != waiting
        assert totp.check_second_factor(session, vault, row, codes[0], NOW)  # the old factor works
        latest = begin(mine, 17)
        assert len(confirm(mine, 17, latest)) == 10
        later = NOW + timedelta(minutes=18)
        assert totp.check_second_factor(session, vault, row, pyotp.TOTP(latest).at(later), later)


def test_a_sealed_secret_of_somebody_else_does_not_open(place: Place) -> None:
    user, other = join(place), join(place, email="b@example.org")
    enrol(place, user)
    secret, _ = enrol(place, other)
    with place.sessions() as session:
        row, another = session.get_one(User, user.id), session.get_one(User, other.id)
        row.sealed_totp = another.sealed_totp
        session.commit()
        with pytest.raises(Exception, match=r".*"):
            totp.check_second_factor(session, place.vault, row, pyotp.TOTP(secret).at(NOW), NOW)


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "abcdef", "１２３４５６", "0" * 5000, "\ud800"]
)
def test_no_odd_code_is_accepted(place: Place, code: str) -> None:
    user = join(place)
    enrol(place, user)
    with place.sessions() as session:
        row = session.get_one(User, user.id)
        assert not totp.check_second_factor(session, place.vault, row, code, NOW)


def test_codes_may_be_typed_with_spaces() -> None:
    secret = pyotp.random_base32()
    code = pyotp.TOTP(secret).at(NOW)
    assert matching_step(secret, f" {code[:3]} {code[3:]} ", NOW) == int(NOW.timestamp()) // 30


def test_the_qr_code_is_an_image_of_this_page() -> None:
    assert qr_code("otpauth://totp/x?secret=ABC").startswith("data:image/svg+xml")


SCOPES = ["studies:write", "studies:read", "reviews:write"]


@pytest.mark.parametrize(
    ("role", "scope", "held"),
    [
        (Role.TECHNOLOGIST, "studies:write", True),
        (Role.TECHNOLOGIST, "studies:read", True),
        (Role.TECHNOLOGIST, "reviews:write", False),
        (Role.READER, "studies:write", True),
        (Role.READER, "studies:read", True),
        (Role.READER, "reviews:write", True),
        *[(role, scope, False) for role in (Role.ADMIN, Role.AUDITOR) for scope in SCOPES],
        (Role.ADMIN, "people:manage", False),
        (Role.READER, "self", False),
        (Role.READER, "", False),
    ],
)
def test_a_token_reaches_no_further_than_its_owner(
    place: Place, role: Role, scope: str, held: bool
) -> None:
    user = join(place, role)
    lifetime = timedelta(days=1)
    with place.sessions() as session:
        row = session.get_one(User, user.id)
        if held:
            token, raw = api_tokens.create_token(
                session, row, scopes=[scope], name="t", lifetime=lifetime, now=NOW
            )
            assert raw.startswith("plr_")
            may = api_tokens.actor_of_token(row, token).permissions
            assert may
            assert not may & {Permission.PEOPLE_MANAGE, Permission.SELF, Permission.AUDIT_READ}
        else:
            with pytest.raises(Invalid):
                api_tokens.create_token(
                    session, row, scopes=[scope], name="t", lifetime=lifetime, now=NOW
                )


def test_a_token_ends_when_it_expires_is_revoked_or_its_owner_goes(place: Place) -> None:
    user, boss = join(place), join(place, Role.ADMIN, "boss@example.org")
    with place.sessions() as session:
        row = session.get_one(User, user.id)

        def make() -> tuple[ApiToken, str]:
            return api_tokens.create_token(
                session,
                row,
                scopes=["studies:read"],
                name="t",
                lifetime=timedelta(hours=1),
                now=NOW,
            )

        (_, expiring), (revoked, text), (_, orphan) = make(), make(), make()
        assert api_tokens.load_token(session, expiring, NOW + timedelta(minutes=59)) is not None
        assert api_tokens.load_token(session, expiring, NOW + timedelta(minutes=60)) is None
        api_tokens.revoke_token(session, actor(row), revoked.id, NOW)
        assert api_tokens.load_token(session, text, NOW) is None
        people.disable(session, actor(boss), row.id, NOW)
        assert api_tokens.load_token(session, orphan, NOW) is None
        people.enable(session, actor(boss), row.id, NOW)
        assert api_tokens.load_token(session, orphan, NOW) is None
        for odd in ("", "plr_", "plr_x", expiring.upper(), expiring[:-1], "\ud800", "plr_\ud800"):
            assert api_tokens.load_token(session, odd, NOW) is None


def test_a_token_shrinks_with_its_owners_role(place: Place) -> None:
    user, boss = join(place), join(place, Role.ADMIN, "boss@example.org")
    with place.sessions() as session:
        row = session.get_one(User, user.id)
        token, _ = api_tokens.create_token(
            session, row, scopes=SCOPES, name="t", lifetime=timedelta(days=1), now=NOW
        )
        people.set_role(session, actor(boss), row.id, Role.TECHNOLOGIST, NOW)
        assert Permission.REVIEW_WRITE not in api_tokens.actor_of_token(row, token).permissions
        people.set_role(session, actor(boss), row.id, Role.ADMIN, NOW)
        assert api_tokens.actor_of_token(row, token).permissions == frozenset()


def test_only_admins_manage_people(place: Place) -> None:
    user, other = join(place), join(place, Role.AUDITOR, "b@example.org")
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
        with place.sessions() as session, pytest.raises(Denied):
            attempt(session, actor(user))


ADMIN_EMAIL = "boss@example.org"


def tries(place: Place, throttle: Throttle, email: str, address: str, now: datetime) -> str:
    """What somebody without the password is told."""
    with place.sessions() as session:
        try:
            assert (
                people.check_password(session, throttle, email, "wrong words", address, now) is None
            )
        except Throttled:
            return "wait"
        return "wrong"


def gets_in(place: Place, throttle: Throttle, address: str, now: datetime) -> bool:
    """Whether the owner of `a@example.org` does."""
    with place.sessions() as session:
        found = people.check_password(session, throttle, "a@example.org", PASSWORD, address, now)
        return found is not None


def test_who_knows_an_address_keeps_its_owner_out_nowhere_else(place: Place) -> None:
    join(place)
    throttle = Throttle()
    answers: dict[str, list[str]] = {"a@example.org": [], "nobody@example.org": []}
    for second in range(400):
        now = NOW + timedelta(seconds=second)
        for n, (email, told) in enumerate(answers.items()):
            told.append(tries(place, throttle, email, f"203.0.113.{n}", now))
        if second % 97 == 96:
            assert gets_in(place, throttle, "198.51.100.7", now)
    known, unknown = answers.values()
    assert known == unknown  # nobody learns who has an account
    assert known.count("wait") > 350


def test_many_addresses_at_once_keep_nobody_out_of_their_own_place(place: Place) -> None:
    user = join(place)
    throttle = Throttle()
    with place.sessions() as session:
        for address in ("198.51.100.7", "2001:db8:1:2::7"):
            sessions.start_session(session, user, address=address, agent="", now=NOW)
    for _ in range(EVERYWHERE.tries):
        throttle.take([(EVERYWHERE, "a@example.org")], NOW)
    with pytest.raises(Throttled):
        gets_in(place, throttle, "203.0.113.1", NOW)
    assert gets_in(place, throttle, "198.51.100.7", NOW)
    assert gets_in(place, throttle, "2001:db8:1:2:ffff::1", NOW)
    later = NOW + timedelta(minutes=16)
    assert gets_in(place, throttle, "203.0.113.1", later)


def test_who_knows_one_factor_alone_keeps_nobody_out_at_the_other(place: Place) -> None:
    user = join(place)
    secret, _ = enrol(place, user)
    throttle = Throttle()

    def answer(code: str, address: str, now: datetime) -> str:
        with place.sessions() as session:
            row = session.get_one(User, user.id)
            try:
                right = totp.check_second_factor(
                    session, place.vault, row, code, now, throttle=throttle, address=address
                )
            except Throttled:
                return "wait"
            return "in" if right else "wrong"

    with place.sessions() as session:
        sessions.start_session(session, user, address="198.51.100.7", agent="", now=NOW)
    for quarter in range(8):
        now = NOW + timedelta(minutes=16 * quarter)
        told = [answer("000000", "203.0.113.9", now) for _ in range(7)]
        assert told == ["wrong"] * 5 + ["wait"] * 2
        # The owner, where they were never before.
        assert answer(pyotp.TOTP(secret).at(now), "192.0.2.1", now) == "in"
    for host in range(8):  # and now from many places at once
        told += [answer("000000", f"203.0.113.{host}", now) for _ in range(5)]
    assert told[-5:] == ["wait"] * 5
    now += timedelta(seconds=30)
    assert answer(pyotp.TOTP(secret).at(now), "192.0.2.1", now) == "wait"
    assert answer(pyotp.TOTP(secret).at(now), "198.51.100.7", now) == "in"


def test_no_account_is_named_with_signs_that_nobody_can_type(place: Place) -> None:
    join(place)
    for email in ("a\0b", "a@example.org\0", "\0", "a\x1f@example.org"):
        assert tries(place, Throttle(), email, "203.0.113.1", NOW) == "wrong"


def test_a_team_is_named_with_signs_that_can_be_read(place: Place) -> None:
    boss = join(place, Role.ADMIN, ADMIN_EMAIL)
    with place.sessions() as session, pytest.raises(Invalid) as refused:
        invitations.invite(
            session, actor(boss), name="N", email="n@x.org", role=Role.READER, team="T\0", now=NOW
        )
    assert refused.value.code == "team"


@pytest.mark.parametrize("leaves", ["disabled", "demoted"])
def test_who_leaves_the_administrators_leaves_no_link_behind(place: Place, leaves: str) -> None:
    leaving, boss = join(place, Role.ADMIN), join(place, Role.ADMIN, ADMIN_EMAIL)
    victim = join(place, Role.READER, "v@example.org")
    with place.sessions() as session:
        who = {"name": "Back", "role": Role.ADMIN, "now": NOW}
        links = [
            invitations.invite(session, actor(leaving), email="back@example.org", **who)[1],
            people.reset_factor(session, actor(leaving), victim.id, NOW)[1],
        ]
        _, kept = invitations.invite(session, actor(boss), email="kept@example.org", **who)
        assert all(invitations.open_invitation(session, link, NOW) for link in links)
        if leaves == "disabled":
            people.disable(session, actor(boss), leaving.id, NOW)
        else:
            people.set_role(session, actor(boss), leaving.id, Role.READER, NOW)
        assert [invitations.open_invitation(session, link, NOW) for link in links] == [None, None]
        assert invitations.open_invitation(session, kept, NOW) is not None
        event = session.query(AuditEvent).order_by(AuditEvent.seq.desc()).first()
        assert event is not None
        assert '"links":2' in event.detail


def test_a_link_sent_to_somebody_who_is_disabled_opens_nothing(place: Place) -> None:
    user, boss = join(place), join(place, Role.ADMIN, ADMIN_EMAIL)
    with place.sessions() as session:
        _, link = people.reset_factor(session, actor(boss), user.id, NOW)
        people.disable(session, actor(boss), user.id, NOW)
        assert invitations.open_invitation(session, link, NOW) is None


@pytest.mark.parametrize("by", ["withdrawal", "newer link", "disabled inviter"])
def test_a_link_withdrawn_while_its_password_is_hashed_lets_nobody_in(
    place: Place, by: str
) -> None:
    inviter, boss = join(place, Role.ADMIN), join(place, Role.ADMIN, ADMIN_EMAIL)
    who = {"name": "N", "email": "n@example.org", "role": Role.ADMIN}
    with place.sessions() as session:
        made, link = invitations.invite(session, actor(inviter), now=NOW, **who)
    later = NOW + timedelta(seconds=1)

    def withdraw(_session: Session) -> None:
        with place.sessions() as other:
            if by == "withdrawal":
                invitations.withdraw_invitation(other, actor(boss), made.id, later)
            elif by == "newer link":
                invitations.invite(other, actor(boss), now=later, **who)
            else:
                people.disable(other, actor(boss), inviter.id, later)

    with place.sessions() as session:
        # The link was looked at and found to be good; what follows is the hashing.
        event.listen(session, "after_commit", withdraw, once=True)
        with pytest.raises(Denied):
            invitations.accept_invitation(session, link, password=PASSWORD, now=NOW)
    with place.sessions() as session:
        assert {user.email for user in people.people(session)} == {inviter.email, boss.email}


def test_a_link_for_whoever_came_another_way_meanwhile_opens_nothing(place: Place) -> None:
    boss = join(place, Role.ADMIN, ADMIN_EMAIL)
    with place.sessions() as session:
        _, link = invitations.invite(
            session, actor(boss), name="N", email="n@example.org", role=Role.READER, now=NOW
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


def test_a_reset_link_opens_nothing_while_its_person_is_disabled(place: Place) -> None:
    user, boss = join(place), join(place, Role.ADMIN, ADMIN_EMAIL)
    with place.sessions() as session:
        people.disable(session, actor(boss), user.id, NOW)
        _, link = people.reset_factor(session, actor(boss), user.id, NOW)
        assert invitations.open_invitation(session, link, NOW) is None
        with pytest.raises(Denied):
            invitations.accept_invitation(session, link, password=PASSWORD, now=NOW)
        people.enable(session, actor(boss), user.id, NOW)
        back = invitations.accept_invitation(
            session, link, password="seven green umbrellas", now=NOW
        )
        assert back.id == user.id


@pytest.mark.parametrize("change", ["password", "factor", "reset", "disable", "role"])
def test_tokens_end_with_what_their_owner_signed_in_by(place: Place, change: str) -> None:
    user, boss = join(place), join(place, Role.ADMIN, ADMIN_EMAIL)
    with place.sessions() as session:
        row = session.get_one(User, user.id)
        _, raw = api_tokens.create_token(
            session, row, scopes=["studies:read"], name="t", lifetime=timedelta(days=1), now=NOW
        )
        assert api_tokens.load_token(session, raw, NOW) is not None
        if change == "password":
            text = sessions.start_session(session, row, address="", agent="", now=NOW)
            found = sessions.load_session(session, text, NOW)
            assert found is not None
            login: LoginSession = found[1]
            new = "seven green umbrellas"
            assert not people.change_password(session, Throttle(), login, "wrong words", new, NOW)
            assert api_tokens.load_token(session, raw, NOW) is not None
            assert people.change_password(session, Throttle(), login, PASSWORD, new, NOW)
        elif change == "factor":
            secret, _ = totp.begin_totp(session, place.vault, row, NOW)
            totp.confirm_totp(session, place.vault, row, pyotp.TOTP(secret).at(NOW), NOW)
        elif change == "reset":
            people.reset_factor(session, actor(boss), user.id, NOW)
        elif change == "role":
            people.set_role(session, actor(boss), user.id, Role.TECHNOLOGIST, NOW)
            people.set_role(
                session, actor(boss), user.id, Role.READER, NOW
            )  # and it does not wake up
        else:
            people.disable(session, actor(boss), user.id, NOW)
        assert api_tokens.load_token(session, raw, NOW) is None


def test_an_administrator_ends_single_sessions_and_tokens_of_nobody_else(place: Place) -> None:
    user, boss = join(place), join(place, Role.ADMIN, ADMIN_EMAIL)
    with place.sessions() as session:
        row = session.get_one(User, user.id)
        token, raw = api_tokens.create_token(
            session, row, scopes=["studies:read"], name="t", lifetime=timedelta(days=1), now=NOW
        )
        text = sessions.start_session(session, row, address="", agent="", now=NOW)
        (login,) = sessions.sessions_of(session, user.id, NOW)
        with pytest.raises(Denied):
            sessions.end_session(session, actor(boss), login.id, NOW)
        with pytest.raises(Denied):
            api_tokens.revoke_token(session, actor(boss), token.id, NOW)
        assert sessions.load_session(session, text, NOW) is not None
        assert api_tokens.load_token(session, raw, NOW) is not None


def test_an_invitation_finds_its_team_however_it_is_written_and_the_log_names_it(
    place: Place,
) -> None:
    boss = join(place, Role.ADMIN, ADMIN_EMAIL)
    with place.sessions() as session:
        teams = set()
        for number, team in enumerate(("Chest clinic", "chest CLINIC", " Chest  clinic ")):
            invitation, _ = invitations.invite(
                session,
                actor(boss),
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
