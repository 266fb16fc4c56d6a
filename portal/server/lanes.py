"""Lanes: each kind of request has threads and memory of its own; none keeps another waiting."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from portal.server import limits
from portal.server.memory import BodyMemory
from portal.web.security.known_senders import Known, Sender
from worker.contract.files import OUTPUT_BYTES_MAX


class Lane:
    """The threads for one kind of request, and the memory for its bodies."""

    def __init__(self, name: str, threads: int, memory: BodyMemory) -> None:
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.memory = memory


class Lanes:
    """All lanes; an upload has at most `largest_upload` bytes."""

    def __init__(self, largest_upload: int) -> None:
        many = limits.LARGEST_BODIES
        uploads = BodyMemory(many * largest_upload, largest_upload)
        outputs = BodyMemory(many * OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX)
        self._people = Lane("people", limits.PEOPLE_THREADS, uploads)
        self._others = Lane("others", limits.OTHER_THREADS, uploads)
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
