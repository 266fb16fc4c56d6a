"""The stream of a reader's open worklist: what changes in it, sent as it happens.

Server-sent events: the view is done at once, what follows is sent by the server's event loop, and
one thread of the process looks for all streams (`reading.lists.feed`). Who sends pictures and
reads none has no stream: their pages ask for themselves.
"""

import asyncio
import functools
import json
from collections.abc import AsyncGenerator
from datetime import datetime
from threading import Lock
from typing import Any, Final

from flask import Blueprint, Flask, Response, current_app, request
from jinja2 import Environment

from portal import database, languages
from portal.access import Permission
from portal.models import db
from portal.reading.lists.feed import Feed, OpenList, Update
from portal.web.event_stream import event_stream
from portal.web.present import list_arrivals, list_rows
from portal.web.present.informing import critical_view
from portal.web.present.list_rows import RowStatus
from portal.web.security import guard

blueprint = Blueprint("list_events", __name__, url_prefix="/worklist")

_FEED: Final = "pleura_feed"
# A line that clients ignore, so that a stream whose client has gone is noticed.
_SILENCE: Final = 15.0
_making = Lock()


@blueprint.get("/events")
@guard.permission(Permission.REVIEW_WRITE, background=True)
def events() -> Response:
    """What changes in the exams `ids`, and what has arrived that the page does not know."""
    feed, app, actor = _feed(), _app(), guard.actor()
    clock, language = guard.services().clock, languages.current()
    ids = frozenset(list_rows.ids_of(request.args.get("ids", "")))
    since, known = list_arrivals.parse(request.args.get("known", ""), guard.now())

    async def stream() -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue()

        def send(update: Update | None) -> None:
            with languages.speaking(language):  # in the thread of the feed
                message = None if update is None else _message(app.jinja_env, update, clock())
            loop.call_soon_threadsafe(waiting.put_nowait, message)

        opened = OpenList(actor, ids, since, known, send)
        feed.join(opened)
        try:
            yield b"retry: 5000\n\n"
            while True:
                try:
                    message = await asyncio.wait_for(waiting.get(), _SILENCE)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if message is None:  # the person's session is over: asking again would be refused
                    yield b"event: ended\ndata: session\n\n"
                    return
                yield message
        finally:
            feed.leave(opened)

    return event_stream(stream)


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]


def _feed() -> Feed:
    """The one of this process, made for its first stream."""
    app, services = _app(), guard.services()
    with _making:
        if _FEED not in app.extensions:
            app.extensions[_FEED] = Feed(
                database.sessions(db.engine),
                services.shown,
                services.clock,
                services.settings.session_idle,
            )
        found: Feed = app.extensions[_FEED]
    return found


def _message(templates: Environment, update: Update, now: datetime) -> bytes:
    rows: dict[str, Any] = {
        str(study_id): list_rows.live_row(
            study_id, row, functools.partial(_cells, templates, languages.current())
        )
        for study_id, row in update.rows.items()
    }
    counts = templates.get_template("worklist/counts.html").render(counts=update.counts)
    critical = templates.get_template("worklist/critical.html").render(
        strip=update.critical, now=now, **critical_view.TEXTS
    )
    body = json.dumps(
        {
            "rows": rows,
            "counts": counts,
            "critical": critical,
            "arrived": update.arrived,
            "positive": update.counts.positive,
        }
    )
    return f"data: {body}\n\n".encode()


@functools.lru_cache(maxsize=500)
def _cells(templates: Environment, _language: str, status: RowStatus) -> str:
    return templates.get_template("worklist/live_cells.html").render(status=status)
