"""The sentence of a case: the reader's own finding, with a measurement that fits it, or none."""

import re
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.ai_models import registry
from portal.errors import Conflict, Invalid
from portal.languages import speaking
from portal.models import (
    AiShown,
    AuditEvent,
    Language,
    ModelVersion,
    SentenceTemplate,
    TeamChoices,
)
from portal.reading import reviews
from portal.sentences import of_case, team_templates
from tests.support.clinic import Clinic, after
from tests.support.outlines.pages import Page, drawn
from tests.support.second_reads.readers import ask, colleague

NOW = after(minutes=30)


def read(clinic: Clinic, study_id: UUID, finding: str, **more: Any) -> None:
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, study_id),
            finding=finding,
            now=more.pop("now", after(minutes=10)),
            **more,
        )


def sentence(clinic: Clinic, study_id: UUID) -> str:
    with clinic.session as session:
        return of_case.sentence(session, clinic.mate, study_id, NOW)


def change(clinic: Clinic, kind: str, text: str) -> None:
    with clinic.session as session:
        team_templates.change(session, clinic.admin, clinic.mate.team_id, kind, text, NOW)


def test_the_ai_result_alone_is_no_sentence(clinic: Clinic) -> None:
    study_id = clinic.done()
    with pytest.raises(Conflict):
        sentence(clinic, study_id)
    with clinic.session as session:
        for actor in (clinic.outsider, clinic.owner, clinic.admin):
            with pytest.raises(Denied):
                of_case.sentence(session, actor, study_id, NOW)


def test_a_reader_who_agrees_may_name_what_was_measured(clinic: Clinic) -> None:
    study_id = clinic.done()
    read(clinic, study_id, "left", size="10_to_30")
    text = sentence(clinic, study_id)
    assert "estimated at 10–30 % of the lung field" in text
    assert "measured by software" not in text  # the model found another side
    read(clinic, study_id, "right", now=after(minutes=11))
    assert "measured by software on the AI outline" in sentence(clinic, study_id)
    read(clinic, study_id, "none", now=after(minutes=12))
    assert sentence(clinic, study_id) == "No pneumothorax is seen."
    with clinic.session as session:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.event == "sentence_made")).all()
    assert {row.study_id for row in rows} == {study_id}


def test_where_the_ai_is_not_shown_it_is_not_named_either(clinic: Clinic) -> None:
    study_id = clinic.done()
    read(clinic, study_id, "right")
    with clinic.session as session:
        session.add(TeamChoices(team_id=clinic.mate.team_id, ai_shown=AiShown.NEVER))
        session.commit()
    assert sentence(clinic, study_id) == "Right pneumothorax."


def test_a_result_that_was_withdrawn_is_not_measured(clinic: Clinic) -> None:
    study_id = clinic.done()
    read(clinic, study_id, "right")
    assert "measured by software on the AI outline" in sentence(clinic, study_id)
    with clinic.session as session:
        model_id = session.scalars(select(ModelVersion.id)).one()
        registry.retract(session, clinic.admin, model_id, "wrong_results", NOW)
    assert sentence(clinic, study_id) == "Right pneumothorax."


def test_what_a_blind_second_reader_draws_is_in_no_sentence_of_the_first(clinic: Clinic) -> None:
    study_id = clinic.done()
    read(clinic, study_id, "right")
    before = sentence(clinic, study_id)
    ask(clinic, clinic.mate, study_id)
    page = Page(clinic, study_id, colleague(clinic, "second"))
    page.begin()
    assert page.save(drawn((20, 21))).outline is not None
    assert sentence(clinic, study_id) == before


def test_a_poor_picture_is_stated(clinic: Clinic) -> None:
    study_id = clinic.done()
    read(clinic, study_id, "none", reason="poor_image")
    assert sentence(clinic, study_id).endswith("Assessment is limited by the image quality.")


def test_a_chest_drain_is_stated(clinic: Clinic) -> None:
    study_id = clinic.done()
    read(clinic, study_id, "right", reason="chest_drain")
    assert "A chest drain is in place." in sentence(clinic, study_id)


def test_a_chest_drain_in_a_poor_picture_is_stated_with_both(clinic: Clinic) -> None:
    study_id = clinic.done()
    read(clinic, study_id, "left", reason="wrong_side,chest_drain,poor_image")
    text = sentence(clinic, study_id)
    assert "A chest drain is in place." in text
    assert text.endswith("Assessment is limited by the image quality.")


def test_it_is_in_the_language_of_the_team_whatever_the_reader_speaks(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        session.add(TeamChoices(team_id=clinic.mate.team_id, language=Language.DE))
        session.commit()
    read(clinic, study_id, "right", reason="chest_drain")
    text = sentence(clinic, study_id)
    assert re.match(r"Rechtsseitiger (\w+er )?Pneumothorax, größter interpleuraler Abstand ", text)
    assert text.endswith("Eine Thoraxdrainage liegt.")
    with clinic.session as session:
        lines = team_templates.wording(session, clinic.admin, clinic.mate.team_id).lines
    assert lines[2].examples[1] == "Kein Pneumothorax erkennbar."
    change(clinic, "one_side", "Es zeigt sich ein {side}[ {zones}] Pneumothorax.")
    with speaking("en"):
        assert sentence(clinic, study_id).startswith("Es zeigt sich ein rechtsseitiger ")


def test_a_team_has_its_own_wording_and_goes_back_to_the_default(clinic: Clinic) -> None:
    study_id = clinic.done()
    read(clinic, study_id, "none")
    change(clinic, "none", "No evidence of pneumothorax.[ {quality}]")
    assert sentence(clinic, study_id) == "No evidence of pneumothorax."
    change(clinic, "none", "No evidence of pneumothorax.[ {quality}]")  # no change, no row
    with clinic.session as session:
        line = team_templates.wording(session, clinic.admin, clinic.mate.team_id).lines[2]
        other = team_templates.wording(session, clinic.admin, clinic.outsider.team_id).lines[2]
    assert (line.is_own, line.examples[1]) == (True, "No evidence of pneumothorax.")
    assert not other.is_own
    change(clinic, "none", "")
    assert sentence(clinic, study_id) == "No pneumothorax is seen."
    with clinic.session as session:
        assert session.scalars(select(SentenceTemplate)).all() == []
        rows = session.scalars(
            select(AuditEvent).where(AuditEvent.event == "sentence_template_changed")
        ).all()
    assert len(rows) == 2


def test_what_is_no_template_changes_nothing(clinic: Clinic) -> None:
    with pytest.raises(Invalid):
        change(clinic, "one_side", "Pneumothorax.")
    with pytest.raises(Denied):
        change(clinic, "sideways", "{side} pneumothorax.")
    with clinic.session as session:
        assert session.scalars(select(SentenceTemplate)).all() == []
        for actor in (clinic.mate, clinic.auditor):
            with pytest.raises(Denied):
                team_templates.wording(session, actor, clinic.mate.team_id)
