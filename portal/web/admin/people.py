"""People and jobs, for administrators. No page here shows anything about a patient."""

from functools import partial
from typing import Any, Final
from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal import database
from portal.access import Permission
from portal.accounts import invitations, people, sessions, teams
from portal.accounts.role_names import ROLES
from portal.errors import Invalid
from portal.formats.refusals import REASONS
from portal.governance import clock, integrity_state, scheduler_signs
from portal.jobs import claims, overview, sweeper, worker_tokens
from portal.languages import _, lazy, ngettext
from portal.models import Invitation, InvitationPurpose, Role, db
from portal.performance import drift
from portal.services import db_session
from portal.web.admin.names import TABLES, named
from portal.web.present import wording
from portal.web.present.drift import board_view
from portal.web.security import guard
from portal.web.security.errors import Problem
from worker.contract.error_codes import ErrorCode

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
for _name, _table in TABLES.items():
    blueprint.add_app_template_filter(partial(named, _table), _name)

_REASONS: Final[dict[str, str]] = {
    ErrorCode.GAVE_UP: lazy("Failed at every allowed attempt. Check the worker's log."),
    ErrorCode.TIMEOUT: lazy("Exceeded the time limit of a job."),
    ErrorCode.OUT_OF_MEMORY: lazy("The worker ran out of memory."),
    ErrorCode.DECODER_LOST: lazy("The decoding process crashed on this picture."),
    ErrorCode.ENGINE_LOST: lazy(
        "The process that runs the model ended; it restarts automatically."
    ),
    ErrorCode.ENGINE_FAILED: lazy("The model failed on this picture. Check the worker's log."),
    ErrorCode.LEASE_EXPIRED: lazy("The worker stopped responding during the job."),
    ErrorCode.PORTAL_UNREACHABLE: lazy("The worker could not reach the portal."),
    ErrorCode.PORTAL_BROKEN: lazy("The portal answered the worker with errors."),
    ErrorCode.INPUT_REFUSED: lazy("The worker could not read the picture from the portal."),
    ErrorCode.RESULT_REFUSED: lazy("The portal rejected the worker's result."),
    ErrorCode.WORKER_TOO_OLD: lazy(
        "The worker does not store all files that this portal requires: "
        "update the workers, then try it again."
    ),
    ErrorCode.FACTS_MISSING: lazy("The picture's metadata was missing."),
    ErrorCode.PIXELS_DO_NOT_FIT: lazy("The prepared pixels do not match the picture's metadata."),
    ErrorCode.OUTLINE_DOES_NOT_FIT: lazy("The reader's outline does not match its picture."),
    ErrorCode.MODEL_MISSING: lazy(
        "The worker does not have the promoted model and could not fetch it. "
        "Copy it to one of the worker's model folders, or check the worker's log."
    ),
    ErrorCode.MODEL_TAMPERED: lazy(
        "The worker's files of the promoted model do not match its card."
    ),
    ErrorCode.MODEL_UNCLEAR: lazy(
        "The worker could not identify the requested model; it may be too old."
    ),
    ErrorCode.OBJECTS_REFUSED: lazy(
        "The header of the picture's file lacks what DICOM objects must refer to, or can't be read."
    ),
    ErrorCode.OBJECTS_LIMIT: lazy("Making the DICOM objects took too much memory or time."),
    ErrorCode.OBJECTS_UNAVAILABLE: lazy(
        "The worker lacks the package highdicom, which makes DICOM objects: install the worker's "
        "packages, then try it again."
    ),
    ErrorCode.WRONG_QUEUE: lazy("The job was sent to the wrong kind of worker."),
    ErrorCode.TOO_LARGE: lazy("The picture has more pixels than are accepted."),
    ErrorCode.UNEXPECTED: lazy("Unexpected error. Check the worker's log."),
}
_PEOPLE = "admin.people_page"
_manage = guard.permission(Permission.PEOPLE_MANAGE, step_up=_PEOPLE)


