"""A tree of child processes: started, watched, started again with back-off, stopped in order.

Owns processes and their logs; `up` defines what they are. Every child has a process group of its
own, so that Ctrl-C reaches this process alone, and gets a signal from the kernel when this process
ends, so that nothing is left behind.
"""

from __future__ import annotations

import ctypes
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LOG_BYTES, LOG_FILES = 5_000_000, 4
POLL_SECONDS = 0.1
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
# After running for this long a child starts again without a longer pause.
SETTLED_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1

PrintLine = Callable[[str], None]


@dataclass(eq=False)
class Child:
    """One process to keep running. `ready` returns whether it has started fully."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[], bool]
    # Layers are stopped from the highest to the lowest; what others need lies lower.
    layer: int = 0
    grace_seconds: float = 10.0
    pass_fds: Sequence[int] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    start_at: float = field(default=0.0, init=False)
    pause: float = field(default=FIRST_PAUSE, init=False)
    deaths: int = field(default=0, init=False)

    @property
    def running(self) -> bool:
        """Whether the process exists."""
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Keeps children running; stops them layer by layer."""

    def __init__(self, log_folder: Path, print_line: PrintLine) -> None:
        log_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log_folder = log_folder
        self._say = print_line
        self._children: list[Child] = []
        self._stop = threading.Event()
        self._hurry = threading.Event()
        # Loaded before any fork: the child may not load anything between fork and exec.
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def catch_signals(self) -> None:
        """Let Ctrl-C and SIGTERM stop the tree; a second one stops it at once."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: object) -> None:
        (self._hurry if self._stop.is_set() else self._stop).set()

    @property
    def stopping(self) -> bool:
        """Whether the processes are to stop."""
        return self._stop.is_set()

    def start(self, child: Child) -> None:
        """Start a child and keep it running from now on."""
        self._children.append(child)
        self._spawn(child)

    def wait_ready(self, children: Sequence[Child], seconds: float) -> list[Child]:
        """Wait until they are ready; those that are not after that time, or that died twice."""
        end = time.monotonic() + seconds
        waiting = list(children)
        while waiting and not self._stop.is_set() and time.monotonic() < end:
            self._look_after()
            waiting = [child for child in waiting if not (child.running and child.ready())]
            if waiting and all(child.deaths >= 2 for child in waiting):
                break
            self._stop.wait(POLL_SECONDS)
        return waiting

    def watch(self) -> None:
        """Look after the children until a signal comes."""
        while not self._stop.wait(POLL_SECONDS * 5):
            self._look_after()

    def stop(self) -> None:
        """Stop all children, the highest layer first, and leave none behind."""
        self._stop.set()
        for layer in sorted({child.layer for child in self._children}, reverse=True):
            going = [child for child in self._children if child.layer == layer]
            for child in going:
                _send(child, signal.SIGTERM)
            began = time.monotonic()
            for child in going:
                end = began + child.grace_seconds
                while child.running and time.monotonic() < end and not self._hurry.is_set():
                    time.sleep(POLL_SECONDS / 5)
                _end_group(child)
        self._children.clear()

    def log_tail(self, child: Child, lines: int = 3) -> list[str]:
        """The end of a child's log."""
        path = self._log_folder / f"{child.name}.log"
        with suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace")
            return [line for line in text.splitlines() if line.strip()][-lines:]
        return []

    def _look_after(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.running:
                continue
            if child.process is not None:
                _end_group(child)
                child.deaths += 1
                if now - child.started_at > SETTLED_SECONDS:
                    child.pause = FIRST_PAUSE
                child.start_at = now + child.pause
                how = _ending(child.process.returncode)
                self._say(f"{child.name} ended ({how}): started again in {child.pause:.0f} s")
                child.pause = min(2 * child.pause, LONGEST_PAUSE)
                child.process = None
            elif now >= child.start_at:
                self._spawn(child)

    def _spawn(self, child: Child) -> None:
        child.process = subprocess.Popen(  # our own programs  # noqa: S603  # nosec B603
            child.command,
            env=dict(child.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=tuple(child.pass_fds),
            process_group=0,
            preexec_fn=self._die_with_parent if self._libc else None,
        )
        child.started_at = time.monotonic()
        threading.Thread(
            target=self._keep_log, args=(child.name, child.process), daemon=True
        ).start()

    def _die_with_parent(self) -> None:
        assert self._libc is not None
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def _keep_log(self, name: str, process: subprocess.Popen[bytes]) -> None:
        handler = logging.handlers.RotatingFileHandler(
            self._log_folder / f"{name}.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1
        )
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                text = line.decode("utf-8", "replace").rstrip("\n")
                handler.handle(logging.LogRecord(name, logging.INFO, "", 0, text, None, None))
        handler.close()


def _send(child: Child, number: signal.Signals) -> None:
    """A signal to the process itself: a worker ends its own children."""
    if child.process is not None and child.process.poll() is None:
        child.process.send_signal(number)


def _end_group(child: Child) -> None:
    """Kill whatever is left of a child's process group, and take note of its end."""
    if child.process is None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGKILL)
    child.process.wait()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
