"""`python -m portal up`: everything on one machine, from an empty folder to a printed address.

It starts the embedded Redis server (unless REDIS_URL is set), workers, sweep and gunicorn, each
with only the settings that it needs.
"""

from __future__ import annotations

import errno
import http.client
import os
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

from portal.operations import first_start
from portal.operations.context import Failed
from portal.settings import Settings
from portal.settings.process_environment import child_environment, worker_variable
from portal.standalone import embedded_redis, instance_lock
from portal.standalone.options import DEFAULT_PORT, Options
from portal.standalone.supervisor import Child, Supervisor
from worker.isolation import confinement, environment

PORTS_TRIED = 10
READY_SECONDS = 120.0
DICOM_PORT = 11112
HL7_PORT = 2575
# Secrets and addresses of the portal that no worker may have.
NOT_FOR_WORKERS = (
    "DATABASE_URL",
    "PLEURA_SECRET_KEY",
    "PLEURA_KEY_RING",
    "PLEURA_KEY_RING_COMMAND",
    "PLEURA_KEY_RING_STORE_COMMAND",
    "PLEURA_BUCKET",
    "PLEURA_BUCKET_KEY_ID",
    "PLEURA_BUCKET_SECRET",
    "PLEURA_BACKUP_KEY",
    "PLEURA_OIDC_CLIENT_SECRET",
    "PLEURA_SMTP_PASSWORD",
    "PLEURA_WEBHOOK_SECRET",
)


# What workers read pictures with, and what a network runs on (one of them is enough).
_OF_WORKERS = ("cv2", "gdcm", "numpy", "openjpeg", "pydicom", "scipy")
_ENGINES = ("openvino", "torch")


class CannotStart(Exception):
    """The portal can't be started; the text gives the reason and the next step."""


def up(settings: Settings, options: Options, *, then: Callable[[str], object] | None = None) -> int:
    """Run the tree until a signal; `then` is called with the address once all is ready."""
    os.umask(0o077)
    try:
        _check_packages()
        with instance_lock.lock(settings.data_dir) as held, _listen(options) as listener:
            return _Tree(settings, options, listener, held).run(then)
    except instance_lock.AlreadyRunning as other:
        where = f" at {other.address}" if other.address else ""
        problem = (
            f"it runs already on {_shown(settings.data_dir)}{where}. Stop that one first, or name "
            "another folder in PLEURA_DATA_DIR."
        )
    except CannotStart as error:
        problem = str(error)
    sys.stderr.write(f"Pleura can't start: {problem}\n")
    return 1


def _check_packages() -> None:
    """Before anything is started: workers would end again and again without what they need."""
    missing = [name for name in _OF_WORKERS if find_spec(name) is None]
    if all(find_spec(name) is None for name in _ENGINES):
        missing.append(" or ".join(_ENGINES))
    if missing:
        raise CannotStart(
            f"its workers need {', '.join(missing)}: install `requirements/run.txt`, or start "
            "portal and workers apart, such as by docker-compose.yml."
        )


def up_with_examples(settings: Settings, options: Options) -> int:
    """The same with example pictures, or just these where the portal runs already."""

    def fill(address: str) -> None:
        from portal.standalone import demo  # half a second that `up` need not wait for

        demo.fill(settings, address, _print_line)

    address = instance_lock.running_address(settings.data_dir)
    if address is not None:
        fill(address)
        return 0
    return up(settings, options, then=fill)


