"""`/worker/v1`: how workers claim a job, read its inputs, store its outputs and end it.

`hello` and `claim` need the worker's own token, which opens one queue, or the one that all workers
share; the rest needs the ticket that a claim answers, good for that one job and attempt as long
as the token works. Bodies are bytes as they are, or JSON objects.
"""

import json
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request

from portal.formats import json_checks
from portal.jobs import attempts, claims, files, outcomes, sweeper, tickets, worker_tokens
from portal.models import WorkerToken
from portal.services import db_session
from portal.web.security import guard
from portal.web.security.errors import Problem, answer
from portal.web.security.json_body import json_or_none

blueprint = Blueprint("worker_api", __name__, url_prefix="/worker/v1")

# 100 megapixels of 16 bits, the most that the intake lets in, and some room.
_LARGEST_OUTPUT = 256 * 1024 * 1024
# What a worker packs together; larger outputs are stored one by one.
_LARGEST_RESULT = 24 * 1024 * 1024
# One line of JSON, {"result": …, "outputs": [{"kind", "media_type", "bytes"}, …]}, then the bytes
# of all outputs. No multipart form: its parser writes large parts to disk as they are.
_PARCEL = "application/vnd.pleura.result"
_NOTHING = ("", 204)


@blueprint.post("/hello")
@guard.worker()
def hello() -> tuple[str, int]:
    """A worker says that it is there."""
    token = _token()
    sent = _json_object()
    queue = _text(sent, "queue")
    if token is not None and token.queue.value != queue:
        raise Problem(403, "queue", "The token is for another queue.")
    claims.hello(
        db_session(),
        name=_text(sent, "name"),
        queue=queue,
        engine=_text(sent, "engine"),
        model=_text(sent, "model"),
        now=guard.now(),
    )
    return _NOTHING


@blueprint.post("/jobs/<uuid:job_id>/claim")
@guard.worker()
def claim(job_id: UUID) -> Response | tuple[str, int]:
    """Begin an attempt; nothing to do is no error."""
    token = _token()
    name = _text(_json_object(), "worker")
    services = guard.services()
    claimed = claims.claim(
        db_session(), services.settings, services.vault, job_id, name, guard.now(), token
    )
    return jsonify(claimed.as_json()) if claimed else _NOTHING


@blueprint.get("/jobs/<uuid:job_id>/inputs/<kind>")
@guard.worker()
def read_input(job_id: UUID, kind: str) -> Response:
    """One of the job's inputs."""
    data, media_type = files.read_input(db_session(), guard.services().vault, _ticket(job_id), kind)
    return Response(data, content_type=media_type)


@blueprint.put("/jobs/<uuid:job_id>/outputs/<kind>")
@guard.worker(most=_LARGEST_OUTPUT)
def store_output(job_id: UUID, kind: str) -> tuple[str, int]:
    """One of the attempt's outputs."""
    ticket = _ticket(job_id)  # before the body is read
    files.store_output(
        db_session(),
        guard.services().vault,
        ticket,
        files.Output(kind, request.content_type or "", request.get_data(cache=False)),
        guard.now(),
    )
    return _NOTHING


@blueprint.post("/jobs/<uuid:job_id>/heartbeat")
@guard.worker()
def heartbeat(job_id: UUID) -> Response:
    """The attempt goes on."""
    settings = guard.services().settings
    if not claims.heartbeat(db_session(), settings, _ticket(job_id), guard.now()):
        raise attempts.Lost
    return jsonify(lease_seconds=settings.lease_seconds)


@blueprint.post("/jobs/<uuid:job_id>/finish")
@guard.worker(most=_LARGEST_RESULT)
def finish(job_id: UUID) -> tuple[str, int]:
    """The attempt succeeded, outputs may come along; the job that follows is rung for."""
    ticket = _ticket(job_id)  # before the body is read
    services = guard.services()
    sent: list[files.Output] = []
    if request.mimetype == _PARCEL:
        result, sent = _unpack(request.get_data(cache=False))
    else:
        result = _json_object()
    follower = outcomes.finish(db_session(), services.vault, ticket, result, guard.now(), sent)
    if follower is not None:
        sweeper.notify(db_session(), services.broker, follower, guard.now())
    return _NOTHING


@blueprint.post("/jobs/<uuid:job_id>/fail")
@guard.worker()
def fail(job_id: UUID) -> tuple[str, int]:
    """The attempt failed."""
    ticket = _ticket(job_id)
    sent = _json_object()
    outcomes.fail(
        db_session(),
        guard.services().vault,
        ticket,
        code=_text(sent, "code"),
        kind=_text(sent, "kind"),
        now=guard.now(),
    )
    return _NOTHING


@blueprint.errorhandler(tickets.BadTicket)
def _bad_ticket(_error: tickets.BadTicket) -> Response:
    return answer(Problem(401, "ticket"))


@blueprint.errorhandler(attempts.Lost)
def _lost(_error: attempts.Lost) -> Response:
    return answer(Problem(409, "lost", "The attempt is no longer the job's."))


@blueprint.errorhandler(json_checks.BadResult)
def _bad_result(error: json_checks.BadResult) -> Response:
    return answer(Problem(422, "bad_result", error.message))


def _token() -> WorkerToken | None:
    """The worker's own token; None for the shared one; a Problem for neither."""
    if guard.is_worker_token(guard.bearer()):
        return None
    own = worker_tokens.load(db_session(), guard.bearer(), guard.now())
    if own is None:
        raise Problem(401, "worker_token")
    return own


def _ticket(job_id: UUID) -> tickets.Ticket:
    ticket = claims.open_ticket(guard.services().settings, guard.bearer(), job_id, guard.now())
    token_id = ticket.token_id
    if token_id is not None and not worker_tokens.still_works(db_session(), token_id, guard.now()):
        raise tickets.BadTicket("its worker's token is revoked")
    if token_id is None and not guard.services().settings.shared_worker_token:
        raise tickets.BadTicket("the shared token is switched off")
    return ticket


def _json_object() -> dict[str, Any]:
    sent = json_or_none()
    if not isinstance(sent, dict):
        raise Problem(400, "bad_json", "The body is not a JSON object.")
    return sent


def _unpack(body: bytes) -> tuple[dict[str, Any], list[files.Output]]:
    """A parcel's result and outputs."""
    line, newline, rest = body.partition(b"\n")
    try:
        head = json.loads(line)
        listed = [(o["kind"], o["media_type"], o["bytes"]) for o in head["outputs"]]
        result = head["result"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Problem(400, "bad_parcel", "The parcel's first line can't be read.") from None
    sizes = [size for _, _, size in listed]
    whole = newline and isinstance(result, dict) and all(type(size) is int for size in sizes)
    if not whole or min(sizes, default=0) < 0 or sum(sizes) != len(rest):
        raise Problem(400, "bad_parcel", "The parcel's parts do not fit its first line.")
    outputs, at = [], 0
    for kind, media_type, size in listed:
        outputs.append(files.Output(str(kind), str(media_type), rest[at : at + size]))
        at += size
    return result, outputs


def _text(sent: dict[str, Any], name: str) -> str:
    value = sent.get(name)
    if not isinstance(value, str):
        raise Problem(422, "bad_field", f"`{name}` is a text.")
    return value
