"""Who may add and change HL7 nodes, what is logged of it, and what a node's account can do."""

from uuid import uuid4

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.accounts import people
from portal.errors import Conflict, Invalid
from portal.hl7 import nodes
from portal.hl7.nodes import Described
from portal.models import AuditEvent, User
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import add_node, sent


def test_only_who_manages_people_may_list_add_change_or_switch(clinic: Clinic) -> None:
    node = add_node(clinic)
    stated = nodes.described(node)
    with clinic.session as session:
        for actor in (clinic.owner, clinic.mate, clinic.auditor):
            with pytest.raises(Denied):
                nodes.nodes(session, actor)
            with pytest.raises(Denied):
                nodes.add(session, actor, stated, NOW)
            with pytest.raises(Denied):
                nodes.change(session, actor, node.id, stated, NOW)
            with pytest.raises(Denied):
                nodes.switch(session, actor, node.id, NOW, on=False)


def test_every_change_is_a_row_of_the_log_with_what_is_allowed_then(clinic: Clinic) -> None:
    node = add_node(clinic)
    stated = Described(
        "Other", "RIS", "", clinic.owner.team_id, "10.0.0.0/8", authority="HOSP", charset="8859/1"
    )
    with clinic.session as session:
        nodes.change(session, clinic.admin, node.id, stated, NOW)
        nodes.switch(session, clinic.admin, node.id, NOW, on=False)
        nodes.switch(session, clinic.admin, node.id, NOW, on=False)
        nodes.switch(session, clinic.admin, node.id, NOW, on=True)
        rows = session.execute(
            select(AuditEvent.event, AuditEvent.detail)
            .where(AuditEvent.subject_id == node.id)
            .order_by(AuditEvent.seq)
        ).all()
    assert [row.event for row in rows] == [
        "hl7_node_added",
        "hl7_node_changed",
        "hl7_node_switched_off",
        "hl7_node_switched_on",
    ]
    assert '"networks":["10.0.0.0/8"]' in rows[1].detail
    assert '"authority":"HOSP"' in rows[1].detail


def test_what_does_not_exist_or_is_taken_is_refused(clinic: Clinic) -> None:
    node = add_node(clinic)
    add_node(clinic, application="HIS")
    with clinic.session as session:
        with pytest.raises(Denied):
            nodes.switch(session, clinic.admin, uuid4(), NOW, on=False)
        taken = Described("x", "HIS", "HOSP", clinic.owner.team_id, "10.0.0.1")
        with pytest.raises(Conflict):
            nodes.change(session, clinic.admin, node.id, taken, NOW)
        with pytest.raises(Invalid):
            nodes.add(session, clinic.admin, Described("x", "A", "", uuid4(), "10.0.0.1"), NOW)
        assert len(nodes.nodes(session, clinic.admin)) == 2


def test_a_nodes_account_can_do_nothing_and_nobody_sees_or_changes_it(clinic: Clinic) -> None:
    node = add_node(clinic)
    assert nodes.actor_of(node, "").permissions == frozenset()
    with clinic.session as session:
        account = session.get_one(User, node.user_id)
        assert account.disabled_at is not None
        assert account.id not in {one.id for one in people.people(session)}
        with pytest.raises(Denied):
            people.enable(session, clinic.admin, account.id, NOW)


def test_the_list_shows_when_a_node_last_sent(clinic: Clinic) -> None:
    add_node(clinic)
    sent(clinic, made.adt())
    with clinic.session as session:
        (listed,) = nodes.nodes(session, None)
    assert (listed.team, listed.last) == ("Here", NOW)