@blueprint.get("/people")
@guard.permission(Permission.PEOPLE_MANAGE)
def people_page() -> str:
    """All people, and the open invitations."""
    return _people_page()


@blueprint.post("/people")
@_manage
def invite() -> str | tuple[str, int]:
    """Invite a person and show the link once."""
    form = {name: request.form.get(name, "") for name in ("name", "email", "role", "team")}
    role = _role(form["role"])
    if role is None:
        return _people_page(form=form, errors={"role": _("Choose a role.")}), 422
    try:
        invitation, token = invitations.invite(
            db_session(),
            guard.actor(),
            name=form["name"],
            email=form["email"],
            role=role,
            team=form["team"],
            now=guard.now(),
        )
    except Invalid as bad:
        return _people_page(form=form, errors={bad.code: bad.message}), 422
    return _people_page(made=_made(invitation, token))


@blueprint.post("/people/<uuid:user_id>/role")
@_manage
def set_role(user_id: UUID) -> BaseResponse | tuple[str, int]:
    """Change a person's role."""
    role = _role(request.form.get("role", ""))
    if role is None:
        raise Problem(422, "role", _("Choose one of the roles."))
    try:
        user, changed = people.set_role(db_session(), guard.actor(), user_id, role, guard.now())
    except Invalid as bad:
        return _refused(bad)
    if not changed:
        return _done(
            _(
                "%(name)s already has the role %(role)s: nothing was changed.",
                name=user.name,
                role=ROLES[role],
            )
        )
    return _done(
        _(
            "%(name)s now has the role %(role)s and has to sign in again.",
            name=user.name,
            role=ROLES[role],
        )
    )


@blueprint.post("/people/<uuid:user_id>/team")
@_manage
def move(user_id: UUID) -> BaseResponse | tuple[str, int]:
    """Move a person to another team."""
    team_id = request.form.get("team", type=UUID)
    if team_id is None:
        raise Problem(422, "team", _("Choose one of the teams."))
    try:
        user, changed = people.move(db_session(), guard.actor(), user_id, team_id, guard.now())
    except Invalid as bad:
        return _refused(bad)
    if not changed:
        return _done(
            _(
                "%(name)s already belongs to %(team)s: nothing was changed.",
                name=user.name,
                team=user.team.name,
            )
        )
    return _done(
        _(
            "%(name)s now belongs to %(team)s and has to sign in again.",
            name=user.name,
            team=user.team.name,
        )
    )


@blueprint.post("/people/<uuid:user_id>/disable")
@_manage
def disable(user_id: UUID) -> BaseResponse | tuple[str, int]:
    """Disable a person; sessions and tokens end at once."""
    try:
        user = people.disable(db_session(), guard.actor(), user_id, guard.now())
    except Invalid as bad:
        return _refused(bad)
    return _done(_("%(name)s is disabled. Sessions and tokens have ended.", name=user.name))


@blueprint.post("/people/<uuid:user_id>/enable")
@_manage
def enable(user_id: UUID) -> BaseResponse | tuple[str, int]:
    """Enable a person again."""
    try:
        user = people.enable(db_session(), guard.actor(), user_id, guard.now())
    except Invalid as bad:
        return _refused(bad)
    return _done(_("%(name)s is enabled and can sign in again.", name=user.name))


@blueprint.post("/people/<uuid:user_id>/reset-factor")
@_manage
def reset_factor(user_id: UUID) -> str | tuple[str, int]:
    """Remove password and second factor and show a link to set new ones."""
    try:
        invitation, token = people.reset_factor(db_session(), guard.actor(), user_id, guard.now())
    except Invalid as bad:
        return _refused(bad)
    return _people_page(made=_made(invitation, token))


@blueprint.post("/people/<uuid:user_id>/end-sessions")
@_manage
def end_sessions(user_id: UUID) -> BaseResponse:
    """End all sessions of a person."""
    count = people.end_sessions_of(db_session(), guard.actor(), user_id, guard.now())
    return _done(ngettext("One session has ended.", "%(num)s sessions have ended.", count))


