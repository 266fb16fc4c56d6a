"""What colleagues found is hidden until one's own finding, where a team has chosen so."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import portal
from portal.access import Actor, Denied, Grant, under_grant
from portal.critical import case_view, findings, open_findings
from portal.errors import Conflict
from portal.exchange import export_records
from portal.models import AiShown, Study, VerdictState
from portal.reading import case, other_exams, worklist
from portal.reading.case_records import StudyView
from portal.reading.signatures import seen
from portal.reports import made, pictures, requests
from portal.studies.status import StudyState
from portal.teams import ai_visibility
from tests.portal.reading.test_signing import PROOF, add, sign
from tests.portal.teams.test_ai_visibility import AFTER, NEVER, WITH, set_policy
from tests.support.clinic import Clinic, after
from tests.support.outlines.pages import Page, drawn
from tests.support.second_reads.readers import ask, colleague, state


def test_one_place_decides_for_all_rooms() -> None:
    """Who asks second reads alone would pass over what the team has chosen."""
    asking = {
        path.as_posix()
        for path in Path(portal.__file__).parent.rglob("*.py")
        if "blindness.of(" in path.read_text()
    }
    assert {one.partition("/portal/")[2] for one in asking} == {"teams/ai_visibility.py"}


def opened(clinic: Clinic, actor: Actor, study_id: UUID) -> StudyView:
    with clinic.session as session:
        return case.open_study(session, clinic.vault, actor, study_id, after(hours=1))


def read_and_drawn(clinic: Clinic) -> UUID:
    """An exam with the mate's outline and finding."""
    study_id = clinic.done()
    page = Page(clinic, study_id, clinic.mate)
    page.begin()
    page.save(drawn((0, 4)))
    state(clinic, clinic.mate, study_id, "right", comment="apical")
    return study_id


def shown(clinic: Clinic, actor: Actor, study_id: UUID) -> tuple[int, int, bool]:
    view = opened(clinic, actor, study_id)
    return len(view.reviews), len(view.outlines), view.state.finding is not None


NOTHING, ALL = (0, 0, False), (1, 1, True)


@pytest.mark.parametrize(("policy", "expected"), [(WITH, ALL), (AFTER, NOTHING), (NEVER, ALL)])
def test_a_finding_is_hidden_only_where_ones_own_comes_first(
    clinic: Clinic, policy: AiShown, expected: tuple[int, int, bool]
) -> None:
    second, study_id = colleague(clinic, "second"), read_and_drawn(clinic)
    set_policy(clinic, policy)
    assert shown(clinic, second, study_id) == expected
    assert shown(clinic, clinic.mate, study_id) == ALL
    assert shown(clinic, clinic.owner, study_id) == ALL  # states nothing, so is not led
    grant = under_grant(clinic.outsider, Grant(UUID(int=1), study_id, after(hours=2)))
    assert shown(clinic, grant, study_id) == ALL


def test_ones_own_finding_shows_the_others(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), read_and_drawn(clinic)
    set_policy(clinic, AFTER)
    state(clinic, second, study_id, "none", after(minutes=1), after="", drawn="")
    reviews, outlines, knows = shown(clinic, second, study_id)
    assert (reviews, outlines, knows) == (2, 1, True)


def states_of(clinic: Clinic, actor: Actor, study_id: UUID) -> list[StudyState]:
    """The exam's state as list, live rows, case and the lists of other exams have it."""
    another = clinic.submit(PatientID="P-1").study_id
    with clinic.session as session:
        found = worklist.worklist(*(session, clinic.vault, actor), now=after(hours=1), per_page=50)
        listed = next(row.state for row in found.rows if row.study_id == study_id)
        single = case.study_state(session, actor, study_id)
        study = session.get_one(Study, another)
        priors = other_exams.of_patient(session, clinic.vault, actor, study).exams
        prior = next(one.state for one in priors if one.study_id == study_id)
    return [listed, single, prior, opened(clinic, actor, study_id).state]


def test_lists_show_that_it_was_read_and_by_whom_but_not_what_was_found(clinic: Clinic) -> None:
    second = colleague(clinic, "second")
    study_id = clinic.submit(PatientID="P-1").study_id
    clinic.segment(clinic.render(study_id))
    state(clinic, clinic.mate, study_id, "right")
    set_policy(clinic, AFTER)
    for one in states_of(clinic, second, study_id):
        assert (one.finding, one.reviewed, one.result) == (None, None, None)
        standing = one.standing
        assert (standing.finding, standing.verdict, standing.is_hidden) == (None, None, True)
        assert (standing.state, standing.author) == (VerdictState.PRELIMINARY, "Test mate")


def test_signatures_addenda_and_what_was_seen_wait_too(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), clinic.done()
    signature = sign(clinic, study_id).signature
    add(clinic, study_id, "with a drain")
    set_policy(clinic, AFTER)
    view = opened(clinic, second, study_id)
    assert (view.signatures, view.addenda, view.state.standing.is_signed) == ([], [], True)
    with clinic.session as session, pytest.raises(Denied):
        seen.open_signed(session, clinic.vault, second, study_id, signature.id, after(hours=1))
    with pytest.raises(Conflict) as refused:
        add(clinic, study_id, "mine", actor=second)
    assert refused.value.code == "own_finding_first"


