"""Nodes of either kind: in whose name they act, who may let them in, and what is logged of it."""

import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.accounts import people
from portal.dicom_network import nodes as dicom_nodes
from portal.errors import Conflict, Invalid
from portal.hl7 import nodes as hl7_nodes
from portal.listeners import nodes as of_any_kind
from portal.models import AuditEvent, DicomNode, Hl7Node, User
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.dicom import listening as dicom
from tests.support.hl7 import listening as hl7

ROOMS: dict[str, Any] = {"dicom": dicom_nodes, "hl7": hl7_nodes}
ADDING: dict[str, Any] = {"dicom": dicom.add_node, "hl7": hl7.add_node}
TABLES: dict[str, Any] = {"dicom": DicomNode, "hl7": Hl7Node}
BOTH = pytest.mark.parametrize("kind", list(ROOMS))


def described(clinic: Clinic, kind: str, node: Any) -> Any:
    with clinic.session as session:
        return (
            dicom_nodes.described(session, node) if kind == "dicom" else hl7_nodes.described(node)
        )


def events(clinic: Clinic, node: Any) -> list[tuple[str, dict[str, Any]]]:
    with clinic.session as session:
        rows = session.scalars(
            select(AuditEvent).where(AuditEvent.subject_id == node.id).order_by(AuditEvent.seq)
        ).all()
        return [(row.event, json.loads(row.detail)) for row in rows]


@BOTH
def test_a_node_has_an_account_that_nobody_signs_in_with_sees_or_changes(
    clinic: Clinic, kind: str
) -> None:
    node = ADDING[kind](
        clinic, networks="10.1.2.3 10.1.3.0/24, 10.1.2.3", fingerprint="AB:" * 31 + "CD"
    )
    assert node.networks == ["10.1.2.3/32", "10.1.3.0/24"]
    assert node.fingerprint == "ab" * 31 + "cd"
    with clinic.session as session:
        account = session.get_one(User, node.user_id)
        assert (account.disabled_at, account.password_hash, account.sso_key) == (NOW, None, None)
        assert (account.team_id, account.name) == (clinic.owner.team_id, node.name)
        assert account.id not in {one.id for one in people.people(session)}
        with pytest.raises(Denied):
            people.enable(session, clinic.admin, account.id, NOW)
        with pytest.raises(Denied):
            people.reset_factor(session, clinic.admin, account.id, NOW)
    assert ROOMS[kind].actor_of(node, "10.1.2.3").address == "10.1.2.3"
    assert ROOMS[kind].actor_of(node, "").session_id == node.id


@BOTH
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"networks": ""}, "networks"),
        ({"networks": "10.1.2.300"}, "networks"),
        ({"networks": " ".join(f"10.0.0.{n}" for n in range(17))}, "networks"),
        ({"fingerprint": "abc"}, "fingerprint"),
        ({"team_id": uuid4()}, "team"),
    ],
)
def test_what_can_not_be_is_refused_with_its_reason_and_changes_nothing(
    clinic: Clinic, kind: str, wrong: dict[str, Any], code: str
) -> None:
    with pytest.raises(Invalid) as refused:
        ADDING[kind](clinic, **wrong)
    assert refused.value.code == code
    with clinic.session as session:
        assert session.scalars(select(TABLES[kind])).all() == []
    node = ADDING[kind](clinic)
    before = described(clinic, kind, node)
    other = replace(before, **wrong)
    with clinic.session as session, pytest.raises(Invalid):
        ROOMS[kind].change(session, clinic.admin, node.id, other, NOW)
    with clinic.session as session:
        row = session.get_one(TABLES[kind], node.id)
        session.commit()
    assert described(clinic, kind, row) == before


@BOTH
def test_a_node_that_moves_to_another_team_sends_for_that(clinic: Clinic, kind: str) -> None:
    node = ADDING[kind](clinic)
    before = described(clinic, kind, node)
    team_id = clinic.outsider.team_id
    stated = replace(before, name="Moved", team_id=team_id, networks="10.0.0.0/8")
    with clinic.session as session:
        changed = ROOMS[kind].change(session, clinic.admin, node.id, stated, after(minutes=1))
        assert ROOMS[kind].actor_of(changed, "").team_id == clinic.outsider.team_id
        account = session.get_one(User, node.user_id)
        assert (account.team_id, account.name) == (clinic.outsider.team_id, "Moved")


@BOTH
def test_every_change_is_a_row_of_the_log_with_what_is_allowed_then(
    clinic: Clinic, kind: str
) -> None:
    node, room = ADDING[kind](clinic), ROOMS[kind]
    stated = described(clinic, kind, node)
    with clinic.session as session:
        room.change(session, clinic.admin, node.id, stated, NOW)
        for on in (False, False, True, True):
            room.switch(session, clinic.admin, node.id, NOW, on=on)
        assert session.get_one(TABLES[kind], node.id).disabled_at is None
    found = events(clinic, node)
    of_kind = ("added", "changed", "switched_off", "switched_on")
    assert [event for event, _ in found] == [f"{kind}_node_{what}" for what in of_kind]
    for _, detail in found:
        assert detail["networks"] == ["127.0.0.1/32"]
        assert detail["team"] == clinic.owner.team_id.hex


@BOTH
def test_one_that_is_known_is_a_conflict_and_one_that_is_not_there_is_not_found(
    clinic: Clinic, kind: str
) -> None:
    node = ADDING[kind](clinic)
    with pytest.raises(Conflict):
        ADDING[kind](clinic, name="Another")
    stated = described(clinic, kind, node)
    with clinic.session as session:
        with pytest.raises(Denied):
            ROOMS[kind].switch(session, clinic.admin, uuid4(), NOW, on=False)
        with pytest.raises(Denied):
            ROOMS[kind].change(session, clinic.admin, uuid4(), stated, NOW)
        assert len(ROOMS[kind].nodes(session, clinic.admin)) == 1


@BOTH
@pytest.mark.parametrize("who", ["owner", "mate", "auditor"])
def test_only_who_manages_people_may_let_somebody_in(clinic: Clinic, kind: str, who: str) -> None:
    node, actor, room = ADDING[kind](clinic), getattr(clinic, who), ROOMS[kind]
    stated = described(clinic, kind, node)
    with clinic.session as session:
        for attempt in (
            lambda: room.nodes(session, actor),
            lambda: room.add(session, actor, stated, NOW),
            lambda: room.change(session, actor, node.id, stated, NOW),
            lambda: room.switch(session, actor, node.id, NOW, on=False),
        ):
            with pytest.raises(Denied):
                attempt()


@BOTH
def test_who_is_switched_off_calls_from_nowhere(clinic: Clinic, kind: str) -> None:
    node = ADDING[kind](clinic, networks="10.1.2.3")
    with clinic.session as session:
        assert of_any_kind.networks(session, TABLES[kind]) == ["10.1.2.3/32"]
        ROOMS[kind].switch(session, clinic.admin, node.id, NOW, on=False)
        assert of_any_kind.networks(session, TABLES[kind]) == []
