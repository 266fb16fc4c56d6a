"""A Redis-compatible server on a private socket, for the duration of a block."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal.standalone import embedded_redis


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The server's address; NoServer where none is installed."""
    server = embedded_redis.prepare(folder)
    process = subprocess.Popen(server.command, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not server.answers():
            assert process.poll() is None, "the Redis server ended"
            assert time.monotonic() < end, "the Redis server does not answer"
            time.sleep(0.05)
        yield server.url
    finally:
        process.terminate()
        process.wait()
        server.tidy()
