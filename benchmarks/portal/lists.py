"""Worklist, filters, live state, history, next case: a team with many exams against one with few.

    python -m benchmarks.portal.lists [--exams 1000 10000 100000] [--rounds 30] [--postgres]

For each number of exams a portal is filled with them (`many_exams`: 97 in 100 are read) and asked
for each page as a browser asks, with a signed-in reader or technologist, by Flask's own client: no
network. The portals are asked in turn, so that what else the machine does slows all of them.
Printed are p50 and p95 in milliseconds for each page and size, the p95 of the largest against that
of the smallest, `limit` where that is above 1.5 or the p95 above 150 ms, and how many rows each
page has: of few exams few wait, so a page of them is shorter. Every value of every filter is asked
for, in what is to be read and in all cases; then the same as far as it is there for readers who see
the AI result only after their verdict (`hidden: …`). `--explain` prints the plans of the
slow statements of a page of the largest instead.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, text

from benchmarks.portal import many_exams
from portal.models import AiShown, TeamChoices, User
from portal.web import create_app
from portal.web.present import list_filters
from tests.support.core import make_settings, migrate
from tests.support.people import add_account
from tests.support.portal_app import core_of, csrf_of, sign_in
from tests.support.postgres import postgres
from tests.support.queries.query_plan import plan_of, selects

RATIO_MOST: Final = 1.5
_ROW: Final = '<li class="case '
MS_MOST: Final = 150.0
_HIDDEN: Final = "hidden: "


@dataclass
class Portal:
    """A portal with so many exams, a signed-in reader and a technologist, and a colleague."""

    app: Flask
    exams: int
    staff: many_exams.Staff
    reader: FlaskClient
    technologist: FlaskClient

    def hide(self, hidden: bool) -> None:
        """Whether the team's readers see the AI result only after their own verdict."""
        with core_of(self.app).sessions() as session:
            shown = AiShown.AFTER_VERDICT if hidden else AiShown.WITH_PICTURE
            session.merge(TeamChoices(team_id=self.staff.team, ai_shown=shown))
            session.commit()

    def get(self, path: str, who: FlaskClient | None = None) -> str:
        """The page at this address."""
        answer = (who or self.reader).get(path)
        if answer.status_code not in (200, 303):
            raise SystemExit(f"{path}: {answer.status_code}")
        return answer.text if answer.status_code == 200 else answer.location


@contextmanager
def portal_with(count: int, database_url: str) -> Iterator[Portal]:
    """A filled portal for the duration of the block."""
    with tempfile.TemporaryDirectory(prefix="pleura-lists-", dir=_memory()) as folder:
        given = {"DATABASE_URL": database_url} if database_url else {}
        settings = make_settings(Path(folder), **given)
        migrate(settings)
        app = create_app(settings)
        core, now = core_of(app), datetime.now(UTC)
        with core.sessions() as session:
            staff = many_exams.add_staff(session)
            people = [session.get_one(User, who) for who in (staff.readers[0], staff.technologist)]
        clients = [sign_in(app, add_account(core, person, now)) for person in people]
        many_exams.fill(core, staff, count, now)
        yield Portal(app, count, staff, *clients)


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def filters(portal: Portal, *, hidden: bool) -> list[str]:
    """Every value of every filter, in what is to be read and in all cases, and some together."""
    options = list_filters.BY_ARRIVAL if hidden else list_filters.OPTIONS
    found = [f"state={value}" for value, _ in options["state"] if value != list_filters.TO_READ]
    chosen = [
        f"{name}={value}"
        for name, values in options.items()
        for value, _ in values
        if name != "state" and value
    ]
    chosen.append(f"reader={portal.staff.readers[1].hex}")
    found += [f"{where}{one}" for one in chosen for where in ("", "state=all&")]
    found.append("state=all&reader=mine&days=7&verdict=final")
    if not hidden:
        found += ["state=read&result=no_result", "state=all&side=both&size=above_30&reader=mine"]
    return found


