"""DICOM nodes for administrators: which systems may send, from where, and what was refused."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.accounts import teams
from portal.dicom_network import nodes, refusals
from portal.dicom_network.outgoing import echo
from portal.dicom_network.retrieving import overview as retrievals
from portal.dicom_network.retrieving import sources
from portal.dicom_network.sending import choices, overview
from portal.errors import Conflict, Invalid
from portal.governance import scheduler_signs
from portal.languages import _
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("dicom", __name__, url_prefix="/admin/dicom")

_PAGE = "dicom.page"
_manage = guard.permission(Permission.PEOPLE_MANAGE, step_up=_PAGE)


@blueprint.get("")
@guard.permission(Permission.PEOPLE_MANAGE)
def page() -> str:
    """All nodes; with `change=ID` the form of one."""
    return _page()


@blueprint.post("")
@_manage
def add() -> BaseResponse | tuple[str, int]:
    """A new node."""
    stated = _stated()
    try:
        added = nodes.add(db_session(), guard.actor(), stated, guard.now())
    except (Invalid, Conflict) as refused:
        return _page(stated=stated, error=refused), _status(refused)
    flash(_("The node %(name)s is added.", name=added.ae_title), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:node_id>")
@_manage
def change(node_id: UUID) -> BaseResponse | tuple[str, int]:
    """Other values for a node."""
    stated = _stated()
    try:
        changed = nodes.change(db_session(), guard.actor(), node_id, stated, guard.now())
    except (Invalid, Conflict) as refused:
        return _page(changing=node_id, stated=stated, error=refused), _status(refused)
    flash(_("The node %(name)s is changed.", name=changed.ae_title), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:node_id>/off")
@_manage
def switch_off(node_id: UUID) -> BaseResponse:
    """Refuse what it sends from now on."""
    return _switch(node_id, on=False)


@blueprint.post("/<uuid:node_id>/on")
@_manage
def switch_on(node_id: UUID) -> BaseResponse:
    """Take what it sends again."""
    return _switch(node_id, on=True)


@blueprint.post("/<uuid:node_id>/echo")
@_manage
def test(node_id: UUID) -> BaseResponse:
    """Call the node at its host and port."""
    result = echo.test(db_session(), guard.actor(), guard.services().settings, node_id)
    flash(str(echo.RESULTS[result]), "ok" if result == "answers" else "warn")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/sends/<uuid:send_id>/again")
@_manage
def send_again(send_id: UUID) -> BaseResponse:
    """Have a send tried again now."""
    try:
        overview.again(db_session(), guard.actor(), send_id, guard.now())
    except Conflict as refused:
        flash(refused.message, "warn")
    else:
        flash(_("It is tried again."), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/retrievals/<uuid:retrieval_id>/again")
@_manage
def retrieve_again(retrieval_id: UUID) -> BaseResponse:
    """Have a retrieval tried again now."""
    try:
        retrievals.again(db_session(), guard.actor(), retrieval_id, guard.now())
    except Conflict as refused:
        flash(refused.message, "warn")
    else:
        flash(_("It is tried again."), "ok")
    return redirect(url_for(_PAGE), 303)


def _switch(node_id: UUID, *, on: bool) -> BaseResponse:
    nodes.switch(db_session(), guard.actor(), node_id, guard.now(), on=on)
    flash(_("The node is switched on.") if on else _("The node is switched off."), "ok")
    return redirect(url_for(_PAGE), 303)


def _stated() -> nodes.Described:
    form = request.form
    try:
        team_id = UUID(form.get("team", ""))
    except ValueError:
        team_id = UUID(int=0)
    return nodes.Described(
        name=form.get("name", ""),
        ae_title=form.get("ae_title", ""),
        team_id=team_id,
        sends=form.get("sends") == "yes",
        receives=form.get("receives") == "yes",
        networks=form.get("networks", ""),
        host=form.get("host", ""),
        port=form.get("port", ""),
        fingerprint=form.get("fingerprint", ""),
        objects=tuple(form.getlist("objects")),
        moments=tuple(form.getlist("moments")),
        queried=form.get("queried", ""),
        priors=form.get("priors") == "yes",
        at_once=form.get("at_once", ""),
    )


def _status(refused: Invalid | Conflict) -> int:
    return 422 if isinstance(refused, Invalid) else 409


def _page(
    *,
    changing: UUID | None = None,
    stated: nodes.Described | None = None,
    error: Invalid | Conflict | None = None,
) -> str:
    session, actor, services = db_session(), guard.actor(), guard.services()
    found = nodes.nodes(session, actor)
    chosen = changing or _asked_for()
    shown = next((node for node, _team in found if node.id == chosen), None)
    if stated is None and shown is not None:
        stated = nodes.described(session, shown)
    return render_template(
        "admin/dicom.html",
        nodes=found,
        chosen=shown,
        stated=stated,
        error=error,
        teams=[(one.id, one.name) for one in teams.teams(session)],
        sends=overview.sends(session, services.vault, actor, guard.now()),
        gets=choices.all_of(session),
        kinds=choices.OBJECTS,
        moments=choices.MOMENTS,
        sends_most=overview.MOST,
        queried=sources.all_of(session),
        ways=sources.KINDS,
        retrievals=retrievals.retrievals(session, actor, guard.now()),
        retrievals_most=retrievals.MOST,
        sender_works=scheduler_signs.sender_works(session),
        sender_is_silent=scheduler_signs.sender_is_silent(session),
        refused=refusals.newest(session, services.vault, actor, guard.now()),
        listens=scheduler_signs.dicom_works(session),
        is_silent=scheduler_signs.dicom_is_silent(session),
        fresh=guard.is_fresh(),
        now=guard.now(),
    )


def _asked_for() -> UUID | None:
    try:
        return UUID(request.args.get("change", ""))
    except ValueError:
        return None
