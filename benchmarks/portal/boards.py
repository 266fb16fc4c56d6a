"""How long the boards of performance take, by the number of exams.

    python -m benchmarks.portal.boards [--exams 100000] [--rounds 5] [--url postgresql+psycopg://...]

Exams of 22 months, each with a picture, a result and mostly a review, are put into a new database
as rows alone (nothing of them can be decrypted). Then the scheduler's summary of a month, the page
over all months and a reader's own numbers are asked for. Without --url: an SQLite file in a
temporary folder. Printed are the milliseconds of the median and of the slowest round as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from portal import database
from portal.access import Actor, permissions_of
from portal.models import (
    READ,
    Band,
    Finding,
    Instance,
    Job,
    JobKind,
    JobState,
    ModelState,
    ModelVersion,
    Prediction,
    QualityVerdict,
    Review,
    ReviewSeen,
    Role,
    Sex,
    Study,
    Team,
    User,
    Verdict,
    View,
)
from portal.performance import board, months, own_reading, summaries
from portal.settings import Settings

NOW = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)
_AT_ONCE = 5000
# As large as the measurements of a real result.
_MEASURED: dict[str, Any] = {
    "area_px": 9,
    "components": [{"area_px": 9, "side": "right", "zones": ["apical"], "box": [1, 2, 3, 4]}] * 3,
    "extents": [{"side": "right", "fraction": 0.1, "apex": {"px": 4.0, "line": [1, 2, 3, 4]}}] * 2,
}
_STATISTICS = {f"input_{name}": 0.1 for name in ("mean", "sd", "p05", "p25", "p50", "p75", "p95")}


def seed(session: Session, count: int, now: datetime = NOW) -> tuple[UUID, UUID]:
    """The exams, the last at `now`; returns the ids of the model and of one of the readers."""
    draw = random.Random(7)
    team, model = uuid4(), uuid4()
    readers = [uuid4() for _ in range(8)]
    session.execute(insert(Team), [{"id": team, "name": "Measured", "created": NOW}])
    session.execute(
        insert(User),
        [
            {
                "id": one,
                "team_id": team,
                "role": Role.READER,
                "email": f"{one.hex}@example.org",
                "name": "Measured",
                "created": NOW,
            }
            for one in readers
        ],
    )
    session.execute(
        insert(ModelVersion),
        [
            {
                "id": model,
                "name": "measured",
                "version": "1",
                "sha256": "ab" * 32,
                "state": ModelState.CANDIDATE,
                "created": NOW,
            }
        ],
    )
    for begin in range(0, count, _AT_ONCE):
        rows: dict[Any, list[dict[str, Any]]] = {
            table: [] for table in (Study, Instance, Job, Prediction, Review, ReviewSeen)
        }
        for number in range(begin, min(begin + _AT_ONCE, count)):
            _add(rows, draw, now - timedelta(days=670) * number / count, (team, model, readers))
        for table, values in rows.items():
            if values:
                session.execute(insert(table), values)
        session.commit()
    session.execute(text("ANALYZE"))
    session.commit()
    return model, readers[0]


def _add(
    rows: dict[Any, list[dict[str, Any]]],
    draw: random.Random,
    at: datetime,
    of: tuple[UUID, UUID, list[UUID]],
) -> None:
    team, model, readers = of
    study, picture, job, prediction, review = (uuid4() for _ in range(5))
    band = draw.choices((Band.LIKELY, Band.POSSIBLE, Band.NONE_FOUND, None), (5, 7, 84, 4))[0]
    alarm = band in (Band.LIKELY, Band.POSSIBLE)
    rows[Study].append(
        {
            "id": study,
            "team_id": team,
            "uploaded_by": readers[0],
            "created": at,
            "case_number": study.hex[:6].upper(),
            "sex": draw.choice(list(Sex)),
            "age_band": draw.choice((None, *range(20, 91, 10))),
            "rank": READ,
            "weight": -at.timestamp(),
            "is_read": True,
            "is_seen": True,
            "band": band,
        }
    )
    rows[Instance].append(
        {
            "id": picture,
            "study_id": study,
            "arrived_in": study,
            "team_id": team,
            "uploaded_by": readers[0],
            "media_type": "application/dicom",
            "size": 1,
            "view": draw.choice((View.PA, View.AP, View.UNKNOWN)),
            "created": at,
        }
    )
    rows[Job].append(
        {
            "id": job,
            "kind": JobKind.SEGMENT,
            "state": JobState.DONE,
            "study_id": study,
            "instance_id": picture,
            "idempotency_key": f"segment:{picture.hex}",
            "created": at,
        }
    )
    rows[Prediction].append(
        {
            "id": prediction,
            "instance_id": picture,
            "model_id": model,
            "job_id": job,
            "attempt": 1,
            "band": band,
            "probability": None if band is None else draw.random(),
            "measurements": _MEASURED
            | {"severity": draw.choice(("small", "moderate", "large")) if alarm else None},
            "quality_verdict": QualityVerdict.REFUSED if band is None else QualityVerdict.FIT,
            "quality": {"reasons": []},
            "statistics": _STATISTICS,
            "created": at + timedelta(seconds=draw.expovariate(1 / 20)),
        }
    )
    if draw.random() < 0.97:
        agrees = draw.random() < (0.7 if alarm else 0.97)
        rows[Review].append(
            {
                "id": review,
                "study_id": study,
                "reader_id": draw.choice(readers),
                "finding": Finding.RIGHT if agrees is alarm else Finding.NONE,
                "verdict": Verdict.UNAIDED
                if band is None
                else (Verdict.AGREE if agrees else Verdict.DISAGREE),
                "created": at + timedelta(minutes=draw.expovariate(1 / 90)),
            }
        )
        rows[ReviewSeen].append(
            {"review_id": review, "instance_id": picture, "prediction_id": prediction}
        )


def measure(session: Session, model: UUID, reader: UUID, rounds: int) -> dict[str, Any]:
    """Milliseconds of the scheduler's work for the last whole month, of the page, of the history's
    own numbers."""
    month = months.until(NOW)[-2]
    admin = _actor(Role.ADMIN)
    while summaries.refresh(session, NOW):
        pass
    return {
        "summary_of_a_month": _milliseconds(lambda: summaries.compute(session, month, NOW), rounds),
        "page_of_24_months": _milliseconds(
            lambda: board.board(session, admin, first="2024-04", last="", model=model.hex, now=NOW),
            rounds,
        ),
        "own_numbers": _milliseconds(
            lambda: own_reading.own(session, _actor(Role.READER, reader), NOW), rounds
        ),
    }


def _actor(role: Role, user_id: UUID | None = None) -> Actor:
    return Actor(user_id or uuid4(), uuid4(), role, permissions_of(role))


def _milliseconds(query: Callable[[], object], rounds: int) -> dict[str, float]:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        query()
        took.append((time.perf_counter() - began) * 1000)
    return {"median": round(statistics.median(took), 1), "slowest": round(max(took), 1)}


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--exams", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url", default="", help="an empty PostgreSQL database")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = chosen.url or f"sqlite:///{Path(folder) / 'boards.db'}"
        settings = Settings.from_env(
            {"PLEURA_ENV": "test", "PLEURA_DATA_DIR": folder, "DATABASE_URL": url}
        )
        engine = database.open_engine(settings)
        database.upgrade(engine)
        with database.sessions(engine)() as session:
            ids = seed(session, chosen.exams)
            result = {"exams": chosen.exams, **measure(session, *ids, chosen.rounds)}
        engine.dispose()
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
