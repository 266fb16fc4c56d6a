"""The access log, for auditors: ids only."""

import re
from uuid import UUID

from flask import Blueprint, render_template, request

from portal import audit
from portal.access import Permission
from portal.parts import rows
from portal.web import guard

blueprint = Blueprint("audit", __name__, url_prefix="/audit")

_PER_PAGE = 100
_EVENT = re.compile("[a-z_]{1,64}")


@blueprint.get("")
@guard.permission(Permission.AUDIT_READ)
def log() -> str:
    """Search the log, the newest row first."""
    return _page()


@blueprint.post("/verify")
@guard.permission(Permission.AUDIT_READ)
def verify() -> str:
    """Check the whole chain and say where it breaks."""
    return _page(checked=audit.verify(rows()))


def _page(checked: audit.Verification | None = None) -> str:
    asked = {name: request.args.get(name, "").strip() for name in ("event", "person", "case")}
    errors = {
        name: "This is not an id."
        for name in ("person", "case")
        if asked[name] and not _id(asked[name])
    }
    event = asked["event"].lower().replace(" ", "_")
    if event and not _EVENT.fullmatch(event):
        errors["event"] = "This is not the name of an event."
    before = request.args.get("before", type=int)
    events = (
        []
        if errors
        else audit.search(
            rows(),
            guard.actor(),
            now=guard.now(),
            event=event,
            actor_id=_id(asked["person"]),
            study_id=_id(asked["case"]),
            before=before if before and 0 < before < 2**62 else None,
            limit=_PER_PAGE,
        )
    )
    return render_template(
        "audit/log.html",
        events=events,
        asked=asked,
        errors=errors,
        checked=checked,
        more=len(events) == _PER_PAGE,
        before=before,
    )


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
