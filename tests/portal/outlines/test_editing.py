"""Editing an outline: the lock, drafts that come back, a take-over that keeps what was drawn."""

import hashlib
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from portal.access import Denied
from portal.errors import Conflict, Invalid
from portal.models import AuditEvent, OutlineDraft
from tests.support.clinic import Clinic, after
from tests.support.outlines.pages import COLUMNS, EMPTY, ROWS, Page, drawn
from worker.contract.outline_runs import BYTES_MAX

MINE, HIS = drawn((3, 9)), drawn((20, 24), (30, 31))


def page_of(clinic: Clinic, actor: Any = None, study_id: Any = None) -> Page:
    return Page(clinic, study_id or clinic.done(), actor or clinic.mate)


def other_reader(clinic: Clinic) -> Any:
    """A second reader of the same team."""
    from portal.accounts.sessions import actor_of
    from portal.models import Role
    from tests.support.people import add_person

    with clinic.session as session:
        user = add_person(session, Role.READER, "second@example.org", name="Test second")
        user.team_id = clinic.mate.team_id
        session.commit()
        return actor_of(user, uuid4())


def test_a_draft_comes_back_as_it_was_drawn(clinic: Clinic) -> None:
    page = page_of(clinic)
    opened = page.begin()
    assert (opened.runs, opened.is_draft) == (EMPTY, False)
    assert page.draft(MINE) == hashlib.sha256(MINE).hexdigest()
    again = page.begin(after(minutes=1))
    assert (again.runs, again.is_draft, again.number) == (MINE, True, 1)
    assert again.base == EMPTY


def test_an_older_save_that_arrives_late_changes_nothing(clinic: Clinic) -> None:
    page = page_of(clinic)
    page.begin()
    page.draft(MINE, 2)
    assert page.draft(HIS, 1) == hashlib.sha256(MINE).hexdigest()
    assert page.begin().runs == MINE


def test_a_draft_is_sealed_in_its_place(clinic: Clinic) -> None:
    page = page_of(clinic)
    page.begin()
    page.draft(MINE)
    with clinic.session as session:
        draft = session.scalars(select(OutlineDraft)).one()
        assert draft.sealed_runs is not None
        assert MINE not in draft.sealed_runs


def test_another_reader_sees_who_edits_and_may_take_over(clinic: Clinic) -> None:
    first = page_of(clinic)
    first.begin()
    first.draft(MINE)
    second = page_of(clinic, other_reader(clinic), first.study_id)
    with pytest.raises(Conflict, match="Test mate has been editing") as refused:
        second.begin(after(minutes=1))
    assert refused.value.code == "being_edited"
    opened = second.begin(after(minutes=1), take_over=True)
    kept = first.versions()
    assert [(one.author_id, one.kept, one.pixels) for one in kept] == [
        (first.actor.user_id, True, 6)
    ]
    assert (opened.runs, opened.origin, opened.before_id) == (MINE, "version", kept[0].id)
    assert opened.job_id is not None


def test_who_was_taken_over_from_overwrites_nothing(clinic: Clinic) -> None:
    first = page_of(clinic)
    first.begin()
    second = page_of(clinic, other_reader(clinic), first.study_id)
    second.begin(take_over=True)
    second.draft(HIS)
    for write in (
        lambda: first.draft(MINE, 7),
        lambda: first.save(MINE),
        lambda: first.beat(after(minutes=1)),
        lambda: first.leave(),
    ):
        with pytest.raises(Conflict) as refused:
            write()
        assert refused.value.code == "taken_over"
    assert second.begin().runs == HIS
    # And back: what the second one has drawn is a version then.
    first.begin(take_over=True)
    first.draft(MINE)
    saved = first.save(MINE)
    assert saved.outline is not None
    versions = {one.id: one for one in first.versions()}
    assert [one.author_id for one in versions.values()].count(second.actor.user_id) == 1
    assert saved.outline.before_id in versions


def test_a_window_that_takes_back_overwrites_nothing_of_the_same_persons_other_window(
    clinic: Clinic,
) -> None:
    one = page_of(clinic)
    one.begin()
    one.draft(MINE)
    other = page_of(clinic, one.actor, one.study_id)
    assert other.begin().runs == MINE
    other.draft(HIS, 2)  # and this window is closed
    with pytest.raises(Conflict, match="in another window"):
        one.draft(MINE, 3)
    opened = one.begin(take_over=True)
    (kept,) = one.versions()
    assert (kept.author_id, kept.kept, kept.pixels) == (one.actor.user_id, True, 5)
    assert (opened.before_id, opened.base, opened.is_draft) == (kept.id, HIS, False)
    one.draft(MINE, opened.number + 1)
    saved = one.save(MINE)
    assert saved.outline is not None
    assert saved.outline.before_id == kept.id


