"""No list, number or next case shows a second reader what the AI found in a late picture."""

from typing import Any
from uuid import UUID

from portal.access import Actor
from portal.database import DatabaseTime
from portal.models import POSITIVE, REST, Study
from portal.reading import worklist
from tests.portal.reading.lists.test_feed import Lists
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import facts_of, rendered
from tests.support.pictures import dicom
from tests.support.second_reads.readers import ask, colleague, state

NONE_FOUND = {"band": "none_found", "probability": 0.02}


def waiting(clinic: Clinic, uid: str, minute: int = 1) -> UUID:
    """An exam without a finding, read, for which a second reader was asked."""
    picture = dicom(StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.1")
    study_id = clinic.submit(picture, now=after(minutes=minute)).study_id
    clinic.segment(clinic.render(study_id), **NONE_FOUND)
    state(clinic, clinic.mate, study_id, "none", after(minutes=10))
    ask(clinic, clinic.mate, study_id, after(minutes=11))
    return study_id


def late_picture(clinic: Clinic, uid: str, result: dict[str, Any]) -> None:
    names = {"StudyInstanceUID": uid, "SOPInstanceUID": f"{uid}.2"}
    sent = clinic.submit(dicom(**names, pixels=bytes([7, 0]) * 48))
    assert sent.job_id is not None
    ticket = clinic.claim(sent.job_id)
    assert ticket is not None
    clinic.store(ticket, **rendered(8, 6))
    segment = clinic.finish(ticket, {"facts": facts_of(8, 6)})
    assert segment is not None
    clinic.segment(segment, **result)


def shown(clinic: Clinic, actor: Actor, lists: Lists, opened: UUID) -> dict[str, Any]:
    """All that comes from where exams stand, for one reader."""
    found: dict[str, Any] = {}
    with clinic.session as session:
        given = (session, clinic.vault, actor)
        for kept in ("to_read", "read", "", "done", "second_read"):
            page = worklist.worklist(*given, state=kept, now=NOW)
            found[f"list {kept}"] = [row.study_id for row in page.rows]
            counts = page.counts
            found[f"counts {kept}"] = (counts.to_read, counts.positive, counts.no_result)
            numbered = worklist.numbered(*given, state=kept, now=NOW)
            found[f"api {kept}"] = [row.study_id for row in numbered.rows]
            found[f"next {kept}"] = worklist.next_study(*given, opened, state=kept, now=NOW)
        found["counts"] = worklist.counts(session, actor)
    sent = lists.open(actor, opened)
    lists.look()
    with clinic.session as session:
        session.get_one(Study, opened).changed = DatabaseTime()
        session.commit()
    lists.look()
    assert sent[-1] is not None
    found["live"] = sent[-1].counts
    return found


def test_a_late_picture_shows_nowhere_by_what_was_found_in_it(clinic: Clinic) -> None:
    second, uids = colleague(clinic, "second"), ("1.2.3.7", "1.2.3.8")
    ids = [waiting(clinic, uid, minute) for minute, uid in enumerate(uids, 1)]
    rest = clinic.done(after(minutes=9), **NONE_FOUND)
    likely = clinic.done(after(minutes=8))
    lists = Lists(clinic)
    lists.look()
    before = shown(clinic, second, lists, rest)
    late_picture(clinic, uids[0], NONE_FOUND)
    late_picture(clinic, uids[1], {})
    with clinic.session as session:
        assert [session.get_one(Study, one).rank for one in ids] == [REST, POSITIVE]
    late = shown(clinic, second, lists, rest)
    assert late == before
    assert late["list to_read"] == late["api to_read"] == [likely, rest]
    assert (late["counts to_read"], late["list read"]) == ((2, 1, 0), [])
    assert late["list "] == late["api "] == [rest, likely, *ids[::-1]]
    assert late["list second_read"] == ids
    assert late["live"].positive == 1
    # Who has read them sees their places.
    mine = shown(clinic, clinic.mate, lists, rest)
    assert mine["list to_read"] == [ids[1], likely, ids[0], rest]
    assert (mine["counts to_read"], mine["live"].positive) == ((4, 2, 0), 2)


def test_from_a_case_that_waits_the_next_is_the_list_s_first(clinic: Clinic) -> None:
    second = colleague(clinic, "second")
    first = clinic.done()
    blind = waiting(clinic, "1.2.3.7")
    clinic.done(after(minutes=40))
    late_picture(clinic, "1.2.3.7", {"band": "likely", "probability": 0.9})
    with clinic.session as session:
        given = (session, clinic.vault, second, blind)
        assert worklist.next_study(*given, now=NOW, state="to_read") == first