def test_nobody_signs_over_a_signature_that_they_have_not_seen(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), clinic.done()
    sign(clinic, study_id)
    set_policy(clinic, AFTER)

    def page() -> dict[str, Any]:
        view = opened(clinic, second, study_id)
        newest = view.reviews[-1].review_id.hex if view.reviews else ""
        return {"shown": view.shown, "after": newest}

    with pytest.raises(Conflict) as refused:
        sign(clinic, study_id, second, finding="left", now=after(minutes=2), **page())
    assert refused.value.code == "own_finding_first"
    state(clinic, second, study_id, "left", after(minutes=3))
    made_now = sign(clinic, study_id, second, finding="left", now=after(minutes=4), **page())
    assert made_now.is_new
    assert PROOF.at < made_now.signature.created


def test_a_report_and_an_export_hold_nothing_of_it(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), read_and_drawn(clinic)
    set_policy(clinic, AFTER)

    def compose(*_: Any) -> Any:
        raise AssertionError("a report was composed")

    with clinic.session as session, pytest.raises(Conflict) as refused:
        requests.request(session, clinic.vault, second, study_id, compose, after(hours=1))
    assert refused.value.code == "own_finding_first"
    with clinic.session as session:
        listed = made.listed(session, second, study_id)
        assert (listed.reports, listed.changed) == ([], None)
        study = session.get_one(Study, study_id)
        ai = ai_visibility.of_exam(session, second, study)
        record = export_records.read(
            *(session, clinic.vault, second, study, 9, Conflict("too_many", ""), ai)
        )
    assert record.result["reviews"] == []
    assert record.result["verdict"]["finding"] is None
    assert [(one.drawn, one.by_reader, one.reader_outlines) for one in record.pictures] == [
        (None, [], [])
    ]


def test_a_second_reader_exports_no_outline_of_the_first(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), read_and_drawn(clinic)
    ask(clinic, clinic.mate, study_id)
    with clinic.session as session:
        study = session.get_one(Study, study_id)
        ai = ai_visibility.of_exam(session, second, study)
        record = export_records.read(
            *(session, clinic.vault, second, study, 9, Conflict("too_many", ""), ai)
        )
    assert [one.by_reader for one in record.pictures] == [[]]


def test_the_pictures_of_a_report_hold_no_outline_that_is_hidden(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), read_and_drawn(clinic)
    ask(clinic, clinic.mate, study_id)
    page = Page(clinic, study_id, second)
    page.begin(after(minutes=1))
    page.save(drawn((1, 3)), now=after(minutes=1))

    def outlines(actor: Actor) -> list[bytes]:
        view = opened(clinic, actor, study_id)
        with clinic.session as session:
            files = pictures.of(session, clinic.vault, view, with_ai=False)
        return [one.data for file in files for one in file.outlines]

    assert outlines(clinic.mate) == [drawn((0, 4))]
    assert outlines(second) == [drawn((1, 3))]


def test_a_critical_finding_is_shown_to_who_stated_it_and_who_is_asked(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), clinic.done()
    state(clinic, clinic.mate, study_id, "right")
    set_policy(clinic, AFTER)

    def sees(actor: Actor) -> tuple[int, int]:
        with clinic.session as session:
            listed = open_findings.of_actor(session, actor).count
            case_ = case_view.of_case(session, clinic.vault, actor, study_id)
        return listed, len(case_.findings)

    assert sees(second) == (0, 0)
    assert sees(clinic.mate) == (1, 1)
    with clinic.session as session, pytest.raises(Denied):
        findings.acknowledge(session, second, study_id, after(minutes=1))
    with clinic.session as session:
        row = findings.of_exam(session, study_id)[0]
        row.asked = [*row.asked, {"person": second.user_id.hex, "at": after().isoformat()}]
        session.commit()
    assert sees(second) == (1, 1)
    assert shown(clinic, second, study_id)[0] == 1


def test_a_finding_of_none_ends_no_critical_finding_that_was_not_seen(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), clinic.done()
    state(clinic, clinic.mate, study_id, "right")
    set_policy(clinic, AFTER)
    state(clinic, second, study_id, "none", after(minutes=1))
    with clinic.session as session:
        assert open_findings.of_actor(session, second).count == 1


def test_who_decides_as_the_third_reader_sees_both(clinic: Clinic) -> None:
    second, third = colleague(clinic, "second"), colleague(clinic, "third")
    study_id = clinic.done()
    set_policy(clinic, AFTER)
    state(clinic, clinic.mate, study_id, "right")
    ask(clinic, clinic.mate, study_id)
    state(clinic, second, study_id, "none", after(minutes=1))
    view = opened(clinic, third, study_id)
    assert [one.finding for one in view.reviews] == ["right", "none"]
    assert view.second_read is not None
    assert view.second_read.may_decide
    assert not view.ai.is_visible


def test_an_outline_begins_with_nothing_of_a_colleagues(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), read_and_drawn(clinic)
    set_policy(clinic, AFTER)
    page = Page(clinic, study_id, second)
    begun = page.begin(after(minutes=1))
    assert (begun.origin, begun.before_id) == ("empty", None)
    # That a colleague draws is no finding: it is asked for, and shown, as everywhere.
    page.draft(drawn((1, 3)), now=after(minutes=1))
    with pytest.raises(Conflict) as refused:
        Page(clinic, study_id, clinic.mate).begin(after(minutes=1))
    assert refused.value.code == "being_edited"
