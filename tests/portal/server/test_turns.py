"""Turns: in a crowd everybody's first request before anybody's second, and no thread lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from portal.server import limits
from portal.server.places import Full, Place
from portal.server.turns import Turns


def run(test: Coroutine[Any, Any, None]) -> None:
    """In a thread, because a browser's event loop may be running in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, test).result()


def place_of(sender: str | bytes) -> Place:
    place = Place("192.0.2.1", lambda: None)
    place.sender = sender
    return place


class Lane:
    """Requests that wait for one thread, and the order in which they have had it."""

    def __init__(self) -> None:
        self.turns = Turns(1)
        self.served: list[str | bytes] = []

    async def request(self, place: Place) -> None:
        async with self.turns.take(place):
            self.served.append(place.sender)
            await asyncio.sleep(0)

    async def send(self, *senders: str | bytes) -> list[asyncio.Task[None]]:
        """A request of each, in this order, all waiting."""
        tasks = [asyncio.create_task(self.request(place_of(sender))) for sender in senders]
        await asyncio.sleep(0)
        return tasks


def test_few_requests_come_as_they_were_sent() -> None:
    async def few_wait() -> None:
        lane = Lane()
        async with lane.turns.take(place_of("busy")):
            tasks = await lane.send("a", "a", "b", "a", "c")
        await asyncio.gather(*tasks)
        assert lane.served == ["a", "a", "b", "a", "c"]

    run(few_wait())


def test_in_a_crowd_everybodys_first_request_comes_before_anybodys_second_and_the_newest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CROWD", 2)

    async def many_wait() -> None:
        lane = Lane()
        async with lane.turns.take(place_of("busy")):
            (left,) = await lane.send("left")
            left.cancel()
            await asyncio.wait({left})
            tasks = await lane.send("few", "few", "a", "a", "a", "b", "b", "c")
            assert lane.served == []
        await asyncio.gather(*tasks)
        assert lane.served == ["few", "few", "c", "b", "a", "b", "a", "a"]

    run(many_wait())


def test_those_of_a_crowd_that_have_waited_long_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second request of somebody else does not wait for all of them."""
    monkeypatch.setattr(limits, "CROWD", 1)
    monkeypatch.setattr(limits, "LATE_SECONDS", 0.2)

    async def many_wait() -> None:
        lane = Lane()
        async with lane.turns.take(place_of("new")):
            tasks = await lane.send("few", "crowd 1", "crowd 2")
            await asyncio.sleep(0.3)
            tasks += await lane.send("new")
        await asyncio.gather(*tasks)
        assert lane.served == ["few", "new", "crowd 2", "crowd 1"]

    run(many_wait())


def test_requests_of_an_earlier_minute_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def twice() -> None:
        lane = Lane()
        await asyncio.gather(*await lane.send("a", "a", "a"))
        monkeypatch.setattr(limits, "TURNS_COUNTED_SECONDS", 0.0)
        monkeypatch.setattr(limits, "CROWD", 0)
        async with lane.turns.take(place_of("busy")):
            tasks = await lane.send("b", "a")
        await asyncio.gather(*tasks)
        assert lane.served[3:] == ["a", "b"]

    run(twice())


def test_programs_that_are_known_take_turns_with_strangers() -> None:
    async def both_wait() -> None:
        lane = Lane()
        async with lane.turns.take(place_of("busy")):
            tasks = await lane.send(*"abcd", b"token", b"token")
        await asyncio.gather(*tasks)
        assert lane.served == [b"token", "a", b"token", "b", "c", "d"]

    run(both_wait())


def test_who_has_left_has_no_turn() -> None:
    async def two_leave() -> None:
        lane = Lane()
        async with lane.turns.take(place_of("busy")):
            left, ended = place_of("left"), place_of("ended")
            first = asyncio.create_task(lane.request(left))
            second = asyncio.create_task(lane.request(ended))
            others = await lane.send("stays")
            first.cancel()
            ended.has_ended = True
        await asyncio.wait({first, second, *others})
        assert lane.served == ["stays"]
        assert isinstance(second.exception(), Full)
        async with asyncio.timeout(60), lane.turns.take(place_of("next")):
            pass

    run(two_leave())


def test_who_leaves_at_the_moment_of_the_turn_gives_it_back() -> None:
    async def leave() -> None:
        lane = Lane()
        async with lane.turns.take(place_of("busy")):
            (leaves,) = await lane.send("leaves")
        leaves.cancel()
        await asyncio.wait({leaves})
        async with asyncio.timeout(60), lane.turns.take(place_of("next")):
            assert lane.served == []

    run(leave())


def test_a_turn_lasts_as_long_as_its_thread_works() -> None:
    """A client that leaves does not end what the thread does."""

    async def leave() -> None:
        lane = Lane()
        work: Future[None] = Future()
        async with lane.turns.take(place_of("leaves")) as turn:
            turn.work = work
        (waits,) = await lane.send("waits")
        await asyncio.sleep(0)
        assert not waits.done()
        work.set_result(None)
        async with asyncio.timeout(60):
            await waits

    run(leave())


def test_a_request_waits_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TURN_SECONDS", 0.01)

    async def wait() -> None:
        lane = Lane()
        async with lane.turns.take(place_of("busy")):
            (late,) = await lane.send("late")
            await asyncio.wait({late})
        assert isinstance(late.exception(), Full)
        assert lane.served == []
        async with asyncio.timeout(60), lane.turns.take(place_of("next")):
            pass

    run(wait())


def test_requests_whose_clients_have_left_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 10)

    async def come_and_go() -> None:
        lane = Lane()
        async with lane.turns.take(place_of("busy")):
            for number in range(100):
                (task,) = await lane.send(str(number))
                task.cancel()
                await asyncio.wait({task})
            assert lane.turns.waiting <= 2 * limits.CONNECTIONS

    run(come_and_go())
