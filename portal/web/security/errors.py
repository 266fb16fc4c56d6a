"""Error pages and problem documents.

People get a page with the next step, programs (`/api`, `/worker` and fetch) an RFC 9457 problem
document. Neither contains the text of an exception. `error_id` is the request's id, as in the log.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, g, json, render_template, request
from flask.globals import request_ctx
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError

from portal import database
from portal.accounts.sessions import SignedOut
from portal.accounts.throttle import Throttled
from portal.errors import Conflict, Invalid
from portal.formats.limited_work import Busy
from portal.formats.refusals import Refused
from portal.languages import _, lazy, ngettext
from portal.quotas import QuotaReached
from portal.services import (
    DAMAGED,
    DATABASE_ERROR,
    DISK_FULL,
    INVALID_VALUE,
    UNAVAILABLE,
    db_session,
)

PROBLEM_TYPE = "application/problem+json"
DICOMWEB = "/dicomweb/"
# Paths that only programs ask for.
FOR_PROGRAMS = ("/api/", "/worker/", DICOMWEB)


class Problem(Exception):
    """A request that is answered with an error. `detail` is written for people, as is `title`,
    which replaces that of the code. `more`: further members of the document, for programs.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str = "",
        *,
        retry_after: int | None = None,
        title: str = "",
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        self.title = title
        self.more = more or {}


@dataclass(frozen=True)
class ErrorText:
    """The text of an error page: what happened and what to do next."""

    title: str
    text: str
    link: tuple[str, str] = ("/", lazy("Start page"))


_SIGN_IN = ("/sign-in", lazy("Sign in"))
_BY_STATUS = {
    400: ErrorText(lazy("Bad request"), lazy("Go back, reload the page and try again.")),
    401: ErrorText(lazy("Sign in first"), lazy("You have to be signed in for this."), _SIGN_IN),
    403: ErrorText(
        lazy("Not allowed for your role"),
        lazy("If you need this for your work, ask your Pleura administrator."),
    ),
    404: ErrorText(
        lazy("Page not found"),
        lazy("It does not exist, or you do not have access to it. Check the address."),
    ),
    405: ErrorText(lazy("Not possible here"), lazy("Go to the start page and try again.")),
    409: ErrorText(
        lazy("It has been changed in the meantime"),
        lazy("Reload the page to see the current state."),
    ),
    413: ErrorText(
        lazy("File too large"), lazy("The file is larger than the limit. Nothing was stored.")
    ),
    415: ErrorText(
        lazy("Unsupported file type"),
        lazy("Pleura accepts chest X-rays as DICOM, PNG or JPEG. Nothing was stored."),
    ),
    422: ErrorText(lazy("Invalid input"), lazy("Check what you entered and try again.")),
    429: ErrorText(lazy("Too many tries"), lazy("Wait a little, then try again.")),
    500: ErrorText(
        lazy("Internal error"),
        lazy(
            "The error has been logged. Try again; if it happens again, report the number below to "
            "your administrator."
        ),
    ),
    503: ErrorText(
        lazy("Pleura is not available at the moment"),
        lazy(
            "A part of it is busy or does not answer. Nothing was lost. Try again in a minute; "
            "until then read unaided."
        ),
    ),
    507: ErrorText(
        lazy("The disk is full"),
        lazy(
            "Nothing of the file was stored. Inform your administrator, and read unaided until "
            "then."
        ),
    ),
}
_BY_CODE = {
    "purged": ErrorText(
        lazy("This exam was purged"),
        lazy(
            "It was destroyed with its pictures, results and reports, by an administrator or "
            "because the time for which exams are kept is over. It cannot be restored."
        ),
    ),
    "damaged": ErrorText(
        lazy("A stored record or file is damaged"),
        lazy(
            "It cannot be read or decrypted and is not shown; nothing was changed. Report the "
            "number below to your administrator, and read the original picture unaided."
        ),
    ),
    "quota": ErrorText(lazy("Too much in a short time"), lazy("Wait a little, then try again.")),
    "busy": ErrorText(
        lazy("Others wait for the same"),
        lazy(
            "Pictures are drawn and exports are made one after the other. Nothing was lost. Try "
            "again in half a minute."
        ),
    ),
    "sso_away": ErrorText(
        lazy("Hospital sign-in not available"),
        lazy(
            "Your hospital’s sign-in service could not be reached. If you have a password of "
            "Pleura, sign in with it; otherwise try again in a moment."
        ),
        _SIGN_IN,
    ),
    "csrf": ErrorText(
        lazy("This form has expired"),
        lazy(
            "It was opened before you signed in, or in another window. Go back, reload the page "
            "and send it again."
        ),
    ),
    "signed_out": ErrorText(
        lazy("You are signed out"), lazy("Sign in again, then repeat the action."), _SIGN_IN
    ),
    "second_factor": ErrorText(
        lazy("Sign-in is not complete"), lazy("Finish signing in first."), _SIGN_IN
    ),
    "confirm": ErrorText(
        lazy("Confirm your identity"),
        lazy("For this you must have entered password and code within the last ten minutes."),
        ("/confirm", lazy("Confirm")),
    ),
    "link": ErrorText(
        lazy("This link is no longer valid"),
        lazy("It works once and for a limited time. Ask for a new one."),
        _SIGN_IN,
    ),
    "exam_link": ErrorText(
        lazy("This link into an exam has ended"),
        lazy("It holds for a limited time. Open the exam from your PACS or RIS again."),
    ),
    # What programs alone are told stays in English.
    "token": ErrorText("The token is missing or invalid", "Send `Authorization: Bearer plr_…`."),
    "worker_token": ErrorText(
        "The worker token is invalid",
        "Create one with `python -m portal worker-token create`.",
    ),
    "ticket": ErrorText("The ticket is not valid for this job", "Claim the job to get one."),
    "scope": ErrorText("Missing scope", "The token does not have the scope for this operation."),
}


