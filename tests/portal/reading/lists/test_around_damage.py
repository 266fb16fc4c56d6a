"""A list by arrival of which rows can't be read: their exams stand in it, and hide no other."""

from uuid import UUID

import pytest
from sqlalchemy import select

from portal.models import AiShown, Study
from portal.reading import worklist
from portal.reading.lists import history
from tests.portal.teams.test_ai_visibility import AFTER, NEVER, set_policy
from tests.support.clinic import Clinic, after
from tests.support.queries.damaged_pages import overwrite_pages
from tests.support.second_reads.readers import state

EXAMS, DAMAGED = 18, 6
LATER = after(hours=1)


@pytest.fixture
def exams(clinic: Clinic) -> list[UUID]:
    """By arrival. The AI found something in the first, and in the one whose page is damaged only
    after it was read; the last was read as well.
    """
    if clinic.core.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reads a table of few rows whole")
    ids = [
        clinic.submit(PatientID=f"P-{number}", now=after(minutes=number)).study_id
        for number in range(EXAMS)
    ]
    clinic.segment(clinic.render(ids[0]))
    for read in (DAMAGED, EXAMS - 1):
        job = clinic.render(ids[read])
        state(clinic, clinic.mate, ids[read], "none", LATER)
        clinic.segment(job)
    return ids


def damage(clinic: Clinic, study_id: UUID) -> None:
    with clinic.session as session:
        key = session.scalars(select(Study.wrapped_key).where(Study.id == study_id)).one()
    assert key is not None
    assert overwrite_pages(clinic.core.engine, key) == 1


def whole(clinic: Clinic, **asked: str) -> list[UUID]:
    """A list, page by page forwards, then backwards from its last one."""
    pages = [clinic_page(clinic, **asked)]
    while pages[-1].after:
        pages.append(clinic_page(clinic, after=pages[-1].after, **asked))
    back = pages[-1]
    for before in reversed(pages[:-1]):
        back = clinic_page(clinic, before=back.before, **asked)
        assert ids_of(back) == ids_of(before)
    assert pages[0].total == sum(len(page.rows) for page in pages)
    return [one for page in pages for one in ids_of(page)]


def clinic_page(clinic: Clinic, **asked: str) -> worklist.Page:
    with clinic.session as session:
        given = (session, clinic.vault, clinic.mate)
        return worklist.worklist(*given, per_page=5, now=LATER, **asked)  # type: ignore[arg-type]


def ids_of(page: worklist.Page | worklist.NumberedPage) -> list[UUID]:
    return [row.study_id for row in page.rows]


@pytest.mark.parametrize("policy", [AFTER, NEVER])
def test_lists_are_as_they_were_before_the_damage(
    clinic: Clinic, exams: list[UUID], policy: AiShown
) -> None:
    set_policy(clinic, policy)
    read = [exams[DAMAGED], exams[-1]] if policy is NEVER else []
    to_read = [one for one in exams if one not in read]
    assert whole(clinic, state="to_read") == to_read
    damage(clinic, exams[DAMAGED])

    # What only the AI says of an exam that can't be read, nobody is shown.
    if policy is AFTER:
        read, to_read = [exams[DAMAGED]], [one for one in exams if one != exams[DAMAGED]]
    assert whole(clinic, state="to_read") == to_read
    assert whole(clinic, state="read") == read[::-1]
    assert whole(clinic) == exams[::-1]
    assert whole(clinic, days="1") == exams[::-1]
    page = clinic_page(clinic, state="to_read")
    assert page.counts.to_read == len(to_read)
    assert (page.counts.positive, page.counts.no_result) == (None, None)
    with clinic.session as session:
        given = (session, clinic.vault, clinic.mate)
        rows = worklist.worklist(*given, per_page=EXAMS, now=LATER).rows
    damaged = [row for row in rows if row.damaged]
    assert 1 <= len(damaged) < EXAMS
    assert all(row.state.result is None for row in damaged)
    # By what is hidden, and by what can't be read, none is chosen.
    found = [exams[-1]] if policy is AFTER else []
    assert whole(clinic, result="positive") == found
    lists = (page, clinic_page(clinic), clinic_page(clinic, result="positive"))
    assert [one.may_lack for one in lists] == [False, False, True]

    with clinic.session as session:
        given = (session, clinic.vault, clinic.mate)
        second = worklist.numbered(*given, page=2, per_page=5, now=LATER)
        assert ids_of(second) == exams[::-1][5:10]
        assert (second.total, second.page) == (EXAMS, 2)
        third = worklist.numbered(*given, after=second.after, per_page=5, now=LATER)
        assert ids_of(third) == exams[::-1][10:15]
        following = exams[0]
        seen = [following]
        while True:
            found_next = worklist.next_study(*given, following, now=LATER, state="to_read")
            assert found_next is not None
            if found_next in seen:
                break
            seen.append(following := found_next)
        assert len(seen) < EXAMS, "none that can't be opened"
        assert seen == [one for one in to_read if one in seen]
        assert worklist.counts(session, clinic.mate).to_read == len(to_read)
        own = history.history(session, clinic.vault, clinic.owner, now=LATER)
        assert set(ids_of(own)) == set(exams)
        read_by = history.history(session, clinic.vault, clinic.mate, now=LATER)
        assert set(ids_of(read_by)) == {exams[DAMAGED], exams[-1]}


@pytest.mark.parametrize("policy", [AiShown.WITH_PICTURE, AFTER])
def test_a_search_finds_what_can_be_read(
    clinic: Clinic, exams: list[UUID], policy: AiShown
) -> None:
    again = clinic.submit(PatientID=f"P-{DAMAGED}", now=after(minutes=EXAMS)).study_id
    set_policy(clinic, policy)
    assert set(whole(clinic, query=f"P-{DAMAGED}")) == {exams[DAMAGED], again}
    assert not clinic_page(clinic, query=f"P-{DAMAGED}").may_lack
    damage(clinic, exams[DAMAGED])
    assert whole(clinic, query=f"P-{DAMAGED}") == [again]
    assert clinic_page(clinic, query=f"P-{DAMAGED}").may_lack
    assert whole(clinic, query="P-0") == [exams[0]]
    assert not clinic_page(clinic).may_lack, "it stands in the list"
    number = exams[DAMAGED].hex[:6].upper()
    with clinic.session as session:
        address = worklist.address_of(session, clinic.vault, clinic.mate, f"#{number}")
    assert whole(clinic, query=address) == []
    with clinic.session as session:
        given = (session, clinic.vault, clinic.mate, again)
        asked = worklist.next_study(*given, now=LATER, query=f"P-{DAMAGED}")
        assert asked is None
