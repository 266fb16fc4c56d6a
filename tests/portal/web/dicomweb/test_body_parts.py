"""Bodies of several parts, cut into pieces at every byte: the parts come out as they went in."""

import io
import math
import time
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.web.dicomweb import body_parts
from portal.web.dicomweb.body_parts import NoParts
from tests.support.dicomweb.sent import BOUNDARY, body_of

DICOM = "application/dicom"
MOST = 1000


class Slow(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self._step = step

    def read(self, size: int | None = -1, /) -> bytes:
        """At most a step."""
        return super().read(self._step)


def read(
    stream: IO[bytes], most: int = MOST, seconds: float = math.inf
) -> list[tuple[bytes, int, str]]:
    found = body_parts.read(stream, BOUNDARY, DICOM, most, most_seconds=seconds)
    return [(one.data, one.size, one.refusal) for one in found]


def of(*files: bytes) -> list[tuple[bytes, int, str]]:
    return [(one, len(one), "") for one in files]


PIECES = st.sampled_from([b"\r\n", b"--", BOUNDARY.encode(), b"\r", b"\n", b"-", b"x", b"\0"])
CONTENTS = st.lists(PIECES, max_size=8).map(b"".join)


def is_safe(content: bytes) -> bool:
    """Whether it holds no boundary: its sender has to choose one that it does not hold."""
    return f"\r\n--{BOUNDARY}".encode() not in b"\r\n" + content + b"\r\n"


@given(st.lists(CONTENTS.filter(is_safe), min_size=1, max_size=4), st.integers(1, 40))
def test_parts_come_out_as_they_went_in(files: list[bytes], step: int) -> None:
    assert read(Slow(body_of(files), step)) == of(*files)


@given(st.integers(0, 90), st.integers(1, 40))
def test_a_body_that_ends_anywhere_gives_nothing_that_is_not_whole(end: int, step: int) -> None:
    body = body_of([b"first", b"second"])
    try:
        found = read(Slow(body[:end], step))
    except NoParts:
        found = []
    whole = [one for one in found if not one[2]]
    assert whole == of(b"first", b"second")[: len(whole)]
    assert [one[2] for one in found if one[2]] in ([], ["truncated"])


def test_a_longer_word_that_begins_like_the_boundary_is_content() -> None:
    content = f"\r\n--{BOUNDARY}er\r\n".encode()
    assert read(io.BytesIO(body_of([content, b"x"]))) == of(content, b"x")


def test_what_stands_before_the_first_boundary_and_behind_the_last_is_passed_over() -> None:
    body = b"This is a message.\r\n" + body_of([b"x"]) + b"The end.\r\n--a-boundary\r\n"
    assert read(io.BytesIO(body)) == of(b"x")


@pytest.mark.parametrize(
    ("head", "refusal"),
    [
        ("", ""),
        ("Content-Type: application/dicom; transfer-syntax=1.2.3\r\n", ""),
        ("content-type: APPLICATION/DICOM\r\nContent-Location: x\r\n", ""),
        ("Content-Type: application/dicom+json\r\n", "part_type"),
        ("Content-Type: text/plain\r\n", "part_type"),
        (f"X: {'y' * 20_000}\r\nContent-Type: application/dicom\r\n", "part_type"),
    ],
)
def test_a_part_is_of_its_own_type(head: str, refusal: str) -> None:
    ((_, size, found),) = read(io.BytesIO(body_of([b"abc"], head=head)))
    assert (size, found) == (3, refusal)


def test_of_a_part_over_the_limit_nothing_is_kept() -> None:
    files = [b"x" * MOST, b"x" * (MOST + 1), b"x" * 10 * MOST, b"y"]
    found = read(Slow(body_of(files), 100))
    assert [(len(data), refusal) for data, _, refusal in found] == [
        (MOST, ""),
        (0, "too_large"),
        (0, "too_large"),
        (1, ""),
    ]
    assert [size for _, size, _ in found] == [len(one) for one in files]


@pytest.mark.parametrize("boundary", ["", "x" * 71, "boundarÿ", "another"])
def test_a_boundary_that_is_none_or_is_not_there_is_refused(boundary: str) -> None:
    with pytest.raises(NoParts):
        body_parts.read(io.BytesIO(body_of([b"x"])), boundary, DICOM, MOST, most_seconds=math.inf)


def test_the_search_for_boundaries_ends_and_leaves_what_follows_to_be_sent_again() -> None:
    false = f"\r\n--{BOUNDARY}er".encode() * 200_000
    files = body_of([b"first", false, b"last"])
    assert [one[2] for one in read(io.BytesIO(files))] == ["", "too_large", ""]
    assert read(io.BytesIO(files), seconds=0.005) == [*of(b"first"), (b"", 0, "not_now")]


def test_what_is_done_with_a_part_is_no_search() -> None:
    stream = Slow(body_of([b"x", b"y", b"z"]), 10)
    found = body_parts.read(stream, BOUNDARY, DICOM, MOST, most_seconds=0.1)
    for part in found:
        assert not part.refusal
        began = time.thread_time()
        while time.thread_time() - began < 0.15:
            pass
