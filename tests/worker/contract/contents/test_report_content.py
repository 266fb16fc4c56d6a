"""The content of a report: packed and read again, or refused."""

import pytest

from tests.support.reports.contents import content
from worker.contract.contents import report_content
from worker.contract.message import InvalidMessage


def test_a_content_comes_back_with_its_parts() -> None:
    read, parts = report_content.unpack(content(2))
    assert len(read.pictures) == 2
    sizes = [(one.bytes, *(outline.bytes for outline in one.outlines)) for one in read.pictures]
    assert [len(part) for part in parts] == [size for one in sizes for size in one]
    assert report_content.pack(read, parts) == content(2)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "x"},
        {"created": "yesterday"},
        {"language": "<en>"},
        {"title": ""},
        {"title": "a\x00b"},
    ],
)
def test_what_breaks_the_contract_is_not_packed(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # pydantic's, with a text of its own
        content(**changes)


@pytest.mark.parametrize("cut", [1, 1000])
def test_parts_that_do_not_fit_are_refused(cut: int) -> None:
    with pytest.raises(InvalidMessage):
        report_content.unpack(content()[:-cut])


def test_parts_are_those_that_are_listed() -> None:
    read, parts = report_content.unpack(content())
    with pytest.raises(ValueError, match="not those"):
        report_content.pack(read, parts[:-1])
