"""Search a SQLite database's files for bytes: `erasure` runs this in a process of its own.

Standard library only. Reads marks from standard input, in hexadecimal, one a line; writes how many
of them were found and how many bytes were searched.
"""

import sys
from pathlib import Path
from typing import Final

_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")
_CHUNK: Final = 8 * 1024 * 1024


def search(path: Path, marks: list[bytes]) -> tuple[int, int]:
    """How many marks are in the database's files, and how many bytes these have."""
    left, size = set(marks), 0
    overlap = max((len(mark) for mark in marks), default=1) - 1
    for suffix in _SUFFIXES:
        file = path.with_name(path.name + suffix)
        if not file.exists():
            continue
        with file.open("rb") as stream:
            tail = b""
            while data := stream.read(_CHUNK):
                size += len(data)
                data = tail + data
                left -= {mark for mark in left if mark in data}
                tail = data[-overlap:] if overlap else b""
    return len(set(marks)) - len(left), size


if __name__ == "__main__":
    wanted = [bytes.fromhex(line) for line in sys.stdin.read().split()]
    sys.stdout.write("{} {}\n".format(*search(Path(sys.argv[1]), wanted)))
