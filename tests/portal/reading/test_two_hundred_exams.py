"""A day of a team: 200 exams of one to four pictures that come in any order, late ones into exams
that were read or signed, two patient IDs of one patient, and that undone.
"""

import random
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import pytest

from portal.governance import patient_merges
from portal.models import JobKind, ProofMethod
from portal.reading import case, reviews, signing, worklist
from portal.reading.signing import Proof
from portal.reading.worklist_rows import WorklistRow
from portal.studies.verdicts import VerdictState
from tests.support.clinic import Clinic, after
from tests.support.jobs import REFUSED, facts_of, prediction_of, rendered, segmented
from tests.support.pictures import dicom

EXAMS, LATE = 200, 10
FRONTAL = ("PA", "AP")
# From the most suspicious; of the same kind the exam that came first is the first in the list.
RESULTS = ("likely", "possible", "no_result", "none_found")
PROBABILITY = {"likely": 0.93, "possible": 0.6, "none_found": 0.03}


@dataclass
class Exam:
    """An exam as it was taken: its pictures' views with the model's result of each."""

    uid: str
    patient: int
    minute: int
    pictures: list[tuple[str, str]]
    study_id: UUID | None = None
    first: datetime | None = None
    arrived: list[int] = field(default_factory=list)  # numbers of its pictures

    @property
    def id(self) -> UUID:
        assert self.study_id is not None
        return self.study_id

    @property
    def result(self) -> str:
        """That of its most suspicious picture; no result is less than any."""
        found = [self.pictures[at][1] for at in self.arrived]
        order = ("likely", "possible", "none_found", "no_result")
        return next(one for one in order if one in found)


def taken(chance: random.Random, count: int) -> list[Exam]:
    minutes = chance.sample(range(8 * 60), count)
    made = []
    for number in range(count):
        views = ["PA", *(chance.choice(("PA", "AP", "LL")) for _ in range(chance.randrange(4)))]
        chance.shuffle(views)
        pictures = [
            (view, "no_result" if view == "LL" else chance.choice(("none_found",) * 5 + RESULTS))
            for view in views
        ]
        patient = chance.randrange(3 * count // 10)
        made.append(Exam(f"1.2.3.{number}", patient, minutes[number], pictures))
    return made


def send(clinic: Clinic, exam: Exam, at: int, now: datetime) -> None:
    """A picture of the exam arrives and is analysed."""
    view, result = exam.pictures[at]
    data = dicom(
        StudyInstanceUID=exam.uid,
        PatientID=f"P-{exam.patient}",
        PatientName=f"FAMILY{exam.patient}^ANN",
        StudyTime=f"{exam.minute // 60:02}{exam.minute % 60:02}00",
        ViewPosition=view,
    )
    sent = clinic.submit(data, now=now)
    assert sent.joined == (exam.study_id is not None)
    assert exam.study_id in (None, sent.study_id)
    exam.study_id, exam.first = sent.study_id, exam.first or now
    exam.arrived.append(at)
    ticket = clinic.claim(clinic.queued(exam.id, JobKind.RENDER).id, now)
    assert ticket is not None
    clinic.store(ticket, now, **rendered(8, 6))
    following = clinic.finish(ticket, {"facts": facts_of(8, 6, view=view)}, now)
    assert following is not None
    ticket = clinic.claim(following, now)
    assert ticket is not None
    changes = REFUSED if result == "no_result" else {"band": result, "probability": 0.5}
    if result in PROBABILITY:
        changes["probability"] = PROBABILITY[result]
        clinic.store(ticket, now, **segmented())
    clinic.finish(ticket, {"prediction": prediction_of(**changes)}, now)


def rows(clinic: Clinic, **asked: str) -> list[WorklistRow]:
    """The whole list, page by page."""
    found: list[WorklistRow] = []
    place = ""
    while True:
        with clinic.session as session:
            page = worklist.worklist(
                session, clinic.vault, clinic.mate, after=place, now=after(hours=9), **asked
            )
        found += page.rows
        place = page.after
        if not place:
            return found


def unread_order(exams: list[Exam]) -> list[UUID]:
    def place(exam: Exam) -> tuple[int, datetime]:
        assert exam.first is not None
        return RESULTS.index(exam.result), exam.first

    return [exam.id for exam in sorted(exams, key=place)]


def priors(clinic: Clinic, exam: Exam) -> list[UUID]:
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, exam.id, after(hours=9))
    return [one.study_id for one in view.priors]


