"""What a decoder that was taken over would try, and a stand-in that tries it.

``python -m tests.support.isolation.decoder_attacks FD MEMORY_BYTES CPU_SECONDS`` is started by the
real ``Decoder`` in place of the decoder process, and does in a file's process what the "file" asks
for: a JSON object with the attack's name and its target, or with the answer to give. Each attack
returns what it got; one that is stopped raises OSError.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml.images import decoder_messages
from worker.isolation import kernel
from worker.render.process_per_file import Answer, Limits, serve

SECRET = b"a-secret-of-the-worker-"
REPEATED = 1000
# Where this program's data lies, noted while it can still be read.
_WRITABLE = [
    (int(match[1], 16), int(match[2], 16))
    for match in re.finditer(
        r"^([0-9a-f]+)-([0-9a-f]+) rw-p (?!.*\[vvar)", Path("/proc/self/maps").read_text(), re.M
    )
]
_SHMGET, _READV, _PIDFD_OPEN, _PIDFD_GETFD = 29, 310, 434, 438  # x86-64
_PTRACE_ATTACH, _PTRACE_DETACH = 16, 17


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def environment(target: Any) -> str:
    """The worker's environment."""
    return _secret_in(Path(f"/proc/{target['pid']}/environ").read_bytes())


def memory_file(target: Any) -> str:
    """The worker's memory by its file."""
    with open(f"/proc/{target['pid']}/mem", "rb", buffering=0) as memory:
        memory.seek(target["address"])
        return _secret_in(memory.read(len(SECRET)))


def memory_call(target: Any) -> str:
    """The worker's memory by a system call."""
    buffer = ctypes.create_string_buffer(len(SECRET))
    own = _Vector(ctypes.addressof(buffer), len(SECRET))
    other = _Vector(target["address"], len(SECRET))
    vectors = (ctypes.addressof(own), 1, ctypes.addressof(other), 1, 0)
    kernel.system_call(_READV, target["pid"], *vectors)
    return _secret_in(buffer.raw)


def trace(target: Any) -> str:
    """Stop the worker as a debugger does."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(_PTRACE_ATTACH, target["pid"], None, None):
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(target["pid"], 0)
    libc.ptrace(_PTRACE_DETACH, target["pid"], None, None)
    return "traced"


def descriptor_file(target: Any) -> str:
    """A file in memory that the worker has open."""
    return _secret_in(Path(f"/proc/{target['pid']}/fd/{target['descriptor']}").read_bytes())


def descriptor_call(target: Any) -> str:
    """The same, its descriptor taken over."""
    process = kernel.system_call(_PIDFD_OPEN, target["pid"], 0)
    taken = kernel.system_call(_PIDFD_GETFD, process, target["descriptor"], 0)
    return _secret_in(os.pread(taken, 100, 0))


def processes(_: Any) -> str:
    """Which processes there are."""
    return ",".join(name for name in os.listdir("/proc") if name.isdigit()) or _nothing()


def key_file(target: Any) -> str:
    """A key file of the worker's user, mode 0600."""
    return _secret_in(Path(target["key_file"]).read_bytes())


def write_file(target: Any) -> str:
    """A new file."""
    Path(target["folder"], "written").write_text("x")
    return "written"


def move_file(target: Any) -> str:
    """Take a file away."""
    os.rename(target["movable"], target["movable"] + ".moved")
    os.rename(target["movable"] + ".moved", target["movable"])
    return "moved"


def inherited(_: Any) -> str:
    """Descriptors that can be read beyond the empty standard ones, the file's own socket, and the
    pipe that holds what this process itself printed.
    """
    found = []
    for number in range(3, 300):
        try:
            os.read(number, 0)
        except OSError:
            continue
        found.append(number)
    return str(found) if len(found) > 2 else _nothing()


def fill_file(target: Any) -> str:
    """A file in memory that was left open to it, made longer."""
    os.write(target["left_open"], b"x")
    return "filled"


