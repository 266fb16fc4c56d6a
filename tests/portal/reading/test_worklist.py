"""The worklist: its order, its filters, and that where a study stands follows from its rows."""

import functools
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Denied
from portal.models import (
    READ,
    AuditEvent,
    Blob,
    BlobKind,
    Instance,
    Job,
    JobKind,
    JobState,
    Review,
    SizeClass,
    Study,
    Verdict,
)
from portal.reading import reviews, worklist
from portal.reading.lists.history import history
from portal.studies import status, worklist_order
from portal.web.present import list_rows
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import REFUSED, facts_of, prediction_of, rendered
from tests.support.pictures import dicom, jpeg


def listed(clinic: Clinic, actor: Any = None, **asked: Any) -> list[UUID]:
    with clinic.session as session:
        page = worklist.worklist(session, clinic.vault, actor or clinic.mate, now=NOW, **asked)
    return [row.study_id for row in page.rows]


def page_of(clinic: Clinic, **asked: Any) -> worklist.Page:
    with clinic.session as session:
        return worklist.worklist(session, clinic.vault, clinic.mate, now=NOW, **asked)


def ids_of(*pages: Any) -> list[UUID]:
    return [row.study_id for page in pages for row in page.rows]


@pytest.fixture
def day(clinic: Clinic) -> dict[str, UUID]:
    """A study of every kind, in the order of their arrival."""
    low = {"band": "none_found", "probability": 0.04}
    made = {
        "read": clinic.done(after(minutes=0)),
        "likely": clinic.done(after(minutes=1)),
        "possible": clinic.done(after(minutes=2), band="possible", probability=0.6),
        "likelier": clinic.done(after(minutes=3), probability=0.97),
        "none": clinic.done(after(minutes=4), **low),
        "refused": clinic.done(after(minutes=5), **REFUSED),
    }
    failed = clinic.submit(now=after(minutes=6)).study_id
    ticket = clinic.claim(clinic.job(failed).id)
    assert ticket is not None
    clinic.fail(ticket, "decode_failed", "permanent")
    waiting = clinic.submit(now=after(minutes=7)).study_id
    analysing = clinic.submit(now=after(minutes=8)).study_id
    clinic.render(analysing, after(minutes=8))
    with clinic.session as session:
        reviews.add_review(
            session, clinic.vault, clinic.mate, made["read"], finding="right", now=after(minutes=9)
        )
    return made | {"failed": failed, "waiting": waiting, "analysing": analysing}


# Each group the oldest first, whatever the probability; read ones last.
ORDER = [
    *("likely", "likelier", "possible"),
    *("refused", "failed"),
    *("none", "waiting", "analysing"),
    "read",
]


def test_what_is_urgent_comes_first_and_nothing_is_left_out(
    clinic: Clinic, day: dict[str, UUID]
) -> None:
    assert listed(clinic) == [day[name] for name in ORDER]


def test_pages_cut_the_list_without_losing_or_repeating(
    clinic: Clinic, day: dict[str, UUID]
) -> None:
    whole = listed(clinic)
    for size in (1, 2, 4, 5):
        pages = [page_of(clinic, per_page=size)]
        while pages[-1].after:
            pages.append(page_of(clinic, per_page=size, after=pages[-1].after))
        assert ids_of(*pages) == whole
        back = [pages[-1]]
        while back[-1].before:
            back.append(page_of(clinic, per_page=size, before=back[-1].before))
        assert [ids_of(page) for page in back[::-1]] == [ids_of(page) for page in pages]
    for nonsense in ("1", "0_x_y", f"9_1.0_{whole[0].hex}", f"0_nan_{whole[0].hex}"):
        assert listed(clinic, after=nonsense, per_page=4) == whole[:4]


def test_a_page_goes_on_from_its_place_whatever_comes_in_or_goes(
    clinic: Clinic, day: dict[str, UUID]
) -> None:
    first = page_of(clinic, per_page=2)
    newcomer = clinic.done(after(minutes=20))  # stands before the place, as a likely one
    read(clinic, day["possible"])
    assert ids_of(page_of(clinic, per_page=2, after=first.after)) == [newcomer, day["refused"]]
    last = page_of(clinic, per_page=9, after=f"{READ}_0.0_{'f' * 32}")
    assert ids_of(last) == listed(clinic, per_page=9)
    assert (last.before, last.total) == ("", 10)


