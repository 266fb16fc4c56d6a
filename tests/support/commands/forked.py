"""The portal's commands as processes of their own, without the second that their imports take.

One process imports the command line and forks for each command: its arguments, environment, exit
code and output are its own. `tests/portal/cli/test_commands.py` starts a new interpreter as well.
"""

import atexit
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NoReturn

from tests.support.paths import ROOT

_PATIENCE = 120.0
_REQUEST_MOST = 1 << 16


class Command:
    """`python -m portal ARGUMENTS`, running."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self.arguments = list(arguments)
        self.returncode: int | None = None
        self._out, self._errors = (os.memfd_create(name) for name in ("out", "errors"))
        self._asked = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asked.settimeout(_PATIENCE)
        self._asked.connect(_address())
        request = json.dumps({"arguments": self.arguments, "environ": dict(environ)}).encode()
        assert len(request) < _REQUEST_MOST
        socket.send_fds(self._asked, [request], [self._out, self._errors])
        self.pid = int(self._asked.recv(16))

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        if self.returncode is None and select.select([self._asked], [], [], 0)[0]:
            self.returncode = int(self._asked.recv(16))
        return self.returncode

    def wait(self) -> int:
        """The exit code, at its end; TimeoutError after two minutes."""
        if self.returncode is None:
            self.returncode = int(self._asked.recv(16))
        return self.returncode

    def send_signal(self, number: int) -> None:
        """A signal, as long as it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self) -> tuple[str, str]:
        """What it has written to standard output and standard error, at its end."""
        self.wait()
        self._asked.close()
        return _text(self._out), _text(self._errors)


def run_command(
    arguments: Sequence[str], environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """`python -m portal ARGUMENTS` in this environment, to its end."""
    command = Command(arguments, environ)
    texts = command.communicate()
    return subprocess.CompletedProcess(command.arguments, command.wait(), *texts)


def _text(descriptor: int) -> str:
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read().decode()


@cache
def _address() -> str:
    """Where the process that forks listens; it ends with this one."""
    path = os.path.join(tempfile.mkdtemp(prefix="pleura-"), "commands")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.commands.forked", path],
        cwd=ROOT,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    atexit.register(process.stdin.close)
    return path


def _serve(path: str) -> None:
    """Fork for each request, until standard input ends."""
    runpy.run_module("portal", run_name="imported")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            asked, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _keep(asked)
            asked.close()


def _keep(asked: socket.socket) -> NoReturn:
    """Fork once more for the command; answer with its process number, then with its exit code."""
    request, files, _, _ = socket.recv_fds(asked, _REQUEST_MOST, 2)
    command = os.fork()
    if command == 0:
        asked.close()
        _become(json.loads(request), *files)
    asked.send(str(command).encode())
    _, status = os.waitpid(command, 0)
    asked.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: dict[str, Any], out: int, errors: int) -> NoReturn:
    """What the interpreter does for `python -m portal`, with the modules that are there."""
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(out, 1)
    os.dup2(errors, 2)
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv = ["portal", *request["arguments"]]
    # With secrets in its environment the portal starts anew, by these words.
    sys.orig_argv = [sys.executable, "-m", *sys.argv]
    code = 0
    try:
        runpy.run_module("portal", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
