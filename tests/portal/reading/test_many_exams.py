"""Many exams of one to four pictures that arrive in any order, some late; two patients merged."""

import random
from collections import defaultdict
from uuid import UUID

from sqlalchemy import select

from portal.governance import patient_merges
from portal.models import Job, Study
from portal.reading import case, reviews, worklist
from tests.support.clinic import Clinic, after
from tests.support.pictures import dicom

LATE, PATIENTS = 10, 60


def test_rows_order_and_priors_of_two_hundred_exams(clinic: Clinic) -> None:
    chance = random.Random(14)
    count = 200 if clinic.core.engine.dialect.name == "sqlite" else 60
    patient_of = {exam: chance.randrange(PATIENTS) for exam in range(count)}
    taken = {exam: chance.randrange(28) + 1 for exam in range(count)}
    pictures = [(exam, number) for exam in range(count) for number in range(chance.randint(1, 4))]
    chance.shuffle(pictures)
    late_exams = chance.sample(range(count), LATE)

    def send(exam: int, number: int, minute: int) -> UUID:
        data = dicom(
            StudyInstanceUID=f"1.2.{exam}",
            SOPInstanceUID=f"1.2.{exam}.{number}",
            PatientID=f"P-{patient_of[exam]}",
            StudyDate=f"202602{taken[exam]:02d}",
            StudyTime=f"{exam // 60:02d}{exam % 60:02d}",
            ViewPosition="LL" if number == 0 else "PA",
            PixelData=bytes([exam % 256, number]) * 48,
        )
        return clinic.submit(data, now=after(minutes=minute)).study_id

    ids: dict[int, UUID] = {}
    arrived: dict[int, int] = {}
    for minute, (exam, number) in enumerate(pictures):
        found = send(exam, number, minute)
        assert ids.setdefault(exam, found) == found
        arrived.setdefault(exam, minute)
    assert len(set(ids.values())) == count

    def listed(state: str = "") -> list[UUID]:
        rows, place = list[UUID](), ""
        while True:
            with clinic.session as session:
                page = worklist.worklist(
                    *(session, clinic.vault, clinic.mate),
                    state=state,
                    after=place,
                    now=after(days=1),
                )
            rows += [row.study_id for row in page.rows]
            place = page.after
            if not place:
                return rows

    by_arrival = [ids[exam] for exam in sorted(arrived, key=arrived.__getitem__)]
    assert listed() == by_arrival
    for exam in late_exams:
        fail_all(clinic, ids[exam])
        with clinic.session as session:
            reviews.add_review(
                *(session, clinic.vault, clinic.mate, ids[exam]),
                finding="right",
                now=after(minutes=len(pictures) + exam),
            )
    read = {ids[exam] for exam in late_exams}
    assert set(listed("read")) == read
    assert listed("to_read") == [one for one in by_arrival if one not in read]
    for exam in late_exams:
        assert send(exam, 9, len(pictures) + 1000) == ids[exam]
    assert listed("read") == []
    assert set(listed("to_read")) == set(by_arrival)

    of_patient = defaultdict[int, list[int]](list)
    for exam, patient in patient_of.items():
        of_patient[patient].append(exam)

    def expect_priors(exam: int, *patients: int) -> None:
        others = [one for patient in patients for one in of_patient[patient] if one != exam]
        order = sorted(others, key=lambda one: (taken[one], one), reverse=True)
        with clinic.session as session:
            view = case.open_study(session, clinic.vault, clinic.mate, ids[exam], after(days=1))
        assert [prior.study_id for prior in view.priors] == [ids[one] for one in order][:20]

    with_priors = [patient for patient, exams in of_patient.items() if len(exams) > 1][:2]
    one, other = with_priors
    for patient in with_priors:
        expect_priors(of_patient[patient][0], patient)
    with clinic.session as session:
        row = patient_merges.merge(
            *(session, clinic.mate, ids[of_patient[one][0]], ids[of_patient[other][0]]),
            "two_ids",
            after(days=1),
        )
    for patient in with_priors:
        expect_priors(of_patient[patient][0], one, other)
    assert len(listed()) == count  # a merge joins no rows
    with clinic.session as session:
        patient_merges.undo(session, clinic.mate, row.id, after(days=1))
    for patient in with_priors:
        expect_priors(of_patient[patient][0], patient)
    with clinic.session as session:
        sizes = session.scalars(select(Study.id)).all()
    assert len(sizes) == count


def fail_all(clinic: Clinic, study_id: UUID) -> None:
    """No picture of the exam can be prepared, so it is read unaided."""
    with clinic.session as session:
        jobs = session.scalars(select(Job.id).where(Job.study_id == study_id)).all()
    for job in jobs:
        ticket = clinic.claim(job)
        assert ticket is not None
        clinic.fail(ticket, "decode_failed", "permanent")
