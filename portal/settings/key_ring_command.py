"""A key ring that another program keeps: a key-management service's client, a password store.

Part of `settings`. The ring goes over standard input and output alone: never an argument, which
other users of the machine could read, never a log.
"""

import shlex
import subprocess
import time
from collections.abc import Mapping
from typing import Final

_SECONDS: Final = 30
_KEPT_SECONDS: Final = 60
_BYTES: Final = 1024 * 1024


class RingCommand:
    """The words of the command that prints the ring, and of the one that keeps it, if any."""

    def __init__(self, printer: tuple[str, ...], keeper: tuple[str, ...]) -> None:
        """Nothing is run yet."""
        self._printer, self._keeper = printer, keeper
        self._printed: tuple[float, str] | None = None

    @classmethod
    def of(cls, source: Mapping[str, str], problems: list[str]) -> "RingCommand | None":
        """As the environment says; a sentence for what can't be meant."""
        names = ("PLEURA_KEY_RING_COMMAND", "PLEURA_KEY_RING_STORE_COMMAND")
        texts = [source.get(name, "") for name in names]
        try:
            printer, keeper = (tuple(shlex.split(text)) for text in texts)
        except ValueError as error:
            problems.append(f"PLEURA_KEY_RING_COMMAND or its STORE_COMMAND: {error}.")
            return None
        if keeper and not printer:
            problems.append("PLEURA_KEY_RING_STORE_COMMAND needs PLEURA_KEY_RING_COMMAND.")
        if printer and (source.get("PLEURA_KEY_RING") or source.get("PLEURA_KEY_RING_FILE")):
            problems.append("Give PLEURA_KEY_RING_COMMAND or PLEURA_KEY_RING(_FILE), not both.")
        return cls(printer, keeper) if printer else None

    def read(self, *, fresh: bool = True) -> str:
        """The ring's text; OSError, in words for people, where the command does not give it.

        fresh False: what was printed within the last minute will do, so that not every upload
        waits for a key service.
        """
        if not fresh and self._printed and time.monotonic() - self._printed[0] < _KEPT_SECONDS:
            return self._printed[1]
        text = _run(self._printer, "").strip()
        self._printed = (time.monotonic(), text)
        return text

    def store(self, ring: str) -> None:
        """Hand a changed ring over; OSError where it was not taken."""
        if not self._keeper:
            raise OSError("there is no PLEURA_KEY_RING_STORE_COMMAND to keep a changed key ring")
        _run(self._keeper, ring)
        self._printed = None


def _run(words: tuple[str, ...], given: str) -> str:
    try:
        done = subprocess.run(  # the operator's own words  # noqa: S603  # nosec B603
            words, input=given.encode(), capture_output=True, timeout=_SECONDS, check=False
        )
    except OSError as error:
        raise OSError(f"{words[0]} can't be run ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise OSError(f"{words[0]} gave no answer within {_SECONDS} seconds") from None
    if done.returncode != 0:
        raise OSError(f"{words[0]} ended with code {done.returncode}")
    if len(done.stdout) > _BYTES:
        raise OSError(f"{words[0]} printed more than a key ring")
    try:
        return done.stdout.decode("utf-8")
    except UnicodeDecodeError:
        raise OSError(f"{words[0]} printed no text") from None
