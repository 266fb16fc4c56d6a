"""How long signing in takes when many people do it at the same moment.

    python benchmarks/portal/sign_in.py [--users 50] [--rounds 3] [--database-url URL] [--workers 1]

Makes a portal of its own in a temporary folder (SQLite, or the empty database of --database-url),
invites the people, serves it with gunicorn as `python -m portal up` does, and has all of them sign
in at once, each from an address of their own: page, password, page, code. One round is one such
moment; rounds are half a minute apart, since a code works once. Printed are the quantiles over
all people and rounds of both forms together, which is what somebody waits for, and of each form.
The password hash alone (argon2id) is timed first, one after the other, for comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pyotp

from portal import audit, database
from portal.accounts import invitations, teams
from portal.accounts.factors import passwords
from portal.models import Role, User
from portal.operations import first_start
from portal.server import limits
from portal.settings import Settings
from portal.vault import Vault

PASSWORD = "a kettle on the third shelf"  # pragma: allowlist secret


@dataclass(frozen=True)
class Person:
    """Somebody who signs in."""

    email: str
    secret: str
    address: str


@dataclass(frozen=True)
class Took:
    """The seconds of one person's two forms."""

    password: float
    code: float


def furnish(settings: Settings, users: int) -> list[Person]:
    """A migrated database with that many readers, all with the same password."""
    first_start.migrate(settings)
    first_start.upgrade_rows(settings, progress=lambda _done, _all: None)
    engine, vault = database.open_engine(settings), Vault(settings)
    audit.bind(engine, vault.audit_key())
    hashed, now, made = passwords.hash_password(PASSWORD), datetime.now(UTC), []
    with database.sessions(engine)() as session:
        invitations.invite(session, None, name="A", email="a@example.org", role=Role.ADMIN, now=now)
        team = teams.teams(session)[0].id
        for number in range(users):
            secret = pyotp.random_base32()
            user = User(
                name=f"Reader {number}",
                email=f"reader{number}@example.org",
                role=Role.READER,
                team_id=team,
                password_hash=hashed,
                created=now,
                enrolled_at=now,
            )
            session.add(user)
            session.flush()
            user.sealed_totp = vault.seal_totp(user.id, secret)
            made.append(Person(user.email, secret, f"10.1.{number // 250}.{number % 250 + 1}"))
        session.commit()
    engine.dispose()
    return made


def sign_in(url: str, person: Person, start: threading.Barrier) -> Took:
    """One person at one browser, as soon as everybody is ready."""
    headers = {"X-Forwarded-For": person.address}
    with httpx2.Client(base_url=url, headers=headers, timeout=120) as browser:
        token = token_of(browser, "/sign-in")
        start.wait()
        form = {"csrf_token": token, "email": person.email, "password": PASSWORD}
        began = time.perf_counter()
        must(browser.post("/sign-in", data=form), "/sign-in/code")
        password = time.perf_counter() - began
        token = token_of(browser, "/sign-in/code")
        form = {"csrf_token": token, "code": pyotp.TOTP(person.secret).now()}
        began = time.perf_counter()
        must(browser.post("/sign-in/code", data=form), "/")
        return Took(password, time.perf_counter() - began)


def token_of(browser: httpx2.Client, page: str) -> str:
    """The form token of a page."""
    found = re.search(r'name="csrf-token" content="([^"]+)"', browser.get(page).text)
    if found is None:
        raise SystemExit(f"{page} has no form token")
    return found.group(1)


def must(answer: httpx2.Response, location: str) -> None:
    """End the benchmark when somebody was not let in."""
    if answer.status_code != 303 or answer.headers["Location"] != location:
        raise SystemExit(f"signing in was refused with {answer.status_code}")


def quantiles(values: list[float]) -> dict[str, float]:
    """p50, p95 and the longest, in milliseconds."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    picked = {"p50": cuts[49], "p95": cuts[94], "longest": max(values)}
    return {name: round(1000 * value, 1) for name, value in picked.items()}


def measure(url: str, staff: list[Person], rounds: int) -> list[Took]:
    """Everybody at once, so many times."""
    took: list[Took] = []
    with ThreadPoolExecutor(len(staff)) as crowd:
        for number in range(rounds):
            if number:
                time.sleep(31)
            start = threading.Barrier(len(staff))
            took += crowd.map(lambda person, start=start: sign_in(url, person, start), staff)
    return took


def serve(environ: dict[str, str], workers: int) -> tuple[subprocess.Popen[bytes], str]:
    """The portal under gunicorn on a free port, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-c", "python:portal.server.gunicorn_settings"]
    command += ["--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    process = subprocess.Popen(command, env={**os.environ, **environ})
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            if httpx2.get(f"{url}/health/live").status_code == 200:
                return process, url
        except httpx2.TransportError:
            time.sleep(0.1)
    process.terminate()
    raise SystemExit("the portal did not start")


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--users", type=int, default=50, help="people at the same moment (50)")
    parser.add_argument("--rounds", type=int, default=3, help="moments, 31 s apart (3)")
    parser.add_argument("--workers", type=int, default=1, help="processes of gunicorn (1)")
    parser.add_argument("--database-url", default="", help="an empty PostgreSQL database (SQLite)")
    chosen = parser.parse_args()
    if not (2 <= chosen.users <= 500 and 1 <= chosen.rounds <= 100 and 1 <= chosen.workers <= 64):
        parser.error("--users from 2 to 500, --rounds from 1 to 100, --workers from 1 to 64")
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            "PLEURA_ENV": "test",
            "PLEURA_DATA_DIR": str(Path(folder) / "data"),
            "PLEURA_LOG_LEVEL": "ERROR",
            "PLEURA_TRUSTED_PROXIES": "1",
            "DATABASE_URL": chosen.database_url,
        }
        staff = furnish(Settings.from_env(environ), chosen.users)
        began, hashed = time.perf_counter(), passwords.hash_password(PASSWORD)
        for _ in range(5):
            passwords.verify(hashed, PASSWORD)
        alone = (time.perf_counter() - began) / 6
        process, url = serve(environ, chosen.workers)
        try:
            took = measure(url, staff, chosen.rounds)
        finally:
            process.terminate()
            process.wait()
    result = {
        "users": chosen.users,
        "rounds": chosen.rounds,
        "workers": chosen.workers,
        "threads": limits.PEOPLE_THREADS,
        "processors": os.cpu_count(),
        "database": chosen.database_url.partition(":")[0] or "sqlite",
        "hash_alone_ms": round(1000 * alone, 1),
        "both_forms_ms": quantiles([one.password + one.code for one in took]),
        "password_ms": quantiles([one.password for one in took]),
        "code_ms": quantiles([one.code for one in took]),
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