@blueprint.post("/invitations/<uuid:invitation_id>/withdraw")
@_manage
def withdraw(invitation_id: UUID) -> BaseResponse | tuple[str, int]:
    """Withdraw a link that was sent."""
    try:
        invitations.withdraw_invitation(db_session(), guard.actor(), invitation_id, guard.now())
    except Invalid as bad:
        return _refused(bad)
    return _done(_("The link no longer works."))


@blueprint.get("/jobs")
@guard.permission(Permission.JOBS_MANAGE)
def jobs_page() -> str:
    """Queues, workers and failed jobs."""
    board = overview.board(db_session())
    present = {worker.queue for worker in board.workers if worker.is_present}
    return render_template(
        "admin/jobs.html",
        board=board,
        missing=[queue for queue in worker_tokens.QUEUES if queue not in present],
        tokens=worker_tokens.working(db_session(), guard.now()),
        clock=clock.look(db_session(), guard.now()),
        checked=integrity_state.last(db_session()),
        silent=scheduler_signs.silent(db_session()),
        checks_pages=database.checks_its_pages(db.engine),
        shared=guard.services().settings.shared_worker_token,
        drift_alarms=board_view.alarms(drift.alarms(db_session(), guard.now())),
        redis_answers=guard.services().redis_answers(),
        reason=_reason,
    )


@blueprint.post("/jobs/<uuid:job_id>/retry")
@guard.permission(Permission.JOBS_MANAGE)
def retry(job_id: UUID) -> BaseResponse:
    """Queue a failed job again."""
    claims.retry(db_session(), guard.actor(), job_id, guard.now())
    sweeper.notify(db_session(), guard.services().broker, job_id)
    flash(_("The job is queued again."), "ok")
    return redirect(url_for("admin.jobs_page"), 303)


@blueprint.post("/workers/<uuid:worker_token_id>/revoke")
@guard.permission(Permission.JOBS_MANAGE, step_up="admin.jobs_page")
def revoke_worker(worker_token_id: UUID) -> BaseResponse:
    """End a worker's token, and what the worker is doing."""
    token = worker_tokens.revoke(db_session(), guard.actor(), worker_token_id, guard.now())
    flash(_("The token of %(name)s no longer works.", name=token.name), "ok")
    return redirect(url_for("admin.jobs_page"), 303)


def _people_page(
    *,
    form: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
    made: dict[str, Any] | None = None,
) -> str:
    known = teams.teams(db_session())
    return render_template(
        "admin/people.html",
        everybody=people.people(db_session()),
        live=sessions.live_sessions(
            db_session(), guard.now(), idle=guard.services().settings.session_idle
        ),
        waiting=invitations.waiting_invitations(db_session(), guard.now()),
        role_options=[(role.value, str(name)) for role, name in ROLES.items()],
        team_options=[(team.id, team.name) for team in known],
        team_names=[(team.name, team.name) for team in known],
        teams=known,
        form=form or {},
        errors=errors or {},
        made=made,
        fresh=guard.is_fresh(),
        chosen=request.args.get("change", type=UUID),
    )


def _made(invitation: Invitation, token: str) -> dict[str, Any]:
    """The new link for the page, the only time it is shown."""
    return {
        "link": guard.services().settings.base_url + url_for("auth.join", token=token),
        "name": invitation.name,
        "expires": invitation.expires,
        "reset": invitation.purpose is InvitationPurpose.RESET,
    }


def _reason(code: str | None) -> str:
    """Why a job failed, for administrators."""
    refused = REASONS.get(code or "")
    if refused is not None and "{" not in refused:
        return str(refused)
    return str(_REASONS.get(code or "", wording.failure(code)))


def _role(text: str) -> Role | None:
    return Role(text) if text in set(Role) else None


def _done(message: str) -> BaseResponse:
    flash(message, "ok")
    return redirect(url_for(_PEOPLE), 303)


def _refused(bad: Invalid) -> tuple[str, int]:
    return _people_page(errors={"page": bad.message}), 422
