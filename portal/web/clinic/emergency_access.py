"""Emergency access: opening one case that is not one's own, with a reason, and closing it again."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.accounts import break_glass
from portal.errors import Invalid
from portal.languages import _, lazy
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("emergency", __name__, url_prefix="/emergency")

REASONS = {
    "emergency": lazy("Patient emergency"),
    "second_opinion": lazy("Second opinion requested"),
    "incident": lazy("Incident or complaint"),
    "fault": lazy("Technical fault with this case"),
}
_PAGE = "emergency.page"


@blueprint.get("")
@guard.permission(Permission.BREAK_GLASS)
def page() -> str:
    """The form, and the cases that are open."""
    return _page()


@blueprint.post("")
@guard.permission(Permission.BREAK_GLASS, step_up=_PAGE)
def open_case() -> BaseResponse | tuple[str, int]:
    """Open one case for a limited time; auditors get an alarm."""
    form = {name: request.form.get(name, "") for name in ("case", "reason", "explanation")}
    services = guard.services()
    try:
        study_id = break_glass.open_case(
            db_session(),
            services.vault,
            services.throttle,
            guard.actor(),
            **form,
            now=guard.now(),
            lifetime=services.settings.break_glass,
        )
    except Invalid as bad:
        return _page(form, {bad.code: bad.message}), 422
    return redirect(f"/studies/{study_id}", 303)


@blueprint.post("/<uuid:grant_id>/end")
@guard.permission(Permission.SELF)
def end(grant_id: UUID) -> BaseResponse:
    """Close a case again: one's own, or anyone's for auditors and admins."""
    break_glass.end(db_session(), guard.actor(), grant_id, guard.now())
    flash(_("The case is closed again."), "ok")
    watches = guard.actor().may(Permission.AUDIT_READ)
    return redirect(url_for("audit.log" if watches else _PAGE), 303)


def _page(form: dict[str, str] | None = None, errors: dict[str, str] | None = None) -> str:
    return render_template(
        "emergency/emergency.html",
        form=form or {},
        errors=errors or {},
        reasons=list(REASONS.items()),
        minutes=guard.services().settings.break_glass_minutes,
        grants=break_glass.grants(db_session(), guard.services().vault, guard.actor(), guard.now()),
        fresh=guard.is_fresh(),
    )
