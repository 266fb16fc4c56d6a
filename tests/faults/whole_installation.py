"""An installation as `python -m portal up` makes it, over a PostgreSQL that can be killed, too.

What `up` starts it also starts again, as in operation; PostgreSQL is started again here.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx2
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from portal import audit, database
from portal.accounts import api_tokens
from portal.models import Instance, Job, JobKind, JobState, Prediction, Role, Study
from portal.settings import Settings
from portal.vault import Vault
from tests.support.people import add_person

# Parts by a word of their command line.
WORDS = {
    "redis": "-server unixsocket",
    "render": "render",
    "segment": "segment",
    "scheduler": "sweep",
    "portal": "gunicorn",
    "dicom": "dicom-listener",
    "dicom-sender": "dicom-sender",
}
PARTS = (*WORDS, "hl7", "postgres")


# The jobs that lead to a result; others make what is sent of it.
READING = (JobKind.RENDER, JobKind.SEGMENT)


class Postgres:
    """The server behind an address that `tests.support.postgres` gave, and its restarts."""

    def __init__(self, url: str) -> None:
        (socket_folder,) = parse_qs(urlsplit(url).query)["host"]
        self._data = Path(socket_folder)
        self._command = shlex.split((self._data / "postmaster.opts").read_text())
        self._user = pwd.getpwuid(self._data.stat().st_uid).pw_name
        self._engine = database.open_engine(Settings.from_env(_environment(self._data, url)))

    def fault(self, is_restart: bool) -> None:
        """Stop it at once, orderly or not, and start it again."""
        pid = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGINT if is_restart else signal.SIGKILL)
        wait("PostgreSQL has ended", lambda: not _runs(pid))
        while True:
            # The processes of a killed server may still hold its memory.
            process = subprocess.Popen(
                self._command,
                user=self._user if os.geteuid() == 0 else None,
                cwd=self._data,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            wait("PostgreSQL answers", lambda p=process: p.poll() is not None or self._answers())  # type: ignore[misc]
            if process.poll() is None:
                return
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with self._engine.connect() as connection:
                return connection.scalar(text("SELECT 1")) == 1
        except SQLAlchemyError:
            return False


class WholeInstallation:
    """The processes of `up`, an API token, and the rows. Use as a context manager.

    `others`: the processes of parts that `up` does not start, by part.
    """

    def __init__(self, folder: Path, url: str, weights: Path | None = None) -> None:
        self.folder, self.postgres = folder, Postgres(url)
        self.environment = _environment(folder, url)
        if weights is not None:
            self.environment["PLEURA_WEIGHTS"] = str(weights)
        self.engine = database.open_engine(Settings.from_env(self.environment))
        self.others: dict[str, int] = {}

    def __enter__(self) -> WholeInstallation:
        output = self.folder / "output"
        with output.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "portal", "up", "--port", "0", "--dicom"],
                env=self.environment,
                stdout=stream,
                stderr=stream,
            )
        wait("the installation runs", lambda: "Pleura is at" in output.read_text(), 300)
        lock = self.folder / "var" / "up.lock"
        self.address = json.loads(lock.read_text())["address"]
        self.key = self._key()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.engine.dispose()

    def fault(self, part: str, is_restart: bool) -> None:
        """End a part by SIGTERM or kill -9, as soon as it runs; what started it starts it again."""
        if part == "postgres":
            self.postgres.fault(is_restart)
            return
        wait(f"{part} runs", lambda: self.pid_of(part) is not None)
        pid = self.pid_of(part)
        assert pid is not None
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM if is_restart else signal.SIGKILL)

    def halt(self, part: str, seconds: float) -> None:
        """Let a part do nothing for so long, as where its machine is paused, and go on then.

        Where another fault has ended it meanwhile, there is nothing to go on.
        """
        wait(f"{part} runs", lambda: self.pid_of(part) is not None)
        pid = self.pid_of(part)
        assert pid is not None
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(pid, signal.SIGCONT)

    def pid_of(self, part: str) -> int | None:
        """The process of a part, unless it is just being started again."""
        if part not in WORDS:
            return self.others.get(part)
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(OSError):
                words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
                if any(WORDS[part] in word for word in words):
                    return int(child)
        return None

    def upload(self, picture: bytes) -> UUID:
        """Send a picture again and again until the installation has it."""
        end = time.monotonic() + 300
        while True:
            with suppress(httpx2.TransportError):
                answer = httpx2.post(
                    f"{self.address}/api/v1/studies",
                    files={"file": ("chest.dcm", picture)},
                    headers={"Authorization": f"Bearer {self.key}"},
                    timeout=20,
                    trust_env=False,
                )
                if answer.status_code == 202:
                    return UUID(answer.json()["id"])
                assert answer.status_code in (429, 500, 502, 503, 504), answer.text
            assert time.monotonic() < end, "an upload was never accepted"
            time.sleep(0.3)

    def jobs(self, studies: list[UUID]) -> list[Job]:
        """The jobs that lead to the results of these studies."""
        with database.sessions(self.engine)() as session:
            return list(
                session.scalars(select(Job).where(Job.study_id.in_(studies), Job.kind.in_(READING)))
            )

    def unsettled(self, studies: list[UUID]) -> int:
        """How many studies have not both their jobs at an end."""
        open_ones = set(studies)
        ends = (JobState.DONE, JobState.FAILED)
        by_study: dict[UUID, list[JobState]] = {}
        try:
            for job in self.jobs(studies):
                by_study.setdefault(job.study_id, []).append(job.state)
        except SQLAlchemyError:
            return len(studies)
        for study, states in by_study.items():
            complete = len(states) == 2 or JobState.FAILED in states
            if complete and all(state in ends for state in states):
                open_ones.discard(study)
        return len(open_ones)

    def count_studies(self) -> int:
        with database.sessions(self.engine)() as session:
            return session.scalar(select(func.count()).select_from(Study)) or 0

    def predictions(self, studies: list[UUID]) -> list[UUID]:
        """The study of each prediction."""
        query = (
            select(Instance.study_id)
            .join(Prediction, Prediction.instance_id == Instance.id)
            .where(Instance.study_id.in_(studies))
        )
        with database.sessions(self.engine)() as session:
            return list(session.scalars(query))

    def ended_by_themselves(self) -> int:
        """How many workers have ended because they did not consume any more, by their logs."""
        logs = (self.folder / "var" / "log").glob("*.log*")
        return sum(path.read_text(errors="replace").count(" worker ends: ") for path in logs)

    def _key(self) -> str:
        now = datetime.now(UTC)
        audit.bind(self.engine, Vault(Settings.from_env(self.environment)).audit_key())
        with database.sessions(self.engine)() as session:
            user = add_person(
                session,
                Role.TECHNOLOGIST,
                "sender@test.invalid",
                name="Sender",
                team="Test",
                now=now,
            )
            _, key = api_tokens.create_token(
                session,
                user,
                scopes=["studies:write", "studies:read"],
                name="test",
                lifetime=timedelta(days=1),
                now=now,
            )
        return key


def wait(what: str, true: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until `true()`; fails with `what` after so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"after {seconds:.0f} s: {what}?"
        time.sleep(0.05)


def _environment(folder: Path, url: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PLEURA", "DATABASE"))}
    inherited.pop("REDIS_URL", None)
    return {**inherited, "PLEURA_DATA_DIR": str(folder / "var"), "DATABASE_URL": url}


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
