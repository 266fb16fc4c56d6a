"""The content of a picture's DICOM objects: packed and read again, or refused."""

import pytest

from worker.contract.contents import object_content
from worker.contract.message import InvalidMessage
from worker.encode import sample

CONTENT, JPEG, OUTLINES, PDF, _ = sample.of_every_kind()
PACKED = object_content.pack(CONTENT, JPEG, OUTLINES, PDF)


def test_content_and_parts_come_back() -> None:
    assert object_content.unpack(PACKED) == (CONTENT, JPEG, OUTLINES, PDF)


@pytest.mark.parametrize("cut", [1, len(PDF), len(PACKED) - 10])
def test_a_part_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(InvalidMessage):
        object_content.unpack(PACKED[:-cut])


def test_what_stands_behind_the_parts_is_refused() -> None:
    with pytest.raises(InvalidMessage):
        object_content.unpack(PACKED + b"x")


def test_parts_of_another_size_are_not_packed() -> None:
    with pytest.raises(ValueError, match="parts"):
        object_content.pack(CONTENT, JPEG, OUTLINES, PDF + b"x")


@pytest.mark.parametrize("uid", ["", "1", "1.02.3", "1.2.", "1.2.a", "2." + "1" * 63])
def test_a_uid_that_is_none_is_refused(uid: str) -> None:
    with pytest.raises(ValueError, match="instance"):
        object_content.Identity(series="1.2.3", instance=uid)