def expected_priors(exams: list[Exam], exam: Exam, *patients: int) -> list[UUID]:
    same = [one for one in exams if one.patient in patients and one is not exam]
    return [one.id for one in sorted(same, key=lambda one: -one.minute)]


def read(clinic: Clinic, exam: Exam, *, signed: bool) -> None:
    with clinic.session as session:
        args = session, clinic.vault, clinic.mate, exam.id
        if not signed:
            reviews.add_review(*args, finding="none", now=after(hours=5))
            return
        view = case.open_study(*args, after(hours=5))
        signing.sign(
            *args,
            finding="none",
            shown=view.shown,
            after="",
            proof=Proof(ProofMethod.PASSWORD_CODE, after(hours=5)),
            now=after(hours=5),
        )


@pytest.mark.timeout(300)
def test_rows_order_and_priors_of_a_day_with_late_pictures_a_merge_and_its_undoing(
    clinic: Clinic,
) -> None:
    chance = random.Random(14)
    clinic.time = None
    count = EXAMS if clinic.core.engine.dialect.name == "sqlite" else EXAMS // 5
    exams = taken(chance, count)
    late = chance.sample([exam for exam in exams if len(exam.pictures) > 1], LATE)
    coming = [
        (exam, at)
        for exam in exams
        for at in range(len(exam.pictures))
        if not (exam in late and at == len(exam.pictures) - 1)
    ]
    chance.shuffle(coming)
    for number, (exam, at) in enumerate(coming):
        send(clinic, exam, at, after(seconds=10 * number))

    found = rows(clinic)
    assert [row.study_id for row in found] == unread_order(exams)
    by_id = {exam.id: exam for exam in exams}
    for row in found:
        exam = by_id[row.study_id]
        views = [exam.pictures[at][0] for at in exam.arrived]
        assert 1 + len(row.others) == len(views)
        assert len(row.state.pictures) == len(views)
        assert row.patient.patient_id == f"P-{exam.patient}"
        # The picture that stands for the exam is a frontal one; of the others these come first.
        shown = [one.view.value for one in row.others]
        assert shown == sorted(shown, key=lambda view: view not in FRONTAL)
        if any(view in FRONTAL for view in views):
            assert sorted([*shown, "PA"]) == sorted(views) or sorted([*shown, "AP"]) == sorted(
                views
            )

    for number, exam in enumerate(late):
        read(clinic, exam, signed=number % 2 == 0)
    left = [exam for exam in exams if exam not in late]
    assert [row.study_id for row in rows(clinic, state="to_read")] == unread_order(left)
    for number, exam in enumerate(late):
        send(clinic, exam, len(exam.pictures) - 1, after(hours=6, seconds=number))
    again = rows(clinic, state="to_read")
    assert [row.study_id for row in again] == unread_order(exams)
    for row in again:
        if by_id[row.study_id] in late:
            is_signed = late.index(by_id[row.study_id]) % 2 == 0
            state = VerdictState.FINAL if is_signed else VerdictState.PRELIMINARY
            assert (row.state.new_pictures, row.state.standing.state) == (1, state)
            assert row.state.finding == "none"

    for exam in exams:
        assert priors(clinic, exam) == expected_priors(exams, exam, exam.patient)[:20]
    one, other = (next(exam for exam in exams if exam.patient == at) for at in (0, 1))
    with clinic.session as session:
        merge_id = patient_merges.merge(
            session, clinic.mate, one.id, other.id, "two_ids", after(hours=7)
        ).id
    for exam in exams:
        merged = (0, 1) if exam.patient in (0, 1) else (exam.patient,)
        assert priors(clinic, exam) == expected_priors(exams, exam, *merged)[:20]
    with clinic.session as session:
        patient_merges.undo(session, clinic.mate, merge_id, after(hours=8))
    for exam in exams:
        assert priors(clinic, exam) == expected_priors(exams, exam, exam.patient)[:20]
    assert len(rows(clinic)) == count
