"""Fills an empty database with many exams of a team, most of them read: for `lists`, or to look at.

    python -m benchmarks.portal.many_exams --folder FOLDER [--exams 100000] [--database-url URL]

`FOLDER` becomes the data folder of a portal (`PLEURA_DATA_DIR`); without `--database-url` its
database is SQLite. Each exam has a sealed patient, a picture, a sealed thumbnail, its jobs, its
prediction and, of 97 in 100, a review, of which 6 in 10 are signed and one of these in 20 is signed
again. No file but the thumbnail is there: cases can be listed and opened, their pictures not shown.
Printed is a one-time link (to be put behind the portal's address) with which a reader of the team
can sign in.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Engine, insert, text
from sqlalchemy.orm import Session

from portal.accounts import invitations
from portal.models import (
    POSITIVE,
    READ,
    REST,
    UNAIDED,
    Band,
    Blob,
    BlobKind,
    Finding,
    Instance,
    Job,
    JobKind,
    JobState,
    ModelVersion,
    Prediction,
    ProofMethod,
    QualityVerdict,
    Review,
    ReviewSeen,
    Role,
    Signature,
    SizeClass,
    Study,
    StudyName,
    Verdict,
    VerdictState,
    View,
)
from portal.studies import header_columns, patient_names, sealed_fields
from portal.vault import Vault
from tests.support.core import Core, make_settings, migrate, open_core
from tests.support.people import add_person

READ_SHARE: Final = 0.97
_AT_ONCE: Final = 2000
_THUMB: Final = 1500  # bytes
_SIGNED_SHARE: Final = 0.6
_AMENDED_SHARE: Final = 0.05
_FAMILIES: Final = 5000  # of most patients; one in ten has a name that thousands have
_NAMES: Final = ("ADLER", "BAUER", "CONRAD", "DIETZ", "ENGEL", "FRANK", "GRAF", "HAHN", "IMHOF")
# Of a hundred exams: likely, possible, none found, refused, failed, still in work.
_KINDS: Final = (
    ("likely", 6),
    ("possible", 6),
    ("none_found", 80),
    ("refused", 4),
    ("failed", 2),
    ("open", 2),
)


@dataclass(frozen=True)
class Staff:
    """Who the exams are of: ids of the team and its people."""

    team: UUID
    readers: tuple[UUID, UUID]
    technologist: UUID


@dataclass
class _Rows:
    """Rows by table, in the order in which they may be inserted."""

    of: dict[Any, list[dict[str, Any]]] = field(
        default_factory=lambda: {
            table: []
            for table in (
                *(Study, StudyName, Instance, Job, Blob, Prediction, Review, ReviewSeen),
                Signature,
            )
        }
    )

    def write(self, session: Session) -> None:
        """Insert them all, table by table."""
        for table, rows in self.of.items():
            if rows:
                session.execute(insert(table), rows)
            rows.clear()
        session.commit()


def add_staff(session: Session, team: str = "Radiology") -> Staff:
    """Two readers and a technologist of a team."""
    people = [
        add_person(session, role, f"{name}@example.org", name=name.title(), team=team)
        for name, role in (
            ("first.reader", Role.READER),
            ("second.reader", Role.READER),
            ("technologist", Role.TECHNOLOGIST),
        )
    ]
    session.commit()
    return Staff(people[0].team_id, (people[0].id, people[1].id), people[2].id)


def fill(core: Core, staff: Staff, count: int, now: datetime, *, seed: int = 1) -> None:
    """Add `count` exams, the last of them a minute ago and each three minutes after the one before;
    the newest three in a hundred, and some older ones, are unread.
    """
    chance = random.Random(seed)
    with core.sessions() as session:
        model = ModelVersion(name="benchmark", version="1", sha256="ab" * 32, created=now)
        session.add(model)
        session.commit()
        rows = _Rows()
        for number in range(count):
            at = now - timedelta(minutes=1 + 3 * (count - number))
            _exam(rows, core.vault, staff, model.id, number, at, chance)
            if number % _AT_ONCE == _AT_ONCE - 1:
                rows.write(session)
        rows.write(session)
    settle(core.engine)


def settle(engine: Engine) -> None:
    """What a database does for itself after a while: statistics, and pages known to be visible."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
            connection.execute(text("CHECKPOINT"))
        return
    raw = engine.raw_connection()  # outside of a transaction
    for statement in ("ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"):
        raw.cursor().execute(statement).fetchall()
    raw.close()


def _kind(chance: random.Random) -> str:
    names = [name for name, _ in _KINDS]
    return chance.choices(names, [weight for _, weight in _KINDS])[0]


