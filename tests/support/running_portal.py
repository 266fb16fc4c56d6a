"""A running installation of real processes, each of which a test can kill.

Redis server, portal under gunicorn, sweep and Celery workers run as in production, in a folder of
their own, on SQLite or a given PostgreSQL; each with the packages of its image alone.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx2
import redis
from celery import Celery
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.accounts import api_tokens
from portal.models import Blob, Instance, Job, JobKind, JobState, Prediction, Role, Study
from portal.operations import first_start
from portal.settings import Settings
from portal.standalone import embedded_redis
from portal.vault import Vault
from tests.support.image_packages import hidden
from tests.support.people import add_person

# Long enough for jobs on a slow machine, short enough to wait for a lease to expire.
JOB_SECONDS = 15
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class RunningPortal:
    """One installation. Use as a context manager: all processes are ended afterwards."""

    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.logs = folder / "log"
        self.logs.mkdir(parents=True)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.for_all: dict[str, str] = {}  # variables of every process, before all others
        self.worker_options: dict[str, dict[str, str]] = {}
        self.worker_images: dict[str, str] = {}
        self.ended: list[str] = []  # what has ended by itself and was started again
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.redis = embedded_redis.prepare(folder / "redis")
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PLEURA", "DATABASE"))},
            "PLEURA_DATA_DIR": str(self.data),
            "PLEURA_BASE_URL": self.address,
            "REDIS_URL": self.redis.url,
            "JOB_SECONDS": str(JOB_SECONDS),
        }
        if database_url is not None:
            self.environment["DATABASE_URL"] = database_url
        self.settings = Settings.from_env(self.environment)
        self.engine = database.open_engine(self.settings)
        self.broker = Celery("test", broker=self.redis.url)

    def __enter__(self) -> RunningPortal:
        self.start_redis()
        first_start.migrate(self.settings)
        first_start.upgrade_rows(self.settings, progress=lambda _done, _all: None)
        self.start_portal()
        self.start("sweep", "portal", "sweep", "--loop", "--every", "1")
        self.key = self._key_of_a_technologist()
        self.client = self.another_client()
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self.processes)):
            self.kill(name, signal.SIGKILL)
        self.listener.close()
        self.engine.dispose()
        self.redis.tidy()

    # Processes

    def start(self, name: str, *module: str, image: str = "portal", **more: str) -> None:
        """Start a program with the packages of an image; its output goes to log/<name>.log."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *module],
                env={**self.environment, **hidden.environment(image), **more, **self.for_all},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[self.listener.fileno()],
                process_group=0,
                preexec_fn=_die_with_the_tests,
            )

    def start_redis(self) -> None:
        with (self.logs / "redis.log").open("ab") as log:
            self.processes["redis"] = subprocess.Popen(
                self.redis.command,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=_die_with_the_tests,
            )
        self.wait("Redis answers", self.redis.answers)

    def empty_redis(self) -> None:
        """Kill Redis and delete its data."""
        self.kill("redis", signal.SIGKILL)
        shutil.rmtree(self.redis.folder / "appendonlydir")

    def start_portal(self) -> None:
        self.start(
            "portal",
            *("gunicorn", "-c", "python:portal.server.gunicorn_settings"),
            *("--bind", f"fd://{self.listener.fileno()}"),
        )
        self.wait("the portal answers", self.portal_answers)

    def portal_answers(self) -> bool:
        try:
            return httpx2.get(f"{self.address}/health/ready", timeout=1).status_code == 200
        except httpx2.TransportError:
            return False

    def start_worker(
        self, queue: str, *, wait: bool = True, image: str = "worker-cpu", **more: str
    ) -> None:
        """Start a worker; a restarted one gets the options of its first start."""
        more = self.worker_options.setdefault(queue, more)
        image = self.worker_images.setdefault(queue, image)
        state = self.folder / "life"
        life = state / f"test-{queue}.alive"
        life.unlink(missing_ok=True)
        self.start(
            queue,
            "worker",
            queue,
            REDIS_URL=self.redis.worker_url,
            PLEURA_PORTAL_URL=self.address,
            PLEURA_WORKER_TOKEN=self.settings.worker_token,
            PLEURA_WORKER_NAME="test",
            PLEURA_WORKER_STATE=str(state),
            PLEURA_THREADS="2",
            image=image,
            **more,
        )
        if wait:
            self.wait(f"the {queue} worker lives", life.exists)

    def kill(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a program; SIGKILL also goes to all processes that it started."""
        process = self.processes.pop(name)
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(timeout=120)

    def revive(self) -> list[str]:
        """Start again, as a supervisor does, what has ended by itself; returns the names."""
        ended = [name for name, process in self.processes.items() if process.poll() is not None]
        for name in ended:
            self.ended.append(name)
            if name in ("render", "segment"):
                self.start_worker(name, wait=False)
            else:
                raise AssertionError(f"{name} has ended by itself. See {self.logs}")
        return ended

    def renew_workers(self) -> None:
        """Replace both workers: one that lost Redis may end by itself some seconds later."""
        for queue in ("render", "segment"):
            self.kill(queue, signal.SIGKILL)
        for queue in ("render", "segment"):
            self.start_worker(queue)

    def kill_child(self, name: str) -> int:
        """Kill -9 the process that does a worker's jobs, not the worker itself."""
        parent = self.processes[name].pid
        tasks = Path(f"/proc/{parent}/task").glob("*/children")
        listed = [child for task in tasks for child in task.read_text().split()]
        assert len(listed) == 1, f"{name} has children {listed}"
        os.kill(int(listed[0]), signal.SIGKILL)
        return int(listed[0])

    # Actions of people and programs

    def another_client(self) -> httpx2.Client:
        """An API client with the technologist's token."""
        return httpx2.Client(
            base_url=f"{self.address}/api/v1",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=20,
            trust_env=False,
        )

    def command(self, *words: str) -> int:
        """Run one of the portal's commands to its end; its exit status."""
        with (self.logs / "commands.log").open("ab") as log:
            done = subprocess.run(
                [sys.executable, "-m", "portal", *words],
                env={**self.environment, **hidden.environment("portal")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        return done.returncode

    def submit(self, picture: bytes, name: str = "picture.png") -> UUID:
        """Send a picture through the API."""
        answer = self.client.post("/studies", files={"file": (name, picture)})
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["id"])

    def notify(self, kind: JobKind, job_id: UUID) -> None:
        """Put one more message into Redis, as the portal does."""
        self.broker.send_task(f"pleura.{kind}", args=[str(job_id)], queue=str(kind))

    # State

    @contextmanager
    def rows(self) -> Iterator[Session]:
        with database.sessions(self.engine)() as session:
            yield session
            session.commit()

    def jobs(self, kind: JobKind | None = None, studies: list[UUID] | None = None) -> list[Job]:
        query = select(Job).order_by(Job.created)
        if kind is not None:
            query = query.where(Job.kind == kind)
        if studies is not None:
            query = query.where(Job.study_id.in_(studies))
        with self.rows() as session:
            return list(session.scalars(query))

    def job(self, kind: JobKind, study: UUID) -> Job | None:
        return next(iter(self.jobs(kind, [study])), None)

    def count(self, table: type[Study] | type[Prediction] | type[Blob]) -> int:
        with self.rows() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def predictions(self, studies: list[UUID]) -> int:
        query = (
            select(func.count())
            .select_from(Prediction)
            .join(Instance, Instance.id == Prediction.instance_id)
            .where(Instance.study_id.in_(studies))
        )
        with self.rows() as session:
            return session.scalar(query) or 0

    def computations(self, queue: str) -> int:
        """How often a worker finished a job, by its own log."""
        return (self.logs / f"{queue}.log").read_text(errors="replace").count(" done, ")

    def failures(self) -> list[str]:
        """The codes of every attempt that failed, by the workers' own logs."""
        logs = [(self.logs / f"{queue}.log").read_text() for queue in ("render", "segment")]
        return re.findall(r"attempt \d+ (?:failed: |is )(\w+)", "\n".join(logs))

    def waiting_messages(self) -> int:
        """Unacknowledged messages in Redis."""
        client = redis.Redis(unix_socket_path=str(self.redis.socket), password=self.redis.password)
        try:
            return sum(client.llen(queue) for queue in ("render", "segment")) + client.hlen(
                "unacked"
            )
        finally:
            client.close()

    def files(self) -> set[str]:
        """Every file under the data folder that could hold a picture."""
        known = {path.name for path in (self.data / "keys").iterdir()}
        every = {p.name for p in self.data.rglob("*") if p.is_file()} - known
        return {name for name in every if not name.startswith("pleura.db")}

    def settled(self, studies: list[UUID]) -> bool:
        """Whether both jobs of each study have come to an end."""
        ends = {JobState.DONE, JobState.FAILED}
        jobs = self.jobs(studies=studies)
        failed = {job.study_id for job in jobs if job.state is JobState.FAILED}
        return all(job.state in ends for job in jobs) and all(
            study in failed or sum(job.study_id == study for job in jobs) == 2 for study in studies
        )

    def wait(self, what: str, true: Callable[[], bool], seconds: float = 120.0) -> None:
        """Wait until `true()`; fails with `what` after so many seconds.

        Workers that end meanwhile, as one that Redis has left does, are started again.
        """
        end = time.monotonic() + seconds
        while self.revive() or not true():
            if time.monotonic() > end:
                raise AssertionError(f"after {seconds:.0f} s: {what}? See {self.logs}")
            time.sleep(0.05)

    def catch_running(self, kind: JobKind, study: UUID, seconds: float = 120.0) -> bool:
        """Return True as soon as a study's job runs; False if it ended before that was seen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.revive()
            job = self.job(kind, study)
            if job is not None and job.state is JobState.RUNNING:
                return True
            if job is not None and job.state in (JobState.DONE, JobState.FAILED):
                return False
        raise AssertionError(f"no {kind} job was started")

    def _key_of_a_technologist(self) -> str:
        now = datetime.now(UTC)
        audit.bind(self.engine, Vault(self.settings).audit_key())
        with database.sessions(self.engine)() as session:
            email = "sender@test.invalid"
            user = add_person(
                session, Role.TECHNOLOGIST, email, name="Sender", team="Test", now=now
            )
            _, key = api_tokens.create_token(
                session,
                user,
                scopes=["studies:write", "studies:read"],
                name="test",
                lifetime=timedelta(hours=1),
                now=now,
            )
        return key


def _die_with_the_tests() -> None:
    """Ask the kernel to end this process when the test process ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def with_workers(running: RunningPortal) -> RunningPortal:
    """Start a worker of each kind, with a low memory limit for decoding."""
    running.start_worker("render", PLEURA_DECODE_MB="128")
    running.start_worker("segment")
    return running
