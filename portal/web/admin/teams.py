"""Teams for administrators: create, rename, under-18s. People are moved on the People page."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.accounts import teams
from portal.errors import Invalid
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("teams", __name__, url_prefix="/admin/teams")

_PAGE = "teams.page"
_manage = guard.permission(Permission.PEOPLE_MANAGE, step_up=_PAGE)


@blueprint.get("")
@guard.permission(Permission.PEOPLE_MANAGE)
def page() -> str:
    """Every team and how many people it has."""
    return _page()


@blueprint.post("")
@_manage
def make() -> BaseResponse | tuple[str, int]:
    """A new team."""
    name = request.form.get("name", "")
    try:
        team = teams.make_team(db_session(), guard.actor(), name, guard.now())
    except Invalid as bad:
        return _page(name=name, error=bad.message), 422
    flash(f"The team {team.name} is created. Move or invite people to it.", "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:team_id>/name")
@_manage
def rename(team_id: UUID) -> BaseResponse | tuple[str, int]:
    """Another name for a team."""
    try:
        team = teams.rename_team(
            db_session(), guard.actor(), team_id, request.form.get("name", ""), guard.now()
        )
    except Invalid as bad:
        return _page(wrong=team_id, error=bad.message), 422
    flash(f"The team is now called {team.name}.", "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:team_id>/age")
@_manage
def age(team_id: UUID) -> BaseResponse | tuple[str, int]:
    """From which age on pictures of under-18s are analysed."""
    typed = request.form.get("age", "")
    try:
        team = teams.choose_age(db_session(), guard.actor(), team_id, typed, guard.now())
    except Invalid as bad:
        return _page(wrong_age=team_id, error=bad.message), 422
    chosen = "not analysed" if team.age_min is None else f"analysed from {team.age_min} years on"
    flash(f"Pictures of patients under 18 of the team {team.name} are {chosen}.", "ok")
    return redirect(url_for(_PAGE), 303)


def _page(
    *, name: str = "", wrong: UUID | None = None, wrong_age: UUID | None = None, error: str = ""
) -> str:
    return render_template(
        "admin/teams.html",
        teams=teams.teams(db_session()),
        name=name,
        wrong=wrong,
        wrong_age=wrong_age,
        error=error,
        fresh=guard.is_fresh(),
    )
