"""What an auditor's search means by a name or by an id as a page shows it."""

from uuid import UUID, uuid4

import pytest

from portal import audit
from portal.access import Denied
from portal.audit import names
from portal.models import User
from tests.support.clinic import Clinic
from tests.support.core import NOW


def test_a_person_is_meant_by_name_address_id_or_its_beginning(clinic: Clinic) -> None:
    with clinic.session as session:
        mate = session.get_one(User, clinic.mate.user_id)
        mate.name = "Ångström, Zoë"
        session.commit()
        for text in (
            str(mate.id),
            mate.id.hex[:8],
            f" {mate.id.hex[:8].upper()} ",
            "zoë",
            mate.email,
        ):
            assert names.people_meant(session, clinic.auditor, text) == (mate.id,), text
        unknown = uuid4()
        assert names.people_meant(session, clinic.auditor, str(unknown)) == (unknown,)
        assert names.people_meant(session, clinic.auditor, "nobody like this") == ()
        assert names.people_meant(session, clinic.auditor, "%") == ()


def test_rows_are_found_by_the_beginning_of_the_id_that_they_are_about(clinic: Clinic) -> None:
    subject, other = UUID("0123456789ab4def8123456789abcdef"), uuid4()
    with clinic.session as session:
        for one in (subject, other):
            audit.append(session, "tried", now=NOW, subject_id=one)
            session.commit()
        found = names.subjects_meant(session, clinic.auditor, "01234567")
        assert found == (subject,)
        rows = audit.search(
            *(session, clinic.auditor), now=NOW, criteria=audit.AuditFilter(subject_ids=found)
        )
    assert [row.subject_id for row in rows] == [subject]


def test_ids_have_names_and_cases_their_numbers(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        rows = audit.search(session, clinic.auditor, now=NOW)
        found = names.names_of(session, clinic.auditor, rows)
    assert found.cases[study_id] == study_id.hex[:6].upper()
    assert found.people[clinic.owner.user_id]
    assert set(found.people) <= {i for row in rows for i in (row.actor_id, row.subject_id)}


def test_names_are_for_auditors_alone(clinic: Clinic) -> None:
    with clinic.session as session:
        for act in (
            lambda: names.names_of(session, clinic.mate, []),
            lambda: names.people_meant(session, clinic.mate, "a"),
            lambda: names.subjects_meant(session, clinic.mate, "a"),
        ):
            with pytest.raises(Denied):
                act()
