"""Report targets for administrators: which systems get reports, what waits and what failed."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.accounts import teams
from portal.errors import Conflict, Invalid
from portal.governance import scheduler_signs
from portal.hl7 import messages, nodes
from portal.hl7.sending import overview, probe, targets
from portal.languages import _
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("report_targets", __name__, url_prefix="/admin/report-targets")

_PAGE = "report_targets.page"
_manage = guard.permission(Permission.PEOPLE_MANAGE, step_up=_PAGE)


@blueprint.get("")
@guard.permission(Permission.PEOPLE_MANAGE)
def page() -> str:
    """All targets, and what is sent to them."""
    return _page()


@blueprint.post("")
@_manage
def add() -> BaseResponse | tuple[str, int]:
    """A new target."""
    stated = _stated()
    try:
        added = targets.add(db_session(), guard.actor(), stated, guard.now())
    except (Invalid, Conflict) as refused:
        status = 422 if isinstance(refused, Invalid) else 409
        return _page(stated=stated, error=refused), status
    flash(_("The target %(name)s is added.", name=added.name), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:target_id>/off")
@_manage
def switch_off(target_id: UUID) -> BaseResponse:
    """Let what is to be sent wait."""
    return _switch(target_id, on=False)


@blueprint.post("/<uuid:target_id>/on")
@_manage
def switch_on(target_id: UUID) -> BaseResponse:
    """Send again."""
    return _switch(target_id, on=True)


@blueprint.post("/<uuid:target_id>/end")
@_manage
def end(target_id: UUID) -> BaseResponse:
    """End a target for good."""
    try:
        ended = targets.end(db_session(), guard.actor(), target_id, guard.now())
    except Conflict as refused:
        return _refused(refused)
    flash(_("The target %(name)s has ended.", name=ended.name), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:target_id>/test")
@_manage
def test(target_id: UUID) -> BaseResponse:
    """Call the target with a query that names no patient."""
    settings = guard.services().settings
    try:
        result = probe.test(db_session(), guard.actor(), settings, target_id, guard.now())
    except Conflict as refused:
        return _refused(refused)
    flash(str(probe.RESULTS[result]), "ok" if result == "answers" else "warn")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/sends/<uuid:report_send_id>/again")
@_manage
def send_again(report_send_id: UUID) -> BaseResponse:
    """Have a report sent again now."""
    try:
        overview.again(db_session(), guard.actor(), report_send_id, guard.now())
    except Conflict as refused:
        return _refused(refused)
    flash(_("It is tried again."), "ok")
    return redirect(url_for(_PAGE), 303)


def _refused(refused: Conflict) -> BaseResponse:
    flash(refused.message, "warn")
    return redirect(url_for(_PAGE), 303)


def _switch(target_id: UUID, *, on: bool) -> BaseResponse:
    try:
        targets.switch(db_session(), guard.actor(), target_id, guard.now(), on=on)
    except Conflict as refused:
        return _refused(refused)
    flash(_("The target is switched on.") if on else _("The target is switched off."), "ok")
    return redirect(url_for(_PAGE), 303)


def _stated() -> targets.Described:
    form = request.form
    try:
        team_id = UUID(form.get("team", ""))
    except ValueError:
        team_id = UUID(int=0)
    names = ("name", "host", "port", "application", "facility", "authority", "fingerprint")
    return targets.Described(
        team_id=team_id,
        accession_field=form.get("accession_field", nodes.ACCESSION_FIELDS[0]),
        charset=form.get("charset", targets.DEFAULT_CHARSET),
        **{name: form.get(name, "") for name in names},
    )


def _page(
    *, stated: targets.Described | None = None, error: Invalid | Conflict | None = None
) -> str:
    session, actor, services, now = db_session(), guard.actor(), guard.services(), guard.now()
    return render_template(
        "admin/report_targets.html",
        targets=targets.targets(session, actor),
        sends=overview.sends(session, services.vault, actor, now),
        sends_most=overview.MOST,
        stated=stated,
        error=error,
        teams=[(one.id, one.name) for one in teams.teams(session)],
        accession_fields=[(one, one) for one in nodes.ACCESSION_FIELDS],
        charsets=[(one, one) for one in messages.CHARSETS],
        default_charset=targets.DEFAULT_CHARSET,
        own_ends=targets.own_certificate_ends(services.settings),
        soon=now + targets.ENDS_SOON,
        works=scheduler_signs.report_sender_works(session),
        is_silent=scheduler_signs.report_sender_is_silent(session),
        fresh=guard.is_fresh(),
        now=now,
    )
