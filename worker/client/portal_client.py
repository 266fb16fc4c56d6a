"""The worker's HTTP client of the portal: its token claims jobs, a ticket serves one attempt.

Retries are here: a portal that is down for a moment is asked again with growing pauses, for at
most a quarter of the job's time, requests without an answer included. After that the job is left
to the portal's sweep.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import httpx2

from worker.contract import claim_bundle
from worker.contract.claim_bundle import CLAIM_BUNDLE
from worker.contract.error_codes import ErrorCode
from worker.contract.facts import Facts
from worker.contract.files import OUTPUTS, FileKind
from worker.contract.job import (
    KINDS,
    Claim,
    ClaimRequest,
    Failure,
    FailureKind,
    Hello,
    JobKind,
    NextClaim,
    Queue,
    RequiredModel,
)
from worker.contract.message import InvalidMessage
from worker.contract.result import BUNDLE, BUNDLE_OUTPUT_BYTES, Output, Result, pack
from worker.errors import AttemptLost, Permanent, Transient, WorkError
from worker.settings import Settings

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 4.0
# The longest wait for the first byte of an answer.
ANSWER_SECONDS = 30.0
CONNECT_SECONDS = 5.0
SHORTEST_TRY = 0.1
# How the portal answers a ticket whose attempt no longer runs.
ATTEMPT_LOST = frozenset({401, 403, 404, 409, 410})
_REFUSED = (401, 403)
_WITH_INPUTS = {"Accept": CLAIM_BUNDLE}


class PortalClient:
    """The portal, for one worker process. Threads may share it."""

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._name = f"{queue}@{settings.name}"
        self._token = settings.token
        self._retry_seconds = settings.job_seconds / 4
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

    def hello(self, engine: str, model: str, slots: int) -> bool:
        """Report that this worker runs; False when the portal did not accept it.

        `slots`: how many jobs it can do at once.
        """
        body = Hello(name=self._name, queue=self._queue, engine=engine, model=model, slots=slots)
        try:
            answer = self._http.post("hello", json=body.as_json(), headers=_bearer(self._token))
        except httpx2.TransportError:
            return False
        return answer.is_success

    def claim(self, job_id: UUID) -> Attempt | None:
        """Claim a job; None when there is nothing to do (done, taken, unknown)."""
        body = ClaimRequest(worker=self._name).as_json()
        path = f"jobs/{job_id}/claim"
        answer = self.request("POST", path, self._token, json=body, headers=_WITH_INPUTS)
        return self._claimed(answer)

    def claim_next(self) -> Attempt | None:
        """Claim the job of the queue that comes first; None when none waits.

        Asked once: Transient when the portal does not answer now.
        """
        kinds = list(KINDS[self._queue])
        body = NextClaim(worker=self._name, queue=self._queue, kinds=kinds).as_json()
        answer = self.request_once("POST", "claim", self._token, json=body, headers=_WITH_INPUTS)
        if answer is None:
            raise Transient(ErrorCode.PORTAL_UNREACHABLE)
        known = (httpx2.codes.OK, httpx2.codes.NO_CONTENT, *_REFUSED)
        if answer.status_code not in known:  # broken, or something else at the portal's address
            raise Transient(ErrorCode.PORTAL_BROKEN)
        return self._claimed(answer)

    def request_once(
        self, method: str, path: str, token: str, **parts: Any
    ) -> httpx2.Response | None:
        """One call that is not repeated; None when the portal is down."""
        headers = {**parts.pop("headers", {}), **_bearer(token)}
        try:
            return self._http.request(
                method, path, headers=headers, timeout=_timeout(CONNECT_SECONDS), **parts
            )
        except httpx2.TransportError:
            return None

    def request(self, method: str, path: str, token: str, **parts: Any) -> httpx2.Response:
        """One call, repeated while the portal is down or broken; Transient when it stays so."""
        headers = {**parts.pop("headers", {}), **_bearer(token)}
        pause, left = FIRST_PAUSE, self._retry_seconds
        end = self._clock() + left
        while True:
            try:
                answer = self._http.request(
                    method, path, headers=headers, timeout=_timeout(left), **parts
                )
            except httpx2.TransportError:
                answer = None
            if answer is not None and answer.status_code < 500 and answer.status_code != 429:
                return answer
            if end - self._clock() <= pause:
                raise Transient(
                    ErrorCode.PORTAL_UNREACHABLE if answer is None else ErrorCode.PORTAL_BROKEN
                )
            self._sleep(pause)
            left = max(end - self._clock(), SHORTEST_TRY)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _claimed(self, answer: httpx2.Response) -> Attempt | None:
        if answer.status_code in _REFUSED:
            raise Transient(ErrorCode.WORKER_TOKEN_REFUSED)
        if answer.status_code != httpx2.codes.OK:
            return None
        try:
            if answer.headers.get("Content-Type") == CLAIM_BUNDLE:
                return Attempt(self, *claim_bundle.unpack(answer.content))
            return Attempt(self, Claim.parse_text(answer.content))
        except InvalidMessage as error:
            log.error("the portal's claim breaks the contract: %s", error.message)
            raise Transient(ErrorCode.PORTAL_BROKEN) from None


class Attempt:
    """One claimed attempt at a job: its inputs, its outputs, its lease and its end.

    `inputs`: those that came with the claim, by kind.
    """

    def __init__(
        self, portal: PortalClient, claim: Claim, inputs: Mapping[str, bytes] | None = None
    ) -> None:
        self._portal = portal
        self._claim = claim
        self._inputs = dict(inputs or {})
        # Small outputs wait for the result: a request costs more than its bytes.
        self._outputs: list[Output] = []

    @property
    def claim(self) -> Claim:
        """What the portal answered to the claim."""
        return self._claim

    @property
    def job_id(self) -> UUID:
        """The job."""
        return self._claim.job

    @property
    def kind(self) -> JobKind:
        """What the job does."""
        return self._claim.kind

    @property
    def number(self) -> int:
        """Which attempt at the job this is, from 1."""
        return self._claim.attempt

    @property
    def facts(self) -> Facts | None:
        """What a render job found in the picture's file; None for a render job itself."""
        return self._claim.facts

    @property
    def model(self) -> RequiredModel | None:
        """The model to use; None leaves the choice to the worker."""
        return self._claim.model

    @property
    def age_min(self) -> float:
        """From which age on, in years, the picture is to be analysed."""
        return self._claim.age_min

    def read_input(self, kind: FileKind) -> bytes:
        """The bytes of one of the job's inputs; asked for unless they came with the claim."""
        if kind in self._inputs:
            return self._inputs.pop(kind)  # they may be large, and are read once
        return self._call("GET", f"inputs/{kind}").content

    def take_inputs(self) -> list[bytes]:
        """The inputs that came with the claim, in its order, which this attempt then forgets."""
        taken = [self._inputs[kind] for kind in self._claim.inputs if kind in self._inputs]
        self._inputs.clear()
        return taken

    def store_output(self, kind: FileKind, data: bytes) -> None:
        """Store one of the job's outputs: a large one now, others together with the result."""
        media_type = OUTPUTS[self.kind][kind].media_type
        waiting = sum(len(output.data) for output in self._outputs)
        if waiting + len(data) <= BUNDLE_OUTPUT_BYTES:
            self._outputs.append(Output(kind, media_type, data))
        else:
            self._call("PUT", f"outputs/{kind}", content=data, headers={"Content-Type": media_type})

    def finish(self, result: Result) -> None:
        """End the attempt with its result."""
        if not self._outputs:
            self._call("POST", "finish", json=result.as_json())
            return
        body = pack(result, self._outputs)
        self._call("POST", "finish", content=body, headers={"Content-Type": BUNDLE})

    def fail(self, error: WorkError) -> None:
        """Report that the attempt failed. Where that fails, too, the lease ends the attempt."""
        permanent = isinstance(error, Permanent)
        kind = FailureKind.PERMANENT if permanent else FailureKind.TRANSIENT
        try:
            self._call("POST", "fail", json=Failure(code=error.code.value, kind=kind).as_json())
        except WorkError:
            log.warning("job %s: %s could not be reported", self.job_id, error.code)

    def heartbeat(self) -> bool:
        """Renew the lease; False while the portal is down, AttemptLost where it is another's."""
        path = f"jobs/{self.job_id}/heartbeat"
        answer = self._portal.request_once("POST", path, self._claim.ticket)
        if answer is not None and answer.status_code in ATTEMPT_LOST:
            raise AttemptLost
        return answer is not None and answer.is_success

    def _call(self, method: str, path: str, **parts: Any) -> httpx2.Response:
        ticket = self._claim.ticket
        answer = self._portal.request(method, f"jobs/{self.job_id}/{path}", ticket, **parts)
        if answer.status_code in ATTEMPT_LOST:
            raise AttemptLost
        if not answer.is_success:
            raise Permanent(
                ErrorCode.INPUT_REFUSED if method == "GET" else ErrorCode.RESULT_REFUSED
            )
        return answer


def _timeout(seconds: float) -> httpx2.Timeout:
    """For one request: the time left for retries, at most what a portal needs to answer."""
    return httpx2.Timeout(min(seconds, ANSWER_SECONDS), connect=min(seconds, CONNECT_SECONDS))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
