"""People and their teams: with rows alone, and with what they need to sign in."""

import functools
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import pyotp
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.factors import passwords, totp
from portal.models import Role, Team, User
from tests.support.core import NOW, Core

PASSWORD = "blue kettle on tuesday"


@dataclass(frozen=True)
class Person:
    """A person with an account, and everything needed to sign in."""

    id: UUID
    email: str
    password: str
    secret: str
    recovery_codes: tuple[str, ...]

    def code(self, now: datetime) -> str:
        """What the authenticator app shows."""
        return pyotp.TOTP(self.secret).at(now)


def add_person(
    session: Session,
    role: Role,
    email: str,
    *,
    name: str = "",
    team: str = "Radiology",
    now: datetime = NOW,
) -> User:
    """A person in a team, which is made where there is none of this name; not yet committed."""
    found = session.scalar(select(Team).where(Team.name == team))
    if found is None:
        found = Team(name=team, created=now)
        session.add(found)
        session.flush()
    user = User(
        name=name or f"Test {role}",
        email=email,
        role=role,
        team_id=found.id,
        local_sign_in=True,
        created=now,
    )
    session.add(user)
    session.flush()
    return user


def add_account(core: Core, user: User, now: datetime = NOW) -> Person:
    """Give a person a password and a second factor."""
    with core.sessions() as session:
        session.get_one(User, user.id).password_hash = _hash_of(PASSWORD)
        session.commit()
    secret, codes = enrol(core, user, now)
    return Person(user.id, user.email, PASSWORD, secret, tuple(codes))


def enrol(core: Core, user: User, now: datetime = NOW) -> tuple[str, list[str]]:
    """Give a person a second factor; returns its secret and the recovery codes."""
    with core.sessions() as session:
        row = session.get_one(User, user.id)
        secret, _ = totp.begin_totp(session, core.vault, row, now)
        # A code of the step before, so that the present one can still be used.
        code = pyotp.TOTP(secret).at(now - timedelta(seconds=30))
        return secret, totp.confirm_totp(session, core.vault, row, code, now)


def join(
    core: Core,
    role: Role = Role.READER,
    email: str = "a@example.org",
    *,
    name: str = "A",
    team: str = "T",
) -> User:
    """A person with a password and without a second factor, as after an invitation."""
    with core.sessions() as session:
        user = add_person(session, role, email, name=name, team=team)
        user.password_hash = _hash_of(PASSWORD)
        session.commit()
        return user


@functools.cache  # a hash takes a tenth of a second
def _hash_of(password: str) -> str:
    return passwords.hash_password(password)
