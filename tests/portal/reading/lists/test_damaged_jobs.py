"""Lists filtered by state where a page of the ledger of jobs can't be read."""

from uuid import UUID, uuid4

from sqlalchemy import insert, select, text

from portal.models import Job, JobKind, JobState
from portal.reading import worklist
from portal.studies.status import State
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.queries.damaged_pages import overwrite_page_of

MARK = "mark-of-the-damaged-page"
LATER = after(hours=1)
STATES = ("", "to_read", "read", *(state.value for state in State))


def listed(clinic: Clinic, state: str) -> worklist.Page:
    with clinic.session as session:
        return worklist.worklist(session, clinic.vault, clinic.mate, state=state, now=LATER)


def test_a_list_of_each_state_goes_on(clinic: Clinic) -> None:
    """It has every exam that it had before, or it states that one may be missing."""
    done = [clinic.done(now=after(minutes=number)) for number in range(3)]
    waiting = clinic.submit(now=after(minutes=5)).study_id
    analysed = clinic.submit(now=after(minutes=6)).study_id
    clinic.render(analysed)
    rows = [
        {
            "id": uuid4(),
            "kind": JobKind.DRIFT,
            "state": JobState.DONE,
            "created": NOW,
            "idempotency_key": f"drift:{number}",
        }
        for number in range(400)
    ]
    with clinic.session as session:
        session.execute(insert(Job), rows)
        session.scalars(select(Job).where(Job.study_id == waiting)).one().error_code = MARK
        session.execute(text("ANALYZE"))
        session.commit()
    before = {state: _ids(listed(clinic, state)) for state in STATES}
    assert before[State.RECEIVED] == {waiting}
    assert before[State.ANALYSING] == {analysed}
    assert before[State.DONE] == set(done)
    overwrite_page_of(clinic.core.engine, "jobs", f"error_code = '{MARK}'", MARK)
    for state in STATES:
        page = listed(clinic, state)
        print(state, before[state] - _ids(page), page.may_lack)
        assert _ids(page) == before[state] or page.may_lack, state


def _ids(page: worklist.Page) -> set[UUID]:
    return {row.study_id for row in page.rows}
