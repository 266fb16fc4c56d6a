"""Device cookies: a browser in which a person has signed in before has tries of its own."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import uuid4

import pyotp
import pytest
from itsdangerous.encoding import base64_decode
from sqlalchemy.orm import Session

from portal.accounts import people, sessions, teams
from portal.accounts.device_cookies import LIFETIME, MOST_PEOPLE, DeviceCookie
from portal.accounts.factors import passkeys, totp
from portal.accounts.sessions import actor_of
from portal.accounts.throttle import (
    ACCOUNT,
    ADDRESS,
    DEVICE,
    EVERYWHERE,
    Limit,
    Throttle,
    Throttled,
    at,
)
from portal.models import LoginSession, Role, User
from tests.support.core import NOW, Core
from tests.support.people import PASSWORD, enrol, join

SECRET = "a secret of the portal for its tests"
SHARED = "198.51.100.7"  # the hospital's one address
EMAIL = "a@example.org"


def cookie(sent: str = "", secret: str = SECRET) -> DeviceCookie:
    return DeviceCookie(sent, secret)


def person(email: str = EMAIL) -> User:
    return User(id=uuid4(), name="Ann Other", email=email, device_generation=0)


def remembered(user: User, before: str = "") -> DeviceCookie:
    """The cookie of a browser in which the person has just shown both factors."""
    return cookie(cookie(before).with_person(user, NOW))


def try_password(
    core: Core,
    throttle: Throttle,
    device: DeviceCookie,
    password: str,
    *,
    email: str = EMAIL,
    now: datetime = NOW,
) -> str:
    """What a browser at the shared address gets."""
    with core.sessions() as session:
        try:
            found = people.check_password(
                session, throttle, email, password, SHARED, now, device_cookie=device
            )
        except Throttled:
            return "wait"
        return "in" if found else "wrong"


def try_factor(
    core: Core, throttle: Throttle, user: User, device: DeviceCookie, code: str = "000000"
) -> str:
    with core.sessions() as session:
        row = session.get_one(User, user.id)
        try:
            right = totp.check_second_factor(
                session,
                core.vault,
                row,
                code,
                NOW,
                throttle=throttle,
                address=SHARED,
                device_cookie=device,
            )
        except Throttled:
            return "wait"
        return "in" if right else "wrong"


def spend(throttle: Throttle, limit: Limit, who: str) -> None:
    """Use up all tries of a limit."""
    with suppress(Throttled):
        while True:
            throttle.take([(limit, who)], NOW)


def test_strangers_at_the_same_address_do_not_reach_the_persons_own_browser(core: Core) -> None:
    user, throttle = join(core), Throttle()
    own = remembered(user)
    device = own.read(EMAIL, NOW)
    assert device is not None
    spend(throttle, ACCOUNT, at(EMAIL, SHARED))
    spend(throttle, ADDRESS, SHARED)
    spend(throttle, EVERYWHERE, EMAIL)
    assert try_password(core, throttle, cookie(), PASSWORD) == "wait"
    assert try_password(core, throttle, own, PASSWORD) == "in"
    for _ in range(DEVICE.tries - 1):
        throttle.take([(DEVICE, device.number)], NOW)
    assert try_password(core, throttle, own, "wrong words") == "wrong"
    assert try_password(core, throttle, own, PASSWORD) == "wait"
    soon, later = NOW + timedelta(seconds=58), NOW + timedelta(seconds=61)
    assert try_password(core, throttle, own, PASSWORD, now=soon) == "wait"
    assert try_password(core, throttle, own, PASSWORD, now=later) == "in"


def test_the_second_factor_is_counted_by_browser_too(core: Core) -> None:
    user, throttle = join(core), Throttle()
    secret, _ = enrol(core, user)
    with core.sessions() as session:  # enrolment has ended what was before
        own = remembered(session.get_one(User, user.id))
    code = pyotp.TOTP(secret).at(NOW)
    answers = [try_factor(core, throttle, user, cookie()) for _ in range(6)]
    assert answers == ["wrong"] * 5 + ["wait"]
    assert try_factor(core, throttle, user, cookie(), code) == "wait"
    assert [try_factor(core, throttle, user, own) for _ in range(4)] == ["wrong"] * 4
    assert try_factor(core, throttle, user, own, code) == "in"
    assert [try_factor(core, throttle, user, own) for _ in range(6)] == ["wrong"] * 5 + ["wait"]


def test_a_stolen_cookie_takes_no_tries_of_anybody_else(core: Core) -> None:
    user, throttle = join(core), Throttle()
    enrol(core, user)
    with core.sessions() as session:
        row = session.get_one(User, user.id)
        stolen, own = remembered(row), remembered(row)
    assert [try_factor(core, throttle, user, stolen) for _ in range(6)][-1] == "wait"
    assert try_factor(core, throttle, user, own) == "wrong"
    assert try_factor(core, throttle, user, cookie()) == "wrong"


def test_a_stolen_cookie_has_few_tries_at_the_password_too(core: Core) -> None:
    user, throttle = join(core), Throttle()
    stolen, own = remembered(user), remembered(user)
    answers = [try_password(core, throttle, stolen, "wrong words") for _ in range(DEVICE.tries + 1)]
    assert answers == ["wrong"] * DEVICE.tries + ["wait"]
    assert try_password(core, throttle, own, PASSWORD) == "in"


def changed(sent: str) -> str:
    """With another first character of the signature; the last one holds bits of no meaning."""
    payload, _, signature = sent.partition(".")
    return f"{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


FORGERIES: dict[str, Callable[[str], DeviceCookie]] = {
    "empty": lambda _: cookie(""),
    "another secret": lambda sent: cookie(sent, "another secret of another portal"),
    "a changed character": lambda sent: cookie(changed(sent)),
    "another payload": lambda sent: cookie("W10" + sent[sent.index(".") :]),
    "no signature": lambda sent: cookie(sent.partition(".")[0]),
    "odd signs": lambda sent: cookie("\udcff~\0~\u2603~" + sent[:20]),
    "long": lambda _: cookie("A" * 100_000),
    "many": lambda sent: cookie("~".join(["x.y"] * 5000 + [sent])),
}


@pytest.mark.parametrize("forgery", list(FORGERIES))
def test_who_has_no_genuine_entry_is_a_stranger(forgery: str) -> None:
    genuine = remembered(person())
    assert genuine.read(EMAIL, NOW) is not None
    assert FORGERIES[forgery](genuine.sent).read(EMAIL, NOW) is None


def test_an_entry_of_another_account_is_counted_with_strangers(core: Core) -> None:
    """Whether or not the account exists, so that nobody learns who has one."""
    own = remembered(join(core))
    for email in ("b@example.org", "nobody@example.org"):
        if email.startswith("b"):
            join(core, email=email)
        throttle = Throttle()
        for _ in range(ACCOUNT.tries):
            throttle.take([(ACCOUNT, at(email, SHARED))], NOW)
        assert try_password(core, throttle, own, "wrong words", email=email) == "wait"


def test_an_entry_has_an_end() -> None:
    user = person()
    own = remembered(user)
    assert own.device_of(user, NOW + LIFETIME - timedelta(seconds=1)) is not None
    assert own.device_of(user, NOW + LIFETIME) is None
    assert own.device_of(user, NOW - timedelta(minutes=5)) is None


def test_several_people_share_a_browser() -> None:
    staff = [person(f"{n}@example.org") for n in range(3)]
    sent = ""
    for user in (*staff, staff[0]):
        sent = remembered(user, sent).sent
    assert sent.count("~") == 3  # who signs in again replaces the entry from before; the browser's
    assert all(cookie(sent).device_of(user, NOW) for user in staff)
    strangers = "~".join(["abc.def"] * 20)
    assert remembered(staff[0], strangers).sent.count("~") == MOST_PEOPLE


def test_an_entry_names_nobody() -> None:
    user = person()
    sent = remembered(user).sent
    # A random number and the time; the person's own has the generation too.
    held = [json.loads(base64_decode(one.partition(".")[0])) for one in sent.split("~")]
    assert [len(claims) for claims in held] == [3, 2]
    for hidden in (user.email, user.name, str(user.id), user.id.hex):
        assert hidden not in str(held)


def test_a_browser_has_a_number_of_its_own_once_somebody_has_signed_in() -> None:
    """For what is counted before it is known who comes; it opens and names nothing."""
    own = remembered(person())
    number = own.browser(NOW)
    assert number is not None
    assert own.browser(NOW + LIFETIME) is None
    assert cookie(own.sent, "another secret of another portal").browser(NOW) is None
    people_alone = own.sent.rpartition("~")[0]
    assert cookie(people_alone).browser(NOW) is None
    assert cookie(own.sent.rpartition("~")[2]).read(EMAIL, NOW) is None
    again = remembered(person(), own.sent)
    assert again.browser(NOW) not in (None, number)  # one entry, the newest


End = Callable[[Session, User, User], object]
ENDS: dict[str, End] = {
    "another role": lambda session, user, boss: people.set_role(
        session, actor_of(boss), user.id, Role.TECHNOLOGIST, NOW
    ),
    "another team": lambda session, user, boss: people.move(
        session, actor_of(boss), user.id, teams.make_team(session, actor_of(boss), "B", NOW).id, NOW
    ),
    "sessions ended by an admin": lambda session, user, boss: people.end_sessions_of(
        session, actor_of(boss), user.id, NOW
    ),
    "other sessions ended": lambda session, user, _: sessions.end_other_sessions(
        session, actor_of(user), NOW
    ),
    "password changed": lambda session, user, _: people.change_password(
        session, Throttle(), signed_in(session, user), PASSWORD, "seven green umbrellas", NOW
    ),
    "disabled": lambda session, user, boss: people.disable(session, actor_of(boss), user.id, NOW),
    "reset": lambda session, user, boss: people.reset_factor(session, actor_of(boss), user.id, NOW),
}


def signed_in(session: Session, user: User) -> LoginSession:
    raw = sessions.start_session(session, user, address="", agent="", now=NOW)
    found = sessions.load_session(session, raw, NOW)
    assert found is not None
    return found[1]


def test_what_ends_a_persons_sessions_ends_their_entries(core: Core) -> None:
    user, boss = join(core), join(core, Role.ADMIN, "boss@example.org")
    others = remembered(boss)
    for end, act in ENDS.items():
        with core.sessions() as session:
            row = session.get_one(User, user.id)
            own = remembered(row)
            assert own.device_of(row, NOW) is not None
            act(session, row, session.get_one(User, boss.id))
        with core.sessions() as session:
            assert own.device_of(session.get_one(User, user.id), NOW) is None, end
            assert others.device_of(session.get_one(User, boss.id), NOW) is not None, end
    throttle = Throttle()
    for _ in range(ACCOUNT.tries):
        throttle.take([(ACCOUNT, at(EMAIL, SHARED))], NOW)
    assert try_password(core, throttle, own, PASSWORD) == "wait"  # counted with strangers again


def test_a_passkey_is_counted_by_browser_too(core: Core) -> None:
    user, throttle = join(core), Throttle()
    own = remembered(user)

    def show(device: DeviceCookie) -> str:
        with core.sessions() as session:
            login = signed_in(session, session.get_one(User, user.id))
            try:
                right = passkeys.check_passkey(
                    session,
                    throttle,
                    ("xray.example", "https://xray.example"),
                    login,
                    "{}",
                    NOW,
                    address="203.0.113.9",
                    device_cookie=device,
                )
            except Throttled:
                return "wait"
            return "in" if right else "wrong"

    assert [show(cookie()) for _ in range(6)] == ["wrong"] * 5 + ["wait"]
    assert [show(own) for _ in range(6)] == ["wrong"] * 5 + ["wait"]
