"""Faults while an outline is drawn: no stroke is lost, and none is overwritten by another reader.

A real browser draws on a case of a portal that is served by gunicorn as in production. A round is
one of these: two readers take over from each other; the network is cut; the session ends; the
portal is killed while it stores; the draft goes on in another browser after a restart. In the end a
version is saved, and every place that a brush was on has to be inside it, or inside the version
that was kept of the reader from whom the other one took over.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import delete, select, update

from ml.preparation import phantom
from portal.models import Instance, LoginSession, Outline, OutlineDraft, Role, User, db
from portal.outlines import versions
from tests.campaigns.campaign import Arguments, Row
from tests.conftest import launched
from tests.support.browser_portal import BrowserPortal
from tests.support.core import make_settings
from tests.support.outlines.browser_page import OutlinePage
from tests.support.paths import ROOT
from tests.support.people import Person
from tests.support.portal_app import make_app, make_person
from tests.support.served.portal import REAL_LIMITS

COLUMNS = ("fault", "rounds", "strokes", "lost", "overwritten")
ROUNDS = 200


class Server:
    """The portal's processes on a socket that stays open while they are killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("PLEURA", "DATABASE"))
        }
        own = {
            "PLEURA_ENV": "test",
            "PLEURA_DATA_DIR": str(self.folder),
            "PLEURA_LOG_LEVEL": "ERROR",
            "PLEURA_CONNECTIONS_PER_ADDRESS": "300",
        }
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gunicorn", REAL_LIMITS),
                    *("-c", "python:portal.server.gunicorn_settings"),
                    *("--bind", f"fd://{self.listener.fileno()}"),
                ],
                cwd=ROOT,
                env=inherited | own,
                stdout=log,
                stderr=log,
                pass_fds=[self.listener.fileno()],
                process_group=0,
            )
        end = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < end, "the portal does not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health/live", timeout=2).status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        """All processes at once, without a word."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """End it for good."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.listener.close()


