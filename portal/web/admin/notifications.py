"""Notifications of critical findings for administrators: what was sent, what was given up."""

from typing import Final
from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.exchange import sent_messages
from portal.languages import _, lazy
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("notifications", __name__, url_prefix="/admin/notifications")

_EVENTS: Final = {
    "critical_opened": lazy("opened"),
    "critical_passed_on": lazy("next on the rota asked"),
    "critical_unanswered": lazy("rota without an answer"),
    "critical_closed": lazy("somebody informed"),
    "critical_withdrawn": lazy("withdrawn"),
}


@blueprint.get("")
@guard.permission(Permission.JOBS_MANAGE)
def page() -> str:
    """The newest notifications and what became of them."""
    settings = guard.services().settings
    return render_template(
        "admin/notifications.html",
        messages=sent_messages.messages(db_session(), guard.actor()),
        events=_EVENTS,
        mail=settings.smtp.host if settings.smtp else "",
        has_webhook=settings.webhook is not None,
        most=sent_messages.MOST,
    )


@blueprint.post("/<uuid:notification_id>/retry")
@guard.permission(Permission.JOBS_MANAGE)
def retry(notification_id: UUID) -> BaseResponse:
    """Try one that was given up once more."""
    sent_messages.retry(db_session(), guard.actor(), notification_id, guard.now())
    flash(_("It is sent again within seconds."), "ok")
    return redirect(url_for(".page"), 303)