def test_a_first_page_is_whole_on_the_way_back(clinic: Clinic, day: dict[str, UUID]) -> None:
    second = page_of(clinic, per_page=4, after=page_of(clinic, per_page=4).after)
    for name in ("likely", "likelier"):
        read(clinic, day[name])
    first = page_of(clinic, per_page=4, before=second.before)
    assert ids_of(first) == listed(clinic, per_page=4)
    assert (first.before, len(first.rows)) == ("", 4)


def test_a_long_list_is_counted_only_so_far(
    clinic: Clinic, day: dict[str, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist, "TOTAL_MOST", 5)
    assert page_of(clinic, per_page=3).total == 6
    assert page_of(clinic, per_page=3, state="to_read").total == 8  # counted for the page's head
    assert page_of(clinic, per_page=3, result="possible").total == 1
    assert page_of(clinic, per_page=2, side="right").total == 4


def test_programs_ask_by_number_or_by_place(clinic: Clinic, day: dict[str, UUID]) -> None:
    whole = listed(clinic)
    with clinic.session as session:
        numbered = functools.partial(
            worklist.numbered, session, clinic.vault, clinic.mate, now=NOW, per_page=4
        )
        one, two, far = numbered(), numbered(page=2), numbered(page=99)
        assert (ids_of(one), one.total) == (whole[:4], 9)
        assert (ids_of(two), ids_of(far), far.after) == (whole[4:8], whole[8:], "")
        assert ids_of(numbered(after=one.after)) == whole[4:8]
        assert ids_of(numbered(after=two.after)) == whole[8:]


FILTERS: list[tuple[dict[str, str], list[str]]] = [
    ({"state": "to_read"}, [n for n in ORDER if n != "read"]),
    ({"state": "read"}, ["read"]),
    ({"state": "received"}, ["waiting"]),
    ({"state": "preparing"}, []),
    ({"state": "analysing"}, ["analysing"]),
    ({"state": "done"}, ["likely", "likelier", "possible", "none", "read"]),
    ({"state": "no_result"}, ["refused"]),
    ({"state": "failed"}, ["failed"]),
    ({"state": "nonsense"}, ORDER),
    ({"result": "positive"}, ["likely", "likelier", "possible", "read"]),
    ({"result": "likely"}, ["likely", "likelier", "read"]),
    ({"result": "possible"}, ["possible"]),
    ({"result": "none_found"}, ["none"]),
    ({"result": "no_result"}, ["refused", "failed"]),
    ({"side": "right"}, ["likely", "likelier", "possible", "read"]),
    ({"side": "left"}, []),
    ({"state": "to_read", "result": "likely", "side": "right"}, ["likely", "likelier"]),
    ({"query": "P-0001"}, ORDER),
    ({"query": " a-77 "}, ORDER),
    ({"query": "p-0001"}, ORDER),
    ({"query": "P-000"}, []),
    ({"query": "phantom"}, ORDER),
    ({"query": "PHANTO"}, []),
    ({"query": "%"}, []),
    ({"query": "' OR 1=1 --"}, []),
]


def test_filters(clinic: Clinic, day: dict[str, UUID]) -> None:
    for asked, names in FILTERS:
        assert listed(clinic, **asked) == [day[name] for name in names], asked


def extents(share: float | None, *, border: bool = True) -> dict[str, Any]:
    """Measurements of an older worker: a finding on the right of this share of the hemithorax."""
    given = prediction_of()["measurements"]
    (first, *others) = given["extents"]
    known = {"fraction": share, "border_found": border}
    return {"measurements": given | {"severity": None, "extents": [first | known, *others]}}


def test_filters_by_size_reader_and_arrival(clinic: Clinic) -> None:
    small, middle = clinic.done(**extents(0.05)), clinic.done(after(days=-2), **extents(0.3))
    large = clinic.done(after(days=-10), **extents(0.31))
    unknown = clinic.done(after(days=-40), **extents(None))
    none = clinic.done(after(minutes=1), band="none_found", probability=0.04)
    sizes = {
        SizeClass.BELOW_10: small,
        SizeClass.FROM_10_TO_30: middle,
        SizeClass.ABOVE_30: large,
        SizeClass.UNKNOWN: unknown,
    }
    for size, study_id in sizes.items():
        assert listed(clinic, size=size.value) == [study_id]
    for days, found in (
        *(("1", {small, none}), ("3", {small, middle, none})),
        *(("30", {small, middle, large, none}), ("4", {*sizes.values(), none})),
    ):
        assert set(listed(clinic, days=days)) == found
    read(clinic, small, "none")
    read(clinic, middle, "none")
    with clinic.session as session:
        other = worklist.readers(session, clinic.outsider)
        assert worklist.readers(session, clinic.owner) == [(clinic.mate.user_id, "Test mate")]
    assert set(listed(clinic, reader="mine")) == {small, middle}
    assert listed(clinic, clinic.owner, reader="mine") == []
    assert set(listed(clinic, reader=clinic.mate.user_id.hex)) == {small, middle}
    assert set(listed(clinic, reader="nobody")) == {large, unknown, none}
    assert listed(clinic, reader=other[0][0].hex) == listed(clinic, reader="x") == []


def test_arrivals_are_counted_from_a_moment_on(clinic: Clinic) -> None:
    clinic.submit()
    clinic.submit(now=after(minutes=1))
    clinic.submit(now=after(minutes=1), actor=clinic.outsider)
    with clinic.session as session:
        assert worklist.arrived_since(session, clinic.mate, NOW) == 1
        assert worklist.arrived_since(session, clinic.mate, after(seconds=-1)) == 2
        assert worklist.arrived_since(session, clinic.colleague, after(seconds=-1)) == 0


def test_a_case_is_found_by_the_beginning_of_its_number(clinic: Clinic) -> None:
    sent = [clinic.submit() for _ in range(5)]
    for one in sent:
        for query in (one.case_number, one.case_number.lower(), f"#{one.case_number[:5]}"):
            assert one.study_id in listed(clinic, query=query)
        for row in listed(clinic, query=one.case_number[:2]):
            assert row.hex.startswith(one.case_number[:2].lower())


def test_counts_show_what_waits(clinic: Clinic, day: dict[str, UUID]) -> None:
    with clinic.session as session:
        page = worklist.worklist(session, clinic.vault, clinic.mate, state="read", now=NOW)
        assert page.total == 1
        assert page.counts == worklist.Counts(to_read=8, positive=3, no_result=2, is_empty=False)
        assert worklist.counts(session, clinic.mate) == page.counts
        assert worklist.counts(session, clinic.outsider) == worklist.Counts()


def test_where_a_study_stands_follows_from_its_rows(clinic: Clinic, day: dict[str, UUID]) -> None:
    """The index beside the study is what `place` derives anew, for every kind of study."""
    names = (
        *("rank", "weight", "is_read", "is_without_result", "band", "side"),
        *("size", "reader_id"),
    )

    def index() -> dict[UUID, tuple[Any, ...]]:
        with clinic.session as session:
            return {
                x.id: tuple(getattr(x, n) for n in names) for x in session.scalars(select(Study))
            }

    before = index()
    with clinic.session as session:
        for study_id in before:
            worklist_order.place(session, study_id)
        session.commit()
    assert index() == before


def test_everybody_sees_their_own_list(clinic: Clinic, day: dict[str, UUID]) -> None:
    mine = clinic.submit(actor=clinic.colleague).study_id
    theirs = clinic.submit(actor=clinic.outsider).study_id
    assert len(listed(clinic)) == 10
    assert listed(clinic, clinic.colleague) == [mine]
    assert len(listed(clinic, clinic.owner)) == 9
    assert listed(clinic, clinic.outsider) == [theirs]
    for actor in (clinic.admin, clinic.auditor):
        with pytest.raises(Denied):
            listed(clinic, actor)
        with clinic.session as session, pytest.raises(Denied):
            history(session, clinic.vault, actor, now=NOW)


def test_a_row_shows_what_is_needed_to_decide(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, study_id, finding="right", now=NOW)
        (row,) = worklist.worklist(session, clinic.vault, clinic.owner, now=NOW).rows
    assert row.patient.patient_name == "PHANTOM, ONE"
    assert (row.view, row.age_years, row.sex) == ("PA", 62.0, "F")
    assert row.thumb == jpeg(inside=b"thumb")
    assert row.thumb_media_type == "image/jpeg"
    assert (row.uploaded_by, row.reader) == ("Test owner", "Test mate")
    assert row.state.result is not None
    assert (row.state.result.side, row.state.result.distance_mm) == ("right", 17.5)
    assert "PHANTOM" not in repr(row)


def test_a_thumbnail_that_cannot_be_read_leaves_a_gap_and_no_more(clinic: Clinic) -> None:
    whole, without = clinic.done(), clinic.done(after(minutes=1))
    with clinic.session as session:
        name = session.scalars(
            select(Blob.name)
            .join(Instance, Instance.id == Blob.instance_id)
            .where(Instance.study_id == without, Blob.kind == BlobKind.THUMB)
        ).one()
        clinic.vault.destroy(name)
        page = worklist.worklist(session, clinic.vault, clinic.mate, now=NOW)
    rows = {row.study_id: row for row in page.rows}
    assert rows[whole].thumb == jpeg(inside=b"thumb")
    assert rows[without].thumb is None
    assert not rows[without].damaged
    assert rows[without].patient.patient_name == "PHANTOM, ONE"


def damage(session: Session, study_id: UUID, what: str) -> None:
    study = session.get_one(Study, study_id)
    instance = session.scalars(select(Instance).where(Instance.study_id == study_id)).one()
    if what == "the wrapped key":
        study.wrapped_key = b"x" * 60
    elif what == "no key":
        study.wrapped_key = None
    elif what == "a key that the ring lacks":
        study.key_id = "gone"
    elif what == "the patient":
        study.sealed_phi = b"x" * 60
    else:
        instance.sealed_facts = b""
    session.commit()


@pytest.mark.parametrize(
    "what", ["the wrapped key", "no key", "a key that the ring lacks", "the patient", "the facts"]
)
def test_one_damaged_record_does_not_take_the_list_away(clinic: Clinic, what: str) -> None:
    whole, broken = clinic.done(), clinic.done(after(minutes=1))
    with clinic.session as session:
        damage(session, broken, what)
    for listing in (worklist.worklist, history):
        with clinic.session as session:
            actor = clinic.mate if listing is worklist.worklist else clinic.owner
            rows = {
                row.study_id: row for row in listing(session, clinic.vault, actor, now=NOW).rows
            }
        assert not rows[whole].damaged
        assert rows[whole].patient.patient_name == "PHANTOM, ONE"
        row = rows[broken]
        assert row.damaged
        assert row.state.state is status.State.DONE
        assert row.case_number
        shown = list_rows.row(row)
        assert (shown.view, "PHANTOM" in shown.name) == ("", what == "the facts")


def test_a_page_is_one_audit_row_that_lists_its_studies(
    clinic: Clinic, day: dict[str, UUID]
) -> None:
    for call, event in ((worklist.worklist, "worklist_read"), (history, "history_read")):
        with clinic.session as session:
            before = session.scalars(select(AuditEvent.seq).order_by(AuditEvent.seq.desc())).first()
            page = call(session, clinic.vault, clinic.mate, per_page=3, now=NOW)  # type: ignore[operator]
            (row,) = session.scalars(select(AuditEvent).where(AuditEvent.seq > before)).all()
        assert row.event == event
        assert all(listed.study_id.hex in row.detail for listed in page.rows)
        assert row.detail.count(",") == max(0, len(page.rows) - 1)


def test_history_is_what_i_sent_and_what_i_read(clinic: Clinic, day: dict[str, UUID]) -> None:
    def ids(actor: Any, **asked: Any) -> list[UUID]:
        with clinic.session as session:
            page = history(session, clinic.vault, actor, now=NOW, **asked)
        return [row.study_id for row in page.rows]

    with clinic.session as session:
        reviews.add_review(
            session, clinic.vault, clinic.mate, day["none"], finding="none", now=after(minutes=10)
        )
        reviews.add_review(
            session, clinic.vault, clinic.mate, day["read"], finding="unsure", now=after(minutes=11)
        )
    with clinic.session as session:  # a colleague's later word does not change when I read it
        later = Review(
            study_id=day["none"],
            reader_id=clinic.outsider.user_id,
            verdict=Verdict.AGREE,
            created=after(minutes=30),
        )
        session.add(later)
        session.commit()
        mine = history(session, clinic.vault, clinic.mate, now=after(minutes=31))
    assert [row.read_at for row in mine.rows] == [after(minutes=11), after(minutes=10)]
    assert ids(clinic.mate) == [day["read"], day["none"]]
    assert ids(clinic.mate, what="sent") == []
    assert ids(clinic.owner)[:2] == [day["analysing"], day["waiting"]]


@pytest.fixture
def following(clinic: Clinic, day: dict[str, UUID]) -> Callable[..., str | None]:
    """The name of the case that Next leads to."""
    names = {study_id: name for name, study_id in day.items()}

    def find(name: str, **filters: str) -> str | None:
        with clinic.session as session:
            found = worklist.next_study(
                session, clinic.vault, clinic.mate, day[name], now=NOW, **filters
            )
        return names[found] if found else None

    return find


def read(clinic: Clinic, study_id: UUID, finding: str = "unsure") -> None:
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, study_id),
            finding=finding,
            now=after(minutes=10),
        )