@dataclass
class Ward:
    """A portal with one case and two readers, and a browser."""

    server: Server
    portal: BrowserPortal
    browser: Browser
    study_id: UUID
    readers: tuple[Person, Person]
    contexts: list[BrowserContext] = field(default_factory=list)

    def page(self, who: Person) -> Page:
        """The case, opened by a reader in a browser of their own."""
        context = self.browser.new_context(viewport={"width": 1200, "height": 800})
        context.set_default_timeout(60_000)
        cookie = self.portal.cookie(who) | {"url": self.server.url}
        context.add_cookies([cookie])  # type: ignore[list-item]
        self.contexts.append(context)
        page = context.new_page()
        page.goto(f"{self.server.url}/studies/{self.study_id}")
        return page

    def sessions(self, who: Person, ended: datetime | None) -> None:
        """End all sessions of a reader, or let them last again."""
        with self.portal.core.sessions() as session:
            mine = update(LoginSession).where(LoginSession.user_id == who.id)
            session.execute(mine.values(ended_at=ended))
            session.commit()

    def masks(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """All versions so far: the author and the mask, the oldest first."""
        from worker.segment.measured import mask_of

        vault = self.portal.services.vault
        with self.portal.core.sessions() as session:
            picture = session.scalars(
                select(Instance).where(Instance.study_id == self.study_id)
            ).one()
            rows = session.execute(
                select(Outline, User.name)
                .join(User, User.id == Outline.author_id)
                .order_by(Outline.created, Outline.id)
            ).all()
            return [
                (
                    name,
                    mask_of(
                        versions.read_runs(session, vault, picture, row), row.rows, row.columns
                    ),
                )
                for row, name in rows[self.known :]
            ]

    known: int = 0

    def forget(self) -> None:
        """Begin the next round: no draft, and the versions so far do not count."""
        for context in self.contexts:
            context.close()
        self.contexts.clear()
        with self.portal.core.sessions() as session:
            session.execute(delete(OutlineDraft))
            session.commit()
            self.known = len(session.scalars(select(Outline.id)).all())


@contextmanager
def ward(browser: Browser) -> Iterator[Ward]:
    """A ward for the duration of the block, whose readers use this browser."""
    with tempfile.TemporaryDirectory(prefix="outlines-", dir="/dev/shm") as folder:
        app = make_app(make_settings(Path(folder)))
        portal = BrowserPortal(app, "")
        portal.register_workers()
        readers = (
            make_person(app, Role.READER, name="First"),
            make_person(app, Role.READER, name="Second"),
        )
        drawn = phantom.draw(1, "right", width_mm=25, rows=720, columns=640)
        study_id = portal.complete(drawn)[0]
        with app.app_context():
            db.engine.dispose()
        server = Server(Path(folder))
        try:
            server.start()
            yield Ward(server, portal, browser, study_id, readers)
        finally:
            server.close()


def two_readers(place: Ward, chance: random.Random) -> list[tuple[str, OutlinePage]]:
    """The second takes over while the first draws, and the first takes back."""
    first = OutlinePage(place.page(place.readers[0])).open().emptied()
    first.stroke(chance)
    if chance.random() < 0.5:
        first.stored()
    page = place.page(place.readers[1])
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    page.keyboard.press("e")
    page.get_by_role("button", name="Take over").click()
    page.wait_for_selector("#film[data-editing=yes]")
    second = OutlinePage(page)
    second.stroke(chance)
    second.stored()
    first.stroke(chance)
    first.page.get_by_role("button", name="Take over").click()
    first.stored()
    first.finish()
    return [("First", first), ("Second", second)]


def cut_network(place: Ward, chance: random.Random) -> list[tuple[str, OutlinePage]]:
    """The network goes at any moment and comes back."""
    page = OutlinePage(place.page(place.readers[0])).open().emptied()
    for _ in range(3):
        page.stroke(chance)
        page.page.wait_for_timeout(chance.uniform(0, 900))
        page.page.context.set_offline(True)
        page.stroke(chance)
        page.page.wait_for_timeout(chance.uniform(0, 900))
        page.page.context.set_offline(False)
    page.stored()
    page.finish()
    return [("First", page)]


def ended_session(place: Ward, chance: random.Random) -> list[tuple[str, OutlinePage]]:
    """The session ends while something is drawn, and the person comes back in another tab."""
    page = OutlinePage(place.page(place.readers[0])).open().emptied()
    page.stroke(chance)
    page.page.wait_for_timeout(chance.uniform(0, 900))
    place.sessions(place.readers[0], datetime.now(UTC))
    page.stroke(chance)
    expect(page.page.locator("#session-ended")).to_be_visible()
    place.sessions(place.readers[0], None)
    other = page.page.context.new_page()
    other.goto(f"{place.server.url}/account")
    other.close()
    expect(page.page.locator("#session-ended")).to_be_hidden()
    page.stored()
    page.stroke(chance)
    page.finish()
    return [("First", page)]


def killed_portal(place: Ward, chance: random.Random) -> list[tuple[str, OutlinePage]]:
    """The portal is killed while it stores a draft or a version."""
    page = OutlinePage(place.page(place.readers[0])).open().emptied()
    page.stroke(chance)
    page.page.wait_for_timeout(chance.uniform(600, 900))
    place.server.kill()
    page.stroke(chance)
    place.server.start()
    page.stored()
    page.page.keyboard.press("e")
    page.page.wait_for_timeout(chance.uniform(0, 60))
    place.server.kill()
    place.server.start()
    for _ in range(10):  # a version whose answer was lost is the same when it is sent again
        if page.page.locator("#film[data-editing=yes]").count() == 0:
            break
        page.page.wait_for_timeout(300)
        if page.page.locator(".edit-status.bad").count():
            page.page.keyboard.press("e")
    page.page.wait_for_selector("#film:not([data-editing])")
    return [("First", page)]


def another_browser(place: Ward, chance: random.Random) -> list[tuple[str, OutlinePage]]:
    """What is stored goes on in another browser, after a restart of the portal."""
    page = OutlinePage(place.page(place.readers[0])).open().emptied()
    page.stroke(chance)
    page.stored()
    place.server.kill()
    place.server.start()
    page.page.context.close()
    place.contexts.clear()
    again = OutlinePage(place.page(place.readers[0]), page.drawn).open()
    again.stroke(chance)
    again.finish()
    return [("First", again)]


FAULTS: dict[str, Callable[[Ward, random.Random], list[tuple[str, OutlinePage]]]] = {
    "two readers": two_readers,
    "cut network": cut_network,
    "ended session": ended_session,
    "killed portal": killed_portal,
    "another browser after a restart": another_browser,
}


def round_of(place: Ward, name: str, seed: int) -> tuple[int, int, int]:
    """One round: how many places were drawn on, are lost, and were overwritten."""
    pages = FAULTS[name](place, random.Random(seed))
    found = place.masks()
    drawn = lost = overwritten = 0
    for reader, page in pages:
        own = [mask for author, mask in found if author == reader]
        for x, y in page.drawn:
            drawn += 1
            if not any(mask[y, x] for mask in own):
                lost += 1
            elif reader == "First" and not own[-1][y, x]:
                overwritten += 1
    place.forget()
    return drawn, lost, overwritten


def run(arguments: Arguments) -> list[Row]:
    """Each fault so many times; a row says how many places of strokes were lost."""

    def row(name: str) -> Row:
        drawn = lost = overwritten = 0
        with launched() as browser, ward(browser) as place:
            for number in range(arguments.rounds):
                counts = round_of(place, name, 1000 * arguments.seed + number)
                drawn, lost, overwritten = (
                    a + b for a, b in zip((drawn, lost, overwritten), counts, strict=True)
                )
        cells = (name, str(arguments.rounds), str(drawn), str(lost), str(overwritten))
        return Row(cells, passed=drawn > 0 and lost == overwritten == 0)

    return [arguments.resume.row(name, lambda name=name: row(name)) for name in FAULTS]
