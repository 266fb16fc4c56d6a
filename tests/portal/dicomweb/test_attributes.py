"""The tables of docs/dicom.md are those that a search goes by."""

import re

from portal.dicomweb import candidates, queries, retrieval, search
from portal.dicomweb.attributes import ALWAYS, INCLUDABLE, KEYS, Level, keyword_of, tag_of
from portal.formats.dicom_json import elements
from portal.web.dicomweb.media_types import OF_FRAMES
from tests.support.paths import ROOT

_TEXT = (ROOT / "docs" / "dicom.md").read_text()
TEXT = _TEXT[_TEXT.index("## DICOMweb") : _TEXT.index("## Not there")]


def rows(head: str) -> list[list[str]]:
    """The rows of the table with this head."""
    lines = TEXT[TEXT.index(head) :].splitlines()
    table = lines[2 : next(n for n, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_attributes_of_each_level_are_listed() -> None:
    listed = {level: (always, included) for level, always, included in rows("| level |")}
    assert set(listed) == set(Level)
    for level in Level:
        always, included = listed[level]
        assert always.split(", ") == [keyword_of(tag) for tag in ALWAYS[level]]
        if INCLUDABLE[level]:
            assert included.split(", ") == [keyword_of(tag) for tag in INCLUDABLE[level]]


def test_the_keys_of_each_level_are_listed() -> None:
    listed = {name: set(levels.split(", ")) for name, levels, _ in rows("| key |")}
    known = {
        keyword_of(tag): {one.value for one in Level if tag in queries.keys_of(one)}
        for level in Level
        for tag in KEYS[level]
    }
    assert listed == known
    assert all(tag_of(name) for name in listed)


def test_the_media_types_of_frames_are_listed() -> None:
    listed = {media_type for _, media_type in rows("| stored |")}
    assert listed == {*OF_FRAMES.values(), "application/octet-stream"}


def test_the_bounds_are_those_of_the_code() -> None:
    for stated in (
        f"`limit` ({queries.LIMIT} unless given, at most {queries.MOST})",
        f"`offset` (at most {queries.MOST_OFFSET})",
        f"at most {candidates.MOST_EXAMS} exams and opens at most {search.MOST_HEADERS} headers",
        f"frames as they are stored, at most {retrieval.MOST_FRAMES}",
        f"{elements.INLINE_BYTES // 1024} KiB of bytes or {elements.LONGEST_BYTES // 1024} KiB",
    ):
        assert stated in TEXT, stated


def test_every_resource_that_is_listed_is_a_route() -> None:
    resources = " ".join(row[0] for row in rows("| resource |"))
    assert set(re.findall(r"/(\w+)", resources)) == {
        *("studies", "series", "instances", "metadata", "frames", "bulkdata"),
    }
