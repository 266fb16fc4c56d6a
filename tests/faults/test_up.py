"""`python -m portal up` as a new user sees it: one command, one address, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support import wait
from tests.support.isolation.processes import (
    command_and_environment,
    descendants,
    exists,
    is_open_to_its_user,
)
from worker.isolation import confinement

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

PATIENCE = 120.0
TOKEN = "m4Vq7Xz2Lw9sTb6NcR8dHf1GkP3yJeUa"  # made up  # pragma: allowlist secret


class Up:
    """One started `up` on a folder of its own, with a port that is already in use."""

    def __init__(self, folder: Path, port: int, **settings: str) -> None:
        self.data = folder / "var"
        self.output = folder / "output"
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("PLEURA", "DATABASE"))
        }
        inherited.pop("REDIS_URL", None)
        self.environment = {**inherited, **settings, "PLEURA_DATA_DIR": str(self.data)}
        self.command = [sys.executable, "-m", "portal", "up", "--port", str(port)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=output, stderr=output
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def address(self) -> str:
        until("an address is printed", lambda: "Pleura is at" in self.text)
        found: str = json.loads((self.data / "up.lock").read_text())["address"]
        return found

    def children(self) -> dict[str, int]:
        """The processes that it started, by name."""
        pid = self.process.pid
        found = {}
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            try:
                words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            except OSError:  # it has just ended
                continue
            for name in ("gunicorn", "render", "segment", "sweep", "valkey", "redis"):
                if any(name in word for word in words):
                    found["redis" if name == "valkey" else name] = int(child)
                    break
        return found


def until(what: str, true: Callable[[], bool]) -> None:
    assert wait.until(true, PATIENCE), what


def ready(address: str) -> bool:
    try:
        answer = httpx2.get(f"{address}/health/ready", timeout=2)
    except httpx2.TransportError:
        return False
    return answer.status_code == 200 and answer.json()["checks"]["redis"] == "ok"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        up = Up(folder, taken.getsockname()[1])
        yield up
        if up.process.poll() is None:
            up.process.kill()
            up.process.wait()


def test_it_prints_an_address_that_answers_although_its_port_was_taken(up: Up) -> None:
    address = up.address()
    until("the portal is ready", lambda: ready(address))
    assert f"port {up.command[-1]} is taken" in up.text
    assert f":{up.command[-1]}" not in address


def test_it_prints_a_link_that_makes_the_first_administrator(up: Up) -> None:
    link = next(word for word in up.text.split() if "/join/" in word)
    assert link.startswith(up.address())
    assert httpx2.get(link, timeout=60).status_code == 200


def test_it_starts_everything_that_a_case_needs(up: Up) -> None:
    up.address()
    assert set(up.children()) == {"redis", "render", "segment", "gunicorn", "sweep"}


def test_its_files_can_be_read_by_the_owner_only(up: Up) -> None:
    up.address()
    assert not [path for path in (up.data, *up.data.rglob("*")) if path.stat().st_mode & 0o077]


def test_no_process_was_started_with_a_secret(up: Up) -> None:
    up.address()
    secrets = {path.name: path.read_bytes().strip() for path in (up.data / "keys").iterdir()}
    for name in ("password", "worker_password"):
        secrets[f"Redis' {name}"] = (up.data / "redis" / name).read_bytes()
    for pid in descendants(up.process.pid):
        started_with = command_and_environment(pid)
        assert not [name for name, secret in secrets.items() if secret in started_with], pid
    closed = {name: pid for name, pid in up.children().items() if name != "redis"}
    for name, pid in {**closed, "up": up.process.pid}.items():
        assert not is_open_to_its_user(pid), name


def test_it_prints_what_is_not_isolated(up: Up) -> None:
    up.address()
    assert "not isolated from each other" in up.text
    for layer in confinement.missing_layers():
        assert f"WARNING: files are read without this isolation: {layer}" in up.text


def test_a_second_start_on_the_same_folder_is_refused_with_the_address(up: Up) -> None:
    address = up.address()
    second = subprocess.run(
        up.command, env=up.environment, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert "runs already" in second.stderr
    assert address in second.stderr
    until("the portal is ready", lambda: ready(address))


@pytest.mark.parametrize("name", ["gunicorn", "render", "redis"])
def test_a_killed_part_is_started_again(up: Up, name: str) -> None:
    address = up.address()
    before = up.children()[name]
    os.kill(before, signal.SIGKILL)
    until(f"{name} is back", lambda: up.children().get(name, before) != before)
    until("the portal is ready", lambda: ready(address))


def test_ctrl_c_stops_everything_and_leaves_nothing_behind(up: Up) -> None:
    up.address()
    started = descendants(up.process.pid)
    assert len(started) > 5
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(timeout=60) == 0
    assert not [pid for pid in started if exists(pid)]
    assert "stopped" in up.text
    assert "Traceback" not in up.text


def test_the_second_start_keeps_everything_with_secrets_from_the_environment(up: Up) -> None:
    keys = {path.name: path.read_bytes() for path in (up.data / "keys").iterdir()}
    given = {"PLEURA_WORKER_TOKEN": TOKEN, "PLEURA_SECRET_KEY": TOKEN[::-1]}
    again = Up(up.data.parent, 0, **given)
    try:
        address = again.address()
        until("the portal is ready", lambda: ready(address))
        assert {path.name: path.read_bytes() for path in (up.data / "keys").iterdir()} == keys
        started = descendants(again.process.pid)
        for pid in started:
            text = command_and_environment(pid)
            assert not [name for name, secret in given.items() if secret.encode() in text], pid
    finally:
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(timeout=60) == 0
    assert not [pid for pid in started if exists(pid)]