_NOTHING_THERE = "It does not exist, or the token may not read it."
_REFUSED = {
    "too_large": 413,
    "archive_too_large": 413,
    "not_an_image": 415,
    "disguised": 415,
    "unsupported_modality": 415,
    "unsupported_transfer_syntax": 415,
    "unsupported_photometric": 415,
}


def wants_problem() -> bool:
    """Whether a program rather than a person gets the answer.

    So does who sends a Host that is no host: a page could name no address.
    """
    if request_ctx.url_adapter is None:
        return True
    if request.path.startswith(FOR_PROGRAMS):
        return True
    offered = ["text/html", "application/json", PROBLEM_TYPE]
    return request.accept_mimetypes.best_match(offered, default="text/html") != "text/html"


def answer(problem: Problem) -> Response:
    """The problem as a page or as a problem document."""
    text = _BY_CODE.get(problem.code) or _BY_STATUS.get(problem.status) or _BY_STATUS[500]
    if problem.title:  # also where the code is that of another kind of problem
        text = ErrorText(problem.title, lazy("Nothing was stored."))
    error_id = g.get("request_id", "")
    if request_ctx.url_adapter is not None and request.path.startswith(DICOMWEB):
        response = _in_plain_text(problem, text)
    elif wants_problem():
        body = {
            **problem.more,
            "type": "about:blank",
            "title": str(text.title),
            "status": problem.status,
            "detail": str(problem.detail or text.text),
            "code": problem.code,
            "error_id": error_id,
        }
        response = Response(json.dumps(body), problem.status, content_type=PROBLEM_TYPE)
    else:
        page = render_template(
            "error/page.html",
            page=text,
            detail=problem.detail,
            status=problem.status,
            error_id=error_id,
        )
        response = Response(page, problem.status, content_type="text/html; charset=utf-8")
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def _in_plain_text(problem: Problem, text: ErrorText) -> Response:
    """As PS3.18 8.5 has it: a status and a short text, which names nothing that was sent.

    It knows no 422: what can't be understood is a bad request.
    """
    status = 400 if problem.status == 422 else problem.status
    detail = problem.detail or (text.text if problem.status != 404 else _NOTHING_THERE)
    number = f" ({g.get('request_id', '')})" if status >= 500 else ""
    return Response(f"{detail}{number}\n", status, content_type="text/plain; charset=utf-8")


