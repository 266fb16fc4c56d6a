"""Lanes: each kind of request has threads and memory of its own; none keeps another waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from portal.server import limits
from portal.server.memory import BodyMemory
from portal.server.places import Place
from portal.server.turns import Turn, Turns
from portal.web.security.known_senders import Known, Sender
from worker.contract.files import OUTPUT_BYTES_MAX


class Lane:
    """The threads for one kind of request, and the memory for its bodies.

    Requests take `turns` where a crowd could keep others waiting, else they come as they are sent.
    """

    def __init__(
        self, name: str, threads: int, memory: BodyMemory, turns: Turns | None = None
    ) -> None:
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.memory = memory
        self._turns = turns

    @asynccontextmanager
    async def turn(self, place: Place) -> AsyncIterator[Turn]:
        """The request's turn; raises Full if it does not come in time."""
        if self._turns is None:
            yield Turn()
            return
        async with self._turns.take(place) as turn:
            yield turn


class Lanes:
    """All lanes; an upload has at most `largest_upload` bytes."""

    def __init__(self, largest_upload: int) -> None:
        many = limits.LARGEST_BODIES
        uploads = BodyMemory(many * largest_upload, largest_upload)
        outputs = BodyMemory(many * OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX)
        self._people = Lane("people", limits.PEOPLE_THREADS, uploads)
        turns = Turns(limits.OTHER_THREADS)
        self._others = Lane("others", limits.OTHER_THREADS, uploads, turns)
        self._workers = Lane("workers", limits.WORKER_THREADS, outputs)
        self.health = Lane("health", limits.HEALTH_THREADS, uploads)

    def of(self, path: str, known: Known | None) -> Lane:
        """The lane of a request: whoever only asks for what is a worker's is a stranger."""
        sender = known.sender if known else None
        if sender is Sender.PERSON:
            return self._people
        if sender is Sender.WORKER and path.startswith("/worker/"):
            return self._workers
        return self._others
