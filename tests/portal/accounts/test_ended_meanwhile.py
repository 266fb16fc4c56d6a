"""What a person has proved counts no more once their password, factor or rights were changed.

In each test the change is committed between the check and what follows from it.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pyotp
import pytest
from argon2 import PasswordHasher
from sqlalchemy import event, func, select

from portal.accounts import people, sessions
from portal.accounts.factors import passwords, totp
from portal.accounts.throttle import EVERYWHERE, STEP_UP, Throttle
from portal.models import LoginSession, RecoveryCode, User
from tests.support.core import NOW, Core
from tests.support.people import PASSWORD, enrol, join
from tests.support.wait import StoppedThrottle, only_on_postgresql, until_it_waits

EMAIL, NEW = "a@example.org", "red lantern on friday"


def signed_in(session: Any, user_id: UUID) -> LoginSession:
    """A person's login session, as a request finds it when it begins."""
    user = session.get_one(User, user_id, populate_existing=True)
    raw = sessions.start_session(session, user, address="", agent="", now=NOW)
    found = sessions.load_session(session, raw, NOW)
    assert found is not None
    return found[1]


def reset(core: Core, user_id: UUID) -> None:
    with core.sessions() as session:
        people.reset_factor(session, None, user_id, NOW)


def change(core: Core, user_id: UUID) -> None:
    with core.sessions() as session:
        login = signed_in(session, user_id)
        assert people.change_password(session, Throttle(), login, PASSWORD, NEW, NOW)


def person(core: Core, user_id: UUID) -> User:
    with core.sessions() as session:
        return session.get_one(User, user_id)


CHANGES = {"reset": reset, "new password": change}


@pytest.mark.parametrize("act", CHANGES)
def test_a_password_that_is_hashed_anew_at_sign_in_does_not_come_back(core: Core, act: str) -> None:
    user = join(core)
    with core.sessions() as session:
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        session.get_one(User, user.id).password_hash = cheap
        session.commit()
    throttle = StoppedThrottle(EVERYWHERE, lambda: CHANGES[act](core, user.id))
    with core.sessions() as session:
        people.check_password(session, throttle, EMAIL, PASSWORD, "10.0.0.1", NOW)
    assert not passwords.verify(person(core, user.id).password_hash, PASSWORD)


@pytest.mark.parametrize("act", CHANGES)
@pytest.mark.parametrize("proved", [False, True])
def test_nobody_comes_in_by_what_was_proved_before_a_change(
    core: Core, act: str, proved: bool
) -> None:
    user = join(core)
    with core.sessions() as session:
        found = people.check_password(session, Throttle(), EMAIL, PASSWORD, "10.0.0.1", NOW)
        assert found is not None
        CHANGES[act](core, user.id)
        with pytest.raises(sessions.SignedOut):
            sessions.start_session(session, found, address="", agent="", now=NOW, proved=proved)
    with core.sessions() as session:
        live = select(LoginSession.id).where(LoginSession.ended_at.is_(None))
        assert session.scalars(live).all() == []


@pytest.mark.parametrize("act", CHANGES)
def test_a_password_can_not_be_changed_by_one_that_was_taken_away_meanwhile(
    core: Core, act: str
) -> None:
    user = join(core)
    throttle = StoppedThrottle(STEP_UP, lambda: CHANGES[act](core, user.id))
    with core.sessions() as session:
        login = signed_in(session, user.id)
        with pytest.raises(sessions.SignedOut):
            people.change_password(session, throttle, login, PASSWORD, "not theirs any more", NOW)
    assert not passwords.verify(person(core, user.id).password_hash, "not theirs any more")


def test_a_second_factor_is_not_set_after_a_reset_came_between(core: Core) -> None:
    user = join(core)
    throttle = StoppedThrottle(STEP_UP, lambda: reset(core, user.id))
    with core.sessions() as session:
        login = signed_in(session, user.id)
        own = {"session_id": login.id}
        secret, _ = totp.begin_totp(session, core.vault, login.user, NOW, **own)
        code = pyotp.TOTP(secret).at(NOW)
        with pytest.raises(sessions.SignedOut):
            totp.confirm_totp(session, core.vault, login.user, code, NOW, **own, throttle=throttle)
    assert person(core, user.id).sealed_totp is None


def test_recovery_codes_are_not_made_after_a_reset_came_between(core: Core) -> None:
    user = join(core)
    enrol(core, user)
    with core.sessions() as session:
        login = signed_in(session, user.id)
        reset(core, user.id)
        with pytest.raises(sessions.SignedOut):
            totp.new_recovery_codes(session, login.user, NOW)
    with core.sessions() as session:
        assert session.scalar(select(func.count()).select_from(RecoveryCode)) == 0


def test_of_recovery_codes_asked_for_twice_at_once_one_set_works(core: Core) -> None:
    only_on_postgresql(core.engine)
    user = join(core)
    enrol(core, user)

    def ask() -> list[str]:
        with core.sessions() as session:
            return totp.new_recovery_codes(session, session.get_one(User, user.id), NOW)

    waiting = list[Future[list[str]]]()
    with ThreadPoolExecutor(1) as pool, core.sessions() as session:

        def ask_too(_session: Any) -> None:
            if not waiting:
                waiting.append(pool.submit(ask))
                until_it_waits(core.engine, waiting[0])

        event.listen(session, "before_commit", ask_too)
        totp.new_recovery_codes(session, session.get_one(User, user.id), NOW)
        waiting[0].result(60)
    with core.sessions() as session:
        assert session.scalar(select(func.count()).select_from(RecoveryCode)) == 10
