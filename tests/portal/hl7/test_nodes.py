"""What HL7 nodes have of their own: when they last sent, and what they may do."""

import pytest

from portal.errors import Conflict
from portal.hl7 import nodes
from portal.hl7.nodes import Described
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import add_node, sent


def test_a_nodes_account_can_do_nothing(clinic: Clinic) -> None:
    assert nodes.actor_of(add_node(clinic), "").permissions == frozenset()


def test_no_node_takes_anothers_application_and_facility(clinic: Clinic) -> None:
    node = add_node(clinic)
    add_node(clinic, application="HIS")
    taken = Described("x", "HIS", "HOSP", clinic.owner.team_id, "10.0.0.1")
    with clinic.session as session:
        with pytest.raises(Conflict):
            nodes.change(session, clinic.admin, node.id, taken, NOW)
        assert len(nodes.nodes(session, clinic.admin)) == 2


def test_the_list_shows_when_a_node_last_sent(clinic: Clinic) -> None:
    add_node(clinic)
    sent(clinic, made.adt())
    with clinic.session as session:
        (listed,) = nodes.nodes(session, None)
    assert (listed.team, listed.last) == ("Here", NOW)
