"""Commands, their output, and lines that say how long something took."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Broken(Exception):
    """The installation does not do what it has to; the text names it."""


def run(*words: str, text: str | None = None, check: bool = True) -> str:
    """A command's output; Broken with the end of its errors where it fails."""
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()[-15:]
        raise Broken("\n".join([f"{' '.join(words[:6])} … ended with {done.returncode}:", *lines]))
    return done.stdout.strip()


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print how long the block took, once it has ended well."""
    began = time.monotonic()
    yield
    print(f"  {what}: {time.monotonic() - began:.0f} s", flush=True)


def say(line: str) -> None:
    """Print one line, at once."""
    sys.stdout.write(f"  {line}\n")
    sys.stdout.flush()


def require(true: bool, what: str) -> None:
    """Broken with `what` unless it is so."""
    if not true:
        raise Broken(what)


def wait(what: str, true: Callable[[], bool], seconds: float = 180.0) -> float:
    """Wait until `true()`; the seconds that it took. Broken after `seconds`."""
    began = time.monotonic()
    while not true():
        require(time.monotonic() - began < seconds, f"after {seconds:.0f} s: {what}?")
        time.sleep(0.5)
    return time.monotonic() - began
