"""The throttle, in this process and over a real Redis: the same answers."""

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from portal.accounts.throttle import (
    ACCOUNT,
    ADDRESS,
    EVERYWHERE,
    LONGEST_PAUSE_SECONDS,
    Throttle,
    Throttled,
    at,
    origin,
)
from portal.services import redis_client

START = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)


def slow_client(redis_url: str) -> Any:
    """The portal's client without its half second: a busy machine's Redis is not one away."""
    client = redis_client(redis_url)
    assert client is not None
    client.connection_pool.connection_kwargs.update(socket_timeout=60, socket_connect_timeout=60)
    return client


@pytest.fixture(params=["process", "redis"])
def throttle(request: pytest.FixtureRequest) -> Throttle:
    if request.param == "process":
        return Throttle()
    return Throttle(slow_client(request.getfixturevalue("redis_url")))


@pytest.fixture
def who() -> str:
    return f"{uuid4()}@example.org"


def wait(throttle: Throttle, who: str, seconds: float) -> int:
    """How long this try has to wait; 0 when it may go on."""
    try:
        throttle.take([(ACCOUNT, who)], START + timedelta(seconds=seconds))
    except Throttled as throttled:
        return throttled.seconds
    return 0


def test_five_tries_go_and_the_sixth_waits(throttle: Throttle, who: str) -> None:
    assert [wait(throttle, who, second) for second in range(5)] == [0] * 5
    assert wait(throttle, who, 5) in (60, 61)
    assert wait(throttle, who, 25) in (40, 41)


def test_no_six_tries_in_any_minute(throttle: Throttle, who: str) -> None:
    allowed = [second for second in range(0, 600, 7) if wait(throttle, who, second) == 0]
    assert all(b - a >= 60 for a, b in zip(allowed, allowed[5:], strict=False))
    assert len(allowed) > 10


def test_slow_tries_never_wait(throttle: Throttle, who: str) -> None:
    assert [wait(throttle, who, 13 * n) for n in range(40)] == [0] * 40


def test_the_pause_doubles_up_to_a_quarter_of_an_hour(throttle: Throttle, who: str) -> None:
    pauses, second = [], 0.0
    for _ in range(6):
        while not (pause := wait(throttle, who, second)):
            second += 1
        pauses.append(pause)
        second += pause + 1
    rounded = [round(pause / 60) for pause in pauses]
    assert rounded == [1, 2, 4, 8, 15, 15]
    assert max(pauses) <= LONGEST_PAUSE_SECONDS + 1


def test_tries_during_the_pause_do_not_lengthen_it(throttle: Throttle, who: str) -> None:
    for second in range(6):
        wait(throttle, who, second)
    for second in range(6, 64):
        assert wait(throttle, who, second) > 0
    assert wait(throttle, who, 66) == 0


def test_success_forgets(throttle: Throttle, who: str) -> None:
    for second in range(5):
        wait(throttle, who, second)
    throttle.forgive(ACCOUNT, who)
    assert [wait(throttle, who, second) for second in range(5, 10)] == [0] * 5


def test_one_account_does_not_slow_another(throttle: Throttle, who: str) -> None:
    for second in range(10):
        wait(throttle, who, second)
    assert wait(throttle, f"other-{who}", 10) == 0


def test_capitals_do_not_make_another_account(throttle: Throttle, who: str) -> None:
    spellings = [who, who.upper(), f" {who}", who.title(), f"{who} "]
    assert [wait(throttle, spelling, n) for n, spelling in enumerate(spellings)] == [0] * 5
    assert wait(throttle, who, 6) > 0


def test_an_address_that_tries_many_accounts_waits(throttle: Throttle, who: str) -> None:
    refused = 0
    for n in range(60):
        try:
            throttle.take([(ACCOUNT, f"{n}-{who}"), (ADDRESS, who)], START)
        except Throttled:
            refused += 1
    assert refused == 60 - ADDRESS.tries


def test_what_stands_behind_a_spent_limit_is_not_counted(throttle: Throttle, who: str) -> None:
    for _ in range(ADDRESS.tries):
        throttle.take([(ADDRESS, who)], START)
    for _ in range(EVERYWHERE.tries):
        with pytest.raises(Throttled):
            throttle.take([(ADDRESS, who), (EVERYWHERE, who)], START)
    throttle.take([(EVERYWHERE, who)], START)


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_a_customers_network_counts_as_one_address(address: str, counted_as: str) -> None:
    assert origin(address) == counted_as


def test_an_account_is_counted_from_each_address_by_itself() -> None:
    assert at("a@x.org", "203.0.113.9") != at("a@x.org", "203.0.113.8")
    assert at("a@x.org", "2001:db8::1") == at("a@x.org", "2001:db8::2")


def test_processes_share_their_counts_over_redis(redis_url: str, who: str) -> None:
    one, other = Throttle(slow_client(redis_url)), Throttle(slow_client(redis_url))
    assert [wait(t, who, n) for n, t in enumerate((one, other, one, other, one))] == [0] * 5
    assert wait(other, who, 6) > 0
    one.forgive(ACCOUNT, who)
    assert wait(other, who, 70) == 0


@pytest.mark.parametrize("until", ["1e18", "1e308", "inf", "-inf", "nan", "soon", "", "9" * 400])
def test_who_writes_into_redis_locks_nobody_out(redis_url: str, who: str, until: str) -> None:
    client = slow_client(redis_url)
    throttle = Throttle(client)
    wait(throttle, who, 0)
    digest = hashlib.sha256(who.encode()).hexdigest()[:32]
    state = f"pleura:tries:{ACCOUNT.name}:{digest}:state"
    assert client.exists(state.replace(":state", ":tries"))
    client.hset(state, mapping={"until": until, "strikes": "x"})
    waits = [wait(throttle, who, second) for second in range(1, 5)]
    assert waits == [0] * 4
    for second in range(5, 12):  # and whoever tries on is still held up
        waits.append(wait(throttle, who, second))
    assert 0 < max(waits) <= LONGEST_PAUSE_SECONDS + 1


@pytest.mark.parametrize("answer", [b"inf", b"-inf", b"nan", b"-5", b"1e9", b"soon", None])
def test_an_odd_answer_of_redis_is_no_pause(who: str, answer: bytes | None) -> None:
    class Odd:
        def register_script(self, _text: str) -> Any:
            return lambda **_: answer

    throttle = Throttle(Odd())
    assert [wait(throttle, who, second) for second in range(5)] == [0] * 5
    assert wait(throttle, who, 5) in (60, 61)


def test_redis_gets_no_names(redis_url: str, who: str) -> None:
    client = slow_client(redis_url)
    Throttle(client).take([(ACCOUNT, who)], START)
    keys = list(client.scan_iter("pleura:tries:*"))
    assert keys
    assert not [key for key in keys if who.encode() in key]


def test_without_redis_the_process_counts_at_once(who: str) -> None:
    throttle = Throttle(redis_client("redis+socket://:secret@/nowhere/redis.sock"))
    began = time.monotonic()
    assert [wait(throttle, who, second) for second in range(5)] == [0] * 5
    assert wait(throttle, who, 5) > 0
    assert time.monotonic() - began < 30
