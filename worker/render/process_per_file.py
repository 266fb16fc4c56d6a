"""A process for every file, forked from a confined one that has loaded all that is needed.

Owns the server's side: its parent sends it one end of a socket pair for each file, and the process
forked for that file answers there. So the server holds no file's bytes, a file's process sees none
of the file before, and nothing that it sends is taken for the answer to another.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worker.framing import receive, send
from worker.isolation import kernel, limits, namespaces
from worker.isolation.confinement import confine, filter_calls
from worker.isolation.system_calls import READING, THREADS

# Of a process that may read some files.
_DESCRIPTORS = 64
Answer = tuple[dict[str, Any], list[bytes]]


@dataclass(frozen=True)
class Limits:
    """What one file may take, beyond what is loaded; whether its process may start threads, and
    the folders that it may read, in which nothing of a file's is.
    """

    memory_bytes: int
    cpu_seconds: int
    threads: int = 0
    readable: tuple[str, ...] = ()


def serve(
    channel: socket.socket,
    work: Callable[[bytes], Answer],
    allowed: Limits,
    prepare: Callable[[], None],
) -> None:
    """Answer with ``work(data)`` for each file until the parent closes the socket.

    ``prepare()`` is called in the file's process while it may still open something.

    A file that is being worked on then is given up. The first message lists the layers of isolation
    that are missing; after each file one holds the status with which its process ended.
    """
    loaded_bytes = limits.address_space_bytes()
    missing = confine({channel.fileno()}, as_first=True, readable=allowed.readable)
    calls = (*(READING if allowed.readable else ()), *(THREADS if allowed.threads else ()))
    descriptors_most = _DESCRIPTORS if allowed.readable else 0
    send(channel, {"missing": missing}, [])
    while True:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if not descriptors:
            return
        child = os.fork()
        if child == 0:
            try:
                channel.close()
                with socket.socket(fileno=descriptors[0]) as own:
                    _, (data,) = receive(own)
                    prepare()
                    memory_bytes = loaded_bytes + len(data) + allowed.memory_bytes
                    limits.limit(
                        memory_bytes,
                        allowed.cpu_seconds,
                        descriptors=descriptors_most,
                        threads=allowed.threads,
                    )
                    filter_calls(missing, calls)
                    send(own, *work(data))
            finally:
                os._exit(0)
        os.close(descriptors[0])
        _wait_for_end(child, channel)
        _, status = os.waitpid(child, 0)
        namespaces.end_all_others()
        send(channel, {"status": status}, [])


def _wait_for_end(child: int, channel: socket.socket) -> None:
    """Wait until the child has ended; end it when the parent has closed the socket."""
    if not kernel.LINUX:
        return
    process = os.pidfd_open(child)
    try:
        # Before the status of this file is sent, the parent sends nothing.
        ended, _, _ = select.select([process, channel.fileno()], [], [])
        if process not in ended:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(process)
