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

from tests.support import wait as patience

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

PATIENCE = 120.0


class Up:
    """One started `up` on a folder of its own, with a port that is already in use."""

    def __init__(self, folder: Path, port: int) -> None:
        self.data = folder / "var"
        self.output = folder / "output"
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("PLEURA", "DATABASE"))
        }
        inherited.pop("REDIS_URL", None)
        self.environment = {**inherited, "PLEURA_DATA_DIR": str(self.data)}
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
    assert patience.until(true, PATIENCE), what


def ready(address: str) -> bool:
    try:
        answer = httpx2.get(f"{address}/health/ready", timeout=2)
    except httpx2.TransportError:
        return False
    return answer.status_code == 200 and answer.json()["checks"]["redis"] == "ok"


def of_folder(folder: Path) -> list[str]:
    """Every process with the folder in its command or environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if process.name.isdigit() and str(folder).encode() in words:
            found.append(words.decode(errors="replace")[:200])
    return found


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


def test_a_worker_holds_no_secret_of_the_portal(up: Up) -> None:
    up.address()
    key = (up.data / "keys" / "secret_key").read_bytes()
    for queue in ("render", "segment"):
        environment = Path(f"/proc/{up.children()[queue]}/environ").read_bytes()
        assert b"PLEURA_WORKER_TOKEN" in environment
        assert key not in environment
        assert b"DATABASE_URL" not in environment


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
    assert len(of_folder(up.data)) > 5
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(timeout=60) == 0
    assert of_folder(up.data) == []
    assert "stopped" in up.text
    assert "Traceback" not in up.text


def test_the_second_start_keeps_everything(up: Up) -> None:
    keys = {path.name: path.read_bytes() for path in (up.data / "keys").iterdir()}
    again = Up(up.data.parent, 0)
    try:
        address = again.address()
        until("the portal is ready", lambda: ready(address))
        assert {path.name: path.read_bytes() for path in (up.data / "keys").iterdir()} == keys
    finally:
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(timeout=60) == 0
    assert of_folder(up.data) == []
