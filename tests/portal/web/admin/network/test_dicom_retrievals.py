"""Queries of DICOM nodes on pages: how a node is queried, the queue, and the case page's button."""

from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.dicom_network import nodes
from portal.dicom_network.retrieving import ledger
from portal.governance import scheduler_signs
from portal.models import DicomNode, DicomRetrieval, RetrievalState, db
from tests.portal.web.admin.network.test_dicom_nodes import PAGE, form
from tests.support.core import NOW
from tests.support.people import Person
from tests.support.pictures import dicom
from tests.support.portal_app import core_of, make_study, post, sign_in


@pytest.fixture
def study_id(app: Flask, technologist: Person) -> UUID:
    """An exam whose header has a patient ID."""
    return make_study(app, technologist, data=dicom())


@pytest.fixture
def reader_client(app: Flask, reader: Person) -> FlaskClient:
    """A browser of a reader of its team."""
    return sign_in(app, reader)


def queried(app: Flask, **changes: str) -> dict[str, str]:
    """The form of a node that may be queried by C-GET."""
    given = {
        "ae_title": "ARCHIVE",
        "sends": "no",
        "host": "pacs.example.org",
        "port": "104",
        "queried": "get",
        "priors": "yes",
        "at_once": "2",
    }
    return form(app, **(given | changes))


def added(app: Flask, client: FlaskClient, **changes: str) -> UUID:
    assert post(client, PAGE, queried(app, **changes)).status_code == 303
    with app.app_context():
        return db.session().query(DicomNode).one().id


def test_how_a_node_is_queried_is_chosen_and_shown(app: Flask, admin_client: FlaskClient) -> None:
    node_id = added(app, admin_client)
    page = admin_client.get(f"{PAGE}?change={node_id}").text
    assert "by C-GET, when an exam arrives" in " ".join(page.split())
    assert "no DICOM sender has reported" in page
    assert "no DICOM listener has reported" not in page
    with app.app_context():
        scheduler_signs.give(db.session(), scheduler_signs.DICOM_SENDER)
    assert "no DICOM sender has reported" not in admin_client.get(PAGE).text
    with app.app_context():
        found = nodes.described(db.session(), db.session().get_one(DicomNode, node_id))
    assert (found.queried, found.priors, found.at_once) == ("get", True, "2")
    moved = queried(app, queried="move", priors="no")
    assert post(admin_client, f"{PAGE}/{node_id}", moved).status_code == 303
    assert "no DICOM listener has reported" in admin_client.get(PAGE).text
    assert post(admin_client, f"{PAGE}/{node_id}", queried(app, queried="")).status_code == 303
    assert ">be queried<" not in admin_client.get(PAGE).text


@pytest.mark.parametrize("wrong", [{"queried": "x"}, {"at_once": "9"}, {"host": "", "port": ""}])
def test_what_can_t_be_is_refused(
    app: Flask, admin_client: FlaskClient, wrong: dict[str, str]
) -> None:
    assert post(admin_client, PAGE, queried(app, **wrong)).status_code == 422


def test_the_queue_is_shown_and_tried_again(
    app: Flask, admin_client: FlaskClient, reader_client: FlaskClient, study_id: UUID
) -> None:
    node_id = added(app, admin_client, priors="no")
    with core_of(app).sessions() as session:
        row = ledger.add(session, node_id, study_id, None, NOW)
        session.flush()
        row.state, row.reason, row.finished_at = RetrievalState.FAILED, "query_refused", NOW
        row.found, row.retrieved, row.failed = 3, 2, 1
        session.commit()
        retrieval_id = row.id
    page = admin_client.get(PAGE).text
    assert "The node refuses the search." in page
    case = reader_client.get(f"/studies/{study_id}").text
    assert "2 pictures retrieved. A node could not be asked" in case
    assert post(admin_client, f"{PAGE}/retrievals/{retrieval_id}/again", {}).status_code == 303
    assert state_of(app) == (RetrievalState.WAITING, 0)
    assert post(admin_client, f"{PAGE}/retrievals/{UUID(int=8)}/again", {}).status_code == 404
    case = reader_client.get(f"/studies/{study_id}").text
    assert "Being looked for." in case
    assert "Look for priors" not in case


def test_a_reader_looks_for_priors_on_the_case_page(
    app: Flask, admin_client: FlaskClient, reader_client: FlaskClient, study_id: UUID
) -> None:
    page = f"/studies/{study_id}"
    assert "Look for priors" not in reader_client.get(page).text  # no node may be queried
    assert post(reader_client, f"{page}/priors", {}).status_code == 303
    assert "No DICOM node of the team may be queried." in reader_client.get(page).text
    added(app, admin_client, priors="no")
    assert "Look for priors" in reader_client.get(page).text
    assert post(reader_client, f"{page}/priors", {}).status_code == 303
    assert "Earlier X-rays are being looked for." in reader_client.get(page).text
    assert state_of(app) == (RetrievalState.WAITING, 0)


def state_of(app: Flask) -> Any:
    with app.app_context():
        found = db.session().query(DicomRetrieval).one()
        return found.state, found.attempts
