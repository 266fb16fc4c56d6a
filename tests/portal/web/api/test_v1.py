"""`/api/v1`: scopes, problems, and that its description is true (schemathesis)."""

import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from werkzeug.test import TestResponse

from portal.accounts import people, sessions
from portal.models import Role, User, db
from tests.support.core import Clock, make_settings
from tests.support.people import Person
from tests.support.pictures import compressed_dicom, dicom, jpeg, picture
from tests.support.portal_app import analyse, make_app, make_person, make_study, make_token, sign_in

ALL = ("studies:write", "studies:read", "reviews:write")


class Program:
    """A client with a token."""

    def __init__(self, app: Flask, token: str) -> None:
        self.client: FlaskClient = app.test_client()
        self.headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str) -> TestResponse:
        return self.client.get(f"/api/v1{path}", headers=self.headers)

    def send(self, data: bytes, name: str = "x.png") -> TestResponse:
        return self.client.post(
            "/api/v1/studies", data={"file": (BytesIO(data), name)}, headers=self.headers
        )

    def review(self, study: object, **body: Any) -> TestResponse:
        return self.client.post(f"/api/v1/studies/{study}/reviews", json=body, headers=self.headers)


@pytest.fixture
def program(app: Flask, reader: Person) -> Program:
    return Program(app, make_token(app, reader, *ALL))


def is_problem(answer: TestResponse, status: int, code: str) -> bool:
    """Whether it is a problem document with this code."""
    assert answer.content_type == "application/problem+json"
    body = answer.json
    assert body["error_id"] == answer.headers["X-Request-ID"]
    return (answer.status_code, body["status"], body["code"]) == (status, status, code)


def test_from_sending_to_reviewing(app: Flask, program: Program) -> None:
    sent = program.send(picture())
    assert sent.status_code == 202
    assert sent.json["duplicate"] is False
    assert sent.json["state"] == "received"
    study = UUID(sent.json["id"])
    assert sent.headers["Location"] == f"/api/v1/studies/{study}"
    assert is_problem(program.get(f"/studies/{study}/mask.png"), 404, "not_found")

    analyse(app, study)
    found = program.get(f"/studies/{study}").json
    assert (found["state"], found["result"]["band"]) == ("done", "likely")
    assert found["prediction"]["measurements"]["area_px"] == 900
    assert found["prediction"]["quality"] == {"verdict": "fit", "reasons": []}
    mask = program.get(f"/studies/{study}/mask.png")
    assert (mask.content_type, mask.data[:4]) == ("image/png", b"\x89PNG")
    assert mask.headers["Cache-Control"] == "no-store"

    stated = {"finding": "left", "size": "below_10", "comment": "It is left."}
    answer = program.review(study, **stated)
    assert answer.status_code == 201
    assert answer.json | stated == answer.json
    assert (answer.json["verdict"], answer.json["reason"]) == ("disagree", "wrong_side")
    again = program.review(study, finding="left")
    assert (again.status_code, again.json) == (200, answer.json)
    found = program.get(f"/studies/{study}").json
    assert found["reviews"] == [answer.json]
    assert (found["reviewed"], found["finding"]) == ("disagree", "left")
    listed = program.get("/studies?state=read").json
    assert [row["id"] for row in listed["studies"]] == [str(study)]


def test_several_reasons_are_sent_and_found_and_one_alone_is_as_it_was(
    app: Flask, program: Program
) -> None:
    study = UUID(program.send(picture()).json["id"])
    analyse(app, study)
    both = program.review(study, finding="none", reasons=["poor_image", "skin_fold"])
    assert (both.status_code, both.json["reason"]) == (201, "skin_fold")
    assert both.json["reasons"] == ["skin_fold", "poor_image"]
    assert program.get(f"/studies/{study}").json["reviews"] == [both.json]
    same = program.review(
        study, finding="none", reason="skin_fold", reasons=["poor_image"], after=both.json["id"]
    )
    assert (same.status_code, same.json) == (200, both.json)
    alone = program.review(study, finding="none", reason="bulla", after=both.json["id"])
    assert (alone.json["reason"], alone.json["reasons"]) == ("bulla", ["bulla"])
    none = program.review(study, finding="none", reasons=[], after=alone.json["id"])
    assert none.json["reasons"] == ["false_alarm"]
    wrong = program.review(study, finding="none", reasons=["because"], after=none.json["id"])
    assert is_problem(wrong, 422, "bad_field")


