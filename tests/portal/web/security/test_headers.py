"""What every answer carries, and what no form does without."""

import json
from pathlib import Path

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from portal.models import Role, db
from portal.web.security import guard
from tests.support.core import make_settings
from tests.support.people import Person
from tests.support.portal_app import csrf_of, make_app, post, sign_in

Staffed = tuple[Path, dict[Role, Person]]

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def urls(app: Flask) -> list[tuple[str, str, str]]:
    """(method, path, endpoint) of every route, with made-up arguments."""
    some_id = "0b6b1c5e-7c53-4c88-9f1c-6d9b9d9c2d11"
    found = []
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for argument in rule.arguments:
            for converter in ("uuid:", "path:", ""):
                filler = "css/base.css" if argument == "filename" else some_id
                path = path.replace(f"<{converter}{argument}>", filler)
        found += [(m, path, rule.endpoint) for m in sorted(rule.methods or ())]
    return found


def test_every_answer_carries_the_headers(app: Flask, reader: Person) -> None:
    signed_in = sign_in(app, reader)
    walks = [*urls(app), ("GET", "/nothing-here", ""), ("DELETE", "/sign-in", "")]
    for client in (app.test_client(), signed_in):
        for method, path, endpoint in walks:
            if endpoint == "auth.sign_out":
                continue
            answer = client.open(path, method=method)
            for name, value in ALWAYS.items():
                assert answer.headers.get(name) == value, (method, path, name)
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["Permissions-Policy"]
            if answer.status_code not in (200, 304) or endpoint != "static":
                assert answer.headers["Cache-Control"] == "no-store", (method, path)
            assert answer.status_code < 500, (method, path)


def test_every_unsafe_route_wants_the_form_token(app: Flask, staffed: Staffed) -> None:
    for role, person in staffed[1].items():
        client = sign_in(app, person)
        for method, path, endpoint in urls(app):
            if method in ("GET", "HEAD", "OPTIONS"):
                continue
            if endpoint.startswith(("api.", "worker_api.", "dicomweb_")):
                # Cookies mean nothing there: only a bearer credential opens these.
                assert client.open(path, method=method).status_code in (401, 429)
                continue
            answer = client.open(path, method=method, data={"csrf_token": "forged"})
            assert answer.status_code in (400, 403, 404), (role, path, answer.status_code)
            if answer.status_code == 400:
                assert "This form has expired" in answer.text
    # And none of it did anything: the last client is still signed in.
    assert client.get("/account").status_code == 200


def test_the_token_may_come_in_the_header_of_a_script(app: Flask, reader: Person) -> None:
    client = sign_in(app, reader)
    token = csrf_of(client)
    answer = client.post("/account/sessions/end-others", headers={"X-CSRFToken": token})
    assert answer.status_code == 303


def test_a_token_of_another_session_is_refused(app: Flask, reader: Person, auditor: Person) -> None:
    other = csrf_of(sign_in(app, auditor))
    answer = sign_in(app, reader).post("/sign-out", data={"csrf_token": other})
    assert answer.status_code == 400


