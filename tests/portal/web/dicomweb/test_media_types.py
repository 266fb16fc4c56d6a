"""What a program accepts: the header or the query, with parameters and weights."""

import pytest
from flask import Flask

from portal.web.dicomweb import media_types
from portal.web.security.errors import Problem
from xray_files.kinds import ENCAPSULATED

DICOM, OCTETS = media_types.DICOM, media_types.OCTETS
RELATED = "multipart/related"


def parts_of(app: Flask, accept: str, *kinds: str) -> list[tuple[str, str]]:
    with app.test_request_context(headers={"Accept": accept}):
        return [(one.media_type, one.syntax) for one in media_types.for_parts(*kinds)]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f'{RELATED}; type="{DICOM}"', (DICOM, "*")),
        (f"{RELATED}; type={DICOM}", (DICOM, "*")),
        (f'{RELATED}; type="{DICOM}"; transfer-syntax=1.2.3', (DICOM, "1.2.3")),
        (f'{RELATED}; type="{DICOM}"; transfer-syntax="1.2.3"', (DICOM, "1.2.3")),
        (f'text/html, {RELATED}; TYPE="{DICOM.upper()}"', (DICOM, "*")),
        ("*/*", ("*/*", "*")),
        ("", ("*/*", "*")),
        (RELATED, ("*/*", "*")),
        (f'{RELATED}; type="application/*"', ("application/*", "*")),
    ],
)
def test_parts_are_accepted_by_their_type(
    app: Flask, accept: str, expected: tuple[str, str]
) -> None:
    assert parts_of(app, accept, DICOM) == [expected]


@pytest.mark.parametrize(
    "accept",
    [
        DICOM,
        f'{RELATED}; type="{OCTETS}"',
        f'{RELATED}; type="{DICOM}"; q=0',
        '"',
        ", ,",
        "text/*",
    ],
)
def test_what_takes_no_such_part_is_not_acceptable(app: Flask, accept: str) -> None:
    with pytest.raises(Problem) as refused:
        parts_of(app, accept, DICOM)
    assert refused.value.status == 406


def test_every_compressed_syntax_has_a_media_type() -> None:
    assert set(media_types.OF_FRAMES) == ENCAPSULATED
