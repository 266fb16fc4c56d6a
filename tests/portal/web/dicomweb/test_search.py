"""QIDO-RS over HTTP: the media types, the warnings, the refusals, and what no log holds."""

import io
import logging

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from portal.web.dicomweb import media_types
from portal.web.security.request_log import JsonFormatter
from tests.support.dicomweb.answers import Program, send
from tests.support.people import Person

NAME = "CANARY^ZEBRA"


@pytest.mark.parametrize("accept", [None, "*/*", "application/dicom+json", "application/*"])
def test_a_search_answers_in_dicom_json(app: Flask, reader: Person, accept: str | None) -> None:
    exam = send(app, reader, PatientName=NAME)
    answer = Program(app, reader).get("studies?PatientID=P-0001", accept)
    assert answer.status_code == 200
    assert answer.content_type == "application/dicom+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.get_json(force=True)[0]["0020000D"]["Value"] == [exam.study]
    assert answer.get_json(force=True)[0]["00081190"]["Value"] == [
        f"http://127.0.0.1:8000/dicomweb/studies/{exam.study}"
    ]


def test_plain_json_is_given_where_it_is_asked_for(app: Flask, reader: Person) -> None:
    send(app, reader)
    assert Program(app, reader).get("studies", "application/json").content_type == (
        "application/json"
    )
    by_query = Program(app, reader).get("studies?accept=application/dicom%2Bjson", "text/html")
    assert by_query.status_code == 200


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "image/jpeg",
        'multipart/related; type="application/dicom+xml"',
        "application/dicom+json;q=0",
        "application/dicom",
    ],
)
def test_another_media_type_is_not_acceptable(app: Flask, reader: Person, accept: str) -> None:
    answer = Program(app, reader).get("studies", accept)
    assert answer.status_code == 406
    assert media_types.JSON in answer.text


def test_nothing_found_is_no_content(app: Flask, reader: Person) -> None:
    answer = Program(app, reader).get("studies?PatientID=nobody")
    assert (answer.status_code, answer.data) == (204, b"")


def test_the_levels_below_are_found_by_their_addresses(app: Flask, reader: Person) -> None:
    study = generate_uid()
    one = send(app, reader, StudyInstanceUID=study)
    other = send(app, reader, StudyInstanceUID=study, pixels=b"\1" * 96)
    program = Program(app, reader)
    series = program.found(f"studies/{study}/series")
    assert {found.SeriesInstanceUID for found in series} == {
        one.header.SeriesInstanceUID,
        other.header.SeriesInstanceUID,
    }
    assert len(program.found(f"studies/{study}/instances")) == 2
    (within,) = program.found(f"studies/{one.series}/instances")
    assert within.SOPInstanceUID == one.header.SOPInstanceUID
    assert program.found(f"studies/{study}/instances?SOPInstanceUID=1.2") == []
    assert len(program.found(f"instances?SOPInstanceUID={one.header.SOPInstanceUID}")) == 1
    assert len(program.found(f"series?StudyInstanceUID={study}&00080060=DX")) == 2


def test_what_cannot_be_answered_is_said_in_plain_text(app: Flask, reader: Person) -> None:
    send(app, reader, PatientName=NAME)
    program = Program(app, reader)
    for path, status, word in (
        ("studies?PatientName=ZEBRA", 400, "Names are sealed"),
        ("studies?Nonsense=1", 400, "keys of studies"),
        ("studies?limit=x", 400, "whole number"),
        ("studies/1.2.x/series", 400, "UID"),
        (f"studies/1.2/series?StudyInstanceUID={generate_uid()}", 400, "twice"),
        ("studies/1.2.3/series", 404, "does not exist"),
        ("patients", 404, "does not exist"),
        ("studies/1.2.3/rendered", 404, "does not exist"),
    ):
        answer = program.get(path, "*/*")
        assert answer.status_code == status, path
        assert answer.content_type == "text/plain; charset=utf-8"
        assert word in answer.text, (path, answer.text)
        assert "<" not in answer.text
        assert "ZEBRA" not in answer.text
    assert program.client.post("/dicomweb/series").status_code == 405


def test_warnings_stand_in_the_header(app: Flask, reader: Person) -> None:
    send(app, reader)
    answer = Program(app, reader).get("studies?fuzzymatching=true&limit=9999")
    assert answer.status_code == 200
    found = answer.headers.getlist("Warning")
    assert len(found) == 2
    assert all(one.startswith('299 pleura "') for one in found)


def test_no_log_holds_what_was_asked_for(app: Flask, reader: Person) -> None:
    exam = send(app, reader, PatientName=NAME, PatientID="P-CANARY")
    lines, logger = io.StringIO(), logging.getLogger("portal")
    handler = logging.StreamHandler(lines)
    handler.setFormatter(JsonFormatter())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        program = Program(app, reader)
        program.get("studies?PatientID=P-CANARY")
        program.get("studies?PatientName=ZEBRA")
        program.get(f"studies/{exam.study}/metadata")
        program.get(f"studies/{generate_uid()}")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    found = lines.getvalue()
    assert found.count('"message": "request"') == 4
    for secret in ("CANARY", "ZEBRA", exam.study):
        assert secret not in found


@given(
    path=st.sampled_from(["studies", "series", "instances", "studies/1.2/series"]),
    query=st.text(max_size=60),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_query_gets_an_answer(app: Flask, reader: Person, path: str, query: str) -> None:
    program = _program(app, reader)
    answer = program.client.get(
        f"/dicomweb/{path}",
        query_string=query,
        headers={"Authorization": f"Bearer {program.token}"},
    )
    assert answer.status_code in (200, 204, 400, 404, 406, 429)
    if answer.status_code >= 400:
        assert answer.content_type == "text/plain; charset=utf-8"


_programs: dict[int, Program] = {}


def _program(app: Flask, reader: Person) -> Program:
    """One token for all examples of a test."""
    return _programs.setdefault(id(app), Program(app, reader))
