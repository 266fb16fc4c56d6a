"""The page of HL7 nodes: list, add, change, switch off."""

from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.models import Hl7Node, Team, db
from tests.support.core import Clock
from tests.support.portal_app import post

PAGE = "/admin/hl7"


def form(app: Flask, **changes: str) -> dict[str, str]:
    with app.app_context():
        team = db.session().query(Team).first()
        assert team is not None
        given = {
            "name": "Information system",
            "application": "RIS",
            "facility": "HOSP",
            "team": str(team.id),
            "networks": "10.1.2.3",
            "accession_field": "OBR-3",
            "charset": "8859/1",
        }
    return given | changes


@pytest.fixture
def node_id(app: Flask, admin_client: FlaskClient) -> UUID:
    """A node that was added on the page."""
    assert post(admin_client, PAGE, form(app)).status_code == 303
    with app.app_context():
        return db.session().query(Hl7Node).one().id


def test_a_node_is_added_and_listed(admin_client: FlaskClient, node_id: UUID) -> None:
    page = admin_client.get(PAGE).text
    assert all(text in page for text in ("RIS", "HOSP", "Information system", "10.1.2.3/32"))
    assert "no HL7 listener has reported" in page
    assert "Information system" not in admin_client.get("/admin/people").text
    assert PAGE in admin_client.get("/admin/teams").text


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"application": ""}, 422, "State the application"),
        ({"application": "A^B"}, 422, "without | ^ ~"),
        ({"networks": ""}, 422, "State the addresses"),
        ({"networks": "nowhere"}, 422, "Addresses look like"),
        ({"fingerprint": "12"}, 422, "64 hexadecimal digits"),
        ({"accession_field": "OBR-99"}, 422, "Choose one of the fields."),
        ({"charset": "UTF-7"}, 422, "Choose one of the character sets."),
        ({"team": "nobody"}, 422, "Choose one of the teams."),
        ({}, 409, "Another node has this application and facility."),
    ],
)
def test_what_can_not_be_is_refused_where_it_was_typed(
    app: Flask,
    admin_client: FlaskClient,
    node_id: UUID,
    changes: dict[str, str],
    status: int,
    text: str,
) -> None:
    answer = post(admin_client, PAGE, form(app, name="Another one", **changes))
    assert (answer.status_code, text in answer.text) == (status, True)
    assert 'value="Another one"' in answer.text


def test_a_node_is_changed_switched_off_and_on(
    app: Flask, admin_client: FlaskClient, node_id: UUID
) -> None:
    assert "Change Information system" in admin_client.get(f"{PAGE}?change={node_id}").text
    assert admin_client.get(f"{PAGE}?change=x").status_code == 200
    changed = post(admin_client, f"{PAGE}/{node_id}", form(app, facility="EAST"))
    assert changed.status_code == 303
    refused = post(admin_client, f"{PAGE}/{node_id}", form(app, networks=""))
    assert refused.status_code == 422
    for path, is_off in (("off", True), ("on", False)):
        assert post(admin_client, f"{PAGE}/{node_id}/{path}", {}).status_code == 303
        with app.app_context():
            row = db.session().get_one(Hl7Node, node_id)
            assert (row.facility, row.disabled_at is not None) == ("EAST", is_off)
            assert row.networks == ["10.1.2.3/32"]


def test_nothing_is_changed_without_a_fresh_proof_of_identity(
    app: Flask, admin_client: FlaskClient, node_id: UUID, clock: Clock
) -> None:
    clock.forward(minutes=14)
    answer = post(admin_client, f"{PAGE}/{node_id}/off", {})
    assert "/confirm" in answer.location
    with app.app_context():
        assert db.session().get_one(Hl7Node, node_id).disabled_at is None
