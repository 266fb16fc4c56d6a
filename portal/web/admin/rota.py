"""A team's rota: who is asked to see to a critical finding, in which order."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.critical import rota
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("rota", __name__, url_prefix="/admin/teams/<uuid:team_id>/rota")

# What a step-up comes back to: it knows no team.
_TEAMS = "teams.page"


@blueprint.get("")
@guard.permission(Permission.PEOPLE_MANAGE)
def page(team_id: UUID) -> str:
    """The rota, and the readers who are not on it."""
    return _page(team_id)


@blueprint.post("")
@guard.permission(Permission.PEOPLE_MANAGE, step_up=_TEAMS)
def change(team_id: UUID) -> BaseResponse | tuple[str, int]:
    """Add somebody, remove them, or move them up or down: what the pressed button states."""
    what, _colon, who = request.form.get("change", "").partition(":")
    try:
        seen = [UUID(one) for one in request.form.get("seen", "").split(",") if one]
        person = UUID(request.form.get("person", "") if what == "add" else who)
    except ValueError:
        return _page(team_id, error=_("Choose somebody.")), 422
    try:
        wanted = _changed(seen, what, person)
        rota.choose(db_session(), guard.actor(), team_id, wanted, guard.now(), seen=seen)
    except (Conflict, Invalid) as refused:
        db_session().rollback()
        status = 422 if isinstance(refused, Invalid) else 409
        return _page(team_id, error=refused.message), status
    flash(_("The rota is changed."), "ok")
    return redirect(url_for(".page", team_id=team_id), 303)


def _changed(seen: list[UUID], what: str, person: UUID) -> list[UUID]:
    """The rota after what a button states."""
    if what == "add":
        return [*seen, person]
    if person not in seen:
        raise Invalid("rota", _("This person is not on the rota."))
    place, others = seen.index(person), [one for one in seen if one != person]
    if what == "remove":
        return others
    if what not in ("up", "down"):
        raise Invalid("rota", _("Add, remove or move somebody."))
    others.insert(max(0, place - 1) if what == "up" else place + 1, person)
    return others


def _page(team_id: UUID, *, error: str = "") -> str:
    found = rota.view(db_session(), guard.actor(), team_id)
    minutes = None if found.wait is None else round(found.wait.total_seconds() / 60)
    return render_template(
        "admin/rota.html",
        rota=found,
        people=[("", _("Choose")), *((one.hex, name) for one, name in found.others)],
        minutes=minutes,
        most=rota.MOST,
        error=error,
        fresh=guard.is_fresh(),
    )
