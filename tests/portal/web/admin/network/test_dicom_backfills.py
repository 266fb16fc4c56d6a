"""The page of back-fills: begin, pause, resume, end, and how far each is."""

import re

from flask import Flask
from flask.testing import FlaskClient

from portal.models import BackfillState, DicomBackfill, db
from tests.portal.web.admin.network.test_dicom_retrievals import added
from tests.support.portal_app import post

PAGE = "/admin/dicom/backfills"
DAYS = {"first_day": "2020-01-01", "last_day": "2020-01-10", "modality": "CR"}


def state_of(app: Flask) -> BackfillState:
    with app.app_context():
        return db.session().query(DicomBackfill).one().state


def test_one_is_begun_paused_resumed_and_ended(app: Flask, admin_client: FlaskClient) -> None:
    assert "No DICOM node may be queried" in admin_client.get(PAGE).text
    typed = {**DAYS, "node": str(added(app, admin_client))}
    assert post(admin_client, PAGE, typed).status_code == 303
    page = admin_client.get(PAGE).text
    assert "0 of 10" in page
    assert "goes on" in page
    assert post(admin_client, PAGE, typed).status_code == 409
    for what, state, label in (
        ("pause", BackfillState.PAUSED, "paused"),
        ("resume", BackfillState.RUNNING, "goes on"),
        ("end", BackfillState.ENDED, "ended"),
    ):
        action = re.search(rf'action="({PAGE}/[0-9a-f-]+/{what})"', admin_client.get(PAGE).text)
        assert action is not None
        assert post(admin_client, action[1], {}).status_code == 303
        assert state_of(app) is state
        assert label in admin_client.get(PAGE).text
    assert post(admin_client, action[1], {}).status_code == 303
    assert "This back-fill is over." in admin_client.get(PAGE).text


def test_what_can_t_be_is_refused_with_what_was_typed(
    app: Flask, admin_client: FlaskClient
) -> None:
    assert post(admin_client, PAGE, {**DAYS, "node": "x"}).status_code == 422
    typed = {**DAYS, "node": str(added(app, admin_client)), "last_day": "2019-01-01"}
    answer = post(admin_client, PAGE, typed)
    assert answer.status_code == 422
    assert "The days must be in their order" in answer.text
    assert 'value="2019-01-01"' in answer.text
