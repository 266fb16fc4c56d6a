"""Large bodies: read only after the guard has checked who sends them.

The server (`portal.server`) calls the portal twice for a large body. At first nothing of it has
been read: the key CHECK_ONLY is in the request's environment, and the guard answers for the view.
Where it sets BODY_LIMIT, so many bytes may follow; otherwise its answer is the client's.
"""

from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from portal.settings import Settings
from portal.web.security.rules import Rule

CHECK_ONLY = "portal.check_only"
# In the environment of the second call: how many bytes were announced, or -1.
CHECKED = "portal.checked"
BODY_LIMIT = "portal.body_limit"
_FORM_AROUND_A_FILE = 64 * 1024


def largest_upload(settings: Settings) -> int:
    """The most bytes that a request with a file may have."""
    return max(settings.max_upload_bytes, settings.max_archive_bytes) + _FORM_AROUND_A_FILE


def admit_body(rule: Rule) -> Response:
    """Let the body of this request follow, whose sender the guard has checked by the rule.

    A view for everybody gets no large body: the server would hold in memory what anybody sends.
    """
    if rule.who == "worker" and rule.admit is not None:
        rule.admit(**(request.view_args or {}))
    elif rule.who not in ("program", "person"):
        raise RequestEntityTooLarge
    if (request.content_length or 0) > (request.max_content_length or 0):
        raise RequestEntityTooLarge
    request.environ[BODY_LIMIT] = request.max_content_length
    return Response(status=204)
