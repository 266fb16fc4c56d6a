"""Results of a model that was withdrawn: visible, marked everywhere, and nobody agrees with one."""

from uuid import UUID

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.ai_models import registry
from portal.audit import verification
from portal.errors import Conflict, Invalid
from portal.exchange import export_texts
from portal.models import AuditEvent, Instance, ModelVersion, Study
from portal.reading import case, reviews, signing
from portal.studies import exams, status
from portal.web.present import list_rows
from tests.portal.reading.test_signing import page, sign
from tests.support.audit_log import link
from tests.support.clinic import Clinic, after
from tests.support.core import NOW


def model_of(clinic: Clinic) -> UUID:
    with clinic.session as session:
        return session.scalars(select(ModelVersion.id)).one()


def retract(clinic: Clinic, reason: str = "wrong_results") -> None:
    with clinic.session as session:
        registry.retract(session, clinic.admin, model_of(clinic), reason, NOW)


def test_it_is_marked_in_list_case_and_export_and_stays_where_it_was(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        before = session.get_one(Study, study_id).rank
    retract(clinic)
    with clinic.session as session:
        state = status.of_studies(session, [study_id])[study_id]
        view = case.open_study(session, clinic.vault, clinic.mate, study_id, NOW)
        picture = session.scalars(select(Instance)).one()
        found = exams.last_predictions(session, [study_id])[picture.id]
        exported = export_texts.prediction(found, picture)
        assert session.get_one(Study, study_id).rank == before  # raised once, never lowered
    assert list_rows.row_status(state, None).label.short == "likely, retracted"
    assert view.picture.prediction is not None
    assert view.picture.prediction.retraction == "wrong_results"
    assert exported is not None
    assert exported["model"]["retracted"] == "wrong_results"


def test_nobody_agrees_with_it_and_what_was_stated_stays(clinic: Clinic) -> None:
    first, second = clinic.done(), clinic.done()
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, first, finding="right", now=NOW)
    retract(clinic)
    with clinic.session as session:
        saved = reviews.add_review(
            session, clinic.vault, clinic.mate, second, finding="right", now=NOW
        )
        assert saved.review.verdict == "unaided"
        state = status.of_studies(session, [first])[first]
    assert state.reviewed == "agree"


def test_a_page_that_shows_it_unmarked_signs_nothing(clinic: Clinic) -> None:
    study_id = clinic.done()
    shown = page(clinic, study_id)
    retract(clinic)
    with pytest.raises(signing.Changed) as changed:
        sign(clinic, study_id, **shown)
    assert changed.value.parts == ["result"]
    assert sign(clinic, study_id).saved.review.verdict == "unaided"


def test_it_is_undone_and_both_are_in_the_log(clinic: Clinic) -> None:
    study_id = clinic.done()
    retract(clinic)
    with pytest.raises(Conflict):
        retract(clinic)
    with clinic.session as session:
        registry.restore_results(session, clinic.admin, model_of(clinic), after(minutes=1))
    with clinic.session as session, pytest.raises(Conflict):
        registry.restore_results(session, clinic.admin, model_of(clinic), after(minutes=2))
    with clinic.session as session:
        state = status.of_studies(session, [study_id])[study_id]
        assert state.result is not None
        assert not state.result.retracted
        events = session.scalars(select(AuditEvent.event)).all()
    assert {"model_results_retracted", "model_results_restored"} <= set(events)
    link(clinic.core)
    with clinic.session as session:
        assert verification.verify(session).findings == []


def test_only_who_manages_models_retracts_and_only_with_a_reason(clinic: Clinic) -> None:
    clinic.done()
    with clinic.session as session, pytest.raises(Denied):
        registry.retract(session, clinic.mate, model_of(clinic), "incident", NOW)
    for reason in ("", "because"):
        with pytest.raises(Invalid):
            retract(clinic, reason)
