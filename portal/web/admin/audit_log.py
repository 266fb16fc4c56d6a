"""The access log for auditors, preceded by the alarms not seen yet: ids with their names."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal import audit
from portal.access import Permission
from portal.accounts import break_glass
from portal.audit import alarms, anchored_check
from portal.audit import export as logbook
from portal.audit import names as id_names
from portal.audit.bindings import DETAIL
from portal.errors import Conflict
from portal.languages import _, moment_text
from portal.services import db_session
from portal.studies import exams
from portal.web.clinic.emergency_access import REASONS
from portal.web.security import guard

blueprint = Blueprint("audit", __name__, url_prefix="/audit")

_PER_PAGE = 100
_LONGEST = 200
_EVENT = re.compile("[a-z0-9_]{1,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT")


@blueprint.app_template_filter("without_bound")
def without_bound(detail: str) -> str:
    """A detail without the digests of the records that the row binds; the export has them."""
    if f'"{DETAIL}"' not in detail:
        return detail
    try:
        shown = {name: value for name, value in json.loads(detail).items() if name != DETAIL}
    except (ValueError, AttributeError):  # changed from outside: shown as it is
        return detail
    return json.dumps(shown, sort_keys=True, separators=(",", ":")) if shown else ""


@blueprint.app_template_filter("alarm_value")
def alarm_value(value: Any) -> str:
    """A value of an alarm's detail as a person reads it: a time as the page's other times."""
    if isinstance(value, str) and _TIME.match(value):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return value
        return moment_text(at.astimezone(UTC), exact=True) if at.tzinfo else value
    return str(value)


@blueprint.get("")
@guard.permission(Permission.AUDIT_READ)
def log() -> str:
    """Search the log, the newest row first."""
    return _page()


@blueprint.post("/verify")
@guard.permission(Permission.AUDIT_READ)
def verify() -> str:
    """Verify the whole log against its anchors and show where it breaks."""
    settings = guard.services().settings
    return _page(checked=anchored_check.check(db_session(), settings, guard.now()))


@blueprint.post("/alarms/seen")
@guard.permission(Permission.AUDIT_READ)
def seen() -> BaseResponse:
    """Note that the alarms up to a row have been looked at."""
    up_to = request.form.get("up_to", type=int)
    if up_to is not None and 0 < up_to < 2**62:
        alarms.mark_seen(db_session(), guard.actor(), up_to, guard.now())
        flash(_("The alarms are marked as seen."), "ok")
    return redirect(url_for("audit.log"), 303)


@blueprint.post("/export")
@guard.permission(Permission.AUDIT_READ, step_up="audit.log")
def export() -> Response | tuple[str, int]:
    """The rows that the search shows, all of them, as a file."""
    guard.count_export()
    _typed, criteria, errors = _asked(request.form)
    form = request.form.get("format", "csv")
    if errors or form not in logbook.FORMATS:
        return _page(refused=_("Correct the search, then export it."), source=request.form), 422
    try:
        data, _count = logbook.export(db_session(), guard.actor(), criteria, form, guard.now())
    except Conflict as conflict:
        return _page(refused=conflict.message, source=request.form), 422
    name = f"access-log-{guard.now():%Y%m%d-%H%M%S}.{form}"
    return Response(
        data,
        content_type=f"{logbook.FORMATS[form]}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _page(
    checked: anchored_check.Checked | None = None,
    refused: str = "",
    source: Mapping[str, Any] | None = None,
) -> str:
    asked, criteria, errors = _asked(request.args if source is None else source)
    before = request.args.get("before", type=int)
    events = (
        []
        if errors
        else audit.search(
            db_session(),
            guard.actor(),
            now=guard.now(),
            criteria=criteria,
            before=before if before and 0 < before < 2**62 else None,
            limit=_PER_PAGE,
        )
    )
    unseen, how_many = alarms.unseen(db_session(), guard.actor())
    opened = [a.subject_id for a in unseen if a.event == "glass_broken" and a.subject_id]
    grants = break_glass.grants(
        db_session(), guard.services().vault, guard.actor(), guard.now(), also=opened
    )
    return render_template(
        "audit/log.html",
        alarms=unseen,
        alarm_count=how_many,
        alarm_events=alarms.ALARMS,
        explanations={grant.id: grant.explanation for grant in grants},
        open_now=[grant for grant in grants if grant.stands],
        emergency_reasons=REASONS,
        events=events,
        names=id_names.names_of(db_session(), guard.actor(), events),
        asked=asked,
        errors=errors,
        checked=checked,
        refused=refused,
        more=len(events) == _PER_PAGE,
        before=before,
        search_args={name: value or None for name, value in asked.items()},
        fresh=guard.is_fresh(),
    )


def _asked(source: Mapping[str, Any]) -> tuple[dict[str, str], audit.AuditFilter, dict[str, str]]:
    """The search as typed, as a filter, and its errors by field."""
    names = ("event", "person", "case", "subject", "since", "until")
    asked = {name: str(source.get(name, "")).strip()[:_LONGEST] for name in names}
    errors = {}
    session, actor = db_session(), guard.actor()
    actor_ids = id_names.people_meant(session, actor, asked["person"]) if asked["person"] else ()
    if asked["person"] and not actor_ids:
        errors["person"] = _("Nobody has this name, address or id.")
    subject_ids = (
        id_names.subjects_meant(session, actor, asked["subject"]) if asked["subject"] else ()
    )
    if asked["subject"] and not subject_ids:
        errors["subject"] = _("No entry is about this id, and nobody has this name.")
    study_ids = exams.ids_of_case(session, asked["case"]) if asked["case"] else ()
    if asked["case"] and not study_ids:
        errors["case"] = _("There is no case with this number or id.")
    event = asked["event"].lower().replace(" ", "_")
    if event and not _EVENT.fullmatch(event):
        errors["event"] = _("This is not an event name.")
    times = {}
    for name in ("since", "until"):
        try:
            times[name] = logbook.moment(asked[name], end=name == "until")
        except (ValueError, OverflowError):
            errors[name] = _("This is not a date.")
            times[name] = None
    criteria = audit.AuditFilter(
        event="" if "event" in errors else event,
        actor_ids=actor_ids,
        study_ids=study_ids,
        subject_ids=subject_ids,
        **times,
    )
    return asked, criteria, errors