def _exam(
    rows: _Rows,
    vault: Vault,
    staff: Staff,
    model: UUID,
    number: int,
    at: datetime,
    chance: random.Random,
) -> None:
    kind = _kind(chance)
    is_read = kind != "open" and chance.random() < READ_SHARE / 0.98
    study_id, picture = uuid4(), uuid4()
    reader = staff.readers[number % 2]
    side = chance.choice(("right", "left", "both")) if kind in ("likely", "possible") else None
    study, name = _study(vault, staff, study_id, number, at, chance)
    band = Band(kind) if kind in ("likely", "possible", "none_found") else None
    is_without = kind in ("refused", "failed")
    positive = band in (Band.LIKELY, Band.POSSIBLE)
    verdict = _verdict(chance) if is_read else VerdictState.AI_ONLY
    arrived = at.timestamp()
    study |= {
        "rank": READ if is_read else POSITIVE if positive else UNAIDED if is_without else REST,
        "weight": -arrived if is_read else arrived + (1e10 if band is Band.POSSIBLE else 0.0),
        "is_read": is_read,
        "is_seen": is_read,
        "is_without_result": is_without,
        "band": band,
        "side": side,
        "size": chance.choice(list(SizeClass)) if positive else None,
        "verdict": verdict,
        "reader_id": reader if is_read else None,
        "model_id": None if kind in ("failed", "open") else model,
    }
    rows.of[Study].append(study)
    rows.of[StudyName] += [
        {"study_id": one.study_id, "key": one.key}
        for one in patient_names.rows(vault, study_id, name)
    ]
    _picture(rows, vault, staff, study_id, picture, at)
    _jobs(rows, study_id, picture, kind, at)
    prediction = None
    if kind not in ("failed", "open"):
        prediction = _prediction(rows, picture, model, band, side, at, chance)
    if is_read:
        review = _review(rows, study_id, picture, prediction, reader, side, at)
        if verdict is not VerdictState.PRELIMINARY:
            _signatures(rows, study_id, review, reader, at, verdict)


def _verdict(chance: random.Random) -> VerdictState:
    """That of an exam that was read."""
    if chance.random() > _SIGNED_SHARE:
        return VerdictState.PRELIMINARY
    return VerdictState.AMENDED if chance.random() < _AMENDED_SHARE else VerdictState.FINAL


def _study(
    vault: Vault, staff: Staff, study_id: UUID, number: int, at: datetime, chance: random.Random
) -> tuple[dict[str, Any], str]:
    """The exam's columns, and its patient's name."""
    data_key, wrapped = vault.new_data_key(study_id)
    patient = f"P{number % 40_000:06d}"
    family = chance.choice(_NAMES)
    if number % 10:
        family += f" {number % _FAMILIES}"
    phi = {
        "patient_name": f"{family}, {number % 40_000}",
        "patient_id": patient,
        "birth_date": "1961-05-04",
        "sex": "F",
        "study_date": at.date().isoformat(),
        "accession": f"A{number:07d}",
    }
    keys = {"patient_id": patient, "accession": phi["accession"], "study_uid": f"1.2.{number}"}
    described = Study(id=study_id)
    header_columns.describe_study(vault, described, phi, keys, int(at.timestamp()))
    columns = ("patient_key", "patient_id_key", "accession_key", "study_uid_key", "acquired")
    values = {name: getattr(described, name) for name in (*columns, "sex", "age_band")}
    return {
        **values,
        "id": study_id,
        "team_id": staff.team,
        "uploaded_by": staff.technologist,
        "created": at,
        "case_number": study_id.hex[:6].upper(),
        "wrapped_key": wrapped.wrapped,
        "key_id": wrapped.key_id,
        "sealed_phi": sealed_fields.seal_phi(vault, data_key, study_id, phi),
    }, phi["patient_name"]


def _picture(
    rows: _Rows, vault: Vault, staff: Staff, study_id: UUID, picture: UUID, at: datetime
) -> None:
    data_key, wrapped = vault.new_data_key(study_id, picture)
    facts = {"rows": 2048, "columns": 2048, "view": "PA", "spacing": None, "notes": []}
    rows.of[Instance].append(
        {
            "id": picture,
            "study_id": study_id,
            "arrived_in": study_id,
            "team_id": staff.team,
            "uploaded_by": staff.technologist,
            "wrapped_key": wrapped.wrapped,
            "key_id": wrapped.key_id,
            "content_key": picture.hex,
            "media_type": "application/dicom",
            "size": 1,
            "rows": 2048,
            "columns": 2048,
            "view": View.PA,
            "sealed_phi": sealed_fields.seal_picture_phi(vault, data_key, picture, {}),
            "sealed_facts": sealed_fields.seal_facts(vault, data_key, picture, facts),
            "created": at,
        }
    )
    blob_id = uuid4()
    data = bytes(_THUMB)
    name = vault.put(data_key, blob_id=blob_id, kind=BlobKind.THUMB, attempt=1, data=data)
    rows.of[Blob].append(
        {
            "id": blob_id,
            "instance_id": picture,
            "attempt": 1,
            "kind": BlobKind.THUMB,
            "name": name,
            "size": _THUMB,
            "media_type": "image/jpeg",
            "current": True,
            "created": at,
        }
    )


