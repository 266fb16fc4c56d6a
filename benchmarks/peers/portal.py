"""A running portal with exams that were analysed and a reader who is signed in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from portal.models import Role
from tests.support.portal_app import make_app, make_person, sign_in
from tests.support.running_portal import RunningPortal


@dataclass(frozen=True)
class ReadingPortal:
    """Its address, the exams in the order in which they were sent, the reader's cookie."""

    address: str
    studies: tuple[UUID, ...]
    cookie: tuple[str, str]


@contextmanager
def reading_portal(folder: Path, pictures: Sequence[bytes]) -> Iterator[ReadingPortal]:
    """All its processes, as in production on SQLite, until the end of the block."""
    with RunningPortal(folder) as running:
        for queue in ("render", "segment"):
            running.start_worker(queue)
        app = make_app(running.settings)
        reader = make_person(app, Role.READER, team="Test", name="Rita Reader")
        name = app.config["SESSION_COOKIE_NAME"]
        cookie = sign_in(app, reader).get_cookie(name)
        assert cookie is not None
        studies = [running.submit(data, f"{at}.dcm") for at, data in enumerate(pictures)]
        running.wait("all are analysed", lambda: running.settled(studies), 300)
        assert not running.failures(), running.failures()
        yield ReadingPortal(running.address, tuple(studies), (name, cookie.value))
