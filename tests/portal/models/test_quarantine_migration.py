"""The revision of quarantine: rules that kept out keep out still, and what has no node goes."""

import re

from sqlalchemy import select, text

from portal import database
from portal.access import Actor
from portal.dicom_network import refusals
from portal.models import ArrivalEnd, ArrivalRule
from portal.teams.rules import changes
from portal.teams.rules.conditions import Rule
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.dicom.listening import add_node

(SCRIPT,) = (database.MIGRATIONS / "versions").glob("*_storing_and_quarantine.py")
(BEFORE,) = re.findall(r'^down_revision = "(\w+)"', SCRIPT.read_text("utf-8"), re.MULTILINE)


def ends(clinic: Clinic) -> list[str]:
    with clinic.session as session:
        return list(session.scalars(text('SELECT "end" FROM arrival_rules')))


def refuse(clinic: Clinic, actor: Actor, *, by_node: bool) -> None:
    node = add_node(clinic) if by_node else None
    with clinic.session as session:
        refusals.note(
            *(session, clinic.vault, actor, node),
            sop_uid="1.2",
            code="damaged",
            status=0xC000,
            size=1,
            now=NOW,
        )


def test_up_and_down_a_rule_that_keeps_out_keeps_out(clinic: Clinic) -> None:
    with clinic.session as session:
        rule = Rule("Hands", ArrivalEnd.KEEP_OUT, "No chest")
        changes.store(session, clinic.admin, clinic.owner.team_id, rule, 0, NOW)
    refuse(clinic, clinic.owner, by_node=True)
    refuse(clinic, clinic.owner, by_node=False)
    database.downgrade(clinic.core.engine, BEFORE)
    assert ends(clinic) == ["quarantine"]
    database.upgrade(clinic.core.engine)
    assert ends(clinic) == ["keep_out"]
    with clinic.session as session:
        assert session.scalars(select(ArrivalRule)).one().end is ArrivalEnd.KEEP_OUT
        (left,) = refusals.newest(session, clinic.vault, clinic.admin, NOW)
    assert not left.by_web
