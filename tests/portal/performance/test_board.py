"""The board against a count by hand, over many exams; who may see it; its tables as CSV."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from benchmarks.portal import boards
from portal.access import Actor, Denied
from portal.models import (
    Finding,
    Instance,
    ModelVersion,
    PerformanceMonth,
    Prediction,
    Review,
    ReviewSeen,
    Study,
    Verdict,
)
from portal.performance import board, summaries, tables
from portal.performance.exam_outcomes import FOUND
from portal.performance.turnaround import STEPS
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.second_reads.readers import state


def seen_by(clinic: Clinic, actor: Actor, **asked: str) -> board.Board:
    chosen = {"first": "2024-04", "last": "2026-03", "model": ""} | asked
    with clinic.session as session:
        return board.board(session, actor, **chosen, now=NOW)


def computed(clinic: Clinic) -> None:
    with clinic.session as session:
        while summaries.refresh(session, NOW):
            pass


@pytest.mark.parametrize("who", ["owner", "mate", "outsider", "colleague", "auditor"])
def test_only_an_administrator_sees_it(clinic: Clinic, who: str) -> None:
    with pytest.raises(Denied):
        seen_by(clinic, getattr(clinic, who))


def by_hand(clinic: Clinic) -> Counter[tuple[str, str, str]]:
    """The counts by dimension, group and name, in Python, of exams with one picture."""
    found: Counter[tuple[str, str, str]] = Counter()
    with clinic.session as session:
        reviews = {row.study_id: row for row in session.scalars(select(Review))}
        seen = {row.review_id for row in session.scalars(select(ReviewSeen))}
        rows: Sequence[Any] = session.execute(
            select(Study, Instance, Prediction)
            .join(Instance, Instance.study_id == Study.id)
            .join(Prediction, Prediction.instance_id == Instance.id)
        ).all()
    for study, picture, prediction in rows:
        alarm, review = prediction.band in FOUND, reviews.get(study.id)
        has = ["exams"] + ["alarms"] * alarm + ["unanswered"] * (prediction.band is None)
        if review is not None and review.id in seen and prediction.band is not None:
            there = review.finding in (Finding.RIGHT, Finding.LEFT, Finding.BOTH)
            has += ["read"] + ["confirmed" if there else "rejected"] * alarm
            has += [{Verdict.AGREE: "agreed", Verdict.DISAGREE: "disagreed"}[review.verdict]]
        age = "unknown" if study.age_band is None else str(study.age_band)
        view = picture.view.value if picture.view.is_frontal else "other"
        groups = [("all", ""), ("view", view), ("age", age), ("sex", study.sex.value)]
        groups += [("size", prediction.measurements["severity"])] * alarm
        found.update((*group, name) for group in groups for name in has)
    return found


def test_the_board_is_what_a_count_by_hand_gives(clinic: Clinic) -> None:
    with clinic.session as session:
        boards.seed(session, 400)
    computed(clinic)
    shown = seen_by(clinic, clinic.admin)
    found = Counter(
        {
            (dimension, group.name, name): count
            for dimension, groups in shown.groups.items()
            for group in groups
            for name, count in group.counts.items()
            if count
        }
    )
    assert found == by_hand(clinic)
    assert shown.total.counts["confirmed"] > 10
    assert sum(row.group.counts["exams"] for row in shown.rows) == 400
    assert sum(row.arrived for row in shown.rows) == 400
    assert any(len(row.readers) > 2 for row in shown.rows)


def test_a_period_and_a_model_are_chosen(clinic: Clinic) -> None:
    clinic.done()
    computed(clinic)
    shown = seen_by(clinic, clinic.admin)
    assert shown.model is not None
    assert [choice.name for choice in shown.models] == ["pleura-lite2"]
    assert shown.total.counts["exams"] == 1
    other = seen_by(clinic, clinic.admin, first="2026-02", last="2026-02")
    assert other.total.counts["exams"] == 0
    unknown = seen_by(clinic, clinic.admin, model=uuid4().hex)
    assert unknown.model == shown.model


def add_model(clinic: Clinic, name: str) -> UUID:
    """A model that a summary names."""
    with clinic.session as session:
        row = ModelVersion(name=name, version="1", sha256="cd" * 32, created=NOW)
        session.add(row)
        session.flush()
        session.add(
            PerformanceMonth(
                month="2026-03", model_id=row.id, content={"groups": []}, computed_at=NOW
            )
        )
        session.commit()
        return row.id


def lines(shown: board.Board, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(tables.as_csv(shown, name))))


@pytest.mark.parametrize("name", tables.NAMES)
def test_small_groups_are_left_out_of_every_table(clinic: Clinic, name: str) -> None:
    for _ in range(3):
        state(clinic, clinic.mate, clinic.done(), "right")
    computed(clinic)
    text = tables.as_csv(seen_by(clinic, clinic.admin), name)
    assert "fewer than 10" in text
    numbers = ("count", "of", "share", "low_95", "high_95", "arrived", "exams", "p50_seconds")
    found = list(csv.DictReader(io.StringIO(text)))
    assert found
    for line in found:
        assert not [column for column in numbers if line.get(column)], line


def test_a_table_holds_the_numbers_of_the_page(clinic: Clinic) -> None:
    with clinic.session as session:
        boards.seed(session, 400)
    computed(clinic)
    shown = seen_by(clinic, clinic.admin)
    (line,) = (
        line for line in lines(shown, "groups") if (line["by"], line["number"]) == ("all", "ppv")
    )
    share = shown.total.confirmed
    assert (line["count"], line["of"]) == (str(share.count), str(share.of))
    assert float(line["low_95"]) == pytest.approx(share.low, abs=1e-4)
    assert len(lines(shown, "months")) == 24 * 4
    assert len(lines(shown, "turnaround")) == 24 * len(STEPS)


def test_a_models_name_is_no_formula_in_a_table(clinic: Clinic) -> None:
    for name in ("=cmd|' /C calc'!A0", "+1", "-1", "@x", "\t=1"):
        model = add_model(clinic, name)
        text = tables.as_csv(seen_by(clinic, clinic.admin, model=model.hex), "months")
        cells = {cell for line in csv.reader(io.StringIO(text)) for cell in line}
        assert f"'{name} 1" in cells
        assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t")]


def test_another_table_is_none(clinic: Clinic) -> None:
    with pytest.raises(KeyError):
        tables.as_csv(seen_by(clinic, clinic.admin), "patients")
