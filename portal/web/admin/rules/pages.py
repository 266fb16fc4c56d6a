"""The rules of a team: the ordered list, one rule's form, dry runs and earlier versions."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.dicom_network import nodes
from portal.errors import Conflict, Invalid
from portal.formats.refusals import Refused
from portal.intake import dry_run
from portal.intake.check import Limits
from portal.languages import _
from portal.models import View
from portal.services import db_session
from portal.teams.rules import changes, typed
from portal.teams.rules.conditions import Rule
from portal.teams.rules.in_force import RuleList
from portal.web.present.rules import texts
from portal.web.security import guard

blueprint = Blueprint("rules", __name__, url_prefix="/admin/teams/<uuid:team_id>/rules")

# What a step-up comes back to: it knows no team.
_TEAMS = "teams.page"
_manage = guard.permission(Permission.PEOPLE_MANAGE, step_up=_TEAMS)


@blueprint.get("")
@guard.permission(Permission.PEOPLE_MANAGE)
def page(team_id: UUID) -> str:
    """The list in force; with `change=ID` the form of one of its rules."""
    return _page(team_id)


@blueprint.post("")
@_manage
def store(team_id: UUID) -> BaseResponse | tuple[str, int]:
    """Store what was typed as a new rule or as one that there is; or try it before that."""
    rule = _id(request.form.get("rule", ""))
    try:
        stated = typed.read(request.form, rule)
        if request.form.get("what") == "try":
            found = changes.team_and_rules(db_session(), guard.actor(), team_id)[1]
            tried = changes.put(found.rules, stated)
            return _page(team_id, changing=rule, form=dict(request.form), tried=tried), 200
        changes.store(db_session(), guard.actor(), team_id, stated, _shown(), guard.now())
    except (Invalid, Conflict) as refused:
        status = 422 if isinstance(refused, Invalid) else 409
        return _page(team_id, changing=rule, form=dict(request.form), error=refused), status
    flash(
        _("The rule %(name)s is stored. It holds for what arrives from now on.", name=stated.name),
        "ok",
    )
    return redirect(url_for(".page", team_id=team_id), 303)


@blueprint.post("/order")
@_manage
def change(team_id: UUID) -> BaseResponse | tuple[str, int]:
    """Move a rule, switch it on or off, or remove it: what the pressed button states."""
    what, _colon, which = request.form.get("change", "").partition(":")
    rule = _id(which) or UUID(int=0)
    asked, then = (db_session(), guard.actor(), team_id, rule), (_shown(), guard.now())
    steps: dict[str, Callable[[], RuleList]] = {
        "up": partial(changes.move, *asked, -1, *then),
        "down": partial(changes.move, *asked, 1, *then),
        "on": partial(changes.switch, *asked, *then, on=True),
        "off": partial(changes.switch, *asked, *then, on=False),
        "remove": partial(changes.remove, *asked, *then),
    }
    if what not in steps:
        wrong = Invalid("change", _("Press one of the buttons of a rule."))
        return _page(team_id, error=wrong), 422
    return _changed(team_id, steps[what])


@blueprint.post("/restore")
@_manage
def restore(team_id: UUID) -> BaseResponse | tuple[str, int]:
    """Put an earlier version of the list back."""
    text = request.form.get("version", "")
    version = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
    asked = (db_session(), guard.actor(), team_id, version, _shown(), guard.now())
    return _changed(team_id, partial(changes.restore, *asked))


@blueprint.post("/try")
@_manage
def try_rules(team_id: UUID) -> str:
    """What the list in force would do with the last arrivals."""
    found = changes.team_and_rules(db_session(), guard.actor(), team_id)[1]
    return _page(team_id, tried=found.rules)


@blueprint.post("/try-file")
@guard.permission(Permission.PEOPLE_MANAGE, step_up=_TEAMS, upload=True)
def try_file(team_id: UUID) -> str | tuple[str, int]:
    """What the list in force would do with one file. Nothing of it is stored."""
    file, settings = request.files.get("file"), guard.services().settings
    found = changes.team_and_rules(db_session(), guard.actor(), team_id)[1]
    data = file.read() if file is not None else b""
    if not data:
        return _page(team_id, error=Invalid("file", _("Choose a file."))), 422
    sender = request.form.get("ae_title", "").strip()[:16]
    try:
        run = dry_run.of_file(
            *("", data, sender, found.rules),
            Limits(settings.max_upload_bytes, max_header_bytes=settings.max_header_bytes),
            guard.now(),
        )
    except Refused as refused:
        text = _("Refused whatever the rules are: %(reason)s", reason=refused.message)
        return _page(team_id, error=Invalid("file", text), sender=sender), 422
    return _page(team_id, file_run=run, sender=sender)


def _changed(team_id: UUID, step: Callable[[], RuleList]) -> BaseResponse | tuple[str, int]:
    try:
        step()
    except (Invalid, Conflict) as refused:
        return _page(team_id, error=refused), 422 if isinstance(refused, Invalid) else 409
    flash(_("The rules are changed. They hold for what arrives from now on."), "ok")
    return redirect(url_for(".page", team_id=team_id), 303)


def _page(
    team_id: UUID,
    *,
    changing: UUID | None = None,
    form: dict[str, str] | None = None,
    error: Invalid | Conflict | None = None,
    tried: tuple[Rule, ...] | None = None,
    file_run: dry_run.FileRun | None = None,
    sender: str = "",
) -> str:
    session, actor = db_session(), guard.actor()
    team, found = changes.team_and_rules(session, actor, team_id)
    chosen = changing or _id(request.args.get("change", ""))
    shown = next((one for one in found.rules if one.rule == chosen), None)
    run = None
    if tried is not None:
        run = dry_run.over_last(session, guard.services().vault, actor, team_id, tried, guard.now())
    return render_template(
        "admin/rules.html",
        team=team,
        rules=found.rules,
        version=found.version,
        versions=changes.versions(session, actor, team_id),
        texts=texts,
        lists=typed.LISTS,
        views=[view.value for view in View],
        titles=sorted(
            node.ae_title for node, _team in nodes.nodes(session, actor) if node.team_id == team_id
        ),
        chosen=shown,
        form=form if form is not None else typed.typed(shown),
        error=error,
        run=run,
        run_last=dry_run.LAST,
        is_of_form=form is not None and run is not None,
        file_run=file_run,
        sender=sender,
        fresh=guard.is_fresh(),
    )


def _shown() -> int:
    """The version that the page had."""
    text = request.form.get("shown", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