def test_the_same_file_twice_leads_to_the_first(program: Program) -> None:
    first, second = program.send(picture()), program.send(picture(), "other.png")
    assert second.status_code == 202
    assert second.json["id"] == first.json["id"]
    assert second.json["duplicate"] is True


def test_no_answer_names_the_patient(app: Flask, reader: Person, program: Program) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    for path in ("/studies", f"/studies/{study}"):
        assert "CANARY" not in program.get(path).text


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "empty"),
        (b"a text named .dcm", 415, "not_an_image"),
        (picture()[:200], 422, "truncated"),
        (b"x" * (1024 * 1024 + 1), 413, "too_large"),
        (b"x" * (3 * 1024 * 1024), 413, "request_entity_too_large"),
    ],
)
def test_a_bad_file_has_its_reason(tmp_path: Path, data: bytes, status: int, code: str) -> None:
    app = make_app(make_settings(tmp_path, PLEURA_MAX_UPLOAD_MB="1", PLEURA_MAX_ARCHIVE_MB="2"))
    program = Program(app, make_token(app, make_person(app, Role.TECHNOLOGIST), *ALL[:2]))
    assert is_problem(program.send(data), status, code)
    assert program.get("/studies").json["total"] == 0
    assert not list((tmp_path / "blobs").glob("??/*"))


def test_a_refusal_is_about_the_sent_file_and_not_about_a_stored_one(program: Program) -> None:
    wrong_sum = picture().replace(b"IDAT", b"IDAX")
    answer = program.send(wrong_sum)
    assert is_problem(answer, 422, "damaged")
    assert answer.json["title"] == "The file that was sent is not accepted"


def test_an_answer_states_what_the_sender_should_know(program: Program) -> None:
    plain = program.send(dicom(), "x.dcm").json
    assert plain["remarks"] == []
    named = dicom().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0")
    assert program.send(named, "x.dcm").json["remarks"] == ["transfer_syntax_wrong"]
    unknown = jpeg().replace(b"\xff\xda\x00\x08", b"\xff\xda\x00\x0a\0\0")
    assert program.send(compressed_dicom(unknown), "x.dcm").json["remarks"] == ["not_exportable"]


def test_an_upload_is_exactly_one_file(app: Flask, program: Program) -> None:
    two = {"file": [(BytesIO(picture()), "a.png"), (BytesIO(picture(1)), "b.png")]}
    for data, status, code in (
        ({}, 415, "not_multipart"),
        ({"other": (BytesIO(b"x"), "x.png")}, 422, "one_file"),
        ({"file": "a text", "x": (BytesIO(b"x"), "x.png")}, 422, "one_file"),
        (two, 422, "one_file"),
    ):
        answer = program.client.post("/api/v1/studies", data=data, headers=program.headers)
        assert is_problem(answer, status, code)


@pytest.mark.parametrize(
    "query",
    [
        *("page=0", "page=x", "page=-1", "page=", "per_page=201", "state=gone", "side=up"),
        *("after=", "after=1", "after=0_nan_" + "0" * 32),
    ],
)
def test_a_bad_parameter_is_refused(program: Program, query: str) -> None:
    assert is_problem(program.get(f"/studies?{query}"), 422, "bad_parameter")


