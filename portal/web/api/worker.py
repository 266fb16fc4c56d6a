"""`/worker/v1`: how workers claim a job, read its inputs, store its outputs and end it.

`hello` and both claims need the worker's own token, which is for one queue, or the one that all
workers share; the rest needs the ticket that a claim answers, good for that one job and attempt as
long as the token works. Bodies are files, the messages of `worker.contract`, or both in one.
"""

from typing import Any, Final, TypeVar
from uuid import UUID

from flask import Blueprint, Response, jsonify, request

from portal.jobs import claims, files, outcomes, sweeper, tickets, worker_tokens, workers
from portal.jobs.errors import BadResult, BadTicket, Lost, WorkerRefused
from portal.models import JobKind, WorkerToken
from portal.services import db_session
from portal.web.security import guard, known_senders
from portal.web.security.errors import Problem, answer
from portal.web.security.json_body import json_or_none
from worker.contract import claim_bundle
from worker.contract.claim_bundle import CLAIM_BUNDLE
from worker.contract.clock import LEASE_SECONDS
from worker.contract.files import OUTPUT_BYTES_MAX
from worker.contract.job import ClaimRequest, Failure, Hello, Lease, NextClaim
from worker.contract.message import InvalidMessage, Message
from worker.contract.result import BUNDLE, BUNDLE_BYTES_MAX, Output, unpack

blueprint = Blueprint("worker_api", __name__, url_prefix="/worker/v1")

_NOTHING: Final = ("", 204)
_STATUS: Final[dict[type[WorkerRefused], int]] = {BadTicket: 401, Lost: 409, BadResult: 422}
_Sent = TypeVar("_Sent", bound=Message)


@blueprint.post("/hello")
@guard.worker()
def hello() -> tuple[str, int]:
    """A worker reports that it runs."""
    token = _token()
    sent = _message(Hello)
    if token is not None and token.queue.value != sent.queue.value:
        raise Problem(403, "queue", "The token is for another queue.")
    workers.hello(db_session(), sent, token)
    return _NOTHING


@blueprint.post("/jobs/<uuid:job_id>/claim")
@guard.worker()
def claim(job_id: UUID) -> Response | tuple[str, int]:
    """Begin an attempt; nothing to do is no error."""
    token = _token()
    name = _message(ClaimRequest).worker
    services = guard.services()
    claimed = claims.claim(
        db_session(), services.settings, services.vault, job_id, name, guard.now(), token
    )
    return _answer(claimed) if claimed else _NOTHING


@blueprint.post("/claim")
@guard.worker()
def claim_next() -> Response | tuple[str, int]:
    """Begin an attempt at the job of a queue that comes first; an idle worker asks now and then."""
    token = _token()
    asked = _message(NextClaim)
    if token is not None and token.queue.value != asked.queue.value:
        raise Problem(403, "queue", "The token is for another queue.")
    services = guard.services()
    claimed = claims.claim_next(
        db_session(),
        services.settings,
        services.vault,
        JobKind(asked.queue),
        asked.worker,
        guard.now(),
        token,
        kinds=asked.kinds,
    )
    return _answer(claimed) if claimed else _NOTHING


@blueprint.get("/jobs/<uuid:job_id>/inputs/<kind>")
@guard.worker()
def read_input(job_id: UUID, kind: str) -> Response:
    """One of the job's inputs."""
    data, media_type = files.read_input(db_session(), guard.services().vault, _ticket(job_id), kind)
    return Response(data, content_type=media_type)


@blueprint.put("/jobs/<uuid:job_id>/outputs/<kind>")
@guard.worker(most=OUTPUT_BYTES_MAX, admit=lambda job_id, kind: _ticket(job_id))
def store_output(job_id: UUID, kind: str) -> tuple[str, int]:
    """One of the attempt's outputs."""
    ticket = _ticket(job_id)  # before the body is read
    files.store_output(
        db_session(),
        guard.services().vault,
        ticket,
        Output(kind, request.content_type or "", request.get_data(cache=False)),
        guard.now(),
    )
    return _NOTHING


@blueprint.post("/jobs/<uuid:job_id>/heartbeat")
@guard.worker()
def heartbeat(job_id: UUID) -> Response:
    """The attempt goes on."""
    if not claims.heartbeat(db_session(), guard.services().settings, _ticket(job_id)):
        raise Lost
    return jsonify(Lease(lease_seconds=LEASE_SECONDS).as_json())


@blueprint.post("/jobs/<uuid:job_id>/finish")
@guard.worker(most=BUNDLE_BYTES_MAX, admit=lambda job_id: _ticket(job_id))
def finish(job_id: UUID) -> tuple[str, int]:
    """The attempt succeeded; outputs may be sent along. Workers are notified of the next job."""
    ticket = _ticket(job_id)  # before the body is read
    services = guard.services()
    outputs: list[Output] = []
    if request.mimetype == BUNDLE:
        try:
            result, outputs = unpack(request.get_data(cache=False))
        except InvalidMessage as error:
            raise Problem(400, "bad_bundle", f"The bundle: {error.message}.") from None
    else:
        result = _json_object()
    follower = outcomes.finish(db_session(), services.vault, ticket, result, guard.now(), outputs)
    if follower is not None:
        sweeper.notify(db_session(), services.broker, follower)
    return _NOTHING


@blueprint.post("/jobs/<uuid:job_id>/fail")
@guard.worker()
def fail(job_id: UUID) -> tuple[str, int]:
    """The attempt failed."""
    ticket = _ticket(job_id)
    outcomes.fail(db_session(), guard.services().vault, ticket, _message(Failure), guard.now())
    return _NOTHING


@blueprint.errorhandler(WorkerRefused)
def _refused(error: WorkerRefused) -> Response:
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    return answer(Problem(status, error.code, error.message))


def _answer(claimed: claims.Claimed) -> Response:
    """The claim, with its inputs for a worker that takes them along."""
    inputs = None
    if request.headers.get("Accept") == CLAIM_BUNDLE:
        inputs = files.inputs_of(guard.services().vault, claimed)
    if inputs is None:
        return jsonify(claimed.claim.as_json())
    return Response(claim_bundle.pack(claimed.claim, inputs), content_type=CLAIM_BUNDLE)


def _token() -> WorkerToken | None:
    """The worker's own token; None for the shared one; a Problem for neither."""
    if guard.is_worker_token(guard.bearer()):
        return None
    own = worker_tokens.load(db_session(), guard.bearer(), guard.now())
    if own is None:
        raise Problem(401, "worker_token")
    known_senders.confirm(known_senders.Sender.WORKER, guard.bearer())
    return own


def _ticket(job_id: UUID) -> tickets.Ticket:
    ticket = claims.open_ticket(guard.services().settings, guard.bearer(), job_id)
    token_id = ticket.token_id
    if token_id is not None and not worker_tokens.still_works(db_session(), token_id, guard.now()):
        raise BadTicket
    if token_id is None and not guard.services().settings.shared_worker_token:
        raise BadTicket
    return ticket


def _json_object() -> dict[str, Any]:
    sent = json_or_none()
    if not isinstance(sent, dict):
        raise Problem(400, "bad_json", "The body is not a JSON object.")
    return sent


def _message(kind: type[_Sent]) -> _Sent:
    """The body as a message of the contract."""
    sent = _json_object()
    try:
        return kind.parse(sent)
    except InvalidMessage as error:
        raise BadResult(error.message) from None