def test_a_form_of_another_site_is_refused_whatever_it_carries(app: Flask, reader: Person) -> None:
    client = sign_in(app, reader)
    for site in ("cross-site", "same-site"):
        answer = post(client, "/sign-out", headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 400
    assert post(client, "/sign-out", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303


def test_no_get_changes_anything(app: Flask) -> None:
    """No route answers GET and an unsafe method from the same view but those that show a form."""
    both = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and {"POST", "PUT", "DELETE"} & (rule.methods or set())
    }
    assert both == {"auth.sign_in", "auth.code", "auth.join", "auth.enrol", "auth.confirm"}


def test_the_cookie_in_development_works_without_https(client: FlaskClient) -> None:
    cookie = client.get("/sign-in").headers["Set-Cookie"]
    assert cookie.startswith("pleura=")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie


def test_behind_https_the_cookie_is_tied_to_the_host(tmp_path: Path) -> None:
    settings = make_settings(
        tmp_path, PLEURA_BASE_URL="https://pleura.example", PLEURA_TRUSTED_PROXIES="1"
    )
    client = make_app(settings).test_client()
    answer = client.get("/sign-in", headers={"X-Forwarded-Proto": "https"})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-pleura=")
    assert all(word in cookie for word in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"))
    assert "Domain" not in cookie
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")


def test_an_address_is_taken_from_trusted_proxies_alone(app: Flask, tmp_path: Path) -> None:
    plain = {"X-Forwarded-For": "203.0.113.9"}
    with app.test_request_context("/", headers=plain, environ_base={"REMOTE_ADDR": "10.0.0.1"}):
        assert guard.address() == "10.0.0.1"


@pytest.mark.parametrize("proxies", [0, 1, 2])
def test_no_client_names_the_portals_host_whatever_proxies_there_are(
    tmp_path: Path, proxies: int
) -> None:
    """A proxy that sets X-Forwarded-For alone lets a client's X-Forwarded-Host through."""
    app = make_app(make_settings(tmp_path, PLEURA_TRUSTED_PROXIES=str(proxies)))
    seen: list[tuple[str, str | None]] = []
    app.before_request(lambda: seen.append((request.host, request.remote_addr)))
    sent = {
        "Host": "pleura.example",
        "X-Forwarded-Host": "evil.example, evil.example",
        "X-Forwarded-For": "192.0.2.1, 192.0.2.2",
    }
    app.test_client().get("/health/live", headers=sent)
    assert seen == [("pleura.example", ["127.0.0.1", "192.0.2.2", "192.0.2.1"][proxies])]


@pytest.mark.parametrize("path", ["/nothing", "/studies/not-an-id", "/api", "/static/nothing.css"])
def test_an_unknown_address_has_a_page(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.content_type.startswith("text/html")
    assert "Page not found" in answer.text


@pytest.mark.parametrize(
    "headers", [{"Accept": "application/json"}, {"Accept": "application/problem+json"}]
)
def test_scripts_get_a_problem_document(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.get("/account", headers=headers)
    assert answer.content_type == "application/problem+json"
    problem = json.loads(answer.data)
    assert set(problem) == {"type", "title", "status", "detail", "code", "error_id"}
    assert (problem["status"], problem["code"]) == (401, "signed_out")
    assert problem["error_id"] == answer.headers["X-Request-ID"]


def test_a_method_that_does_not_exist_names_those_that_do(client: FlaskClient) -> None:
    answer = client.delete("/sign-in")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "data",
    [
        b"%",
        b"email=%ff%fe&password=%00",
        b"email=" + b"a" * 300_000,
        b"&".join(b"x=1" for _ in range(5000)),
    ],
)
def test_broken_forms_are_no_crash(client: FlaskClient, data: bytes) -> None:
    answer = client.post("/sign-in", data=data, content_type="application/x-www-form-urlencoded")
    assert answer.status_code in (400, 413)


def test_a_broken_multipart_body_is_no_crash(client: FlaskClient) -> None:
    for body in (b"", b"--x\r\n", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1'):
        answer = client.post("/sign-in", data=body, content_type="multipart/form-data; boundary=x")
        assert answer.status_code == 400


@pytest.mark.parametrize("query", ["page=-1", "before=9999999999999999999999", "person=x&case=y"])
def test_strange_searches_of_the_log_are_no_crash(app: Flask, auditor: Person, query: str) -> None:
    client = sign_in(app, auditor)
    assert client.get(f"/audit?{query}").status_code == 200


def test_a_database_that_is_away_is_no_bug(app: Flask, tmp_path: Path, reader: Person) -> None:
    client = sign_in(app, reader)
    database = tmp_path / "pleura.db"
    for file in tmp_path.glob("pleura.db*"):
        file.rename(file.with_name(f"away-{file.name}"))
    database.write_bytes(b"")
    with app.app_context():
        db.engine.dispose()
    answer = client.get("/account")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert "is not available at the moment" in answer.text
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json["status"]) == (503, "failing")
    assert client.get("/health/live").status_code == 200


def test_without_redis_the_portal_is_ready_but_degraded(client: FlaskClient) -> None:
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json == {
        "status": "degraded",
        "checks": {
            "database": "ok",
            "schema": "ok",
            "redis": "away",
            "clock": "ok",
            "scheduler": "silent",  # none runs beside this test
            "dicom": "ok",
            "dicom_sender": "ok",
            "hl7": "ok",
            "report_sender": "ok",
            "jobs": "ok",
            "integrity": "ok",
        },
    }


def test_the_log_names_routes_and_no_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app(make_settings(tmp_path, PLEURA_LOG_LEVEL="INFO"))
    app.test_client().get("/join/a-secret-token?q=CANARY")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["message"] == "request"]
    assert (line["route"], line["status"]) == ("auth.join", 404)
    assert "secret" not in json.dumps(lines)
    assert "CANARY" not in json.dumps(lines)


def test_what_breaks_is_logged_without_its_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app(make_settings(tmp_path, PLEURA_LOG_LEVEL="INFO"))

    def broken() -> str:
        raise RuntimeError("CANARY^ZEBRA")

    app.add_url_rule("/broken", "broken", guard.public(broken))
    answer = app.test_client().get("/broken")
    assert answer.status_code == 500
    assert "CANARY" not in answer.text
    assert answer.headers["X-Request-ID"] in answer.text
    log = capsys.readouterr().err
    assert "RuntimeError" in log
    assert answer.headers["X-Request-ID"] in log
    assert "CANARY" not in log
