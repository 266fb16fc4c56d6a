"""A mask as the lengths of its runs: how browser, portal and worker exchange a reader's outline.

The picture's pixels row after row, as unsigned LEB128 numbers: how many are outside, how many
inside, and so on. Only the first number may be 0, and together they are rows * columns: so a mask
has one form alone, and equal masks have equal bytes. `static/js/editor/runs.js` writes the same.
"""

from collections.abc import Iterable, Sequence
from typing import Final

RUNS: Final = "application/vnd.pleura.runs"
# An outline of a pneumothorax takes some ten thousand bytes.
BYTES_MAX: Final = 512 * 1024

# First pixel of a run and the one after its last, counted through the whole picture.
Run = tuple[int, int]


class BadRuns(ValueError):
    """Bytes that are no mask of this size. `code` is too_large, broken or wrong_size."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def decode(data: bytes, rows: int, columns: int) -> list[Run]:
    """The runs inside a mask of this size; BadRuns for anything else."""
    if len(data) > BYTES_MAX:
        raise BadRuns("too_large", f"An outline has at most {BYTES_MAX // 1024} KB.")
    total, at, inside = rows * columns, 0, False
    found = list[Run]()
    for number, length in enumerate(_numbers(data)):
        if length == 0 and number > 0:
            raise BadRuns("broken", "A run of the outline is empty.")
        if at + length > total:
            raise BadRuns("wrong_size", "The outline is larger than the picture.")
        if inside:
            found.append((at, at + length))
        at, inside = at + length, not inside
    if at != total:
        raise BadRuns("wrong_size", "The outline is smaller than the picture.")
    return found


def encode(runs: Iterable[Run], rows: int, columns: int) -> bytes:
    """The bytes of runs, which are sorted and do not touch."""
    out, at = bytearray(), 0
    for start, end in runs:
        _write(out, start - at)
        _write(out, end - start)
        at = end
    if at < rows * columns or not out:
        _write(out, rows * columns - at)
    return bytes(out)


def pixels(runs: Sequence[Run]) -> int:
    """How many pixels are inside."""
    return sum(end - start for start, end in runs)


def dice(one: Sequence[Run], other: Sequence[Run]) -> float:
    """Twice the shared pixels over all of both; 1 where both are empty."""
    both = pixels(one) + pixels(other)
    return 2 * _shared(one, other) / both if both else 1.0


def _shared(one: Sequence[Run], other: Sequence[Run]) -> int:
    i = k = count = 0
    while i < len(one) and k < len(other):
        (a, b), (c, d) = one[i], other[k]
        count += max(0, min(b, d) - max(a, c))
        if b <= d:
            i += 1
        else:
            k += 1
    return count


def _numbers(data: bytes) -> Iterable[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
            if shift > 35:  # beyond any picture's pixels
                raise BadRuns("broken", "A number of the outline is too long.")
            continue
        if byte == 0 and shift:
            raise BadRuns("broken", "A number of the outline is written in a longer form.")
        yield value
        value = shift = 0
    if shift:
        raise BadRuns("broken", "The outline is cut off.")


def _write(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
