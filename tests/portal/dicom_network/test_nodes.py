"""What DICOM nodes have of their own: AE titles, where they are called, and what they may do."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from portal.access import Permission
from portal.dicom_network import nodes
from portal.errors import Invalid
from portal.models import AuditEvent, DicomNode
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.dicom.listening import add_node


def test_a_node_has_exactly_the_right_to_send(clinic: Clinic) -> None:
    actor = nodes.actor_of(add_node(clinic), "10.1.2.3")
    assert actor.permissions == {Permission.STUDY_SUBMIT}
    assert (actor.via, actor.address, actor.team_id) == (
        "dicom",
        "10.1.2.3",
        clinic.owner.team_id,
    )


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ae_title": ""}, "ae_title"),
        ({"ae_title": "A" * 17}, "ae_title"),
        ({"ae_title": "A\\B"}, "ae_title"),
        ({"ae_title": "ÄRZTE"}, "ae_title"),
        ({"host": "pacs"}, "host"),
        ({"port": "104"}, "host"),
        ({"host": "pacs", "port": "0"}, "host"),
        ({"host": "pa cs", "port": "104"}, "host"),
    ],
)
def test_what_can_not_be_is_refused_with_its_reason(
    clinic: Clinic, wrong: dict[str, Any], code: str
) -> None:
    with pytest.raises(Invalid) as refused:
        add_node(clinic, **wrong)
    assert refused.value.code == code
    with clinic.session as session:
        assert session.scalars(select(DicomNode)).all() == []


def test_the_log_has_what_a_node_gets_from_then_on(clinic: Clinic) -> None:
    place = {"receives": True, "host": "pacs.example.org", "port": "104"}
    node = add_node(clinic, objects=("sr",), moments=("signature",), **place)
    with clinic.session as session:
        before = nodes.described(session, node)
        nodes.change(session, clinic.admin, node.id, replace(before, objects=("sr", "seg")), NOW)
        nodes.change(session, clinic.admin, node.id, replace(before, objects=(), moments=()), NOW)
        rows = session.scalars(
            select(AuditEvent.detail)
            .where(AuditEvent.subject_id == node.id)
            .order_by(AuditEvent.seq)
        ).all()
    found = [(json.loads(one)["objects"], json.loads(one)["moments"]) for one in rows]
    assert found == [(["sr"], ["signature"]), (["sr", "seg"], ["signature"]), ([], [])]


@pytest.mark.parametrize(
    ("networks", "address", "may"),
    [
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("10.1.2.0/24", "10.1.2.99", True),
        ("10.1.2.0/24", "::ffff:10.1.2.99", True),
        ("2001:db8::/32", "2001:db8::7", True),
        ("2001:db8::/32", "10.1.2.3", False),
        ("0.0.0.0/0", "203.0.113.9", True),
        ("10.1.2.3", "no address", False),
    ],
)
def test_a_node_sends_from_its_networks_alone(
    clinic: Clinic, networks: str, address: str, may: bool
) -> None:
    assert nodes.sends_from(add_node(clinic, networks=networks), address) is may
