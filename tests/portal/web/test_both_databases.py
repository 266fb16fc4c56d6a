"""The main walk once on SQLite and once on PostgreSQL, with a real Redis behind the throttle."""

from pathlib import Path
from uuid import UUID

from portal.models import Role
from tests.support.core import Clock, make_settings
from tests.support.portal_app import (
    analyse,
    make_app,
    make_person,
    make_study,
    make_token,
    post,
    sign_in,
    sign_in_by_pages,
)
from tests.support.wait import until


def test_sign_in_send_analyse_read_and_review(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    clock = Clock()
    settings = make_settings(tmp_path / "data", DATABASE_URL=database_url, REDIS_URL=redis_url)
    app = make_app(settings, clock)
    # Redis counts as away when it does not answer within half a second.
    assert until(lambda: app.test_client().get("/health/ready").json["checks"]["redis"] == "ok")

    sender, reader = make_person(app, Role.TECHNOLOGIST), make_person(app, Role.READER)
    study = make_study(app, sender)
    analyse(app, study)
    browser = app.test_client()
    assert sign_in_by_pages(browser, reader, clock()).location == "/"
    assert "likely" in browser.get("/worklist").text
    assert browser.get(f"/studies/{study}").status_code == 200
    for kind in ("preview", "pixels", "mask", "overlay", "probability"):
        assert browser.get(f"/studies/{study}/blobs/{kind}").status_code == 200
    answer = post(browser, f"/studies/{study}/reviews", {"finding": "right"})
    assert answer.status_code == 303

    token = make_token(app, reader, "studies:write", "studies:read")
    program = app.test_client()
    headers = {"Authorization": f"Bearer {token}"}
    found = program.get(f"/api/v1/studies/{study}", headers=headers).json
    assert (found["state"], found["reviewed"]) == ("done", "agree")
    assert found["prediction"]["probability"] == 0.91

    auditor = sign_in(app, make_person(app, Role.AUDITOR))
    assert "The log is intact" in post(auditor, "/audit/verify").text
    assert UUID(found["id"]) == study
