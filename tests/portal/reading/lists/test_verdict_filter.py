"""The worklist by how firmly the verdict stands, and by results that were retracted."""

from uuid import UUID

import pytest
from sqlalchemy import select

from portal.access import Actor
from portal.ai_models import registry
from portal.models import ModelVersion, Role, Study, VerdictState
from portal.reading import worklist
from portal.studies import verdicts
from tests.portal.reading.test_signing import sign
from tests.portal.teams.test_ai_visibility import AFTER, NEVER, set_policy
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.queries.many_exams import add_reviewed
from tests.support.queries.query_plan import plan_of, selects
from tests.support.second_reads.readers import ask, colleague, state


def listed(clinic: Clinic, actor: Actor, verdict: str) -> list[UUID]:
    with clinic.session as session:
        page = worklist.worklist(
            *(session, clinic.vault, actor), verdict=verdict, now=after(hours=1)
        )
    return [row.study_id for row in page.rows]


def of_each_kind(clinic: Clinic) -> dict[str, UUID]:
    found = {one.value: clinic.done() for one in VerdictState}
    state(clinic, clinic.mate, found["preliminary"], "right")
    for name in ("final", "amended"):
        sign(clinic, found[name])
    sign(clinic, found["amended"], finding="left", now=after(minutes=2))
    state(clinic, clinic.mate, found["final"], "none", after(minutes=3))  # not signed
    return found


def test_each_state_is_its_own_list_as_the_rows_show_it(clinic: Clinic) -> None:
    found = of_each_kind(clinic)
    for name, study_id in found.items():
        assert listed(clinic, clinic.mate, name) == [study_id]
    assert set(listed(clinic, clinic.mate, "nonsense")) == set(found.values())
    with clinic.session as session:
        shown = verdicts.standings(session, list(found.values()))
        for study_id in found.values():
            standing = shown.get(study_id, verdicts.NOT_READ)
            assert session.get_one(Study, study_id).verdict is standing.state


def test_retracted_results_are_found_until_they_are_restored(clinic: Clinic) -> None:
    done, waiting = clinic.done(), clinic.submit().study_id
    assert listed(clinic, clinic.mate, "retracted") == []
    with clinic.session as session:
        model = session.scalars(select(ModelVersion.id)).one()
        registry.retract(session, clinic.admin, model, "wrong_results", NOW)
    assert listed(clinic, clinic.mate, "retracted") == [done]
    assert waiting not in listed(clinic, clinic.mate, "retracted")
    with clinic.session as session:
        registry.restore_results(session, clinic.admin, model, NOW)
    assert listed(clinic, clinic.mate, "retracted") == []


@pytest.mark.parametrize("policy", [AFTER, NEVER])
def test_where_the_result_is_hidden_it_is_not_found_by_its_retraction(
    clinic: Clinic, policy: object
) -> None:
    clinic.done()
    set_policy(clinic, policy)  # type: ignore[arg-type]
    with clinic.session as session:
        model = session.scalars(select(ModelVersion.id)).one()
        registry.retract(session, clinic.admin, model, "wrong_results", NOW)
    assert listed(clinic, clinic.mate, "retracted") == []


def test_to_a_second_reader_nobody_has_read_it(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), clinic.done()
    sign(clinic, study_id)
    ask(clinic, clinic.mate, study_id)
    assert listed(clinic, second, "final") == []
    assert listed(clinic, second, "ai_only") == [study_id]
    assert listed(clinic, clinic.mate, "final") == [study_id]


@pytest.mark.parametrize("verdict", [*(one.value for one in VerdictState), "retracted"])
def test_a_page_is_read_off_the_lists_index(clinic: Clinic, verdict: str) -> None:
    add_reviewed(clinic, 200)
    engine = clinic.core.engine
    with selects(engine) as statements:
        listed(clinic, clinic.outsider, verdict)
    of_list = [one for one in statements if "ORDER BY studies.rank" in one.text]
    assert of_list
    for one in of_list:
        plan = plan_of(engine, one)
        assert "ix_studies_team" in plan, plan
        assert "SCAN studies" not in plan, plan
        assert "Seq Scan on studies" not in plan, plan
    assert clinic.outsider.role is Role.READER