def test_next_goes_down_the_unread_ones_and_round(
    clinic: Clinic, day: dict[str, UUID], following: Callable[..., str | None]
) -> None:
    unread = [name for name in ORDER if name != "read"]
    for here, there in zip(unread, [*unread[1:], unread[0]], strict=True):
        assert following(here) == there, here
    assert following("read") == "likely"  # it stood before it, as the oldest of the likely ones
    with clinic.session as session:
        next_one = worklist.next_study(session, clinic.vault, clinic.outsider, day["none"], now=NOW)
        assert next_one is None


def test_after_a_finding_next_goes_on_from_where_the_case_stood(
    clinic: Clinic, day: dict[str, UUID], following: Callable[..., str | None]
) -> None:
    read(clinic, day["possible"])
    assert following("possible") == "refused"
    read(clinic, day["analysing"])
    assert following("analysing") == "likely"  # those that were left out come again


def test_next_stays_in_the_list_that_it_was_asked_from(
    clinic: Clinic, day: dict[str, UUID], following: Callable[..., str | None]
) -> None:
    assert following("possible", result="positive", state="to_read") == "likely"
    assert following("likely", result="no_result") == "refused"
    assert following("likely", side="left") is None
    for name in ("refused", "failed"):
        read(clinic, day[name], "right" if name == "failed" else "unsure")
    assert following("failed", result="no_result", state="to_read") is None
    # The list of those that were read ends, and does not begin again.
    order = ["failed", "refused", "read"]
    assert [following(name, state="read") for name in order] == [*order[1:], None]
    assert following("none", state="read") is None


