"""Which exams lead to a search: new ones of the node's team, and those that somebody asks about."""

from typing import Any

import pytest
from sqlalchemy import select, update

from portal.access import Denied
from portal.dicom_network import nodes
from portal.dicom_network.retrieving import triggers
from portal.errors import Conflict
from portal.models import AuditEvent, DicomRetrieval, DicomSource
from portal.studies import exams
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.dicom import archive
from tests.support.dicom.archive import film, source
from tests.support.dicom.listening import add_node

ADDRESS = "10.1.2.3"
TODAY = f"{NOW:%Y%m%d}"


def look(clinic: Clinic) -> int:
    with clinic.session as session:
        return triggers.look(session, NOW)


def arrived(clinic: Clinic, **more: Any) -> Any:
    return clinic.submit(film(TODAY), **more).study_id


def test_each_new_exam_is_looked_up_once_at_each_node(clinic: Clinic) -> None:
    source(clinic, 104, ADDRESS)
    source(clinic, 104, ADDRESS, ae_title="SECOND")
    source(clinic, 104, ADDRESS, ae_title="ASKED", priors=False)
    arrived(clinic)
    assert (look(clinic), look(clinic)) == (2, 0)


@pytest.mark.parametrize("data", [film("20200101"), film(TODAY, PatientID="")])
def test_an_old_exam_and_one_without_an_id_lead_to_none(clinic: Clinic, data: bytes) -> None:
    source(clinic, 104, ADDRESS)
    clinic.submit(data)
    assert look(clinic) == 0


def test_exams_of_before_and_of_other_teams_lead_to_none(clinic: Clinic) -> None:
    arrived(clinic, now=after(minutes=-1))
    source(clinic, 104, ADDRESS)
    with clinic.session as session:
        session.execute(update(DicomSource).values(since=NOW, looked_until=NOW))
        session.commit()
    source(clinic, 104, ADDRESS, ae_title="THERE", team_id=clinic.outsider.team_id)
    assert look(clinic) == 0


def test_a_node_that_is_asked_by_itself_again_begins_anew(clinic: Clinic) -> None:
    node = source(clinic, 104, ADDRESS)
    with clinic.session as session:
        stated = nodes.described(session, node)
    for priors, now in ((False, after(minutes=1)), (True, after(minutes=10))):
        changed = nodes.Described(
            **{name: getattr(stated, name) for name in stated.__slots__} | {"priors": priors}
        )
        with clinic.session as session:
            nodes.change(session, clinic.admin, node.id, changed, now)
    with clinic.session as session:
        found = session.scalars(select(DicomSource)).one()
        assert (found.since, found.looked_until) == (after(minutes=10),) * 2


def test_who_asks_is_in_the_access_log(clinic: Clinic) -> None:
    node = source(clinic, 104, ADDRESS, priors=False)
    study_id = arrived(clinic)
    assert archive.ask(clinic, study_id, clinic.mate) == 1
    with clinic.session as session:
        row = session.scalars(
            select(AuditEvent).where(AuditEvent.event == "dicom_priors_asked_for")
        ).one()
        assert (row.actor_id, row.study_id, row.subject_id) == (
            clinic.mate.user_id,
            study_id,
            node.id,
        )
        assert session.scalars(select(DicomRetrieval)).one().asked_by == clinic.mate.user_id
        assert exams.survivor_of(session, study_id) == study_id


def test_what_is_looked_for_already_is_not_asked_for_again(clinic: Clinic) -> None:
    source(clinic, 104, ADDRESS, priors=False)
    study_id = arrived(clinic)
    archive.ask(clinic, study_id)
    with pytest.raises(Conflict) as refused:
        archive.ask(clinic, study_id)
    assert refused.value.code == "looked_for"


def test_nobody_can_ask_without_a_node_or_an_id(clinic: Clinic) -> None:
    study_id = arrived(clinic)
    add_node(clinic)  # it may not be queried
    with pytest.raises(Conflict) as refused:
        archive.ask(clinic, study_id)
    assert refused.value.code == "no_source"
    source(clinic, 104, ADDRESS)
    with pytest.raises(Conflict) as refused:
        archive.ask(clinic, clinic.submit(film(TODAY, PatientID="")).study_id)
    assert refused.value.code == "no_patient_id"


def test_another_teams_exam_is_nobodys_to_ask_about(clinic: Clinic) -> None:
    source(clinic, 104, ADDRESS)
    source(clinic, 104, ADDRESS, ae_title="THERE", team_id=clinic.outsider.team_id)
    with pytest.raises(Denied):
        archive.ask(clinic, arrived(clinic), clinic.outsider)
