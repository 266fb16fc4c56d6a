"""A report is in the language of the exam's team, whatever who asks for it speaks."""

from collections.abc import Iterator
from html import escape
from uuid import UUID

import pytest

from portal.languages import catalogues, speaking
from portal.models import Language, TeamChoices
from portal.reports import objects
from portal.web.present.reports import objects as object_text
from tests.portal.reading.test_signing import sign
from tests.portal.reading.viewing.test_annotations import ARROW, RULER, save
from tests.portal.reports.test_requests import ask, content_of, do, texts
from tests.support.clinic import Clinic, after
from tests.support.languages.page_texts import Pseudo, english_of
from tests.support.outlines.pages import Page, drawn, measured
from worker.contract.contents.report_content import ReportContent
from worker.report import page


def speak(clinic: Clinic, language: Language) -> None:
    with clinic.session as session:
        session.merge(TeamChoices(team_id=clinic.mate.team_id, language=language))
        session.commit()


@pytest.fixture
def study(clinic: Clinic) -> UUID:
    """A signed exam with an outline, a ruler and an arrow."""
    study_id = clinic.done()
    outline = Page(clinic, study_id, clinic.mate)
    outline.begin()
    outline.save(drawn((3, 12)))
    outline.measure(measured(9))
    save(clinic, study_id, [RULER, ARROW])
    sign(clinic, study_id)
    return study_id


@pytest.fixture
def _pseudo() -> Iterator[None]:
    catalogues.put_in_place("de", Pseudo())
    yield
    catalogues.put_in_place("de", None)


def made(clinic: Clinic, study_id: UUID) -> ReportContent:
    return content_of(clinic, ask(clinic, study_id, after(hours=2)))[0]


def test_a_german_teams_report_is_german(clinic: Clinic, study: UUID) -> None:
    english = ask(clinic, study, after(hours=1))
    speak(clinic, Language.DE)
    with speaking("en"):
        content = made(clinic, study)
    text = texts(content)
    for part in (
        "Pneumothorax: Rechts",
        "Ergebnis: Pneumothorax wahrscheinlich",
        "Wahrscheinlichkeit: 0,91",
        "Arbeitspunkt: ",
        "Gezeichnet von: Test mate",
    ):
        assert part in text, text
    assert (content.language, content.title) == ("de", "Bericht zur Röntgenaufnahme des Thorax")
    assert content.research.startswith("Nur für die Forschung")
    rows = {row.label: row.text for row in content.exam}
    assert rows["Geboren"] == "01.05.1963"
    assert rows["Untersuchung"].startswith("04.03.2026")
    assert content.state.startswith("Endgültig – signiert von Test mate, 04.03.2026 ")
    (picture,) = content.pictures
    assert [one.label for one in picture.outlines] == ["Umriss der Befundung"]
    assert [one.label.partition(":")[0] for one in picture.marks] == ["Lineal", "Pfeil"]
    # The one in English stays as it is, and is the one again where the team speaks it again.
    speak(clinic, Language.EN)
    assert ask(clinic, study, after(hours=3)).report.id == english.report.id


@pytest.mark.usefixtures("_pseudo")
def test_no_english_is_left_in_it(clinic: Clinic, study: UUID) -> None:
    speak(clinic, Language.DE)
    content = made(clinic, study)
    shown = "".join(f"<p>{escape(text)}</p>" for text in page.texts(content))
    data = ("Test mate", "PHANTOM, ONE", "pleura-lite2 1.0", "ab" * 32, "UTC", "ZEBRA")
    left = [text for text in english_of(shown) if not any(one in text for one in data)]
    assert left == []


def test_its_dicom_objects_are_made_whatever_the_team_speaks_by_now(
    clinic: Clinic, study: UUID
) -> None:
    """They are in English, as their codes."""
    asked = ask(clinic, study, after(hours=1))
    do(clinic, asked, now=after(hours=1))
    speak(clinic, Language.DE)
    with clinic.session as session:
        jobs = objects.request(
            *(session, clinic.vault, clinic.mate, study, asked.report.id),
            *(object_text.compose, after(hours=2)),
        )
    assert len(jobs) == 1
