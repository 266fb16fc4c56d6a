"""The supervisor: children are watched, restarted, logged, and all gone at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portal.standalone.supervisor import Child, Supervisor
from tests.support.isolation.processes import exists
from tests.support.wait import until

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
# A child with a child of its own, in the same process group, that ignores SIGTERM.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(inner.pid, flush=True)
time.sleep(60)
"""


class Messages:
    """What the supervisor reports."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def messages() -> Messages:
    return Messages()


@pytest.fixture
def supervisor(tmp_path: Path, messages: Messages) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "log", messages)
    yield supervisor
    supervisor.stop()


def child(program: str, ready: Callable[[], bool] = lambda: True, **more: float) -> Child:
    return Child("sleeper", [sys.executable, "-c", program], dict(os.environ), ready, **more)


def pid_of(child: Child) -> int:
    assert child.process is not None
    return child.process.pid


def test_a_killed_child_is_started_again_with_a_message(
    supervisor: Supervisor, messages: Messages
) -> None:
    one = child(SLEEPER)
    supervisor.start(one)
    first = pid_of(one)
    os.kill(first, signal.SIGKILL)
    assert until(lambda: not one.running)
    late = supervisor.wait_ready([one], 60)
    assert late == []
    assert one.running
    assert pid_of(one) != first
    assert messages.lines == ["sleeper ended (signal SIGKILL): started again in 1 s"]


def test_a_child_that_cannot_start_gets_longer_pauses_and_its_last_output_is_stored(
    supervisor: Supervisor, messages: Messages
) -> None:
    one = child("print('no model here'); raise SystemExit(3)", lambda: False)
    supervisor.start(one)
    began = time.monotonic()
    assert supervisor.wait_ready([one], 120) == [one]
    assert time.monotonic() - began < 60, "it gave up as soon as the child had died twice"
    assert [line.split(": ")[1] for line in messages.lines] == [
        "started again in 1 s",
        "started again in 2 s",
    ]
    assert until(lambda: supervisor.log_tail(one) != [])
    assert supervisor.log_tail(one)[-1] == "no model here"


def test_a_child_is_ready_when_its_check_holds(supervisor: Supervisor, tmp_path: Path) -> None:
    go, sign = tmp_path / "go", tmp_path / "ready"
    program = f"""
import time
from pathlib import Path
while not Path({str(go)!r}).exists():
    time.sleep(0.02)
Path({str(sign)!r}).touch()
time.sleep(60)
"""
    one = child(program, sign.exists)
    supervisor.start(one)
    assert supervisor.wait_ready([one], 0.05) == [one]
    go.touch()
    assert supervisor.wait_ready([one], 60) == []


def test_stopping_leaves_nothing_behind_even_of_a_child_that_will_not_go(
    supervisor: Supervisor,
) -> None:
    one = child(STUBBORN, grace_seconds=0.5)
    supervisor.start(one)
    assert until(lambda: supervisor.log_tail(one) != [])
    inner = int(supervisor.log_tail(one)[-1])
    outer = pid_of(one)
    assert exists(inner)
    assert exists(outer)
    supervisor.stop()
    assert until(lambda: not exists(inner) and not exists(outer))


def test_what_others_need_is_stopped_after_them(supervisor: Supervisor, tmp_path: Path) -> None:
    program = """
import signal, sys, time
def end(*_):
    time.sleep(0.2)
    open(sys.argv[1], "a").write(sys.argv[2] + "\\n")
    raise SystemExit
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(60)
"""
    ends = tmp_path / "ends"
    for name, layer in (("redis", 0), ("worker", 2), ("portal", 1), ("sweep", 2)):
        command = [sys.executable, "-c", program, str(ends), name]
        one = Child(name, command, dict(os.environ), lambda: True, layer=layer)
        supervisor.start(one)
        assert until(lambda one=one: supervisor.log_tail(one) != [])
    supervisor.stop()
    ended = ends.read_text().split()
    assert sorted(ended[:2]) == ["sweep", "worker"]
    assert ended[2:] == ["portal", "redis"]


def test_children_end_when_the_supervisor_itself_is_killed(tmp_path: Path) -> None:
    program = f"""
import os, sys, time
from pathlib import Path
from portal.standalone.supervisor import Child, Supervisor
from tests.support.isolation.processes import exists
from tests.support.wait import until
supervisor = Supervisor(Path({str(tmp_path)!r}), print)
command = [sys.executable, "-c", "import time; time.sleep(60)"]
one = Child("one", command, dict(os.environ), lambda: True)
supervisor.start(one)
print(one.process.pid, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        inner = int(output.readline())
        assert exists(inner)
        process.kill()
        process.wait()
    assert until(lambda: not exists(inner))


def test_a_long_log_is_turned_over(
    tmp_path: Path, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.standalone.supervisor.LOG_BYTES", 2000)
    supervisor = Supervisor(tmp_path / "log", messages)
    program = "[print('x' * 99) for _ in range(200)]; print('end', flush=True)"
    one = child(f"{program}; import time; time.sleep(60)")
    supervisor.start(one)
    logs = tmp_path / "log"
    # Until then the log may be turned over once more while its files are looked at.
    assert until(lambda: supervisor.log_tail(one)[-1:] == ["end"])
    supervisor.stop()
    assert len(list(logs.iterdir())) == 4
    assert all(file.stat().st_size <= 2100 for file in logs.iterdir())
