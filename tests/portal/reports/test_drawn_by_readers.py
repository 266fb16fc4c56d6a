"""What a reader has drawn on a picture, in a report and in an export: words in the first alone."""

import json
from typing import Any

from portal.errors import Conflict
from portal.exchange import export_records
from portal.models import Study
from portal.reading import case
from portal.reports import pictures
from portal.teams import ai_visibility
from portal.web.present.reports import text as report_text
from tests.portal.reading.test_signing import sign
from tests.portal.reading.viewing.test_annotations import ARROW, RULER, save
from tests.support.clinic import Clinic, after
from tests.support.second_reads.readers import ask, colleague, state
from worker.contract.contents.report_content import MarkPart


def marks(clinic: Clinic, study_id: Any) -> list[MarkPart]:
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, study_id, after(hours=1))
        files = pictures.of(session, clinic.vault, view, with_ai=True)
    made = report_text.compose(view, files, "ab" * 16, after(hours=1), True)
    (picture,) = made.pictures
    assert ("drawn by the reader" in picture.described) is bool(picture.marks)
    return picture.marks


def exported(clinic: Clinic, actor: Any, study_id: Any) -> list[dict[str, Any]]:
    with clinic.session as session:
        study = session.get_one(Study, study_id)
        ai = ai_visibility.of_exam(session, actor, study)
        record = export_records.read(
            *(session, clinic.vault, actor, study, 9, Conflict("too_many", ""), ai)
        )
    (picture,) = record.pictures
    return picture.drawn_lines


def test_a_report_draws_what_the_review_keeps_that_stands(clinic: Clinic) -> None:
    study_id = clinic.done()
    assert marks(clinic, study_id) == []
    save(clinic, study_id, [RULER, ARROW])
    sign(clinic, study_id)
    save(clinic, study_id, [])
    state(clinic, clinic.mate, study_id, "none", after(minutes=5))  # not signed
    ruler, arrow = marks(clinic, study_id)
    assert ruler.line == (1.5, 2.0, 30.25, 40.0)
    assert ruler.label.startswith("ruler: ")
    assert arrow.label == "arrow: border of ZEBRA’s lung"


def test_an_export_has_the_lines_and_no_word(clinic: Clinic) -> None:
    second, study_id = colleague(clinic, "second"), clinic.done()
    save(clinic, study_id, [RULER, ARROW])
    state(clinic, clinic.mate, study_id, "right")
    assert exported(clinic, clinic.mate, study_id) == [
        {"review": 1, "kind": "ruler", "line": [1.5, 2.0, 30.25, 40.0]},
        {"review": 1, "kind": "arrow", "line": [0.0, 0.0, 5.0, 5.0]},
    ]
    assert "ZEBRA" not in json.dumps(exported(clinic, clinic.mate, study_id))
    ask(clinic, clinic.mate, study_id)
    assert exported(clinic, second, study_id) == []
