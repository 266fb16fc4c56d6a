"""The worker's way to the portal: HTTP, its own token to claim, one ticket for one attempt.

Owns retries: a portal that is away for a moment is asked again with back-off, for at most a
quarter of the job's time by the clock, answers that never come included. After that the job is left
to the portal's sweep.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx2

from worker.errors import Lost, Permanent, Transient
from worker.settings import Settings

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 4.0
# A portal that answers at all begins to within these seconds.
ANSWER_SECONDS = 30.0
CONNECT_SECONDS = 5.0
SHORTEST_TRY = 0.1
# One request for all that is small: a request costs more than its bytes. See portal.web.api.worker.
PARCEL = "application/vnd.pleura.result"
PARCEL_BYTES = 16 * 1024 * 1024
# What the portal says when a ticket no longer stands for a running attempt.
LOST = frozenset({401, 403, 404, 409, 410})


class Portal:
    """The portal as one worker process sees it. Safe to share between threads."""

    def __init__(
        self,
        settings: Settings,
        queue: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._name = f"{queue}@{settings.name}"
        self._token = settings.token
        self._patience = settings.job_seconds / 4
        self._sleep, self._clock = sleep, clock
        # The environment's proxies are for the outside: patients' pictures never go through one.
        self._http = httpx2.Client(
            base_url=f"{settings.portal_url}/worker/v1",
            timeout=_timeout(ANSWER_SECONDS),
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def hello(self, engine: str, model: str) -> bool:
        """Tell the portal that this worker is alive; False when it did not hear."""
        body = {"name": self._name, "queue": self._queue, "engine": engine, "model": model}
        try:
            answer = self._http.post("hello", json=body, headers=_bearer(self._token))
        except httpx2.TransportError:
            return False
        return answer.is_success

    def claim(self, job_id: UUID) -> Work | None:
        """Claim a job; None when there is nothing to do (done, taken, unknown)."""
        answer = self.request(
            "POST", f"jobs/{job_id}/claim", self._token, json={"worker": self._name}
        )
        if answer.status_code in (401, 403):
            raise Transient("worker_token_refused")
        if answer.status_code != httpx2.codes.OK:
            return None
        return Work(self, answer.json())

    def request(self, method: str, path: str, token: str, **parts: Any) -> httpx2.Response:
        """One call, repeated while the portal is away or broken; Transient when it stays so."""
        headers = {**parts.pop("headers", {}), **_bearer(token)}
        pause, left = FIRST_PAUSE, self._patience
        until = self._clock() + left
        while True:
            try:
                answer = self._http.request(
                    method, path, headers=headers, timeout=_timeout(left), **parts
                )
            except httpx2.TransportError:
                answer = None
            if answer is not None and answer.status_code < 500 and answer.status_code != 429:
                return answer
            if until - self._clock() <= pause:
                raise Transient("portal_unreachable" if answer is None else "portal_broken")
            self._sleep(pause)
            left = max(until - self._clock(), SHORTEST_TRY)
            pause = min(2 * pause, LONGEST_PAUSE)


class Work:
    """One claimed attempt: its inputs, its outputs, its heartbeat and its end."""

    def __init__(self, portal: Portal, claim: dict[str, Any]) -> None:
        self._portal = portal
        self._ticket: str = claim["ticket"]
        self.job_id = UUID(claim["job"])
        self.kind: str = claim["kind"]
        self.attempt: int = claim["attempt"]
        self.lease_seconds: float = claim["lease_seconds"]
        self.facts: dict[str, Any] | None = claim.get("facts")
        # What to do it with; None leaves it to the worker.
        self.model: dict[str, Any] | None = claim.get("model")
        self._lost = threading.Event()
        self._parcel: list[tuple[str, str, bytes]] = []

    def input(self, kind: str) -> bytes:
        """The bytes of one of the job's inputs."""
        return self._call("GET", f"inputs/{kind}").content

    def output(self, kind: str, data: bytes, media_type: str) -> None:
        """Hand in one of the job's outputs: at once if it is large, else along with the result."""
        packed = sum(len(other) for _, _, other in self._parcel)
        if packed + len(data) <= PARCEL_BYTES:
            self._parcel.append((kind, media_type, data))
        else:
            self._call("PUT", f"outputs/{kind}", content=data, headers={"Content-Type": media_type})

    def finish(self, result: dict[str, Any]) -> None:
        """Say that the job is done, with its result: ``{"facts"}`` or ``{"prediction"}``."""
        if not self._parcel:
            self._call("POST", "finish", json=result)
            return
        listed = [{"kind": k, "media_type": m, "bytes": len(d)} for k, m, d in self._parcel]
        head = json.dumps({"result": result, "outputs": listed}).encode()
        body = b"".join([head, b"\n", *(data for _, _, data in self._parcel)])
        self._call("POST", "finish", content=body, headers={"Content-Type": PARCEL})

    def fail(self, error: Permanent | Transient) -> None:
        """Say that the attempt failed. A portal that can't be told learns it from the lease."""
        kind = "permanent" if isinstance(error, Permanent) else "transient"
        try:
            self._call("POST", "fail", json={"code": error.code, "kind": kind})
        except (Transient, Permanent, Lost):
            log.warning("job %s: the portal could not be told of %s", self.job_id, error.code)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Keep the lease while the body runs, from a thread of its own."""
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=1.0)

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(self.lease_seconds / 4):
            try:
                answer = self._call("POST", "heartbeat")
            except (Transient, Permanent):
                continue
            except Lost:
                self._lost.set()
                return
            self.lease_seconds = float(answer.json()["lease_seconds"])

    def _call(self, method: str, what: str, **parts: Any) -> httpx2.Response:
        if self._lost.is_set():
            raise Lost
        answer = self._portal.request(method, f"jobs/{self.job_id}/{what}", self._ticket, **parts)
        if answer.status_code in LOST:
            raise Lost
        if not answer.is_success:
            raise Permanent("input_refused" if method == "GET" else "result_refused")
        return answer


def _timeout(seconds: float) -> httpx2.Timeout:
    """For one request: what is left of the patience, and never more than a portal needs."""
    return httpx2.Timeout(min(seconds, ANSWER_SECONDS), connect=min(seconds, CONNECT_SECONDS))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
