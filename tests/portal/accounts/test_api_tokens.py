"""API tokens: never more than their owner has, and not longer."""

from datetime import timedelta

import pyotp
import pytest

from portal.access import Permission
from portal.accounts import api_tokens, people, sessions
from portal.accounts.factors import totp
from portal.accounts.sessions import actor_of
from portal.accounts.throttle import Throttle
from portal.errors import Invalid
from portal.models import ApiToken, LoginSession, Role, User
from tests.support.core import NOW, Core
from tests.support.people import PASSWORD, join

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
    core: Core, role: Role, scope: str, held: bool
) -> None:
    user = join(core, role)
    lifetime = timedelta(days=1)
    with core.sessions() as session:
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


def test_a_token_ends_when_it_expires_is_revoked_or_its_owner_goes(core: Core) -> None:
    user, boss = join(core), join(core, Role.ADMIN, "boss@example.org")
    with core.sessions() as session:
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
        api_tokens.revoke_token(session, actor_of(row), revoked.id, NOW)
        assert api_tokens.load_token(session, text, NOW) is None
        people.disable(session, actor_of(boss), row.id, NOW)
        assert api_tokens.load_token(session, orphan, NOW) is None
        people.enable(session, actor_of(boss), row.id, NOW)
        assert api_tokens.load_token(session, orphan, NOW) is None
        for odd in ("", "plr_", "plr_x", expiring.upper(), expiring[:-1], "\ud800", "plr_\ud800"):
            assert api_tokens.load_token(session, odd, NOW) is None


def test_a_token_shrinks_with_its_owners_role(core: Core) -> None:
    user, boss = join(core), join(core, Role.ADMIN, "boss@example.org")
    with core.sessions() as session:
        row = session.get_one(User, user.id)
        token, _ = api_tokens.create_token(
            session, row, scopes=SCOPES, name="t", lifetime=timedelta(days=1), now=NOW
        )
        people.set_role(session, actor_of(boss), row.id, Role.TECHNOLOGIST, NOW)
        assert Permission.REVIEW_WRITE not in api_tokens.actor_of_token(row, token).permissions
        people.set_role(session, actor_of(boss), row.id, Role.ADMIN, NOW)
        assert api_tokens.actor_of_token(row, token).permissions == frozenset()


@pytest.mark.parametrize("change", ["password", "factor", "reset", "disable", "role"])
def test_tokens_end_with_what_their_owner_signed_in_by(core: Core, change: str) -> None:
    user, boss = join(core), join(core, Role.ADMIN, "boss@example.org")
    with core.sessions() as session:
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
            secret, _ = totp.begin_totp(session, core.vault, row, NOW)
            totp.confirm_totp(session, core.vault, row, pyotp.TOTP(secret).at(NOW), NOW)
        elif change == "reset":
            people.reset_factor(session, actor_of(boss), user.id, NOW)
        elif change == "role":
            people.set_role(session, actor_of(boss), user.id, Role.TECHNOLOGIST, NOW)
            people.set_role(
                session, actor_of(boss), user.id, Role.READER, NOW
            )  # and it does not wake up
        else:
            people.disable(session, actor_of(boss), user.id, NOW)
        assert api_tokens.load_token(session, raw, NOW) is None