@pytest.mark.parametrize("query", ["sate=failed", "page=1&q=x", "="])
def test_an_unknown_parameter_is_refused_by_name(program: Program, query: str) -> None:
    assert is_problem(program.get(f"/studies?{query}"), 422, "unknown_parameter")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "bad_field"),
        ({"finding": "maybe"}, "bad_field"),
        ({"finding": ["none"]}, "bad_field"),
        ({"finding": "none", "reason": "because"}, "bad_field"),
        ({"finding": "right", "size": "huge"}, "bad_field"),
        ({"finding": "right", "comment": 7}, "bad_field"),
        ({"finding": "right", "verdict": "agree"}, "unknown_field"),
        ({"finding": "right", "reader": str(uuid4())}, "unknown_field"),
        ({"finding": "right", "probability": 0.1, "signed_at": "now"}, "unknown_field"),
        ({"finding": "unsure", "comment": "x" * 2001}, "comment_too_long"),
        ({"finding": "none", "size": "below_10"}, "size_without_finding"),
    ],
)
def test_a_review_holds_the_readers_fields_and_nothing_else(
    app: Flask, reader: Person, program: Program, body: dict[str, Any], code: str
) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    assert is_problem(program.review(study, **body), 422, code)
    assert program.get(f"/studies/{study}").json["reviews"] == []


def test_a_review_on_an_older_version_is_a_conflict_that_shows_the_newest(
    app: Flask, reader: Person, program: Program
) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    first = program.review(study, finding="none", comment="a fold")
    assert first.status_code == 201
    colleague = Program(app, make_token(app, make_person(app, Role.READER), *ALL))
    for body in ({}, {"after": None}, {"after": str(uuid4())}):
        answer = colleague.review(study, finding="right", **body)
        assert is_problem(answer, 409, "reviewed")
        assert answer.json["newest"] == first.json
        assert "Another version was saved" in answer.json["detail"]
    assert colleague.get(f"/studies/{study}").json["reviews"] == [first.json]
    second = colleague.review(study, finding="right", after=first.json["id"])
    assert second.status_code == 201
    # So does the first reader's next one, who has not seen the second.
    assert is_problem(program.review(study, finding="none", comment="sure"), 409, "reviewed")
    blind = Program(app, make_token(app, reader, "reviews:write"))
    assert "newest" not in blind.review(study, finding="left").json


def test_a_review_of_another_state_than_was_seen_is_a_conflict(
    app: Flask, reader: Person, program: Program
) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    assert is_problem(program.review(study, finding="none", seen="analysing"), 409, "changed")
    assert program.review(study, finding="none", seen="done").status_code == 201


def test_a_reason_that_does_not_fit_the_result_is_a_conflict(
    app: Flask, reader: Person, program: Program
) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    answer = program.review(study, finding="right", reason="missed")
    assert is_problem(answer, 409, "reason_does_not_fit")


def test_what_is_not_ready_cannot_be_reviewed(app: Flask, reader: Person, program: Program) -> None:
    study = make_study(app, reader)
    assert is_problem(program.review(study, finding="right"), 409, "not_ready")


TABLE = [
    ("GET", "/studies", "studies:read"),
    ("GET", "/studies/{study}", "studies:read"),
    ("GET", "/studies/{study}/mask.png", "studies:read"),
    ("GET", "/studies/{study}/overlay.png", "studies:read"),
    ("POST", "/studies", "studies:write"),
    ("POST", "/studies/{study}/reviews", "reviews:write"),
]


