"""The case page: one study opened, its live state, its pictures, the reviews."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, g, jsonify, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.errors import Invalid
from portal.formats.display_text import clean_lines
from portal.reading import drafts, reviews, viewer_preferences, worklist
from portal.reading.case import open_study, read_blob, study_state
from portal.reading.case_records import ReviewView
from portal.reading.reviews import COMMENT_LENGTH
from portal.services import db_session
from portal.studies.status import StudyState
from portal.web.present import case_view
from portal.web.security import guard
from portal.web.security.errors import Problem, wants_problem
from portal.web.security.json_body import json_or_none

blueprint = Blueprint("reading", __name__, url_prefix="/studies/<uuid:study_id>")


@blueprint.get("")
@guard.permission(Permission.STUDY_READ, break_glass=True)
def case(study_id: UUID) -> str:
    """One case with film, result and review; `?picture=` names one of several pictures."""
    view = open_study(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        guard.now(),
        picture=_picture(),
    )
    guard.services().shown.add(guard.actor().session_id, [study_id])
    looks = viewer_preferences.preferences_of(db_session(), guard.actor())
    rulers = drafts.rulers_of(
        db_session(), guard.services().vault, guard.actor(), view.picture.instance_id
    )
    page = case_view.case_page(view, guard.actor(), looks, rulers)
    return render_template("case/case.html", case=page)


@blueprint.get("/state")
@guard.permission(Permission.STUDY_READ, background=True, break_glass=True)
def state(study_id: UUID) -> Response:
    """The study's state, for a page that waits; without AI result or review."""
    found = study_state(db_session(), guard.actor(), study_id, guard.now())
    return jsonify(state_json(found))


@blueprint.get("/blobs/<kind>")
@guard.permission(Permission.STUDY_READ, break_glass=True)
def blob(study_id: UUID, kind: str) -> Response:
    """A file of one of the study's pictures."""
    found = read_blob(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        kind,
        guard.now(),
        picture=_picture(),
    )
    return Response(found.data, content_type=found.media_type)


@blueprint.post("/reviews")
@guard.permission(Permission.REVIEW_WRITE)
def review(study_id: UUID) -> Response | BaseResponse:
    """A new version of the review, from the form or as JSON."""
    sent: Any = json_or_none() if request.is_json else request.form
    if not hasattr(sent, "get"):
        raise Problem(400, "bad_json", "Send an object with verdict, reason and comment.")
    fields = {name: sent.get(name) or "" for name in ("verdict", "reason", "comment", "seen")}
    if not all(isinstance(value, str) for value in fields.values()):
        raise Problem(422, "bad_review", "Verdict, reason, comment and seen must be strings.")
    try:
        saved = reviews.add_review(
            db_session(),
            guard.services().vault,
            guard.actor(),
            study_id,
            verdict=fields["verdict"],
            reason=fields["reason"] or None,
            comment=fields["comment"],
            seen=fields["seen"] or None,
            now=guard.now(),
        )
    except Invalid as bad:
        raise Problem(422, bad.code, bad.message) from bad
    if not wants_problem():
        return redirect(f"/studies/{study_id}", 303)
    view = ReviewView(
        reader=g.user.name,
        reader_id=saved.reader_id,
        verdict=saved.verdict,
        reason=saved.reason,
        comment=clean_lines(fields["comment"], COMMENT_LENGTH),
        created=saved.created,
    )
    line = case_view.review_lines([view], guard.actor())[0]
    return jsonify(
        label=line.label,
        line=render_template("case/version.html", review=line, now=guard.now()),
    )


@blueprint.get("/next")
@guard.permission(Permission.STUDY_READ)
def following(study_id: UUID) -> BaseResponse:
    """Redirect to the next case of the worklist, or from the last one to the list."""
    found = worklist.next_study(db_session(), guard.actor(), study_id)
    return redirect(f"/studies/{found}" if found else "/worklist", 303)


def state_json(found: StudyState) -> dict[str, Any]:
    """A study's state for scripts of the pages."""
    return {
        "state": found.state.value,
        "waiting_for": found.waiting_for,
        "settled": found.is_settled,
    }


def _picture() -> UUID | None:
    """The picture that the address names; a malformed id matches none."""
    named = request.args.get("picture")
    try:
        return UUID(named) if named else None
    except ValueError:
        return UUID(int=0)
