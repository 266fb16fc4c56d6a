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
    link: tuple[str, str] = ("/", "Start page")


_SIGN_IN = ("/sign-in", "Sign in")
_BY_STATUS = {
    400: ErrorText("Bad request", "Go back, reload the page and try again."),
    401: ErrorText("Sign in first", "You have to be signed in for this.", _SIGN_IN),
    403: ErrorText(
        "Not allowed for your role",
        "If you need this for your work, ask your Pleura administrator.",
    ),
    404: ErrorText(
        "Page not found",
        "It does not exist, or you do not have access to it. Check the address.",
    ),
    405: ErrorText("Not possible here", "Go to the start page and try again."),
    409: ErrorText(
        "It has been changed in the meantime",
        "Reload the page to see the current state.",
    ),
    413: ErrorText("File too large", "The file is larger than the limit. Nothing was stored."),
    415: ErrorText(
        "Unsupported file type",
        "Pleura accepts chest X-rays as DICOM, PNG or JPEG. Nothing was stored.",
    ),
    422: ErrorText("Invalid input", "Check what you entered and try again."),
    429: ErrorText("Too many tries", "Wait a little, then try again."),
    500: ErrorText(
        "Internal error",
        "The error has been logged. Try again; if it happens again, report the number below to "
        "your administrator.",
    ),
    503: ErrorText(
        "Pleura is not available at the moment",
        "A part of it is busy or does not answer. Nothing was lost. Try again in a minute; until "
        "then read unaided.",
    ),
    507: ErrorText(
        "The disk is full",
        "Nothing of the file was stored. Inform your administrator, and read unaided until then.",
    ),
}
_BY_CODE = {
    "damaged": ErrorText(
        "A stored record or file is damaged",
        "It cannot be read or decrypted and is not shown; nothing was changed. Report the number "
        "below to your administrator, and read the original picture unaided.",
    ),
    "quota": ErrorText("Too much in a short time", "Wait a little, then try again."),
    "busy": ErrorText(
        "Others wait for the same",
        "Pictures are drawn and exports are made one after the other. Nothing was lost. Try again "
        "in half a minute.",
    ),
    "sso_away": ErrorText(
        "Hospital sign-in not available",
        "Your hospital’s sign-in service could not be reached. If you have a password of Pleura, "
        "sign in with it; otherwise try again in a moment.",
        _SIGN_IN,
    ),
    "csrf": ErrorText(
        "This form has expired",
        "It was opened before you signed in, or in another window. Go back, reload the page and "
        "send it again.",
    ),
    "signed_out": ErrorText(
        "You are signed out", "Sign in again, then repeat the action.", _SIGN_IN
    ),
    "second_factor": ErrorText("Sign-in is not complete", "Finish signing in first.", _SIGN_IN),
    "confirm": ErrorText(
        "Confirm your identity",
        "For this you must have entered password and code within the last ten minutes.",
        ("/confirm", "Confirm"),
    ),
    "link": ErrorText(
        "This link is no longer valid",
        "It works once and for a limited time. Ask for a new one.",
        _SIGN_IN,
    ),
    "token": ErrorText("The token is missing or invalid", "Send `Authorization: Bearer plr_…`."),
    "worker_token": ErrorText(
        "The worker token is invalid",
        "Create one with `python -m portal worker-token create`.",
    ),
    "ticket": ErrorText("The ticket is not valid for this job", "Claim the job to get one."),
    "scope": ErrorText("Missing scope", "The token does not have the scope for this operation."),
}


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
    if request.path.startswith(("/api/", "/worker/")):
        return True
    offered = ["text/html", "application/json", PROBLEM_TYPE]
    return request.accept_mimetypes.best_match(offered, default="text/html") != "text/html"


def answer(problem: Problem) -> Response:
    """The problem as a page or as a problem document."""
    text = _BY_CODE.get(problem.code) or _BY_STATUS.get(problem.status) or _BY_STATUS[500]
    if problem.title:  # also where the code is that of another kind of problem
        text = ErrorText(problem.title, "Nothing was stored.")
    error_id = g.get("request_id", "")
    if wants_problem():
        body = {
            **problem.more,
            "type": "about:blank",
            "title": text.title,
            "status": problem.status,
            "detail": problem.detail or text.text,
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
    title = "" if status in (413, 415) else "The file that was sent is not accepted"
    return answer(Problem(status, refused.code, refused.message, title=title))


def _throttled(throttled: Throttled) -> Response:
    detail = f"Try again {waiting(throttled)}."
    return answer(Problem(429, "throttled", detail, retry_after=throttled.seconds))


def _quota_reached(reached: QuotaReached) -> Response:
    detail = f"{reached.text} Nothing was stored. Try again {waiting(reached)}."
    return answer(Problem(429, "quota", detail, retry_after=reached.seconds))


def waiting(throttled: Throttled) -> str:
    """How long to wait, as a text."""
    wait = throttled.seconds
    return f"in {wait} seconds" if wait < 90 else f"in {round(wait / 60)} minutes"


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
        Problem(422, "unfit", "It contains a character or a number that cannot be stored.")
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
