"""Places and memory: taken, given back, and never more than there are."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from portal.server import limits


def test_an_address_takes_no_more_places_than_it_has() -> None:
    places = limits.Places(2)
    assert [places.take("a") for _ in range(3)] == [True, True, False]
    assert places.take("b")
    places.give_back("a")
    assert places.take("a")


def test_a_network_of_ipv6_has_the_places_of_one_address() -> None:
    places = limits.Places(2)
    taken = [places.take(f"2001:db8:1:2::{number}") for number in range(3)]
    assert taken == [True, True, False]
    assert places.take("2001:db8:1:3::1")
    places.give_back("2001:db8:1:2::7")
    assert places.take("2001:db8:1:2::1")


def test_all_addresses_together_have_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 3)
    places = limits.Places(2)
    assert [places.take(address) for address in "aabbc"] == [True, True, True, False, False]


def test_a_body_waits_until_there_is_memory_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    async def hold(memory: limits.Memory, name: str, size: int, end: asyncio.Event) -> None:
        async with memory.hold(size):
            events.append(f"{name} begins")
            await end.wait()
        events.append(f"{name} ends")

    async def run() -> None:
        memory, end = limits.Memory(10), asyncio.Event()
        first = asyncio.create_task(hold(memory, "first", 8, end))
        second = asyncio.create_task(hold(memory, "larger than all", 100, end))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert events == ["first begins"]
        end.set()
        await asyncio.gather(first, second)
        monkeypatch.setattr(limits, "MEMORY_SECONDS", 0.01)
        async with memory.hold(8):
            with pytest.raises(TimeoutError):
                async with memory.hold(8):
                    raise AssertionError("there is no memory left")
        async with memory.hold(10):
            pass

    # In a thread, because a browser's event loop may be running in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()
    assert events == [
        "first begins",
        "first ends",
        "larger than all begins",
        "larger than all ends",
    ]
