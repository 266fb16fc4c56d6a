"""HL7 nodes for administrators: which systems may send messages, from where, and for which team."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.accounts import teams
from portal.errors import Conflict, Invalid
from portal.governance import scheduler_signs
from portal.hl7 import messages, nodes
from portal.languages import _
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("hl7", __name__, url_prefix="/admin/hl7")

_PAGE = "hl7.page"
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
    flash(_("The node %(name)s is added.", name=added.name), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:hl7_node_id>")
@_manage
def change(hl7_node_id: UUID) -> BaseResponse | tuple[str, int]:
    """Other values for a node."""
    stated = _stated()
    try:
        changed = nodes.change(db_session(), guard.actor(), hl7_node_id, stated, guard.now())
    except (Invalid, Conflict) as refused:
        return _page(changing=hl7_node_id, stated=stated, error=refused), _status(refused)
    flash(_("The node %(name)s is changed.", name=changed.name), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:hl7_node_id>/off")
@_manage
def switch_off(hl7_node_id: UUID) -> BaseResponse:
    """Refuse what it sends from now on."""
    return _switch(hl7_node_id, on=False)


@blueprint.post("/<uuid:hl7_node_id>/on")
@_manage
def switch_on(hl7_node_id: UUID) -> BaseResponse:
    """Take what it sends again."""
    return _switch(hl7_node_id, on=True)


def _switch(hl7_node_id: UUID, *, on: bool) -> BaseResponse:
    nodes.switch(db_session(), guard.actor(), hl7_node_id, guard.now(), on=on)
    flash(_("The node is switched on.") if on else _("The node is switched off."), "ok")
    return redirect(url_for(_PAGE), 303)


def _stated() -> nodes.Described:
    form = request.form
    try:
        team_id = UUID(form.get("team", ""))
    except ValueError:
        team_id = UUID(int=0)
    names = ("name", "application", "facility", "networks", "fingerprint", "authority")
    return nodes.Described(
        team_id=team_id,
        accession_field=form.get("accession_field", nodes.ACCESSION_FIELDS[0]),
        charset=form.get("charset", "ASCII"),
        **{name: form.get(name, "") for name in names},
    )


def _status(refused: Invalid | Conflict) -> int:
    return 422 if isinstance(refused, Invalid) else 409


def _page(
    *,
    changing: UUID | None = None,
    stated: nodes.Described | None = None,
    error: Invalid | Conflict | None = None,
) -> str:
    session = db_session()
    found = nodes.nodes(session, guard.actor())
    chosen = changing or _asked_for()
    shown = next((one.node for one in found if one.node.id == chosen), None)
    if stated is None and shown is not None:
        stated = nodes.described(shown)
    return render_template(
        "admin/hl7.html",
        nodes=found,
        chosen=shown,
        stated=stated,
        error=error,
        teams=[(one.id, one.name) for one in teams.teams(session)],
        accession_fields=[(one, one) for one in nodes.ACCESSION_FIELDS],
        charsets=[(one, one) for one in messages.CHARSETS],
        listens=scheduler_signs.hl7_works(session),
        is_silent=scheduler_signs.hl7_is_silent(session),
        fresh=guard.is_fresh(),
        now=guard.now(),
    )


def _asked_for() -> UUID | None:
    try:
        return UUID(request.args.get("change", ""))
    except ValueError:
        return None
