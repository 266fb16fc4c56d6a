"""Teams for administrators: create, rename, settings. People are moved on the People page."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.accounts import team_settings, teams
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.services import db_session
from portal.web.admin import setting_texts
from portal.web.security import guard

blueprint = Blueprint("teams", __name__, url_prefix="/admin/teams")

_PAGE = "teams.page"
_TEAM_PAGE = "teams.team_page"
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
    flash(_("The team %(name)s is created. Move or invite people to it.", name=team.name), "ok")
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
    flash(_("The team is now called %(name)s.", name=team.name), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.get("/<uuid:team_id>")
@guard.permission(Permission.PEOPLE_MANAGE)
def team_page(team_id: UUID) -> str:
    """A team's settings and what follows from each."""
    return _team_page(team_id)


@blueprint.post("/<uuid:team_id>/settings/<name>")
@guard.permission(Permission.PEOPLE_MANAGE, step_up=_TEAM_PAGE)
def choose(team_id: UUID, name: str) -> BaseResponse | tuple[str, int]:
    """Choose one setting of a team; nothing typed: its default."""
    text, shown = request.form.get("value", ""), request.form.get("shown", "")
    try:
        team_settings.choose(db_session(), guard.actor(), team_id, name, text, shown, guard.now())
    except Invalid as bad:
        return _team_page(team_id, wrong=name, text=text, error=bad.message), 422
    except Conflict as changed:
        return _team_page(team_id, wrong=name, error=changed.message), 409
    flash(_("%(title)s: saved.", title=setting_texts.title(name)), "ok")
    return redirect(url_for(_TEAM_PAGE, team_id=team_id, _anchor=name), 303)


def _team_page(team_id: UUID, *, wrong: str = "", text: str = "", error: str = "") -> str:
    team, in_force, chosen, readers = team_settings.team_with_settings(
        db_session(), guard.actor(), team_id
    )
    old_exam_hours = guard.services().settings.old_exam_hours
    return render_template(
        "admin/team.html",
        team=team,
        lines=setting_texts.lines(in_force, chosen, old_exam_hours, readers),
        wrong=wrong,
        text=text,
        error=error,
        fresh=guard.is_fresh(),
    )


def _page(*, name: str = "", wrong: UUID | None = None, error: str = "") -> str:
    return render_template(
        "admin/teams.html",
        teams=teams.teams(db_session()),
        ai_shown=setting_texts.VALUES["ai_shown"],
        name=name,
        wrong=wrong,
        error=error,
        fresh=guard.is_fresh(),
    )
