"""Who may see what the AI found in an exam: by the exam's team, the person's role and verdicts."""

from uuid import UUID

import pytest

from portal.access import Actor, Grant, under_grant
from portal.models import AiShown, Review, Role, Study, TeamChoices, Verdict
from portal.reading import reviews, worklist
from portal.reading.lists.history import history
from portal.studies import status
from portal.studies.status import State
from portal.teams import ai_visibility
from tests.support.clinic import Clinic, after
from tests.support.core import NOW

WITH, AFTER, NEVER = AiShown.WITH_PICTURE, AiShown.AFTER_VERDICT, AiShown.NEVER


def set_policy(clinic: Clinic, policy: AiShown, team_id: UUID | None = None) -> None:
    with clinic.session as session:
        team = team_id or clinic.mate.team_id
        session.merge(TeamChoices(team_id=team, ai_shown=policy))
        session.commit()


def review(clinic: Clinic, study_id: UUID, actor: Actor, finding: str = "none") -> reviews.Saved:
    with clinic.session as session:
        return reviews.add_review(
            session, clinic.vault, actor, study_id, finding=finding, now=after(minutes=5)
        )


def sees(clinic: Clinic, actor: Actor, study_id: UUID) -> bool:
    with clinic.session as session:
        found = ai_visibility.may_see_ai(session, actor, study_id)
        study = session.get_one(Study, study_id)
        assert ai_visibility.of_exam(session, actor, study).is_visible is found
        return found


# Policy; then whether reader, technologist, colleague who reads and who comes in an emergency see
# it before anybody has read, and after the reader's verdict.
TABLE = [
    (WITH, (True, True, True, True), (True, True, True, True)),
    (AFTER, (False, False, False, False), (True, True, False, False)),
    (NEVER, (False, False, False, False), (False, False, False, False)),
]


@pytest.mark.parametrize(("policy", "before", "then"), TABLE)
def test_who_sees_what_the_ai_found(
    clinic: Clinic, policy: AiShown, before: tuple[bool, ...], then: tuple[bool, ...]
) -> None:
    study_id = clinic.done()
    set_policy(clinic, policy)
    set_policy(clinic, WITH, clinic.outsider.team_id)
    grant = Grant(UUID(int=1), study_id, after(hours=1))
    another = Actor(UUID(int=9), clinic.mate.team_id, Role.READER, clinic.mate.permissions)
    people = (clinic.mate, clinic.owner, another, under_grant(clinic.outsider, grant))
    assert tuple(sees(clinic, person, study_id) for person in people) == before
    review(clinic, study_id, clinic.mate)
    assert tuple(sees(clinic, person, study_id) for person in people) == then


def test_the_policy_is_the_team_of_the_exam(clinic: Clinic) -> None:
    study_id = clinic.done()
    set_policy(clinic, NEVER, clinic.outsider.team_id)
    assert sees(clinic, clinic.mate, study_id)
    with clinic.session as session:
        assert ai_visibility.hidden(session, clinic.mate, []) == frozenset()
        assert ai_visibility.visible_in_lists(session, clinic.mate) is None
        assert ai_visibility.visible_in_lists(session, clinic.outsider) is not None


@pytest.mark.parametrize(("policy", "visible"), [(WITH, True), (AFTER, False), (NEVER, False)])
def test_each_review_holds_the_policy_and_what_its_reader_could_see(
    clinic: Clinic, policy: AiShown, visible: bool
) -> None:
    study_id = clinic.done()
    set_policy(clinic, policy)
    saved = review(clinic, study_id, clinic.mate)
    with clinic.session as session:
        row = session.get_one(Review, saved.review.id)
    assert (row.ai_policy, row.ai_visible) == (policy, visible)
    assert row.verdict is Verdict.DISAGREE  # whatever the reader is shown of it
    assert saved.verdict is (Verdict.UNAIDED if policy is NEVER else Verdict.DISAGREE)
    again = review(clinic, study_id, clinic.mate, "right")
    assert (again.review.ai_policy, again.review.ai_visible) == (policy, policy is not NEVER)


