"""A key ring held by another program: a client of a key management service, a password store.

The key ring goes over standard input and output only: never an argument, which other users of the
machine could read, and never a log.
"""

import subprocess
import time
from typing import Final

_SECONDS: Final = 30
_REUSED_SECONDS: Final = 60
_BYTES: Final = 1024 * 1024


class KeyRingCommand:
    """The commands that print and store the key ring; `store_command` may be empty."""

    def __init__(self, print_command: tuple[str, ...], store_command: tuple[str, ...]) -> None:
        """Nothing is run yet."""
        self._print_command, self._store_command = print_command, store_command
        self._printed: tuple[float, str] | None = None

    def read(self, *, fresh: bool = True) -> str:
        """The key ring's text; OSError, with a message for people, where the command fails.

        fresh False: output of the last minute may be used, so that not every upload waits for a key
        service.
        """
        if not fresh and self._printed and time.monotonic() - self._printed[0] < _REUSED_SECONDS:
            return self._printed[1]
        text = _run(self._print_command, "").strip()
        self._printed = (time.monotonic(), text)
        return text

    def store(self, ring: str) -> None:
        """Replace the key ring; OSError where it could not be stored."""
        if not self._store_command:
            raise OSError("PLEURA_KEY_RING_STORE_COMMAND is not set, so no key ring can be stored")
        _run(self._store_command, ring)
        self._printed = None


def _run(command: tuple[str, ...], standard_input: str) -> str:
    try:
        done = subprocess.run(  # the operator's own command  # noqa: S603  # nosec B603
            command,
            input=standard_input.encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except OSError as error:
        raise OSError(f"{command[0]} can't be run ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise OSError(f"{command[0]} gave no answer within {_SECONDS} seconds") from None
    if done.returncode != 0:
        raise OSError(f"{command[0]} ended with code {done.returncode}")
    if len(done.stdout) > _BYTES:
        raise OSError(f"{command[0]} printed more than a key ring")
    try:
        return done.stdout.decode("utf-8")
    except UnicodeDecodeError:
        raise OSError(f"{command[0]} printed no text") from None
