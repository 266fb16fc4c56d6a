"""Queries about exams and those that were joined into them use indexes, however many there are."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.governance import legal_holds, retention
from portal.jobs.broker import Broker
from portal.jobs.sweeper import sweep
from portal.models import Study
from portal.reading import reviews, worklist
from portal.reading.lists.history import history
from portal.settings import Settings
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.queries.many_exams import add_reviewed
from tests.support.queries.query_plan import Statement, plan_of, rows_read, selects

COUNT = 600


@pytest.fixture
def settings(clinic: Clinic) -> Settings:
    return Settings.from_env(
        {
            "PLEURA_ENV": "test",
            "PLEURA_DATA_DIR": str(clinic.core.data_dir),
            "PLEURA_RETENTION_REVIEWED_DAYS": "1",
            "PLEURA_RETENTION_UNREVIEWED_DAYS": "1",
            "PLEURA_RETENTION_NO_RESULT_DAYS": "1",
        }
    )


def scans(clinic: Clinic, statements: list[Statement]) -> list[str]:
    """The steps that read a whole table of exams or reviews, of each statement's plan."""
    engine = clinic.core.engine
    steps = [step for one in statements for step in plan_of(engine, one).splitlines()]
    whole = ("SCAN studies", "SCAN of_exam", "SCAN reviews", "SCAN holds", "SCAN instances")
    return [step for step in steps if step.strip().startswith((*whole, "SCAN jobs"))]


def test_retention_reads_each_exam_a_few_times_and_not_all_reviews_for_each(
    clinic: Clinic, settings: Settings
) -> None:
    add_reviewed(clinic, COUNT)
    later = NOW + timedelta(days=2)
    with selects(clinic.core.engine) as found, clinic.session as session:
        due = retention.due(session, settings, later)
        assert retention.held_back(session, settings, later) == 0
    assert len(due) == COUNT // 2
    assert len(found) == 7
    if clinic.core.engine.dialect.name == "sqlite":
        assert scans(clinic, found) == []
    else:
        assert sum(rows_read(clinic.core.engine, one) for one in found) < 100 * COUNT


def test_the_holds_of_an_exam_are_found_by_indexes(clinic: Clinic) -> None:
    add_reviewed(clinic, COUNT)
    with clinic.session as session:
        study_id = session.scalars(select(Study.id).limit(1)).one()
        with selects(clinic.core.engine) as found:
            assert legal_holds.held(session, study_id) is None
    (plan,) = [plan_of(clinic.core.engine, one) for one in found]
    assert "ix_studies_exam" in plan
    assert "Seq Scan" not in plan
    assert scans(clinic, found) == []


def test_lists_and_the_sweep_read_what_they_show_off_indexes(clinic: Clinic) -> None:
    engine = clinic.core.engine
    add_reviewed(clinic, COUNT)
    study_id = clinic.done()
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, study_id, finding="right", now=NOW)
    with selects(engine) as found, clinic.session as session:
        worklist.worklist(session, clinic.vault, clinic.mate, now=NOW)
        history(session, clinic.vault, clinic.owner, what="sent", now=NOW)
        history(session, clinic.vault, clinic.mate, what="read", now=NOW)
        sweep(session, Broker("redis://127.0.0.1:1/0", 60), NOW)
    plans = [(one.text, plan_of(engine, one)) for one in found]
    for words, index in (
        ("ORDER BY studies.rank", "ix_studies_team"),
        ("ORDER BY -jobs.priority", "ix_jobs_waiting"),
        ("FROM reviews JOIN", "ix_reviews_reader"),
    ):
        used = [plan for statement, plan in plans if words in statement]
        assert any(index in plan for plan in used), used
    (sent,) = [plan for text, plan in plans if "FROM instances JOIN" in text]
    assert "ix_instances_sen" in sent
    waiting, *_ = [plan for text, plan in plans if "ORDER BY -jobs.priority" in text]
    assert "Sort" not in waiting
    assert "TEMP B-TREE" not in waiting
