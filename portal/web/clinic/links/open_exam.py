"""`/open`: a link from a PACS or RIS into an exam.

What the link holds stands behind its `#`: no browser sends that, so it is in no log, no Referer and
no proxy. A script posts it. What it names goes through the sign-in as keyed digests in a signed
cookie of some minutes.

A browser that comes from another site sends no cookie (SameSite=Strict) and would take a new login
cookie for its own: so the first page sets none, and leads to the second, which is this site's own.
"""

from typing import Final
from uuid import UUID

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.reading import linked_exams
from portal.services import db_session
from portal.teams import exam_links
from portal.teams.exam_links import BadLink, Named
from portal.web.security import guard
from portal.web.security.errors import Problem

blueprint = Blueprint("exam_link", __name__, url_prefix="/open")

# How long a sign-in may take.
_SECONDS: Final = 600


@blueprint.get("")
@guard.public
def arrive() -> str:
    """The page that a link leads to; it knows of no session."""
    return render_template("open/arrive.html")


@blueprint.get("/exam")
@guard.public
def form() -> str:
    """The form that a script sends with what stands behind the `#`."""
    return render_template("open/exam.html")


@blueprint.post("/exam")
@guard.public
def take() -> BaseResponse:
    """Read the link, and go on to the exam, or to the sign-in first."""
    try:
        named = exam_links.read(
            db_session(), guard.services().vault, request.form.get("link", ""), guard.now()
        )
    except BadLink:
        raise _over() from None
    response = redirect(url_for(".go"), 303)
    response.set_cookie(
        _cookie(),
        _signer().dumps([named.team_id.hex, list(named.digests)]),
        max_age=_SECONDS,
        secure=current_app.config["SESSION_COOKIE_SECURE"],
        httponly=True,
        samesite="Strict",
        path="/",
    )
    return response


@blueprint.get("/go")
@guard.permission(Permission.STUDY_READ)
def go() -> BaseResponse:
    """To the exam that the link names."""
    try:
        team_id, digests = _signer().loads(request.cookies.get(_cookie(), ""), max_age=_SECONDS)
        named = Named(UUID(team_id), tuple(digests))
    except (BadSignature, ValueError, TypeError):
        raise _over() from None
    study_id = linked_exams.exam_of(db_session(), guard.actor(), named)
    response = redirect(url_for("reading.case", study_id=study_id), 303)
    response.delete_cookie(
        _cookie(),
        secure=current_app.config["SESSION_COOKIE_SECURE"],
        httponly=True,
        samesite="Strict",
        path="/",
    )
    return response


def _over() -> Problem:
    return Problem(410, "exam_link")


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(guard.services().settings.secret_key, salt="exam-link")


def _cookie() -> str:
    return f"{current_app.config['SESSION_COOKIE_NAME']}-exam"