def install(app: Flask) -> None:
    """Answer every kind of failure."""
    app.register_error_handler(Problem, answer)
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(Conflict, lambda e: answer(Problem(409, e.code, e.message)))
    app.register_error_handler(Invalid, lambda e: answer(Problem(422, e.code, e.message)))
    app.register_error_handler(DISK_FULL, _disk_full)
    app.register_error_handler(DAMAGED, _damaged)
    app.register_error_handler(DATABASE_ERROR, _database_error)
    app.register_error_handler(INVALID_VALUE, _invalid_value)
    app.register_error_handler(Throttled, _throttled)
    app.register_error_handler(QuotaReached, _quota_reached)
    app.register_error_handler(Busy, _busy)
    app.register_error_handler(SignedOut, lambda _error: answer(Problem(401, "signed_out")))
    app.register_error_handler(CSRFError, lambda _error: answer(Problem(400, "csrf")))
    app.register_error_handler(HTTPException, _http)
    for kind in UNAVAILABLE:
        app.register_error_handler(kind, _unavailable)
    app.register_error_handler(Exception, _broken)
    app.register_error_handler(InternalServerError, _broken_twice)
    # Flask's own way names the path of the request, and a link to join is a secret.
    app.log_exception = _log_exception  # type: ignore[method-assign]


def _refused(refused: Refused) -> Response:
    status = _REFUSED.get(refused.code, 422)
    title = "" if status in (413, 415) else _("The file that was sent is not accepted")
    return answer(Problem(status, refused.code, refused.message, title=title))


def _throttled(throttled: Throttled) -> Response:
    detail = _("Try again %(when)s.", when=waiting(throttled))
    return answer(Problem(429, "throttled", detail, retry_after=throttled.seconds))


def _quota_reached(reached: QuotaReached) -> Response:
    detail = f"{reached.text} " + _(
        "Nothing was stored. Try again %(when)s.", when=waiting(reached)
    )
    return answer(Problem(429, "quota", detail, retry_after=reached.seconds))


def waiting(throttled: Throttled) -> str:
    """How long to wait, as a text."""
    wait = throttled.seconds
    if wait < 90:
        return ngettext("in %(num)s second", "in %(num)s seconds", wait)
    return _("in %(count)s minutes", count=round(wait / 60))


def _http(error: HTTPException) -> Any:
    if error.code is None or error.code < 400:
        return error  # a redirect of the router
    try:
        name = HTTPStatus(error.code).name.lower()
    except ValueError:
        name = "http_error"
    response = answer(Problem(error.code, name))
    for header in ("Allow", "Retry-After"):
        value = error.get_response().headers.get(header)
        if value:
            response.headers[header] = value
    return response


def _invalid_value(error: Exception) -> Response:
    current_app.logger.warning("unfit", exc_info=error)
    _let_go_of_rows()
    return answer(
        Problem(422, "unfit", _("It contains a character or a number that cannot be stored."))
    )


def _disk_full(error: Exception) -> Response:
    current_app.logger.error("no room", exc_info=error)
    return answer(Problem(507, "no_room"))


def _damaged(error: Exception) -> Response:
    current_app.logger.error("damaged", exc_info=error)
    return answer(Problem(503, "damaged"))


def _database_error(error: Exception) -> Response:
    if not database.is_damage(error):
        return _broken(error)
    _let_go_of_rows()
    return _damaged(error)


def _unavailable(error: Exception) -> Response:
    current_app.logger.error("unavailable", exc_info=error)
    _let_go_of_rows()
    return answer(Problem(503, "unavailable", retry_after=30))


def _busy(_error: Exception) -> Response:
    current_app.logger.warning("busy")
    return answer(Problem(503, "busy", retry_after=30))


def _broken(error: Exception) -> Response:
    current_app.logger.error("unhandled", exc_info=error)
    _let_go_of_rows()
    return answer(Problem(500, "internal_error"))


def _broken_twice(error: InternalServerError) -> Any:
    """A handler itself has failed: the answer is about its error, not the first one."""
    cause = error.original_exception
    if isinstance(cause, UNAVAILABLE):
        return _unavailable(cause)
    return _broken(cause) if isinstance(cause, Exception) else _http(error)


def _log_exception(exc_info: Any) -> None:
    current_app.logger.error("unhandled", exc_info=exc_info)


def _let_go_of_rows() -> None:
    """Make the answer without the database: after a failure the person may not be readable.

    What failed is rolled back first, or the next to ask for a row would fail by it again.
    """
    g.database_away = True
    for row in ("user", "login"):  # g.actor is no row: it decides where the page leads
        g.pop(row, None)
    try:
        db_session().rollback()
    except UNAVAILABLE:
        db_session().invalidate()
