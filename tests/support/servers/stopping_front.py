"""A front of a real server that can stop: connections stay open, and nothing comes through."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class StoppingFront:
    """A port of this machine that leads to a unix socket as long as `open` is set."""

    def __init__(self, behind: Path) -> None:
        self.open = threading.Event()
        self.open.set()
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._live: list[socket.socket] = [self._listener]
        self.accepted = 0
        # How often something came that had to wait.
        self.stopped = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        found: int = self._listener.getsockname()[1]
        return found

    def close(self) -> None:
        """End it with all its connections."""
        for one in self._live:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.open.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._live.append(client)
        with suppress(OSError):
            self.stopped += not self.open.is_set()
            self.open.wait()
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._behind))
            self._live.append(server)
            threading.Thread(target=self._pass_on, args=(server, client), daemon=True).start()
            self._pass_on(client, server)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.stopped += not self.open.is_set()
                self.open.wait()
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def stopping_front(behind: Path) -> Iterator[StoppingFront]:
    """A front of the server at this unix socket, until the end of the block."""
    front = StoppingFront(behind)
    try:
        yield front
    finally:
        front.close()
