"""DICOM nodes: who is let in, in whose name they send, and who may change that."""

import json
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from portal.access import Denied, Permission
from portal.accounts import people
from portal.dicom_network import nodes
from portal.errors import Conflict, Invalid
from portal.models import AuditEvent, DicomNode, User
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.dicom.listening import TITLE, add_node


def events(clinic: Clinic) -> list[tuple[str, dict[str, Any]]]:
    with clinic.session as session:
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.seq)).all()
        return [(row.event, json.loads(row.detail)) for row in rows]


def test_a_node_is_added_with_an_account_that_nobody_signs_in_with(clinic: Clinic) -> None:
    node = add_node(clinic, networks="10.1.2.3 10.1.3.0/24", fingerprint="AB:" * 31 + "CD")
    assert node.networks == ["10.1.2.3/32", "10.1.3.0/24"]
    assert node.fingerprint == "ab" * 31 + "cd"
    with clinic.session as session:
        account = session.get_one(User, node.user_id)
        assert (account.disabled_at, account.password_hash, account.sso_key) == (NOW, None, None)
        assert account.team_id == clinic.owner.team_id
    (event, detail), *_ = events(clinic)
    assert event == "dicom_node_added"
    assert detail["networks"] == node.networks


def test_a_node_has_exactly_the_right_to_send(clinic: Clinic) -> None:
    actor = nodes.actor_of(add_node(clinic), "10.1.2.3")
    assert actor.permissions == {Permission.STUDY_SUBMIT}
    assert (actor.via, actor.address, actor.team_id) == (
        "dicom",
        "10.1.2.3",
        clinic.owner.team_id,
    )


def test_the_people_page_neither_shows_nor_changes_a_nodes_account(clinic: Clinic) -> None:
    node = add_node(clinic)
    with clinic.session as session:
        assert node.user_id not in {one.id for one in people.people(session)}
        with pytest.raises(Denied):
            people.enable(session, clinic.admin, node.user_id, NOW)
        with pytest.raises(Denied):
            people.reset_factor(session, clinic.admin, node.user_id, NOW)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"ae_title": ""}, "ae_title"),
        ({"ae_title": "A" * 17}, "ae_title"),
        ({"ae_title": "A\\B"}, "ae_title"),
        ({"ae_title": "ÄRZTE"}, "ae_title"),
        ({"networks": ""}, "networks"),
        ({"networks": "10.1.2.300"}, "networks"),
        ({"networks": " ".join(f"10.0.0.{n}" for n in range(17))}, "networks"),
        ({"host": "pacs"}, "host"),
        ({"port": "104"}, "host"),
        ({"host": "pacs", "port": "0"}, "host"),
        ({"host": "pa cs", "port": "104"}, "host"),
        ({"fingerprint": "abc"}, "fingerprint"),
        ({"team_id": uuid4()}, "team"),
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


def test_an_ae_title_belongs_to_one_node(clinic: Clinic) -> None:
    add_node(clinic)
    with pytest.raises(Conflict):
        add_node(clinic, name="Another")


def test_a_node_that_moves_to_another_team_sends_for_that(clinic: Clinic) -> None:
    node = add_node(clinic)
    stated = nodes.Described("Room 2", TITLE, clinic.outsider.team_id, networks="10.0.0.0/8")
    with clinic.session as session:
        changed = nodes.change(session, clinic.admin, node.id, stated, after(minutes=1))
        assert nodes.actor_of(changed, "").team_id == clinic.outsider.team_id
        assert session.get_one(User, node.user_id).team_id == clinic.outsider.team_id
        assert session.get_one(User, node.user_id).name == "Room 2"
    assert events(clinic)[-1][0] == "dicom_node_changed"


def test_switching_off_and_on_is_logged_once_each(clinic: Clinic) -> None:
    node = add_node(clinic)
    with clinic.session as session:
        for on in (False, False, True, True):
            nodes.switch(session, clinic.admin, node.id, NOW, on=on)
        assert session.get_one(DicomNode, node.id).disabled_at is None
    assert [event for event, _ in events(clinic)[1:]] == [
        "dicom_node_switched_off",
        "dicom_node_switched_on",
    ]


@pytest.mark.parametrize("who", ["owner", "mate", "auditor"])
def test_only_who_manages_people_may_let_somebody_in(clinic: Clinic, who: str) -> None:
    node, actor = add_node(clinic), getattr(clinic, who)
    with clinic.session as session:
        stated = nodes.described(session, node)
    with clinic.session as session:
        for attempt in (
            lambda: nodes.nodes(session, actor),
            lambda: nodes.add(session, actor, stated, NOW),
            lambda: nodes.change(session, actor, node.id, stated, NOW),
            lambda: nodes.switch(session, actor, node.id, NOW, on=False),
        ):
            with pytest.raises(Denied):
                attempt()


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
