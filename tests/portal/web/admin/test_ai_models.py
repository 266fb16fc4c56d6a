"""The registry's pages: what an administrator sees, may do, and is kept from."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.ai_models import registry
from portal.models import AuditEvent, ModelVersion, Role, db
from tests.support.core import Clock, make_settings
from tests.support.people import Person
from tests.support.portal_app import csrf_of, make_app, make_person, sign_in

SUM = "ab" * 32


def card(sha256: str = SUM, **changes: Any) -> dict[str, Any]:
    image = {"high_sensitivity": 0.05, "balanced": 0.2, "high_precision": 0.7}
    return {
        "name": "net",
        "version": "1",
        "sha256": sha256,
        "thresholds": {"mask": 0.3, "area_px_min": 40, "image": image},
        "calibration": {"temperature": 1.4, "bias": 0.0, "ece": 0.04},
        "metrics": {"auc": {"value": 0.9, "low": 0.85, "high": 0.94, "n": 300}},
        "data": {"what": "Some films", "counts": {"training": {"pictures": 1234}}},
        "limits": ["Not for <b>children</b>."],
        **changes,
    }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> Flask:
    return make_app(make_settings(tmp_path), clock)


@pytest.fixture
def admin(app: Flask) -> Person:
    return make_person(app, Role.ADMIN)


@pytest.fixture
def client(app: Flask, admin: Person) -> FlaskClient:
    return sign_in(app, admin)


def add(app: Flask, clock: Clock, *args: Any, **changes: Any) -> str:
    with app.app_context():
        model = registry.add(db.session(), card(*args, **changes), source="here", now=clock())
        return str(model.id)


def states(app: Flask) -> list[str]:
    with app.app_context():
        return sorted(model.state.value for model in db.session().query(ModelVersion))


def send(client: FlaskClient, path: str, **form: str) -> Any:
    return client.post(path, data={"csrf_token": csrf_of(client), **form})


def test_without_any_model_the_page_explains_what_workers_do(client: FlaskClient) -> None:
    page = client.get("/admin/models").text
    assert "No model is promoted" in page
    assert "installed with" in page


def test_a_card_is_readable_and_shown_as_plain_text(
    app: Flask, client: FlaskClient, clock: Clock
) -> None:
    page = client.get(f"/admin/models/{add(app, clock)}").text
    for words in (
        "0.900",
        "0.850 – 0.940",
        "300",
        "at 0.200 or above",
        "1,234 pictures",
        "Some films",
    ):
        assert words in page, words
    assert "Not for &lt;b&gt;children&lt;/b&gt;." in page


def test_who_reads_cases_finds_the_whole_card_and_no_way_to_change_it(
    app: Flask, clock: Clock
) -> None:
    model_id = add(
        app,
        clock,
        use="Research <i>alone</i>.",
        subgroups={
            "view": {"AP": {"pictures": 112, "auc": {"value": 0.88, "low": 0.8, "high": 1}}}
        },
        trained={"begun_with": [{"recipe": "first", "pictures": 8192}]},
    )
    client = sign_in(app, make_person(app, Role.READER))
    page = client.get(f"/models/{model_id}").text
    for words in ("Research &lt;i&gt;alone", "View: AP", "112", "0.88 (0.80 – 1.00)", "0.900"):
        assert words in page, words
    assert "first (8,192 augmented pictures)" in page
    assert "promote" not in page.lower()
    unknown = client.get(f"/models/{uuid4()}")
    assert unknown.status_code == 404


@pytest.mark.parametrize(
    "odd",
    [
        {"metrics": [1, 2]},
        {"metrics": {"auc": {"value": "high"}}},
        {"limits": "none"},
        {"data": {"counts": {"training": 3}}},
        {"thresholds": None, "calibration": "well"},
        {"subgroups": {"view": ["AP"], "size": {"small": {"pictures": "many", "auc": 3}}}},
        {"use": 3, "trained": {"begun_with": [3, {"recipe": "x"}], "config": []}},
    ],
)
def test_an_odd_card_breaks_no_page(
    app: Flask, client: FlaskClient, clock: Clock, odd: dict[str, Any]
) -> None:
    model_id = add(app, clock, **odd)
    assert client.get(f"/admin/models/{model_id}").status_code == 200
    assert client.get("/admin/models").status_code == 200


def test_a_card_from_before_with_a_number_of_hundreds_of_digits_is_shown_without_it(
    app: Flask, client: FlaskClient, clock: Clock
) -> None:
    model_id = add(app, clock)
    with app.app_context():
        row = db.session.get_one(ModelVersion, UUID(str(model_id)))
        row.card = card(
            metrics={
                "auc": {"value": 0.9, "low": 0.85, "high": 0.94, "n": 10**400},
                "ece": {"value": 10**400},
            },
            thresholds={"mask": 10**400, "island_px_min": 10**400},
        )
        db.session.commit()
    for path in (f"/admin/models/{model_id}", "/admin/models", f"/models/{model_id}"):
        person = make_person(app, Role.READER)
        answer = (sign_in(app, person) if path.startswith("/models") else client).get(path)
        assert answer.status_code == 200
        assert "0.850 – 0.940" in answer.text
        assert "00000000" not in answer.text
    answer = send(client, f"/admin/models/{model_id}/promote", operating_point="balanced")
    assert answer.status_code == 409


def test_promote_choose_a_point_and_roll_back(
    app: Flask, client: FlaskClient, clock: Clock
) -> None:
    first, second = add(app, clock), add(app, clock, "cd" * 32, version="2")
    for model_id in (first, second):
        path = f"/admin/models/{model_id}/promote"
        assert send(client, path, operating_point="balanced").status_code == 303
    assert states(app) == ["active", "retired"]
    page = client.get("/admin/models").text
    assert "Active: net 2" in page
    assert "Roll back to net 1" in page
    path = f"/admin/models/{second}/operating-point"
    assert send(client, path, operating_point="high_precision").status_code == 303
    assert send(client, path, operating_point="bold").status_code == 422
    assert send(client, "/admin/models/roll-back").status_code == 303
    assert "Active: net 1" in client.get("/admin/models").text
    with app.app_context():
        events = [e.event for e in db.session().query(AuditEvent).order_by(AuditEvent.seq)]
    assert events[-4:] == [
        "model_promoted",
        "model_promoted",
        "operating_point_chosen",
        "model_rolled_back",
    ]


def test_what_may_not_be_promoted_stays_and_the_reason_is_shown(
    app: Flask, client: FlaskClient, clock: Clock
) -> None:
    model_id = add(app, clock, calibration={})
    page = client.get(f"/admin/models/{model_id}").text
    assert "Cannot be promoted" in page
    assert "calibration" in page
    answer = send(client, f"/admin/models/{model_id}/promote", operating_point="balanced")
    assert answer.status_code == 409
    assert states(app) == ["candidate"]


def test_promotion_needs_a_fresh_proof(app: Flask, client: FlaskClient, clock: Clock) -> None:
    model_id = add(app, clock)
    clock.forward(minutes=11)
    answer = send(client, f"/admin/models/{model_id}/promote", operating_point="balanced")
    assert answer.status_code == 303
    assert answer.location.startswith("/confirm")
    assert states(app) == ["candidate"]


def test_a_worse_model_asks_for_a_reason_and_shows_it_afterwards(
    app: Flask, client: FlaskClient, clock: Clock
) -> None:
    first = add(app, clock)
    worse = add(app, clock, "cd" * 32, version="2", metrics={"auc": {"value": 0.8}})
    assert send(client, f"/admin/models/{first}/promote", operating_point="balanced").status_code
    assert "worse than the active one" in client.get("/admin/models").text
    page = client.get(f"/admin/models/{worse}").text
    assert "AUC 0.800 is below the active model’s interval (0.850 – 0.940)." in page
    assert 'name="override_reason"' in page
    assert 'name="override_reason"' not in client.get(f"/admin/models/{first}").text
    path, form = f"/admin/models/{worse}/promote", {"operating_point": "balanced"}
    refused = send(client, path, **form)
    assert refused.status_code == 409
    assert "worse than the active model" in refused.text
    assert send(client, path, **form, override_reason="Short").status_code == 422
    reason = "A film <b>harder</b> than before."
    assert send(client, path, **form, override_reason=reason).status_code == 303
    page = client.get(f"/admin/models/{worse}").text
    assert "A film &lt;b&gt;harder&lt;/b&gt; than before." in page


def test_a_card_has_the_numbers_of_every_class(
    app: Flask, client: FlaskClient, clock: Clock
) -> None:
    others = {"pleural-effusion": {"auc": {"value": 0.777, "low": 0.7, "high": 0.8}}, "odd": 3}
    page = client.get(f"/admin/models/{add(app, clock, other_classes=others)}").text
    assert "Pleural effusion: AUC" in page
    assert "0.777" in page


def test_the_results_of_a_model_are_retracted_with_a_reason_and_restored(
    client: FlaskClient, app: Flask, clock: Clock
) -> None:
    page = f"/admin/models/{add(app, clock)}"
    assert send(client, f"{page}/retract", retraction_reason="because").status_code == 422
    answer = send(client, f"{page}/retract", retraction_reason="withdrawn_by_maker")
    assert answer.status_code == 303
    assert "its maker has withdrawn it" in client.get(page).text
    assert "retracted" in client.get("/admin/models").text
    assert send(client, f"{page}/restore").status_code == 303
    assert "Retract its results" in client.get(page).text
