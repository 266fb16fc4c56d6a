"""The page of DICOM nodes: echo test, what a node gets, what was sent and what was refused."""

import re
from datetime import timedelta
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.dicom_network import nodes, refusals
from portal.dicom_network.sending import ledger, overview
from portal.governance import scheduler_signs
from portal.models import (
    DicomNode,
    DicomSend,
    DicomSentObject,
    Instance,
    SendMoment,
    SendState,
    SentState,
    db,
)
from portal.studies import sealed_fields
from tests.portal.web.admin.network.test_node_views import DICOM, added
from tests.portal.web.admin.network.test_node_views import form as form_of
from tests.support.clinic import open_clinic
from tests.support.core import NOW
from tests.support.portal_app import core_of, post

PAGE = "/admin/dicom"


def form(app: Flask, **changes: str) -> dict[str, str]:
    return form_of(app, DICOM, **changes)


@pytest.fixture
def node_id(app: Flask, admin_client: FlaskClient) -> UUID:
    """A node that was added on the page."""
    return added(app, admin_client, DICOM)


@pytest.mark.parametrize(
    ("path", "tab"),
    [
        (PAGE, "Teams"),
        (f"{PAGE}/backfills", "Teams"),
        ("/admin/drift", "Performance"),
        ("/admin/notifications", "Jobs"),
    ],
)
def test_the_tab_that_led_to_a_page_is_the_current_one(
    admin_client: FlaskClient, path: str, tab: str
) -> None:
    page = admin_client.get(path).text
    assert re.findall(r'aria-current="page">([^<]*)</a>', page) == [tab]


def test_each_button_of_a_node_names_it(
    app: Flask, admin_client: FlaskClient, node_id: UUID
) -> None:
    more = form(app, ae_title="SECOND", name="Room 2", host="pacs.example.org", port="104")
    assert post(admin_client, PAGE, more).status_code == 303
    page = admin_client.get(PAGE).text
    for label in ("Change SECOND", "Echo: SECOND", "Switch off: SECOND", "Switch off: MODALITY"):
        assert f'aria-label="{label}"' in page
    assert "Echo: MODALITY" not in page


def test_the_echo_test_calls_nobody_who_is_not_on_the_list_of_hosts(
    app: Flask, admin_client: FlaskClient, node_id: UUID
) -> None:
    assert post(admin_client, f"{PAGE}/{node_id}/echo", {}).status_code == 303
    assert "The node has no host and port." in admin_client.get(PAGE).text
    with_place = form(app, host="pacs.example.org", port="104")
    assert post(admin_client, f"{PAGE}/{node_id}", with_place).status_code == 303
    assert post(admin_client, f"{PAGE}/{node_id}/echo", {}).status_code == 303
    assert "not in PLEURA_OUTGOING_HOSTS" in admin_client.get(PAGE).text


def test_what_was_refused_is_listed_with_its_reason_alone(
    app: Flask, admin_client: FlaskClient, node_id: UUID
) -> None:
    core = core_of(app)
    with core.sessions() as session:
        node = session.get_one(DicomNode, node_id)
        refusals.note(
            session,
            core.vault,
            nodes.actor_of(node, "10.1.2.3"),
            node,
            sop_uid="1.2.3.4.5",
            code="other_than_stated",
            status=0xA900,
            size=2048,
            now=NOW,
        )
    page = admin_client.get(PAGE).text
    assert "Class or UID differ from those that the sender stated." in page
    assert "A900" in page
    assert "1.2.3.4.5" not in page


def test_a_node_that_gets_objects_is_asked_for_what_and_when(
    app: Flask, admin_client: FlaskClient, node_id: UUID
) -> None:
    place = form(app, receives="yes", host="pacs.example.org", port="104")
    chosen = {**place, "objects": ["sr", "seg"], "moments": ["signature"]}
    assert post(admin_client, f"{PAGE}/{node_id}", {**place, "objects": ["sr"]}).status_code == 422
    assert post(admin_client, f"{PAGE}/{node_id}", {**chosen, "host": ""}).status_code == 422
    assert post(admin_client, f"{PAGE}/{node_id}", {**chosen, "objects": ["x"]}).status_code == 422
    assert post(admin_client, f"{PAGE}/{node_id}", chosen).status_code == 303
    page = admin_client.get(f"{PAGE}?change={node_id}").text
    ticked = re.findall(r'value="(\w+)" checked', page)
    assert ticked == ["sr", "seg", "signature"]
    assert "no DICOM sender has reported" in page
    with app.app_context():
        scheduler_signs.give(db.session(), scheduler_signs.DICOM_SENDER)
    assert "no DICOM sender has reported" not in admin_client.get(PAGE).text


def test_what_was_dropped_hides_nothing_that_failed(
    app: Flask, admin_client: FlaskClient, node_id: UUID
) -> None:
    core = core_of(app)
    study_id = open_clinic(core).submit().study_id
    with core.sessions() as session:
        for number in range(overview.MOST + 1):
            at = NOW + timedelta(minutes=number)
            ledger.add(session, node_id, study_id, SendMoment.RESULT, UUID(int=number), at)
        session.flush()
        for row in session.scalars(select(DicomSend)):
            is_first = row.trigger_id == UUID(int=0)
            row.state = SendState.FAILED if is_first else SendState.DROPPED
            row.reason, row.finished_at = "refused" if is_first else "not_wanted", NOW
        session.commit()
        failed = session.scalars(select(DicomSend.id).where(DicomSend.reason == "refused")).one()
    assert f"{PAGE}/sends/{failed}/again" in admin_client.get(PAGE).text


def test_what_is_not_stored_with_proof_is_listed_and_tried_again(
    app: Flask, admin_client: FlaskClient, node_id: UUID
) -> None:
    core = core_of(app)
    sent = open_clinic(core).submit()
    with core.sessions() as session:
        ledger.add(session, node_id, sent.study_id, SendMoment.RESULT, UUID(int=7), NOW)
        session.flush()
        row = session.query(DicomSend).one()
        row.state, row.reason, row.finished_at = SendState.FAILED, "refused", NOW
        row.attempts = 1
        one = DicomSentObject(
            send_id=row.id,
            sop_key="a" * 64,
            instance_id=sent.instance_id,
            kind="sr",
            sop_class="1.2.840.10008.5.1.4.1.1.88.34",
            state=SentState.FAILED,
            status=0xC123,
            code="refused",
            attempts=1,
            changed=NOW,
        )
        instance = session.get_one(Instance, sent.instance_id)
        key = sealed_fields.instance_key_of(core.vault, instance)
        one.sealed_comment = sealed_fields.seal_answer(core.vault, key, one, "Not <allowed>")
        session.add(one)
        session.commit()
        send_id = row.id
    page = admin_client.get(PAGE).text
    for text in ("The node refuses the object.", "C123", "Not &lt;allowed&gt;", "Try again"):
        assert text in page
    assert post(admin_client, f"{PAGE}/sends/{send_id}/again", {}).status_code == 303
    page = admin_client.get(PAGE).text
    assert "It is tried again." in page
    assert "The node refuses the object." in page  # until it is
    assert post(admin_client, f"{PAGE}/sends/{UUID(int=8)}/again", {}).status_code == 404
