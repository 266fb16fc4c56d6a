"""A model with a reference and many of its predictions, as rows alone, and drift jobs done."""

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from ml.metrics import reference_distribution, reference_shares
from portal.jobs import files
from portal.models import (
    Band,
    DriftCheck,
    Instance,
    Job,
    JobKind,
    JobState,
    ModelState,
    ModelVersion,
    Prediction,
    QualityVerdict,
    Study,
    View,
)
from tests.support.core import NOW
from tests.support.jobs import Jobs
from worker.contract.contents.drift import WINDOW, RecentNumbers, Window, alarms
from worker.drift import comparison

SHA256 = "cd" * 32


def numbers(draw: random.Random, *, shift: float = 0.0, ap: float = 0.4) -> dict[str, float]:
    """What one prediction stores, `probability` and the view among it."""
    return {
        "input_mean": draw.gauss(0.2 + shift, 0.1),
        "input_sharpness": draw.gauss(0.05, 0.01),
        "probability": min(1.0, max(0.0, draw.betavariate(0.6, 1.7))),
        "view_ap": float(draw.random() < ap),
    }


def card(n: int = 292) -> dict[str, Any]:
    """A card with the reference of such numbers."""
    draw = random.Random(1)
    rows = [numbers(draw) for _ in range(n)]
    stored = reference_distribution.facts(
        {name: value for name, value in row.items() if name != "view_ap"} for row in rows
    )
    shares = reference_shares.facts(rows, 0.2)
    return {"name": "drifting", "version": "1", "reference": stored | {"shares": shares}}


def make_model(session: Session, *, with_reference: bool = True, version: str = "1") -> UUID:
    """A model in use, in the place of the one that was."""
    for before in session.scalars(select(ModelVersion)):
        before.state = ModelState.RETIRED
    session.flush()
    model = ModelVersion(
        id=uuid4(),
        name="drifting",
        version=version,
        sha256=SHA256,
        state=ModelState.ACTIVE,
        card=card() if with_reference else {"name": "drifting", "version": "1"},
        created=NOW,
    )
    session.add(model)
    session.commit()
    return model.id


def predict(
    session: Session,
    model_id: UUID,
    people: tuple[UUID, UUID],
    count: int,
    *,
    until: datetime = NOW,
    refused: int = 0,
    is_old: bool = False,
    seed: int = 2,
    **how: float,
) -> None:
    """Predictions of `count` pictures of one exam, a minute between them, the last at `until`; the
    first `refused` of them have no result. people: (team, uploader).
    """
    draw, study, job = random.Random(seed), uuid4(), uuid4()
    team, sender = people
    about = {"team_id": team, "uploaded_by": sender, "created": until}
    number = study.hex[:6].upper()
    session.execute(
        insert(Study),
        [{"id": study, "case_number": number, "rank": 3, "weight": 0.0, "is_old": is_old} | about],
    )
    made = [(uuid4(), numbers(draw, **how)) for _ in range(count)]
    session.execute(
        insert(Instance),
        [
            {
                "id": picture,
                "study_id": study,
                "arrived_in": study,
                "media_type": "application/dicom",
                "size": 1,
                "view": View.AP if found["view_ap"] else View.PA,
            }
            | about
            for picture, found in made
        ],
    )
    session.execute(
        insert(Job),
        [
            {
                "id": job,
                "kind": JobKind.SEGMENT,
                "state": JobState.DONE,
                "study_id": study,
                "instance_id": made[0][0],
                "idempotency_key": f"segment:{job.hex}",
                "created": until,
            }
        ],
    )
    rows = []
    for place, (picture, found) in enumerate(made):
        has_result = place >= refused
        stored = {k: v for k, v in found.items() if k not in ("probability", "view_ap")}
        rows.append(
            {
                "id": uuid4(),
                "instance_id": picture,
                "model_id": model_id,
                "job_id": job,
                "attempt": 1,
                "band": Band.NONE_FOUND if has_result else None,
                "probability": found["probability"] if has_result else None,
                "quality_verdict": QualityVerdict.FIT if has_result else QualityVerdict.REFUSED,
                "quality": {"reasons": []},
                "statistics": stored if has_result else {},
                "created": until - timedelta(minutes=count - 1 - place),
            }
        )
    session.execute(insert(Prediction), rows)
    session.commit()


def add_checks(session: Session, model_id: UUID, days: int, until: datetime) -> None:
    """Daily checks, the last at `until`; in the last days pictures are brighter and more are AP."""
    reference = card()["reference"]
    for day in range(days):
        at, draw = until - timedelta(days=days - 1 - day), random.Random(day)
        changed = day >= days - 3
        rows = [
            numbers(draw, shift=0.15 * changed, ap=0.65 if changed else 0.4) for _ in range(WINDOW)
        ]
        window = Window(first=at - timedelta(days=3), last=at, predictions=WINDOW, refused=day % 5)
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        found = comparison.found_in(
            RecentNumbers(window=window, reference=reference, columns=columns)
        )
        job = Job(
            id=uuid4(),
            kind=JobKind.DRIFT,
            state=JobState.DONE,
            target=f"{model_id.hex}/{day}",
            idempotency_key=f"drift:{model_id.hex}/{day}",
            created=at,
            finished_at=at,
        )
        session.add(job)
        session.flush()
        session.add(
            DriftCheck(
                model_id=model_id,
                job_id=job.id,
                predictions=WINDOW,
                refused=window.refused,
                first=window.first,
                last=window.last,
                numbers=[one.as_json() for one in found.numbers],
                alarms=alarms(found.numbers),
                computed_at=at,
            )
        )
    session.commit()


def done(jobs: Jobs, job_id: UUID, now: datetime = NOW) -> RecentNumbers:
    """Do a drift job as a worker would; what it was given."""
    ticket = jobs.claim(job_id, now)
    assert ticket is not None
    with jobs.core.sessions() as session:
        data, _ = files.read_input(session, jobs.core.vault, ticket, "recent_numbers")
    given = RecentNumbers.parse_text(data)
    jobs.finish(ticket, {"drift": comparison.found_in(given).as_json()}, now)
    return given
