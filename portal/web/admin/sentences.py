"""A team's wording of the findings sentence: its templates, with examples of what they make."""

from typing import Final
from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.errors import Invalid
from portal.languages import _, lazy
from portal.sentences import team_templates, templates
from portal.sentences.templates import Kind
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("sentences", __name__, url_prefix="/admin/teams/<uuid:team_id>/sentences")

# What a step-up comes back to: it knows no team.
_TEAMS = "teams.page"
_KINDS: Final = {
    Kind.ONE_SIDE: lazy("Pneumothorax on one side"),
    Kind.BOTH_SIDES: lazy("Pneumothorax on both sides"),
    Kind.NONE: lazy("No pneumothorax"),
    Kind.UNSURE: lazy("Unsure"),
}


@blueprint.get("")
@guard.permission(Permission.PEOPLE_MANAGE)
def page(team_id: UUID) -> str:
    """The templates in force, each with two examples."""
    return _page(team_id)


@blueprint.post("")
@guard.permission(Permission.PEOPLE_MANAGE, step_up=_TEAMS)
def change(team_id: UUID) -> BaseResponse | tuple[str, int]:
    """Store a template, go back to the default, or show what it would make."""
    kind, text = request.form.get("kind", ""), request.form.get("text", "")
    shown = request.form.get("shown", "")
    what = request.form.get("what", "store")
    wanted = "" if what == "default" else text
    try:
        if what == "preview":
            checked = templates.check(Kind(kind), text)
            language = team_templates.wording(db_session(), guard.actor(), team_id).language
            examples = team_templates.preview(Kind(kind), checked, language)
            return _page(team_id, kind=kind, text=text, shown=shown, examples=examples), 200
        if what == "store" and not text.strip():
            raise Invalid("template", _("A sentence needs a text."))
        given = (db_session(), guard.actor(), team_id, kind, wanted, guard.now())
        team_templates.change(*given, shown=shown)
    except Invalid as bad:
        db_session().rollback()
        return _page(team_id, kind=kind, text=text, shown=shown, error=bad.message), 422
    except team_templates.Changed as changed:
        # What was typed stays, and replaces the other one only where it is stored once more.
        typed, now = (changed.text if what == "default" else text), changed.text
        return _page(team_id, kind=kind, text=typed, shown=now, error=changed.message), 409
    except ValueError:
        return _page(team_id, error=_("Choose one of the sentences.")), 422
    flash(_("The sentence is stored."), "ok")
    return redirect(url_for(".page", team_id=team_id), 303)


def _page(
    team_id: UUID,
    *,
    kind: str = "",
    text: str = "",
    shown: str = "",
    error: str = "",
    examples: list[str] | None = None,
) -> str:
    return render_template(
        "admin/sentences.html",
        wording=team_templates.wording(db_session(), guard.actor(), team_id),
        names=_KINDS,
        kind=kind,
        text=text,
        shown=shown,
        error=error,
        examples=examples,
        length=templates.LENGTH,
        fresh=guard.is_fresh(),
    )
