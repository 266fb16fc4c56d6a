"""Back-fills of DICOM nodes by date for administrators: begin, pause, resume, end, and progress."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.dicom_network import nodes
from portal.dicom_network.retrieving import backfills, sources
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.models import BackfillState
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("backfills", __name__, url_prefix="/admin/dicom/backfills")

_PAGE = "backfills.page"
_manage = guard.permission(Permission.PEOPLE_MANAGE, step_up=_PAGE)


@blueprint.get("")
@guard.permission(Permission.PEOPLE_MANAGE)
def page() -> str:
    """All back-fills and how far they are."""
    return _page()


@blueprint.post("")
@_manage
def begin() -> BaseResponse | tuple[str, int]:
    """Begin one."""
    form = request.form
    typed = backfills.Typed(
        first_day=form.get("first_day", ""),
        last_day=form.get("last_day", ""),
        modality=form.get("modality", ""),
    )
    try:
        node_id = UUID(form.get("node", ""))
    except ValueError:
        return _page(Invalid("node", _("Choose one of the nodes."))), 422
    try:
        backfills.begin(db_session(), guard.actor(), node_id, typed, guard.now())
    except Invalid as refused:
        return _page(refused), 422
    except Conflict as refused:
        return _page(refused), 409
    flash(_("The back-fill begins in the off-peak hours of the node’s team."), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:backfill_id>/pause")
@_manage
def pause(backfill_id: UUID) -> BaseResponse:
    """Let it rest until it is resumed."""
    return _set_state(backfill_id, BackfillState.PAUSED)


@blueprint.post("/<uuid:backfill_id>/resume")
@_manage
def resume(backfill_id: UUID) -> BaseResponse:
    """Let it go on."""
    return _set_state(backfill_id, BackfillState.RUNNING)


@blueprint.post("/<uuid:backfill_id>/end")
@_manage
def end(backfill_id: UUID) -> BaseResponse:
    """End it for good."""
    return _set_state(backfill_id, BackfillState.ENDED)


def _set_state(backfill_id: UUID, state: BackfillState) -> BaseResponse:
    try:
        backfills.set_state(db_session(), guard.actor(), backfill_id, state, guard.now())
    except Conflict as refused:
        flash(refused.message, "warn")
    return redirect(url_for(_PAGE), 303)


def _page(error: Invalid | Conflict | None = None) -> str:
    session, actor = db_session(), guard.actor()
    queried = sources.all_of(session)
    return render_template(
        "admin/dicom_backfills.html",
        backfills=backfills.lines(session, actor),
        most=backfills.MOST,
        nodes=[
            (node.id, node.ae_title)
            for node, _team in nodes.nodes(session, actor)
            if node.id in queried
        ],
        modalities=[(one, one or _("CR and DX")) for one in backfills.MODALITIES],
        stated=request.form,
        error=error,
        fresh=guard.is_fresh(),
        now=guard.now(),
    )
