"""A listening socket that fails as one of a process without files left."""

import errno
import socket
from typing import Any


class Faulty:
    """A socket of which the next accepts fail: so many, then it accepts again."""

    def __init__(self, real: Any, times: int) -> None:
        self._real, self.left = real, times

    def accept(self) -> tuple[socket.socket, Any]:
        """Fail by EMFILE, or accept."""
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        accepted: tuple[socket.socket, Any] = self._real.accept()
        return accepted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