def test_without_a_sign_for_a_while_nobody_needs_to_ask(clinic: Clinic) -> None:
    first = page_of(clinic)
    first.begin()
    first.draft(MINE)
    second = page_of(clinic, other_reader(clinic), first.study_id)
    first.beat(after(minutes=2))
    with pytest.raises(Conflict):
        second.begin(after(minutes=4))
    second.begin(after(minutes=5))
    assert [one.kept for one in second.versions()] == [True]


def test_a_closed_editor_leaves_its_draft_and_no_lock(clinic: Clinic) -> None:
    first = page_of(clinic)
    first.begin()
    first.draft(MINE)
    first.leave()
    assert first.begin().runs == MINE
    first.leave()
    second = page_of(clinic, other_reader(clinic), first.study_id)
    assert second.begin().runs == MINE  # as a version of the first reader's
    second.leave()
    with clinic.session as session:
        assert session.scalars(select(OutlineDraft)).all() == []


def test_an_untouched_editor_leaves_no_version(clinic: Clinic) -> None:
    first = page_of(clinic)
    first.begin()
    first.draft(EMPTY)
    page_of(clinic, other_reader(clinic), first.study_id).begin(take_over=True)
    assert first.versions() == []


def test_two_windows_of_one_person_do_not_write_over_each_other(clinic: Clinic) -> None:
    one = page_of(clinic)
    one.begin()
    one.draft(MINE)
    two = page_of(clinic, study_id=one.study_id)
    assert two.begin().runs == MINE
    with pytest.raises(Conflict, match="in another window"):
        one.draft(HIS, 9)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"runs": None}, "runs"),
        ({"runs": b""}, "wrong_size"),
        ({"runs": MINE + b"\x01"}, "wrong_size"),
        ({"runs": MINE[:-1]}, "wrong_size"),
        ({"runs": b"\x03\x00\x2d"}, "broken"),
        ({"runs": b"\xb0\x80"}, "broken"),
        ({"runs": b"\x80" * 9}, "broken"),
        ({"runs": bytes(BYTES_MAX + 1)}, "too_large"),
        ({"size": (COLUMNS, ROWS)}, "size"),
        ({"size": (None, "6")}, "size"),
        ({"picture": uuid4()}, "picture"),
        ({"number": 0}, "number"),
        ({"number": True}, "number"),
        ({"number": "1"}, "number"),
        ({"number": 2**31}, "number"),
    ],
)
def test_what_is_no_outline_of_the_picture_is_refused(
    clinic: Clinic, changes: dict[str, Any], code: str
) -> None:
    page = page_of(clinic)
    page.begin()
    with pytest.raises(Invalid) as refused:
        page.draft(**({"runs": MINE} | changes))
    assert refused.value.code == code
    assert not page.begin().is_draft


def test_a_draft_of_another_picture_of_the_case_is_refused(clinic: Clinic) -> None:
    page = page_of(clinic)
    page.begin()
    other = page_of(clinic)
    other.begin()
    with pytest.raises(Conflict):
        other.draft(MINE, lock=page.opened.lock)
    with pytest.raises(Invalid):
        page.draft(MINE, picture=other.picture)


def test_only_who_may_review_the_case_edits_it(clinic: Clinic) -> None:
    study_id = clinic.done()
    for actor in (clinic.owner, clinic.outsider, clinic.admin, clinic.auditor):
        with pytest.raises(Denied):
            page_of(clinic, actor, study_id).begin()


def test_a_picture_that_is_not_prepared_is_not_drawn_on(clinic: Clinic) -> None:
    page = page_of(clinic, study_id=clinic.submit().study_id)
    with pytest.raises(Conflict) as refused:
        page.begin()
    assert refused.value.code == "not_ready"


def test_opening_and_saving_are_rows_of_the_log_and_drafts_are_not(clinic: Clinic) -> None:
    page = page_of(clinic)
    page.begin()
    for number in range(1, 4):
        page.draft(MINE, number)
    page.save(MINE)
    with clinic.session as session:
        rows = session.scalars(
            select(AuditEvent.event).where(AuditEvent.event.startswith("outline_"))
        ).all()
    assert rows == ["outline_begun", "outline_saved"]


def test_a_draft_under_another_lock_does_not_open(clinic: Clinic) -> None:
    page = page_of(clinic)
    page.begin()
    page.draft(MINE)
    with clinic.session as session:
        other = uuid4()
        is_sqlite = clinic.core.engine.dialect.name == "sqlite"
        session.execute(
            text("UPDATE outline_drafts SET lock = :other"),
            {"other": other.hex if is_sqlite else str(other)},
        )
        session.commit()
    from portal.vault import NotReadable

    with pytest.raises(NotReadable):
        page.begin()
