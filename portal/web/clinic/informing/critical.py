"""Critical findings of a case: marked, seen to, and closed by who was informed."""

from typing import Any
from uuid import UUID

from flask import Blueprint, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.critical import case_view, communications, findings
from portal.critical.communications import Stated
from portal.errors import Invalid
from portal.services import db_session
from portal.web.present import list_filters
from portal.web.present.informing import critical_view
from portal.web.present.informing.critical_view import CriticalPanel
from portal.web.security import guard
from portal.web.security.errors import Problem, wants_problem

blueprint = Blueprint("critical", __name__, url_prefix="/studies/<uuid:study_id>/critical")


@blueprint.post("/mark")
@guard.permission(Permission.REVIEW_WRITE)
def mark(study_id: UUID) -> BaseResponse:
    """Mark the finding that was saved as critical, or no longer."""
    marked = request.form.get("critical") == "yes"
    findings.mark(db_session(), guard.actor(), study_id, marked, guard.now())
    return _answer(study_id)


@blueprint.post("/acknowledge")
@guard.permission(Permission.REVIEW_WRITE)
def acknowledge(study_id: UUID) -> BaseResponse:
    """The reader sees to it."""
    findings.acknowledge(db_session(), guard.actor(), study_id, guard.now())
    return _answer(study_id)


@blueprint.post("/communications")
@guard.permission(Permission.REVIEW_WRITE)
def communicate(study_id: UUID) -> BaseResponse:
    """Record who was informed, and close it."""
    form = request.form
    names = ("person", "means", "read_back", "minutes_ago", "informed_by")
    stated = Stated(**{name: form.get(name, "") for name in names})
    try:
        communications.record(
            db_session(), guard.services().vault, guard.actor(), study_id, stated, guard.now()
        )
    except Invalid as bad:
        raise Problem(422, bad.code, bad.message) from bad
    return _answer(study_id)


def panel_of(study_id: UUID) -> CriticalPanel:
    """The critical findings of a case that the person has opened."""
    found = case_view.of_case(db_session(), guard.services().vault, guard.actor(), study_id)
    return critical_view.panel(found, guard.actor().user_id)


def html_of(study_id: UUID) -> dict[str, Any]:
    """The panel for a page that shows the case, and how its box stands."""
    shown = panel_of(study_id)
    html = render_template("case/critical.html", critical=shown, study_id=study_id, now=guard.now())
    return {"html": html, "checked": shown.box.checked, "offered": shown.box.offered}


def _answer(study_id: UUID) -> BaseResponse:
    if not wants_problem():
        place = list_filters.of_request().place
        return redirect(url_for("reading.case", study_id=study_id, **place), 303)
    return jsonify(html_of(study_id))