def test_each_scope_opens_its_own_operations(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    for scope in ALL:
        program = Program(app, make_token(app, reader, scope))
        for method, path, needed in TABLE:
            url = "/api/v1" + path.format(study=study)
            answer = program.client.open(url, method=method, headers=program.headers)
            if needed == scope:
                assert answer.status_code in (200, 415), (scope, method, path)
            else:
                assert is_problem(answer, 403, "scope"), (scope, method, path)


@pytest.mark.parametrize("token", ["", "plr_", "plr_unknown", "Basic abc", "ü"])
def test_without_a_good_token_nothing_opens(app: Flask, reader: Person, token: str) -> None:
    program = Program(app, token.encode().decode("latin-1"))
    for method, path, _ in TABLE:
        url = "/api/v1" + path.format(study=uuid4())
        answer = program.client.open(url, method=method, headers=program.headers)
        assert is_problem(answer, 401, "token")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="pleura"'


def test_a_browser_session_is_no_token(app: Flask, reader: Person) -> None:
    assert sign_in(app, reader).get("/api/v1/studies").status_code == 401


def test_a_token_is_no_browser_session(program: Program) -> None:
    answer = program.client.get("/worklist", headers=program.headers)
    assert answer.location.startswith("/sign-in")


def test_a_revoked_token_fails_at_once(app: Flask, reader: Person, program: Program) -> None:
    assert program.get("/studies").status_code == 200
    client = sign_in(app, reader)
    page = client.get("/account").text
    path = page.split("/account/tokens/")[1].split('"')[0]
    token = page.split('name="csrf-token" content="')[1].split('"')[0]
    client.post(f"/account/tokens/{path}", data={"csrf_token": token})
    assert is_problem(program.get("/studies"), 401, "token")


def test_another_role_ends_the_tokens_of_the_one_before(
    app: Flask, reader: Person, admin: Person, program: Program, clock: Clock
) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    with app.app_context():
        session = db.session()
        boss = sessions.actor_of(session.get_one(User, admin.id))
        for role in (Role.AUDITOR, Role.READER):
            people.set_role(session, boss, reader.id, role, clock())
            assert is_problem(program.get("/studies"), 401, "token")
            assert is_problem(program.review(study, finding="right"), 401, "token")


def test_what_is_not_yours_looks_like_none(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    outsider = make_person(app, Role.READER, team="Elsewhere")
    colleague = make_person(app, Role.TECHNOLOGIST)
    for person, scopes in ((outsider, ALL), (colleague, ALL[:2])):
        program = Program(app, make_token(app, person, *scopes))
        for path in ("", "/mask.png", "/overlay.png"):
            for wanted in (study, uuid4()):
                answer = program.get(f"/studies/{wanted}{path}")
                assert is_problem(answer, 404, "not_found")
        assert program.get("/studies").json["total"] == 0
    program = Program(app, make_token(app, outsider, *ALL))
    assert is_problem(program.review(study, finding="right"), 404, "not_found")


def test_guessing_tokens_has_to_wait_and_good_ones_do_not(app: Flask, program: Program) -> None:
    stranger = Program(app, f"plr_{'x' * 43}")
    answers = [stranger.get("/studies").status_code for _ in range(45)]
    assert answers == [401] * 40 + [429] * 5
    assert program.get("/studies").status_code == 200


def test_the_description_names_every_route(app: Flask) -> None:
    document = app.test_client().get("/api/v1/openapi.json").json
    described = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    routes = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(("api.", "dicomweb_"))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == routes
    for path, item in document["paths"].items():
        expected = {"401", "403", "429", "503"} | ({"422"} if path.startswith("/api/") else set())
        for operation in (item[m] for m in item if m != "parameters"):
            assert expected <= set(operation["responses"])


# One portal for all generated requests, with a study in each state that the answers can have.


@dataclass
class Described:
    """The API as its description tells it, a token, and a study that is done."""

    schema: Any
    headers: dict[str, str]
    done: str


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Described:
    app = make_app(make_settings(tmp_path_factory.mktemp("described")))
    person = make_person(app, Role.READER)
    done = make_study(app, person, 1)
    analyse(app, done)
    make_study(app, person, 2)
    return Described(
        schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app),
        {"Authorization": f"Bearer {make_token(app, person, *ALL)}"},
        str(done),
    )


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(
    "operation",
    ["listStudies", "submitStudy", "readStudy", "readMask", "readOverlay", "addReview"],
)
def test_the_description_is_true(
    described: Described, operation: str, mode: GenerationMode
) -> None:
    described_operation = described.schema.find_operation_by_id(operation)

    @settings(
        max_examples=20,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described_operation.as_strategy(generation_mode=mode))
    def holds(case: Case) -> None:
        # No description can tell which bytes are an X-ray.
        skipped = [positive_data_acceptance] if operation == "submitStudy" else []
        case.call_and_validate(headers=described.headers, excluded_checks=skipped)
        if mode is GenerationMode.POSITIVE and "study_id" in case.path_parameters:
            case.path_parameters["study_id"] = described.done
            case.call_and_validate(headers=described.headers)

    holds()