def rows(clinic: Clinic, actor: Actor, state: str) -> list[UUID]:
    with clinic.session as session:
        page = worklist.worklist(
            session, clinic.vault, actor, state=state, now=after(hours=1), per_page=2
        )
        found = [row.study_id for row in page.rows]
        while page.after:
            page = worklist.worklist(
                session,
                clinic.vault,
                actor,
                state=state,
                now=after(hours=1),
                per_page=2,
                after=page.after,
            )
            found += [row.study_id for row in page.rows]
        last = page
        back = [row.study_id for row in last.rows]
        while last.before:
            last = worklist.worklist(
                session,
                clinic.vault,
                actor,
                state=state,
                now=after(hours=1),
                per_page=2,
                before=last.before,
            )
            back = [row.study_id for row in last.rows] + back
        assert back == found
        return found


@pytest.mark.parametrize("policy", [AFTER, NEVER])
def test_a_list_by_arrival_goes_on_from_page_to_page(clinic: Clinic, policy: AiShown) -> None:
    bands = ({"band": "none_found", "probability": 0.1}, {}, {"band": "possible"}) * 3
    sent = [clinic.done(now=after(seconds=n / 7), **band) for n, band in enumerate(bands)]
    set_policy(clinic, policy)
    assert rows(clinic, clinic.mate, "to_read") == sent
    assert rows(clinic, clinic.mate, "") == sent[::-1]
    for study_id in sent[2:5]:
        review(clinic, study_id, clinic.mate)
    assert rows(clinic, clinic.mate, "to_read") == sent[:2] + sent[5:]
    assert rows(clinic, clinic.mate, "read") == sent[2:5][::-1]
    with clinic.session as session:
        found = worklist.counts(session, clinic.mate)
    assert (found.to_read, found.positive, found.no_result) == (6, None, None)


def test_what_is_found_after_reading_comes_back_to_who_may_see_it(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    segment = clinic.render(study_id)
    set_policy(clinic, AFTER)
    review(clinic, study_id, clinic.mate)
    another = Actor(UUID(int=9), clinic.mate.team_id, Role.READER, clinic.mate.permissions)
    clinic.segment(segment)
    assert rows(clinic, clinic.mate, "to_read") == [study_id]
    assert rows(clinic, another, "to_read") == []
    assert rows(clinic, another, "read") == [study_id]
    set_policy(clinic, NEVER)
    assert rows(clinic, clinic.mate, "to_read") == []
    assert rows(clinic, clinic.mate, "read") == [study_id]


@pytest.mark.parametrize("outcome", ["waiting", "done", "no_result", "failed"])
def test_a_state_without_the_ai_is_the_same_whatever_came_of_it(
    clinic: Clinic, outcome: str
) -> None:
    study_id = clinic.submit().study_id
    set_policy(clinic, NEVER)

    def hidden_state() -> status.StudyState:
        with clinic.session as session:
            return status.of_studies(session, [study_id], [study_id])[study_id]

    assert hidden_state().state is State.RECEIVED
    segment = clinic.render(study_id)
    if outcome in ("done", "no_result"):
        refused = {"band": None, "probability": None, "threshold": None, "map": None}
        refused |= {"image_threshold": None, "likely_threshold": None, "measurements": None}
        refused["quality"] = {"verdict": "refused", "reasons": []}
        clinic.segment(segment, **({} if outcome == "done" else refused))
    elif outcome == "failed":
        ticket = clinic.claim(segment)
        assert ticket is not None
        clinic.fail(ticket, "engine_failed", "permanent")
    found = hidden_state()
    assert (found.state, found.as_seen, found.is_settled) == (State.READY, "ready", True)
    assert (found.result, found.waiting_for, found.error_code) == (None, None, None)
    assert [one.state for one in found.pictures] == [State.READY]


def test_a_picture_that_could_not_be_prepared_stays_one(clinic: Clinic) -> None:
    study_id = clinic.submit().study_id
    set_policy(clinic, NEVER)
    ticket = clinic.claim(clinic.job(study_id).id)
    assert ticket is not None
    clinic.fail(ticket, "decode_failed", "permanent")
    with clinic.session as session:
        (row,) = history(session, clinic.vault, clinic.owner, now=NOW).rows
    assert (row.state.state, row.state.error_code) == (State.FAILED, "decode_failed")
