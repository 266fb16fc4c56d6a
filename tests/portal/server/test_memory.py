"""Memory of bodies and answers: taken as it is needed, given back, and never more than there is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest

from portal.server import limits
from portal.server.memory import BodyMemory, WaitingAnswers

LARGEST = 100


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_STEP", 10)


class Clock:
    """Seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(test: Coroutine[Any, Any, None]) -> None:
    """In a thread, because a browser's event loop may be running in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, test).result()


def test_bodies_that_have_only_begun_keep_no_other_waiting() -> None:
    async def many_begin() -> None:
        memory = BodyMemory(4 * LARGEST, LARGEST)
        async with AsyncExitStack() as stack:
            for _ in range(10):
                begun = await stack.enter_async_context(memory.hold())
                await begun.grow(1)
            async with memory.hold() as whole, asyncio.timeout(60):
                await whole.grow(LARGEST)
                assert whole.size == LARGEST

    run(many_begin())


def test_a_body_waits_until_there_is_memory_for_what_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def wait() -> None:
        memory = BodyMemory(2 * LARGEST, LARGEST)
        async with memory.hold() as oldest:
            async with memory.hold() as second:
                await second.grow(LARGEST)
                async with memory.hold() as third:
                    growing = asyncio.create_task(third.grow(1))
                    await asyncio.sleep(0)
                    assert not growing.done()
                    await oldest.grow(LARGEST)  # what it may still need was left free for it
                    monkeypatch.setattr(limits, "MEMORY_SECONDS", 0.01)
                    async with memory.hold() as fourth:
                        with pytest.raises(TimeoutError):
                            await fourth.grow(1)
                    growing.cancel()
            async with memory.hold() as after:
                await after.grow(LARGEST)

    run(wait())


def test_bodies_that_grow_together_all_come_to_their_end() -> None:
    """Each has a part of the memory and needs more; none waits for another in a circle."""

    async def grow(memory: BodyMemory) -> None:
        async with memory.hold() as hold:
            for size in range(1, LARGEST + 1):
                await hold.grow(size)
                await asyncio.sleep(0)

    async def all_of_them() -> None:
        memory = BodyMemory(2 * LARGEST, LARGEST)
        async with asyncio.timeout(60):
            await asyncio.gather(*(grow(memory) for _ in range(12)))

    run(all_of_them())


def test_who_is_behind_most_gives_way_to_a_new_answer() -> None:
    pace = limits.READ_BYTES_PER_SECOND
    clock = Clock()
    answers, ended = WaitingAnswers(3 * LARGEST, clock), list[str]()
    with ExitStack() as stack:

        def wait(name: str, now: float, taken: int = 0, size: int = LARGEST) -> None:
            clock.now = now
            answer = answers.wait(size, name, lambda: ended.append(name))
            stack.enter_context(answer).take(taken)

        wait("reads nothing", 5.0)
        wait("reads slowly", 0.0, taken=8 * pace)
        wait("reads well", 0.0, taken=20 * pace)
        assert ended == []
        wait("new", 10.0)
        assert ended == ["reads nothing"]
        wait("newer", 10.0, size=2 * LARGEST)
        assert ended == ["reads nothing", "reads slowly", "new"]
    with answers.wait(9 * LARGEST, "alone", lambda: ended.append("alone")):
        assert ended == ["reads nothing", "reads slowly", "new"], "it gives way to another only"


def test_pages_do_not_give_way_for_downloads_and_nobody_waits_who_was_not_behind() -> None:
    """Two large downloads are far ahead of what they have to take, five pages came 10 ms ago."""
    clock, ended = Clock(), list[str]()
    answers = WaitingAnswers(3 * LARGEST, clock)
    with ExitStack() as stack:

        def wait(name: str, size: int, taken: int = 0) -> None:
            answer = answers.wait(size, name, lambda: ended.append(name))
            stack.enter_context(answer).take(taken)

        for name in ("download 1", "download 2"):
            wait(name, LARGEST, taken=60 * limits.READ_BYTES_PER_SECOND)
        clock.now = 1.0
        pages = [f"page {number}" for number in range(5)]
        for page in pages:
            wait(page, 1)
        clock.now += 0.01
        wait("download 3", LARGEST)
        assert ended == ["download 1"]
        assert [answers.pause(reader) for reader in ("download 1", *pages)] == [0.0] * 6


def test_who_gives_way_again_and_again_waits_also_where_it_was_not_behind() -> None:
    clock = Clock()
    answers = WaitingAnswers(LARGEST, clock)
    pauses = list[float]()
    with ExitStack() as stack:
        for _ in range(3):
            for reader in ("comes again", b"another"):
                stack.enter_context(answers.wait(LARGEST, reader, lambda: None))
                clock.now += 0.1
            pauses.append(answers.pause("comes again"))
    assert pauses == pytest.approx(
        [0.0, limits.CUT_OFF_SECONDS - 0.1, limits.CUT_OFF_SECONDS - 0.1]
    )


def test_who_gave_way_waits_for_the_next_answer_and_nobody_else_does() -> None:
    clock = Clock()
    answers, step = WaitingAnswers(LARGEST, clock), limits.BEHIND_SECONDS + 0.1
    with ExitStack() as stack:
        for reader in ("first", "second", b"login", "last"):
            stack.enter_context(answers.wait(LARGEST, reader, lambda: None))
            clock.now += step
        pauses = [answers.pause(reader) for reader in ("first", "second", b"login", "last", "new")]
        most = limits.CUT_OFF_SECONDS
        assert pauses == pytest.approx([most - 3 * step, most - 2 * step, most - step, 0, 0])
        answers.cut_off("first")
        assert answers.pause("first") == most, "again, for another reason"
        clock.now += most
        assert answers.pause("first") == answers.pause(b"login") == 0
