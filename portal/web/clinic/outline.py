"""A reader's outline of a picture: opened, its draft stored as it grows, saved as a version."""

import base64
import binascii
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request

from portal.access import Permission
from portal.jobs import sweeper
from portal.outlines import editing, versions
from portal.services import db_session
from portal.studies.reader_outlines import BEAT_SECONDS
from portal.web.security import guard
from portal.web.security.json_body import json_or_none
from worker.contract.outline_runs import RUNS

blueprint = Blueprint("outline", __name__, url_prefix="/studies/<uuid:study_id>/outline")


@blueprint.post("/begin")
@guard.permission(Permission.REVIEW_WRITE)
def begin(study_id: UUID) -> Response:
    """Open a picture's outline; with `take_over` also while another reader edits it."""
    sent = _sent()
    opened = editing.begin(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        sent.get("picture"),
        guard.now(),
        take_over=sent.get("take_over") is True,
    )
    _announce(opened.job_id)
    return jsonify(
        {
            "lock": str(opened.lock),
            "number": opened.number,
            "runs": base64.b64encode(opened.runs).decode(),
            "base": base64.b64encode(opened.base).decode(),
            "origin": opened.origin,
            "is_draft": opened.is_draft,
            "kept": opened.job_id is not None and opened.shows_kept,
            "beat_seconds": BEAT_SECONDS,
        }
    )


@blueprint.post("/beat")
@guard.permission(Permission.REVIEW_WRITE, background=True)
def beat(study_id: UUID) -> Response:
    """The editor is still open."""
    sent = _sent()
    editing.beat(
        *(db_session(), guard.actor(), study_id, sent.get("picture"), sent.get("lock")),
        guard.now(),
    )
    return Response(status=204)


@blueprint.post("/draft")
@guard.permission(Permission.REVIEW_WRITE)
def draft(study_id: UUID) -> Response:
    """What is drawn so far; answers the digest of what is stored."""
    sent = _sent()
    digest = editing.save_draft(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        sent.get("picture"),
        sent.get("lock"),
        sent.get("number"),
        (sent.get("rows"), sent.get("columns")),
        _runs(sent),
        guard.now(),
    )
    return jsonify({"sha256": digest})


@blueprint.post("/leave")
@guard.permission(Permission.REVIEW_WRITE)
def leave(study_id: UUID) -> Response:
    """The editor was closed; its draft stays."""
    sent = _sent()
    editing.leave(
        *(db_session(), guard.actor(), study_id, sent.get("picture"), sent.get("lock")),
        guard.now(),
    )
    return Response(status=204)


@blueprint.post("/save")
@guard.permission(Permission.REVIEW_WRITE)
def save(study_id: UUID) -> Response:
    """A new version of the outline; its id is empty where nothing differs."""
    sent = _sent()
    saved = editing.save(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        sent.get("picture"),
        sent.get("lock"),
        sent.get("outline"),
        (sent.get("rows"), sent.get("columns")),
        _runs(sent),
        guard.now(),
    )
    _announce(saved.job_id)
    return jsonify({"outline": str(saved.outline.id) if saved.outline else ""})


@blueprint.get("/state")
@guard.permission(Permission.STUDY_READ, background=True, break_glass=True)
def state(study_id: UUID) -> Response:
    """Which version of a picture's outline is the newest, and whether it is measured."""
    named = request.args.get("picture")
    try:
        picture = UUID(named) if named else None
    except ValueError:
        picture = UUID(int=0)  # no picture's
    newest, measuring = versions.state(db_session(), guard.actor(), study_id, picture)
    return jsonify({"newest": str(newest) if newest else None, "measuring": measuring})


@blueprint.get("/<uuid:outline_id>")
@guard.permission(Permission.STUDY_READ, break_glass=True)
def version(study_id: UUID, outline_id: UUID) -> Response:
    """The runs of one version."""
    data, _ = versions.read(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        outline_id,
        guard.now(),
    )
    return Response(data, content_type=RUNS)


def _announce(job_id: UUID | None) -> None:
    if job_id is not None:
        sweeper.notify(db_session(), guard.services().broker, job_id)


def _sent() -> dict[str, Any]:
    """The object that was sent; an empty one for anything else, which the rooms refuse."""
    sent = json_or_none() if request.is_json else None
    return sent if isinstance(sent, dict) else {}


def _runs(sent: dict[str, Any]) -> bytes | None:
    """The outline's bytes; None where they are no base64, which the rooms refuse."""
    try:
        return base64.b64decode(sent["runs"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