def tcp(target: Any) -> str:
    """The portal."""
    with socket.socket(socket.AF_INET) as own:
        own.connect(("127.0.0.1", target["port"]))
    return "connected"


def udp(target: Any) -> str:
    """A name server."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.sendto(b"x", ("127.0.0.1", target["port"]))
    return "sent"


def listen(_: Any) -> str:
    """Wait for connections."""
    with socket.socket(socket.AF_INET) as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        return "listening"


def unix_socket(target: Any) -> str:
    """Redis on its private socket."""
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(target["unix"])
    return "connected"


def abstract_socket(target: Any) -> str:
    """A socket of the abstract kind, which is in no folder."""
    with socket.socket(socket.AF_UNIX) as own:
        own.connect("\0" + target["abstract"])
    return "connected"


def signal_worker(target: Any) -> str:
    """End the worker; here no more than whether that is allowed."""
    os.kill(target["pid"], 0)
    return "allowed"


def limit_worker(target: Any) -> str:
    """Change the worker's limits."""
    limits = resource.prlimit(target["pid"], resource.RLIMIT_CORE)
    resource.prlimit(target["pid"], resource.RLIMIT_CORE, limits)
    return "changed"


def fork(_: Any) -> str:
    """Another process."""
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "forked"


def execute(_: Any) -> str:
    """Another program. It has succeeded where there is no answer."""
    os.execv("/bin/true", ["true"])


def shared_memory(_: Any) -> str:
    """Memory that outlives the process, of the System V kind."""
    key = kernel.system_call(_SHMGET, 0x5AFE, 4096, 0o1600)
    ctypes.CDLL(None).shmctl(key, 0, None)
    return "shared"


def memory_of_a_file(_: Any) -> str:
    """A file in memory, to map or to run."""
    os.close(os.memfd_create("x"))
    return "made"


def more_limits(_: Any) -> str:
    """More files than allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 64), max(hard, 64)))
    return "raised"


def file_before(target: Any) -> str:
    """What is left of the file before, `REPEATED` times a mark, in this process's memory."""
    mark = b"".join(bytes.fromhex(part) for part in target["mark"])
    found = sum(ctypes.string_at(start, end - start).count(mark) for start, end in _WRITABLE)
    # A few are this search's own.
    return f"found {found} times" if found > REPEATED / 2 else _nothing()


ATTACKS: dict[str, Callable[[Any], str]] = {
    attack.__name__: attack
    for attack in (
        environment,
        memory_file,
        memory_call,
        trace,
        descriptor_file,
        descriptor_call,
        processes,
        key_file,
        write_file,
        move_file,
        inherited,
        fill_file,
        tcp,
        udp,
        listen,
        unix_socket,
        abstract_socket,
        signal_worker,
        limit_worker,
        fork,
        execute,
        shared_memory,
        memory_of_a_file,
        more_limits,
    )
}


def attempt(attack: str, target: Any) -> dict[str, str]:
    """What the attack got, or the kind of error that stopped it."""
    try:
        return {"got": {**ATTACKS, "file_before": file_before}[attack](target)}
    except (OSError, ValueError) as error:
        return {"stopped": type(error).__name__}


def _secret_in(data: bytes) -> str:
    return SECRET.decode() if SECRET in data else _nothing()


def _nothing() -> str:
    raise OSError("nothing")


def _work(data: bytes) -> Answer:
    if not data.startswith(b"{"):
        return {"read": len(data)}, []
    asked = json.loads(data)
    if "sleep" in asked:
        time.sleep(asked["sleep"])
    if "answer" in asked:
        return asked["answer"], [part.encode() for part in asked["parts"]]
    return attempt(asked["attack"], asked["target"]), []


def main(arguments: list[str]) -> None:
    """Serve as the decoder process does."""
    descriptor, memory_bytes, cpu_seconds = (int(argument) for argument in arguments)
    with socket.socket(fileno=descriptor) as channel:
        limits = Limits(memory_bytes, cpu_seconds)
        serve(channel, _work, limits, decoder_messages.install)


if __name__ == "__main__":
    main(sys.argv[1:])
