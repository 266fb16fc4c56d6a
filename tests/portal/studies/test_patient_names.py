"""Search by family name: every script, case and accent; whole words alone; nothing in addresses."""

from uuid import UUID

import pytest
from sqlalchemy import delete, select

from portal.governance import purges
from portal.models import PurgeReason, Study, StudyName
from portal.operations import upgrade
from portal.reading import worklist
from portal.studies import patient_names
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.pictures import dicom

# The header's name, what finds it, and what does not.
NAMES = [
    ("MÜLLER^ANNA", ("Müller", "muller", " müller, Anna", "MÜLLER^ANNA"), ("Anna", "müll", "mu")),
    ("GARCÍA LÓPEZ^José", ("garcia lopez", "lopez", "García"), ("josé", "garcialopez")),
    ("Weiß-Noir^X", ("weiss", "noir", "WEISS NOIR", "Weiß-Noir"), ("weis", "x")),
    ("Wang^Fang=王^芳", ("wang", "王"), ("芳", "fang")),
    ("أحمد^علي", ("أحمد", "أَحْمَد"), ("علي",)),
    ("Иванов^Пётр", ("иванов", "ИВАНОВ"), ("пётр", "иван")),
    ("김^민준", ("김",), ("민준",)),
    ("शर्मा^राज", ("शर्मा",), ("शरमा", "राज")),
    ("O'Neil^B", ("o'neil", "O’Neil", "oneil"), ("o'nei", "neil")),
    ("Smith", ("SMITH",), ("smit",)),
]


def found(clinic: Clinic, query: str) -> list[UUID]:
    with clinic.session as session:
        page = worklist.worklist(session, clinic.vault, clinic.mate, query=query, now=NOW)
    return [row.study_id for row in page.rows]


@pytest.mark.parametrize(("name", "finds", "not_found"), NAMES)
def test_a_family_name_is_found_in_every_script(
    clinic: Clinic, name: str, finds: tuple[str, ...], not_found: tuple[str, ...]
) -> None:
    study_id = clinic.submit(dicom(PatientName=name)).study_id
    clinic.submit(dicom(PatientName="Other^Person"))
    clinic.submit(dicom(PatientName=name), actor=clinic.outsider)
    for query in finds:
        assert found(clinic, query) == [study_id], query
    for query in not_found:
        assert study_id not in found(clinic, query), query


def test_an_address_with_a_name_reveals_nothing(clinic: Clinic) -> None:
    """Also where the name could begin a case number."""
    sent = clinic.submit(dicom(PatientName="Abe^X"))
    with clinic.session as session:
        study = session.get_one(Study, sent.study_id)
        study.case_number = "ABE123"
        session.commit()
        for typed in ("Abe", "abe", "Müller"):
            address = worklist.address_of(session, clinic.vault, clinic.mate, typed)
            assert address.startswith("~")
            assert typed not in address
            page = worklist.worklist(session, clinic.vault, clinic.mate, query=address, now=NOW)
            assert [row.study_id for row in page.rows] == [sent.study_id][: typed != "Müller"]
        for typed in ("ABE12", "#abe"):
            assert worklist.address_of(session, clinic.vault, clinic.mate, typed) == typed


def test_an_exam_without_a_name_is_no_answer_to_anything(clinic: Clinic) -> None:
    clinic.submit(dicom(PatientName=""))
    for query in (",", "^", "()", "''", "- -"):
        assert found(clinic, query) == []


def test_upgrade_adds_the_names_of_exams_from_before(clinic: Clinic) -> None:
    names = ("Adler^A", "", "Bauer^B")
    first, _, last = (clinic.submit(dicom(PatientName=name)).study_id for name in names)
    with clinic.session as session:
        session.execute(delete(StudyName))
        session.get_one(Study, last).sealed_phi = b"damaged"
        session.commit()
    assert found(clinic, "adler") == []
    with clinic.session as session:
        made = upgrade.upgrade(session, clinic.vault, after(days=1), progress=lambda *_: None)
        again = upgrade.upgrade(session, clinic.vault, after(days=1), progress=lambda *_: None)
    assert (made.named, again.named) == (2, 0)
    assert found(clinic, "adler") == [first]
    assert found(clinic, "bauer") == []


def test_a_purge_leaves_no_name(clinic: Clinic) -> None:
    study_id, other = clinic.submit().study_id, clinic.submit(dicom(PatientName="A^B")).study_id
    with clinic.session as session:
        purges.purge(
            *(session, clinic.vault, clinic.admin, study_id, NOW), reason=PurgeReason.TEST_DATA
        )
        assert purges.residual_data(session, clinic.vault, study_id).is_empty
        assert session.scalars(select(StudyName.study_id)).all() == [other]
        session.add_all(patient_names.rows(clinic.vault, study_id, "Left^Over"))
        session.commit()
        assert purges.residual_data(session, clinic.vault, study_id).lookups == 3