def _jobs(rows: _Rows, study_id: UUID, picture: UUID, kind: str, at: datetime) -> None:
    for job_kind in (JobKind.RENDER, JobKind.SEGMENT):
        is_last = job_kind is JobKind.SEGMENT
        state = JobState.DONE
        if is_last and kind in ("failed", "open"):
            state = JobState.FAILED if kind == "failed" else JobState.QUEUED
        rows.of[Job].append(
            {
                "id": uuid4(),
                "kind": job_kind,
                "state": state,
                "study_id": study_id,
                "instance_id": picture,
                "idempotency_key": f"{job_kind.value}:{picture.hex}",
                "error_code": "gave_up" if state is JobState.FAILED else None,
                "queued_at": at,
                "rung_at": at,
                "created": at,
            }
        )


def _prediction(
    rows: _Rows,
    picture: UUID,
    model: UUID,
    band: Band | None,
    side: str | None,
    at: datetime,
    chance: random.Random,
) -> UUID:
    row, job = uuid4(), rows.of[Job][-1]  # the picture's segment job
    measured: dict[str, object] = {
        "area_px": 900,
        "side": side,
        "distance_mm": None,
        "components": [],
        "extents": [],
    }
    rows.of[Prediction].append(
        {
            "id": row,
            "instance_id": picture,
            "model_id": model,
            "job_id": job["id"],
            "attempt": 1,
            "probability": chance.random() if band else None,
            "band": band,
            "side": side,
            "measurements": measured if band else None,
            "quality_verdict": QualityVerdict.FIT if band else QualityVerdict.REFUSED,
            "quality": {"reasons": [] if band else [{"code": "lateral", "message": "a lateral"}]},
            "statistics": {},
            "created": at + timedelta(seconds=20),
        }
    )
    return row


def _review(
    rows: _Rows,
    study_id: UUID,
    picture: UUID,
    prediction: UUID | None,
    reader: UUID,
    side: str | None,
    at: datetime,
) -> UUID:
    review = uuid4()
    rows.of[Review].append(
        {
            "id": review,
            "study_id": study_id,
            "reader_id": reader,
            "finding": Finding(side or "none"),
            "verdict": Verdict.AGREE if prediction else Verdict.UNAIDED,
            "created": at + timedelta(minutes=20),
        }
    )
    rows.of[ReviewSeen].append(
        {"review_id": review, "instance_id": picture, "prediction_id": prediction}
    )
    return review


def _signatures(
    rows: _Rows, study_id: UUID, review: UUID, reader: UUID, at: datetime, verdict: VerdictState
) -> None:
    """Of an amended exam a further review, with a signature after the first."""
    signed = at + timedelta(minutes=21)
    before = None
    while True:
        signature = uuid4()
        rows.of[Signature].append(
            {
                "id": signature,
                "study_id": study_id,
                "review_id": review,
                "signer_id": reader,
                "before_id": before,
                "proof": ProofMethod.PASSWORD_CODE,
                "proved_at": signed,
                "hashes": {},
                "view": None,
                "created": signed,
            }
        )
        if verdict is not VerdictState.AMENDED or before is not None:
            return
        before, signed = signature, signed + timedelta(hours=1)
        review = _again(rows, review, signed)


def _again(rows: _Rows, review: UUID, at: datetime) -> UUID:
    """The newest review once more, at another time."""
    again = uuid4()
    (first, seen) = rows.of[Review][-1], rows.of[ReviewSeen][-1]
    assert first["id"] == review
    rows.of[Review].append(first | {"id": again, "created": at})
    rows.of[ReviewSeen].append(seen | {"review_id": again})
    return again


def main() -> int:
    """Fill a new data folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--exams", type=int, default=100_000)
    parser.add_argument("--database-url", default="")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    given = {"DATABASE_URL": chosen.database_url} if chosen.database_url else {}
    settings, now = make_settings(chosen.folder, **given), datetime.now(UTC)
    migrate(settings)
    core = open_core(chosen.folder, settings.database_url)
    with core.sessions() as session:
        staff = add_staff(session)
        _, token = invitations.invite(
            *(session, None),
            name="Reader",
            email="reader@example.org",
            role=Role.READER,
            team="Radiology",
            now=now,
        )
    fill(core, staff, chosen.exams, now)
    print(f"/join/{token}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