def pages_of(portal: Portal, *, hidden: bool = False) -> dict[str, Callable[[], str]]:
    """What is asked for, by name. `hidden`: as it is for readers who do not see the AI result."""
    portal.hide(hidden)
    listed = portal.get("/worklist")
    ids = re.findall(r'data-id="([0-9a-f-]{36})"', listed)
    after = re.findall(r'href="([^"]+)"[^>]*rel="next"|rel="next"[^>]*href="([^"]+)"', listed)
    found: dict[str, Callable[[], str]] = {
        "list": lambda: portal.get("/worklist"),
        "live state": lambda: portal.get(f"/worklist/state?ids={','.join(ids)}"),
        "next case": lambda: portal.get(f"/studies/{ids[len(ids) // 2]}/next"),
        "history, read": lambda: portal.get("/history?what=read"),
        "history, sent": lambda: portal.get("/history?what=sent", portal.technologist),
        "list of a technologist": lambda: portal.get("/worklist", portal.technologist),
        "uploads": lambda: portal.get("/upload", portal.technologist),
        "search, ID": lambda: _search(portal, "P000017"),
        "search, accession": lambda: _search(portal, "A0000017"),
        "search, family name": lambda: _search(portal, "Adler 17"),
        "search, common family name": lambda: _search(portal, "Adler"),
    }
    if after:
        address = next(filter(None, after[0])).replace("&amp;", "&")
        found["second page"] = lambda: portal.get(address)
    for chosen in filters(portal, hidden=hidden):
        name = chosen.replace(portal.staff.readers[1].hex, "colleague")
        found[name] = lambda chosen=chosen: portal.get(f"/worklist?{chosen}")  # type: ignore[misc]
    if not hidden:
        found["next case, no result"] = lambda: portal.get(
            f"/studies/{ids[0]}/next?result=no_result"
        )
    found["next case, mine"] = lambda: portal.get(f"/studies/{ids[0]}/next?reader=mine")
    return {f"{_HIDDEN if hidden else ''}{name}": page for name, page in found.items()}


def _search(portal: Portal, typed: str) -> str:
    token = csrf_of(portal.reader)
    sent = portal.reader.post("/worklist/search", data={"csrf_token": token, "q": typed})
    if typed[1:] and sent.status_code != 303:
        raise SystemExit(f"search: {sent.status_code}")
    return portal.get(sent.location)


def measure(
    portals: list[Portal], rounds: int, only: str, *, hidden: bool
) -> dict[str, dict[str, Any]]:
    """p50 and p95 of each page by number of exams."""
    asked = {portal.exams: pages_of(portal, hidden=hidden) for portal in portals}
    names = [name for name in asked[portals[0].exams] if only in name]
    took: dict[str, dict[int, list[float]]] = {n: {c: [] for c in asked} for n in names}
    rows = {name: {c: pages[name]().count(_ROW) for c, pages in asked.items()} for name in names}
    for turn in range(rounds + 2):
        for name in names:
            for count, pages in asked.items():
                if name not in pages:
                    continue
                began = time.perf_counter()
                pages[name]()
                if turn > 1:  # the first ones load code and fill caches
                    took[name][count].append((time.perf_counter() - began) * 1000)
    return {
        name: _row(by_count) | {"rows": [*rows[name].values()]} for name, by_count in took.items()
    }


def _row(by_count: dict[int, list[float]]) -> dict[str, Any]:
    counts = sorted(count for count, times in by_count.items() if times)
    row: dict[str, Any] = {}
    for count in counts:
        row[f"{count:,}"] = [round(_quantile(by_count[count], q), 1) for q in (0.5, 0.95)]
    if len(counts) > 1:
        first, last = (_quantile(by_count[count], 0.95) for count in (counts[0], counts[-1]))
        row["ratio"] = round(last / first, 2)
        row["limit"] = "missed" if last / first > RATIO_MOST or last > MS_MOST else ""
    return row


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def explain(portal: Portal, name: str) -> None:
    """Print the plans of a page's statements."""
    core = core_of(portal.app)
    with selects(core.engine) as found:
        pages_of(portal, hidden=name.startswith(_HIDDEN))[name]()
    page = pages_of(portal, hidden=name.startswith(_HIDDEN))[name]
    with selects(core.engine) as found:
        began = time.perf_counter()
        page()
    print(f"{name}: {(time.perf_counter() - began) * 1000:.0f} ms with everything before it")
    for statement in found:
        with core.engine.connect() as connection:
            began = time.perf_counter()
            connection.exec_driver_sql(statement.text, statement.parameters).fetchall()
            took = (time.perf_counter() - began) * 1000
        if took > 2:
            print(f"--- {took:.1f} ms\n{statement.text}\n{plan_of(core.engine, statement)}")


def main() -> int:
    """Measure and print one JSON object; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--exams", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--pause", action="store_true", help="wait for Enter before measuring")
    parser.add_argument("--only", default="", help="pages whose name has this in it")
    parser.add_argument("--explain", default="", help="plans of these pages, a,b")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        server = stack.enter_context(postgres(_memory())) if chosen.postgres else ""
        portals = []
        for count in chosen.exams:
            address = _database(server, f"exams_{count}") if server else ""
            portals.append(stack.enter_context(portal_with(count, address)))
        if chosen.pause:
            input("filled; press Enter to measure: ")
        gc.collect()
        gc.freeze()
        if chosen.explain:
            for name in re.split(r",(?! )", chosen.explain):
                explain(portals[-1], name)
            return 0
        found = measure(portals, chosen.rounds, chosen.only, hidden=False)
        found |= measure(portals, chosen.rounds, chosen.only, hidden=True)
    print(json.dumps(found, indent=1))
    return 1 if any(row.get("limit") for row in found.values()) else 0


def _database(server: str, name: str) -> str:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return engine.url.set(database=name).render_as_string(hide_password=False)


if __name__ == "__main__":
    raise SystemExit(main())