def test_read_cases_stand_below_every_unread_one(clinic: Clinic, day: dict[str, UUID]) -> None:
    read(clinic, day["likely"])
    read(clinic, day["none"])
    assert listed(clinic)[-3:] == [day[name] for name in ("none", "likely", "read")]


def test_names_in_every_script_come_through(clinic: Clinic) -> None:
    for name, shown in (("Wang^Fang=王^芳", "Wang, Fang (王, 芳)"), ("أحمد^علي", "أحمد, علي")):
        study_id = clinic.submit(dicom(PatientName=name)).study_id
        with clinic.session as session:
            rows = worklist.worklist(session, clinic.vault, clinic.mate, now=NOW).rows
        assert {r.patient.patient_name for r in rows if r.study_id == study_id} == {shown}


def test_a_row_shows_all_pictures_of_the_exam_the_frontal_ones_first(clinic: Clinic) -> None:
    exam = {"PatientID": "P-9", "StudyInstanceUID": "1.2.3.9"}
    views = ("LL", "PA", "AP", "RL", "PA")
    for minute, view in enumerate(views):
        sent = clinic.submit(now=after(minutes=minute), ViewPosition=view, **exam)
    while job := _queued_render(clinic):
        ticket = clinic.claim(job.id)
        assert ticket is not None
        clinic.store(ticket, NOW, **rendered(8, 6))
        with clinic.session as session:
            instance = session.get_one(Instance, job.instance_id)
        clinic.finish(ticket, {"facts": facts_of(8, 6, view=instance.view.value)}, NOW)
    alone = clinic.submit(ViewPosition="PA").study_id
    found = {row.study_id: list_rows.row(row) for row in page_of(clinic).rows}
    row = found[sent.study_id]
    assert row.thumb.startswith("data:image/jpeg;base64,")
    assert [one.text for one in row.others] == ["AP", "PA", "LL, not analysed"]
    assert all(one.thumb.startswith("data:image/jpeg;base64,") for one in row.others)
    assert row.more == "and 1 more"
    assert (found[alone].others, found[alone].more) == ([], "")


def _queued_render(clinic: Clinic) -> Job | None:
    with clinic.session as session:
        waiting = select(Job).where(Job.kind == JobKind.RENDER, Job.state == JobState.QUEUED)
        return session.scalars(waiting.limit(1)).first()
