"""What the pages of DICOM nodes and of HL7 nodes do alike: list, add, change, switch off and on."""

from dataclasses import dataclass
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.models import DicomNode, Hl7Node, Team, db
from tests.support.core import Clock
from tests.support.portal_app import post


@dataclass(frozen=True)
class Kind:
    """One kind of node: its page, its row, what a form states, and by what it is named."""

    page: str
    table: type[DicomNode] | type[Hl7Node]
    form: dict[str, str]
    label: str
    change: tuple[str, str]
    silent: str
    taken: str


DICOM = Kind(
    page="/admin/dicom",
    table=DicomNode,
    form={"name": "Room 1", "ae_title": "MODALITY", "sends": "yes", "receives": "no"},
    label="MODALITY",
    change=("ae_title", "CT_2"),
    silent="no DICOM listener has reported",
    taken="Another node has this AE title.",
)
HL7 = Kind(
    page="/admin/hl7",
    table=Hl7Node,
    form={
        "name": "Information system",
        "application": "RIS",
        "facility": "HOSP",
        "accession_field": "OBR-3",
        "charset": "8859/1",
    },
    label="Information system",
    change=("facility", "EAST"),
    silent="no HL7 listener has reported",
    taken="Another node has this application and facility.",
)
BOTH = pytest.mark.parametrize("kind", [DICOM, HL7], ids=["dicom", "hl7"])


def form(app: Flask, kind: Kind, **changes: str) -> dict[str, str]:
    with app.app_context():
        team = db.session().query(Team).first()
        assert team is not None
        return kind.form | {"team": str(team.id), "networks": "10.1.2.3"} | changes


def added(app: Flask, admin_client: FlaskClient, kind: Kind) -> UUID:
    """The id of a node that was added on its page."""
    assert post(admin_client, kind.page, form(app, kind)).status_code == 303
    with app.app_context():
        return db.session().query(kind.table).one().id


@BOTH
def test_a_node_is_added_and_listed(app: Flask, admin_client: FlaskClient, kind: Kind) -> None:
    assert "nodes yet" in admin_client.get(kind.page).text
    added(app, admin_client, kind)
    page = admin_client.get(kind.page).text
    assert all(text in page for text in (kind.label, kind.form["name"], "10.1.2.3/32"))
    assert kind.silent in page
    assert "nodes yet" not in page
    assert kind.form["name"] not in admin_client.get("/admin/people").text
    assert kind.page in admin_client.get("/admin/teams").text


REFUSED = [
    ({"name": ""}, "Give the node a name"),
    ({"networks": ""}, "State the addresses"),
    ({"networks": "nowhere"}, "Addresses look like"),
    ({"fingerprint": "12"}, "64 hexadecimal digits"),
    ({"team": "nobody"}, "Choose one of the teams."),
]
OF_DICOM = [({"ae_title": "TOO_LONG_A_TITLE_BY_FAR"}, "An AE title has 1 to 16 characters")]
OF_HL7 = [
    ({"application": ""}, "State the application"),
    ({"application": "A^B"}, "without | ^ ~"),
    ({"accession_field": "OBR-99"}, "Choose one of the fields."),
    ({"charset": "UTF-7"}, "Choose one of the character sets."),
]


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        *((DICOM, *one) for one in [*REFUSED, *OF_DICOM]),
        *((HL7, *one) for one in [*REFUSED, *OF_HL7]),
    ],
)
def test_what_can_not_be_is_refused_where_it_was_typed(
    app: Flask, admin_client: FlaskClient, kind: Kind, changes: dict[str, str], text: str
) -> None:
    given = form(app, kind, **({"name": "Another one"} | changes))
    answer = post(admin_client, kind.page, given)
    assert (answer.status_code, text in answer.text) == (422, True)
    assert f'value="{given["name"]}"' in answer.text
    with app.app_context():
        assert db.session().query(kind.table).all() == []


@BOTH
def test_one_that_is_known_is_a_conflict(app: Flask, admin_client: FlaskClient, kind: Kind) -> None:
    added(app, admin_client, kind)
    answer = post(admin_client, kind.page, form(app, kind, name="Another one"))
    assert (answer.status_code, kind.taken in answer.text) == (409, True)
    assert 'value="Another one"' in answer.text


@BOTH
def test_a_node_is_changed_switched_off_and_on(
    app: Flask, admin_client: FlaskClient, kind: Kind
) -> None:
    node_id, (name, value) = added(app, admin_client, kind), kind.change
    assert f"Change {kind.label}" in admin_client.get(f"{kind.page}?change={node_id}").text
    assert admin_client.get(f"{kind.page}?change=x").status_code == 200
    changed = post(admin_client, f"{kind.page}/{node_id}", form(app, kind, **{name: value}))
    assert changed.status_code == 303
    refused = post(admin_client, f"{kind.page}/{node_id}", form(app, kind, networks=""))
    assert refused.status_code == 422
    for path, is_off in (("off", True), ("on", False)):
        assert post(admin_client, f"{kind.page}/{node_id}/{path}", {}).status_code == 303
        with app.app_context():
            row = db.session().get_one(kind.table, node_id)
            assert (getattr(row, name), row.disabled_at is not None) == (value, is_off)
            assert row.networks == ["10.1.2.3/32"]


@BOTH
def test_nothing_is_changed_without_a_fresh_proof_of_identity(
    app: Flask, admin_client: FlaskClient, kind: Kind, clock: Clock
) -> None:
    node_id = added(app, admin_client, kind)
    clock.forward(minutes=14)
    answer = post(admin_client, f"{kind.page}/{node_id}/off", {})
    assert "/confirm" in answer.location
    assert f"{kind.page}/{node_id}/off" not in admin_client.get(kind.page).text
    with app.app_context():
        assert db.session().get_one(kind.table, node_id).disabled_at is None
