"""Who gets what by DICOMweb: role × scope × whose exam, for every route of the URL map."""

from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from portal.accounts import api_tokens
from portal.accounts.api_tokens import scopes_of
from portal.errors import Invalid
from portal.models import AuditEvent, Role, User, db
from tests.support.core import Clock
from tests.support.dicomweb.answers import DICOM, FRAMES, Exam, Program, send
from tests.support.people import Person
from tests.support.portal_app import core_of, make_person, make_token, sign_in


def paths(app: Flask, exam: Exam) -> Iterator[tuple[str, str]]:
    """Every route of DICOMweb that reads this exam, and what it is asked with."""
    header = exam.header
    values = {
        "study_uid": header.StudyInstanceUID,
        "series_uid": header.SeriesInstanceUID,
        "sop_uid": header.SOPInstanceUID,
        "numbers": "1",
        "way": "7FE00010",
    }
    for rule in app.url_map.iter_rules():
        is_reading = not rule.endpoint.startswith("dicomweb_storing.")
        if not rule.rule.startswith("/dicomweb/") or not is_reading:
            continue
        assert rule.methods == {"GET", "HEAD", "OPTIONS"}, rule.rule
        with app.test_request_context():
            path = app.url_for(
                rule.endpoint, **{name: values[name] for name in rule.arguments}
            ).removeprefix("/dicomweb/")
        end = rule.endpoint.partition(".")[2]
        if rule.endpoint.startswith("dicomweb_search.") or "metadata" in end:
            yield path, "application/dicom+json"
        else:
            yield path, FRAMES if end in ("frames", "bulkdata") else DICOM


def holds(answer: TestResponse, exam: Exam) -> bool:
    """Whether an answer is about the exam."""
    return answer.status_code == 200 and (
        exam.header.SOPInstanceUID.encode() in answer.data
        or exam.header.StudyInstanceUID.encode() in answer.data
        or bytes(exam.header.PixelData) in answer.data
    )


def test_a_reader_gets_the_exams_of_their_team_and_no_others(app: Flask, reader: Person) -> None:
    own = send(app, reader, pixels=b"\1" * 96)
    mates = send(app, make_person(app, Role.TECHNOLOGIST), pixels=b"\2" * 96)
    others = send(app, make_person(app, Role.READER, team="Elsewhere"), pixels=b"\3" * 96)
    program, count = Program(app, reader), 0
    for exam, sees in ((own, True), (mates, True), (others, False)):
        for path, accept in paths(app, exam):
            answer = program.get(path, accept)
            count += 1
            assert holds(answer, exam) is sees, (path, answer.status_code)
            named = "/" in path
            if not sees and named:
                assert answer.status_code == 404, path
                assert answer.content_type.startswith("text/plain")
    assert count == 42


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        (("studies:read",), 403),
        (("studies:read", "studies:write", "reviews:write"), 403),
        (("dicomweb:read",), 200),
    ],
)
def test_it_takes_its_own_scope(
    app: Flask, reader: Person, scopes: tuple[str, ...], status: int
) -> None:
    exam = send(app, reader)
    program = Program(app, reader, *scopes)
    for path, accept in paths(app, exam):
        assert program.get(path, accept).status_code == status, path


def test_its_scope_opens_nothing_else(app: Flask, reader: Person) -> None:
    exam = send(app, reader)
    header = {"Authorization": f"Bearer {make_token(app, reader, 'dicomweb:read')}"}
    for path in ("/api/v1/studies", f"/api/v1/studies/{exam.id}"):
        assert app.test_client().get(path, headers=header).status_code == 403


def test_only_a_readers_token_can_have_the_scope(
    app: Flask, reader: Person, technologist: Person, admin: Person, auditor: Person
) -> None:
    assert [role for role in Role if "dicomweb:read" in scopes_of(role)] == [Role.READER]
    for person in (technologist, admin, auditor):
        with pytest.raises(Invalid):
            make_token(app, person, "dicomweb:read")
    # Also after the owner's role has changed.
    exam = send(app, reader)
    program = Program(app, reader)
    with core_of(app).sessions() as session:
        session.get_one(User, reader.id).role = Role.TECHNOLOGIST
        session.commit()
    assert program.get(f"studies/{exam.instance}", DICOM).status_code == 403


def test_without_a_token_there_is_nothing_not_even_for_a_browser(
    app: Flask, reader: Person
) -> None:
    exam = send(app, reader)
    nobody, browser = Program(app, None), Program(app, None)
    browser.client = sign_in(app, reader)
    for path, accept in paths(app, exam):
        for program in (nobody, browser):
            answer = program.get(path, accept)
            assert answer.status_code == 401, path
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="pleura"'
            assert answer.content_type.startswith("text/plain")
            assert "Set-Cookie" not in answer.headers


def test_a_revoked_token_fails_at_once(app: Flask, reader: Person, clock: Clock) -> None:
    exam = send(app, reader)
    program = Program(app, reader)
    assert program.get(f"studies/{exam.instance}", DICOM).status_code == 200
    with core_of(app).sessions() as session:
        api_tokens.revoke_all(session, reader.id, clock())
        session.commit()
    assert program.get(f"studies/{exam.instance}", DICOM).status_code == 401


def test_every_request_writes_one_row_with_the_token(app: Flask, reader: Person) -> None:
    exam = send(app, reader)
    program = Program(app, reader)
    for path, accept in paths(app, exam):
        before = count(app)
        assert program.get(path, accept).status_code == 200, path
        assert count(app) == before + 1, path
        with app.app_context():
            row = db.session().query(AuditEvent).order_by(AuditEvent.seq.desc()).first()
        assert row is not None
        assert row.event in ("dicomweb_searched", "dicomweb_read")
        assert (row.via, row.actor_id) == ("token", reader.id)
        assert exam.id.hex in row.detail or row.study_id == exam.id
        for secret in ("P-0001", "PHANTOM", "A-77", exam.study):
            assert secret not in row.detail


def test_what_is_refused_is_written_down(app: Flask, reader: Person) -> None:
    other = send(app, make_person(app, Role.READER, team="Elsewhere"))
    before = count(app)
    assert Program(app, reader).get(f"studies/{other.instance}", DICOM).status_code == 404
    with app.app_context():
        row = db.session().query(AuditEvent).order_by(AuditEvent.seq.desc()).first()
    assert row is not None
    assert (row.event, row.actor_id) == ("access_refused", reader.id)
    assert count(app) == before + 2  # the token's own row is one


def count(app: Flask) -> int:
    with app.app_context():
        return db.session().query(AuditEvent).count()
