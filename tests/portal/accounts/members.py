"""People for the tests of accounts: joined by an invitation, with a second factor."""

from datetime import timedelta

import pyotp

from portal.access import Actor
from portal.accounts import invitations, sessions, totp
from portal.models import Role, User
from tests.support.core import NOW, Core

PASSWORD = "blue kettle on tuesday"


def join(core: Core, role: Role = Role.READER, email: str = "a@example.org") -> User:
    """Somebody who has followed an invitation, without a second factor."""
    with core.sessions() as session:
        _, token = invitations.invite(
            session, None, name="A", email=email, role=role, team="T", now=NOW
        )
        return invitations.accept_invitation(session, token, password=PASSWORD, now=NOW)


def enrol(core: Core, user: User) -> tuple[str, list[str]]:
    """Give them a second factor, confirmed with the code of the step before."""
    with core.sessions() as session:
        row = session.get_one(User, user.id)
        secret, _ = totp.begin_totp(session, core.vault, row, NOW)
        code = pyotp.TOTP(secret).at(NOW - timedelta(seconds=30))
        return secret, totp.confirm_totp(session, core.vault, row, code, NOW)


def actor(user: User) -> Actor:
    """They act."""
    return sessions.actor_of(user)


ADMIN_EMAIL = "boss@example.org"