class _Tree:
    """The child processes of one `up`: started in order, watched and stopped."""

    def __init__(
        self, settings: Settings, options: Options, listener: socket.socket, held: TextIO
    ) -> None:
        host, port = listener.getsockname()[:2]
        self.address = f"http://{host}:{port}"
        if settings.base_url == f"http://127.0.0.1:{DEFAULT_PORT}":
            settings = settings.model_copy(update={"base_url": self.address})
        self.settings = settings
        self.options = options
        self.listener = listener
        self.held = held
        self.supervisor = Supervisor(settings.data_dir / "log", _print_line)
        self.redis: embedded_redis.EmbeddedRedis | None = None

    def run(self, then: Callable[[str], object] | None) -> int:
        """Start everything, print the address, watch it, stop it."""
        self.supervisor.catch_signals()
        began = time.monotonic()
        for line in isolation_lines(confinement.missing_layers()):
            _print_line(line)
        try:
            self._start_redis()
            workers = self._start_workers()
            self._prepare_database()
            self._start_portal()
            self._await_workers(workers)
            if self.supervisor.stopping:
                return 0
            _print_line(f"ready after {time.monotonic() - began:.0f} s; logs are in {self._logs()}")
            self._invite()
            instance_lock.write_address(self.held, self.address)
            _print_line(f"Pleura is at  {self.address}  (Ctrl-C stops it)")
            if self.options.open_browser:
                webbrowser.open(self.address)
            if then is not None:
                threading.Thread(target=then, args=(self.address,), daemon=True).start()
            self.supervisor.watch()
        finally:
            _print_line("stopping")
            self.supervisor.stop()
            if self.redis is not None:
                self.redis.tidy()
        _print_line("stopped")
        return 0

    def _start_redis(self) -> None:
        if self.settings.redis_url:
            _print_line("Redis: the one of REDIS_URL")
            return
        try:
            server = embedded_redis.prepare(self.settings.data_dir / "redis")
        except embedded_redis.NoServer as error:
            raise CannotStart(str(error)) from None
        self.redis = server
        self.settings = self.settings.model_copy(update={"redis_url": server.url})
        child = Child("redis", server.command, child_environment({}), server.answers)
        self.supervisor.start(child)
        self._require(child, 30.0)
        _print_line(f"Redis: {server.binary.name}, on a private socket")

    def _prepare_database(self) -> None:
        try:
            first_start.migrate(self.settings)
            done = first_start.upgrade_rows(self.settings, progress=_print_progress)
            # With PLEURA_WEIGHTS set, the registry is managed by the operator.
            own = worker_variable("PLEURA_WEIGHTS")
            new = None if own else first_start.register_shipped(self.settings)
        except Failed as error:
            raise CannotStart(str(error)) from None
        if done.studies:
            _print_line(f"{done.studies} studies of a version before were brought to this one")
        if done.unreadable:
            _print_line(
                f"{len(done.unreadable)} of them do not open: see `python -m portal vault verify`"
            )
        if new:
            _print_line(f"model: {new} is active (see Models, or `python -m portal model`)")
        _print_line(f"database and keys: in {_shown(self.settings.data_dir)}")

    def _invite(self) -> None:
        """Print the link that makes the first administrator, where there is none."""
        try:
            link = first_start.admin_link(self.settings, if_none=True)
        except Failed as error:
            _print_line(
                f"this portal has no administrator: {error} See `python -m portal create-admin`."
            )
            return
        if link:
            _print_line(
                "there is no administrator yet; this link makes one, once, within 24 hours:"
            )
            _print_line(f"  {link}")

    def _start_workers(self) -> list[Child]:
        """Start the workers; they load their model while the portal gets ready."""
        counts = {
            "render": self.options.render_workers,
            "segment": self.options.segment_workers,
        }
        workers = [
            self._worker(queue, number)
            for queue, count in counts.items()
            for number in range(1, count + 1)
        ]
        for worker in workers:
            self.supervisor.start(worker)
        return workers

    def _start_portal(self) -> None:
        variables = self._portal_environment()
        secrets = environment.descriptors(variables)
        portal = Child(
            "portal",
            [
                *(sys.executable, "-m", "gunicorn", "-c", "python:portal.server.gunicorn_settings"),
                *("--bind", f"fd://{self.listener.fileno()}"),
            ],
            variables,
            self._portal_is_ready,
            layer=1,
            pass_fds=[self.listener.fileno(), *secrets],
        )
        sweep = Child(
            "sweep",
            [sys.executable, "-m", "portal", "sweep", "--loop"],
            variables,
            lambda: True,
            layer=2,
            pass_fds=secrets,
        )
        self.supervisor.start(portal)
        self.supervisor.start(sweep)
        self._require(portal, READY_SECONDS)
        if self.options.dicom:
            self._start_dicom(variables, secrets)
        if self.options.hl7:
            self._start_hl7(variables, secrets)

    def _start_dicom(self, variables: dict[str, str], secrets: list[int]) -> None:
        port = self.settings.dicom.port if self.settings.dicom else DICOM_PORT
        self._start_network(
            {"dicom": "dicom-listener", "dicom-sender": "dicom-sender"},
            {**variables, "PLEURA_DICOM_PORT": str(port)},
            secrets,
        )
        title = self.settings.dicom.ae_title if self.settings.dicom else "PLEURA"
        _print_line(f"DICOM: {title} listens at port {port}; its nodes are under Teams")

    def _start_hl7(self, variables: dict[str, str], secrets: list[int]) -> None:
        port = self.settings.hl7.port if self.settings.hl7 else HL7_PORT
        self._start_network(
            {"hl7": "hl7-listener", "report-sender": "report-sender"},
            {**variables, "PLEURA_HL7_PORT": str(port)},
            secrets,
        )
        _print_line(f"HL7: it listens at port {port}; nodes and report targets are under Teams")

    def _start_network(
        self, commands: dict[str, str], variables: dict[str, str], secrets: list[int]
    ) -> None:
        """Start processes that speak with other systems, each by its command."""
        for name, command in commands.items():
            self.supervisor.start(
                Child(
                    name,
                    [sys.executable, "-m", "portal", command],
                    variables,
                    lambda: True,
                    layer=2,
                    grace_seconds=25.0,
                    pass_fds=secrets,
                )
            )

    def _await_workers(self, workers: list[Child]) -> None:
        """Wait for the workers; without one the portal runs all the same, with a warning."""
        for child in self.supervisor.wait_ready(workers, READY_SECONDS):
            _print_line(f"{child.name} does not work yet, so pictures wait. Its log ends with:")
            for line in self.supervisor.log_tail(child):
                _print_line(f"    {line}")

    def _worker(self, queue: str, number: int) -> Child:
        name = f"local-{number}"
        state = self.settings.data_dir / "run"
        life = state / f"{name}-{queue}.alive"
        life.unlink(missing_ok=True)
        redis_url = self.redis.worker_url if self.redis else self.settings.redis_url
        secrets = {"REDIS_URL": redis_url, "PLEURA_WORKER_TOKEN": self.settings.worker_token}
        variables = child_environment(
            {
                **environment.in_memory(secrets),
                "PLEURA_PORTAL_URL": self.address,
                "PLEURA_WORKER_NAME": name,
                "PLEURA_WORKER_STATE": str(state),
                "PLEURA_MODELS": str(self.settings.data_dir / "models"),
                "JOB_SECONDS": str(self.settings.job_seconds),
            },
            without=NOT_FOR_WORKERS,
        )
        command = [sys.executable, "-m", "worker", queue]
        return Child(
            f"{queue}-{number}",
            command,
            variables,
            life.exists,
            layer=2,
            pass_fds=environment.descriptors(variables),
        )

    def _portal_is_ready(self) -> bool:
        host, port = self.listener.getsockname()[:2]
        connection = http.client.HTTPConnection(host, port, timeout=2)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _portal_environment(self) -> dict[str, str]:
        return child_environment(
            {
                **environment.in_memory({"REDIS_URL": self.settings.redis_url}),
                "PLEURA_DATA_DIR": str(self.settings.data_dir),
                "PLEURA_BASE_URL": self.settings.base_url,
            }
        )

    def _require(self, child: Child, seconds: float) -> None:
        if self.supervisor.wait_ready([child], seconds) and not self.supervisor.stopping:
            tail = "\n".join(self.supervisor.log_tail(child, 8))
            raise CannotStart(f"{child.name} does not answer. Its log ends with:\n{tail}")

    def _logs(self) -> str:
        return _shown(self.settings.data_dir / "log")


def isolation_lines(missing: list[str]) -> list[str]:
    """What separates a file's process from the rest on this system, and what nothing separates."""
    return [
        *(f"WARNING: files are read without this isolation: {layer}" for layer in missing),
        "portal, workers and Redis run as one user, not isolated from each other",
    ]


def _listen(options: Options) -> socket.socket:
    """The listening socket, held here: it outlives a portal that has to be started again."""
    wanted = range(options.port, options.port + PORTS_TRIED) if options.port else ()
    for port in (*wanted, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((options.host, port))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno in (errno.EADDRINUSE, errno.EACCES) and port:
                continue
            raise CannotStart(f"{options.host}: {error.strerror}.") from None
        if port != options.port:
            _print_line(f"port {options.port} is taken: {listener.getsockname()[1]} is used")
        return listener
    raise CannotStart(f"no port of {options.host} is free.")


def _print_progress(done: int, everything: int) -> None:
    if done % 500 == 0:
        _print_line(f"{done} of {everything} studies of a version before …")


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
