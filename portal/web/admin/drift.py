"""The board of drift for administrators: whether pictures or results have changed here."""

from uuid import UUID

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.errors import Conflict
from portal.jobs import drift_checks, sweeper
from portal.languages import _
from portal.performance import drift
from portal.services import db_session
from portal.web.present import plots
from portal.web.present.drift import board_view
from portal.web.security import guard
from worker.contract.contents.drift import LEAST, WINDOW

blueprint = Blueprint("drift", __name__, url_prefix="/admin/drift")


@blueprint.get("")
@guard.permission(Permission.PERFORMANCE_READ)
def page() -> str:
    """The last check of a model, how its numbers went, and the checks before."""
    found = _board()
    return render_template(
        "admin/drift.html",
        board=found,
        last=next(iter(found.checks), None),
        numbers=board_view.numbers(found),
        alarm_names=board_view.names_of(found.checks[0].alarms) if found.checks else "",
        history=board_view.history(found),
        chosen=found.model.model_id.hex if found.model else "",
        model_names=[
            (one.model_id.hex, _("%(model)s (active)", model=name) if one.is_active else name)
            for one in found.models
            for name in (f"{one.name} {one.version}",)
        ],
        least=LEAST,
        most=WINDOW,
        size=(plots.WIDTH, plots.HEIGHT),
    )


@blueprint.post("/<uuid:model_id>/check")
@guard.permission(Permission.JOBS_MANAGE)
def check(model_id: UUID) -> BaseResponse:
    """Have a model checked now."""
    try:
        job = drift_checks.ask(db_session(), guard.actor(), model_id, guard.now())
    except Conflict as refused:
        flash(refused.message, "error")
    else:
        sweeper.notify(db_session(), guard.services().broker, job.id)
        flash(_("The check is queued. It takes some seconds once a worker has time."), "ok")
    return redirect(url_for("drift.page", model=model_id.hex), 303)


@blueprint.get("/checks.csv")
@guard.permission(Permission.PERFORMANCE_READ)
def table() -> Response:
    """Every number of the checks shown, to be saved."""
    return _saved(board_view.as_csv(_board()), "text/csv; charset=utf-8", "drift.csv")


@blueprint.get("/checks.json")
@guard.permission(Permission.PERFORMANCE_READ)
def document() -> Response:
    """The same with the distributions, to be saved."""
    return _saved(board_view.as_json(_board()), "application/json", "drift.json")


def _board() -> drift.DriftBoard:
    return drift.board(db_session(), guard.actor(), request.args.get("model", ""))


def _saved(text: str, media_type: str, name: str) -> Response:
    disposition = f'attachment; filename="{name}"'
    return Response(text, content_type=media_type, headers={"Content-Disposition": disposition})
