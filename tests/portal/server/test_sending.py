"""Answers on their way: what a stream costs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from portal.server import limits, sending
from portal.server.memory import WaitingAnswers
from portal.web.event_stream import EventStream

EVENTS = 100
HELD = 1000


class Reader:
    """The connection of a client that reads events, slowly from some event on."""

    has_answered = answering = streaming = False

    def __init__(self, slow_from: float = math.inf) -> None:
        self.messages: list[dict[str, Any]] = []
        self.leaves = asyncio.Event()
        self._slow_from = slow_from

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if len(self.messages) > self._slow_from + 1:
            await asyncio.Event().wait()

    async def receive(self) -> dict[str, Any]:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    def abort(self) -> None:
        self.leaves.set()

    async def read(
        self,
        events: AsyncGenerator[bytes, None],
        holds: int = 0,
        waiting: WaitingAnswers | None = None,
    ) -> None:
        answer = sending.AppAnswer(200, [], EventStream(lambda: events, holds))
        waiting = waiting or WaitingAnswers(1)
        await sending.send_answer(self, answer, waiting, "a", self.receive, self.send)  # type: ignore[arg-type]


async def some_events(ended: list[str]) -> AsyncGenerator[bytes, None]:
    try:
        for number in range(EVENTS):
            await asyncio.sleep(0)
            yield b"data: %d\n\n" % number
    finally:
        ended.append("ended")


def test_a_stream_takes_two_tasks_whatever_it_sends() -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def stream() -> int:
        def count(loop: Any, coroutine: Any, **named: Any) -> asyncio.Task[Any]:
            tasks.append(asyncio.Task(coroutine, loop=loop, **named))
            return tasks[-1]

        ended: list[str] = []
        reader = Reader()
        asyncio.get_running_loop().set_task_factory(count)
        await reader.read(some_events(ended))
        assert len(reader.messages) == EVENTS + 2
        assert [message.get("more_body") for message in reader.messages[-2:]] == [True, False]
        assert ended == ["ended"]
        return len(tasks)

    with ThreadPoolExecutor(1) as thread:  # a browser's event loop may be running in this one
        assert thread.submit(asyncio.run, stream()).result() == 2


def test_a_stream_ends_with_its_client_and_with_a_reader_who_is_too_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ANSWER_SECONDS", 0.01)

    async def endless(ended: list[str]) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b": still here\n\n"
                await asyncio.sleep(3600)
        finally:
            ended.append("ended")

    async def stream() -> None:
        ended: list[str] = []
        with pytest.raises(TimeoutError):
            await Reader(slow_from=3).read(some_events(ended))
        assert ended == ["ended"]
        reader = Reader()
        reading = asyncio.create_task(reader.read(endless(ended)))
        while len(reader.messages) < 2:
            await asyncio.sleep(0)
        reader.leaves.set()
        async with asyncio.timeout(60):
            await reading
        assert ended == ["ended", "ended"]

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, stream()).result()


@pytest.mark.parametrize("holds", [HELD, 0], ids=["files", "events"])
def test_slow_readers_of_files_give_way_and_those_of_events_do_not(holds: int) -> None:
    """Each of them reads the first piece, and then nothing."""

    async def stream() -> None:
        waiting, ended = WaitingAnswers(2 * HELD), list[str]()
        readers = [Reader(slow_from=1) for _ in range(5)]
        reading = list[asyncio.Task[None]]()
        for number, reader in enumerate(readers, 1):
            reading.append(asyncio.create_task(reader.read(some_events(ended), holds, waiting)))
            while len(reader.messages) < 3 or sum(task.done() for task in reading) < len(ended):
                await asyncio.sleep(0)
            gone = max(0, number - 2) if holds else 0
            async with asyncio.timeout(60):
                while len(ended) < gone:
                    await asyncio.sleep(0)
            assert sum(one.leaves.is_set() for one in readers) == gone
        for reader in readers:
            reader.abort()
        async with asyncio.timeout(60):
            await asyncio.gather(*reading)
        assert len(ended) == len(readers)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, stream()).result()
