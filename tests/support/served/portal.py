"""A portal served by gunicorn as in production, on a free port, without Redis and workers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.support import wait
from tests.support.paths import ROOT

CONNECTIONS_PER_ADDRESS = 60
REAL_LIMITS = "tests.support.served.application:create_with_real_limits()"
FEW_PLACES = "tests.support.served.application:create_with_few_places()"
SHORT_LIMITS = "tests.support.served.application:create()"


@dataclass
class ServedPortal:
    """The running server."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self, path: str = "/health/ready") -> bool:
        """Whether it answers as it should."""
        try:
            return httpx2.get(self.url + path, timeout=30).status_code == 200
        except httpx2.TransportError:
            return False


@contextmanager
def serve(folder: Path, application: str = SHORT_LIMITS, **environ: str) -> Iterator[ServedPortal]:
    """The portal of a data folder, whose database is migrated, until the end of the block."""
    log = folder / "server.log"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PLEURA", "DATABASE"))}
    environment = {
        **inherited,
        "PLEURA_ENV": "test",
        "PLEURA_DATA_DIR": str(folder),
        "PLEURA_LOG_LEVEL": "ERROR",
        "PLEURA_CONNECTIONS_PER_ADDRESS": str(CONNECTIONS_PER_ADDRESS),
        **environ,
    }
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("ab") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", application),
                *("-c", "python:portal.server.gunicorn_settings"),
                *("--bind", f"fd://{listener.fileno()}"),
            ],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            pass_fds=[listener.fileno()],
        )
        served = ServedPortal(listener.getsockname()[1], process, log)
        try:
            assert wait.until(lambda: served.answers() or process.poll() is not None), log
            assert process.poll() is None, log.read_text()
            yield served
        finally:
            process.terminate()
            process.wait(timeout=60)
