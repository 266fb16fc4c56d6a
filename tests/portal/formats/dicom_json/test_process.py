"""The process that reads stored files: what it answers, and that a hostile one costs it its end."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from portal.dicomweb.file_parts import MODULE
from portal.formats.header_pool import HeaderPool
from portal.formats.refusals import Refused
from tests.support.hostile_files.headers import bombs
from tests.support.pictures import dicom


@pytest.fixture(scope="module")
def pool() -> Iterator[HeaderPool]:
    found = HeaderPool(1, MODULE)
    yield found
    found.close()


def test_it_answers_with_elements_frames_and_values(pool: HeaderPool) -> None:
    data = dicom(pixels=bytes(range(96)))
    answer = pool.ask({"what": "elements"}, data)
    assert json.loads(answer["body"])["00100020"] == {"vr": "LO", "Value": ["P-0001"]}
    assert answer["syntax"] == "1.2.840.10008.1.2.1"
    answer = pool.ask({"what": "frames", "numbers": [1]}, data)
    assert (answer["sizes"], answer["body"]) == ([96], bytes(range(96)))
    assert pool.ask({"what": "bulk", "way": "7FE00010"}, data)["body"] == bytes(range(96))


def test_a_large_picture_passes_through(pool: HeaderPool) -> None:
    pixels = bytes(3000 * 4000 * 2)
    data = dicom(rows=3000, columns=4000, pixels=pixels)
    assert pool.ask({"what": "frames", "numbers": [1]}, data)["body"] == pixels


def test_a_hostile_header_is_refused_and_the_next_file_is_read(pool: HeaderPool) -> None:
    made: dict[str, Any] = dict(bombs(2**20))
    for name, data in made.items():
        with contextlib.suppress(Refused):
            pool.ask({"what": "elements"}, data)
        assert pool.ask({"what": "elements"}, dicom())["body"], name
