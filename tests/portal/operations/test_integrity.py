"""`vault verify`: each kind of damage is found and named by ids; what is whole is left in peace."""

import os
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Column, Enum, select, text

from portal.accounts import break_glass
from portal.accounts.throttle import Throttle
from portal.governance import purges
from portal.models import (
    Base,
    Blob,
    BlobKind,
    BreakGlass,
    HospitalReport,
    Instance,
    PurgeReason,
    Review,
    ReviewDraft,
    Study,
    User,
)
from portal.models.base import UtcDateTime
from portal.operations import background_check, integrity, key_rotation
from portal.reading import reviews
from tests.portal.vault.test_vault import files
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import add_node, give
from tests.support.hostile_files.damage import flipped
from tests.support.queries.damaged_pages import overwrite_pages
from tests.support.wait import only_on_sqlite


def inspect(clinic: Clinic) -> integrity.Report:
    with clinic.session as session:
        return integrity.inspect(
            session, clinic.vault, after(hours=2), progress=lambda _done, _all: None
        )


def reviewed(clinic: Clinic) -> UUID:
    study_id = clinic.done()
    with clinic.session as session:
        reviews.add_review(
            session, clinic.vault, clinic.mate, study_id, finding="unsure", comment="words", now=NOW
        )
    return study_id


def path_of(clinic: Clinic, study_id: UUID, kind: BlobKind) -> tuple[UUID, Path]:
    with clinic.session as session:
        blob = session.scalars(
            select(Blob)
            .join(Instance, Instance.id == Blob.instance_id)
            .where(Instance.study_id == study_id, Blob.kind == kind)
        ).one()
    return blob.id, clinic.core.data_dir / "blobs" / blob.name[:2] / blob.name


def found(report: integrity.Report) -> list[tuple[str, str, UUID | None]]:
    return [(one.problem, one.what, one.row_id) for one in report.findings]


def test_what_is_whole_has_no_findings_and_everything_was_opened(clinic: Clinic) -> None:
    studies = [reviewed(clinic) for _ in range(3)]
    clinic.submit()
    seen: list[tuple[int, int]] = []
    with clinic.session as session:
        report = integrity.inspect(
            session,
            clinic.vault,
            after(hours=2),
            progress=lambda done, total: seen.append((done, total)),
        )
    assert (report.findings, report.orphans) == ([], [])
    assert report.studies == len(studies) + 1
    assert report.files == len(files(clinic.core.data_dir)) == 19
    # Patients of studies and pictures, facts, comments, and by what pictures were judged.
    assert report.values == 4 + 4 + 3 + 3 + 4
    assert seen == [(n, 4) for n in range(1, 5)]


def test_a_flipped_byte_a_lost_and_a_swapped_file_are_named(clinic: Clinic) -> None:
    one, two = reviewed(clinic), reviewed(clinic)
    flipped, path = path_of(clinic, one, BlobKind.MASK)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    lost, path = path_of(clinic, one, BlobKind.SOURCE)
    path.unlink()
    first, this = path_of(clinic, one, BlobKind.PREVIEW)
    second, that = path_of(clinic, two, BlobKind.PREVIEW)
    before = this.read_bytes()
    this.write_bytes(that.read_bytes())
    that.write_bytes(before)
    cut, path = path_of(clinic, two, BlobKind.PIXELS)
    os.truncate(path, 10)
    report = inspect(clinic)
    assert sorted(found(report)) == sorted(
        [
            ("damaged", "mask", flipped),
            ("missing", "source", lost),
            ("damaged", "preview", first),
            ("damaged", "preview", second),
            ("damaged", "pixels", cut),
        ]
    )
    assert report.orphans == []


def test_damaged_sealed_values_are_named(clinic: Clinic) -> None:
    study_id = reviewed(clinic)
    with clinic.session as session:
        instance = session.scalars(select(Instance).where(Instance.study_id == study_id)).one()
        review = session.scalars(select(Review).where(Review.study_id == study_id)).one()
        study = session.get_one(Study, study_id)
        assert study.sealed_phi is not None
        study.sealed_phi = flipped(study.sealed_phi)
        instance.sealed_facts = b"x"
        session.add(
            ReviewDraft(
                reader_id=clinic.mate.user_id,
                instance_id=instance.id,
                sealed_rulers=b"z",
                updated=NOW,
            )
        )
        user = session.get_one(User, clinic.mate.user_id)
        user.sealed_totp = clinic.vault.seal_totp(clinic.owner.user_id, "SECRET")  # another's
        session.commit()
        if clinic.core.engine.dialect.name == "sqlite":
            session.execute(text("DROP TRIGGER reviews_update"))
        else:
            session.execute(text("ALTER TABLE reviews DISABLE TRIGGER USER"))
        review.sealed_comment = b"y"
        session.commit()
    assert sorted(found(inspect(clinic))) == sorted(
        [
            ("damaged", "studies.sealed_phi", study_id),
            ("damaged", "instances.sealed_facts", instance.id),
            ("damaged", "reviews.sealed_comment", review.id),
            ("damaged", "review_drafts.sealed_rulers", instance.id),
            ("damaged", "users.sealed_totp", clinic.mate.user_id),
        ]
    )


def test_a_damaged_reason_of_emergency_access_is_named(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        asked = {
            "case": str(study_id),
            "reason": "emergency",
            "explanation": "Bed 4, patient worse.",
        }
        break_glass.open_case(
            session,
            clinic.vault,
            Throttle(),
            clinic.admin,
            **asked,
            now=NOW,
            lifetime=timedelta(hours=1),
        )
    assert found(inspect(clinic)) == []
    with clinic.session as session:
        grant = session.scalars(select(BreakGlass)).one()
        grant.sealed_words = flipped(grant.sealed_words)
        session.commit()
        grant_id = grant.id
    assert found(inspect(clinic)) == [("damaged", "break_glass.sealed_words", grant_id)]


def test_a_study_whose_key_does_not_open_is_named_once(clinic: Clinic) -> None:
    study_id = reviewed(clinic)
    with clinic.session as session:
        session.get_one(Study, study_id).wrapped_key = b"x" * 60
        session.commit()
    assert found(inspect(clinic)) == [("key", "studies.wrapped_key", study_id)]


def test_a_file_of_nobody_is_an_orphan_once_it_is_old(clinic: Clinic) -> None:
    reviewed(clinic)
    name = f"{uuid4().hex}-0"
    path = clinic.core.data_dir / "blobs" / name[:2] / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"PLB1")
    os.utime(path, (after(hours=3).timestamp(),) * 2)
    assert inspect(clinic).orphans == []  # younger than an hour at the time of the look
    os.utime(path, (NOW.timestamp(),) * 2)
    report = inspect(clinic)
    assert report.orphans == [name]
    assert report.findings == []


def test_findings_name_ids_and_nothing_else(clinic: Clinic) -> None:
    study_id = reviewed(clinic)
    blob_id, path = path_of(clinic, study_id, BlobKind.SOURCE)
    path.unlink()
    (finding,) = inspect(clinic).findings
    assert str(finding) == f"missing: source {blob_id} of study {study_id}"


def test_a_damaged_page_is_listed_and_stops_nothing(clinic: Clinic) -> None:
    if clinic.core.engine.dialect.name != "sqlite":
        pytest.skip("overwrites a page of SQLite's file")
    studies = [reviewed(clinic) for _ in range(8)]
    with clinic.session as session:
        of_study = session.get_one(Study, studies[0]).wrapped_key
        last = session.scalars(select(Instance).where(Instance.study_id == studies[-1])).one()
        user = session.get_one(User, clinic.mate.user_id)
        user.sealed_totp = b"no longer what was sealed"
        session.commit()
    assert of_study is not None
    lost, path = path_of(clinic, studies[-1], BlobKind.SOURCE)
    path.unlink()
    assert overwrite_pages(clinic.core.engine, of_study) == 1
    problems = background_check.problems(clinic.core.engine, clinic.vault)
    assert any(one.startswith("database: ") for one in problems)
    report = inspect(clinic)
    unreadable = {one.study_id for one in report.findings if one.problem == "unreadable"}
    assert studies[0] in unreadable
    assert len(unreadable) < report.studies == len(studies)
    assert ("missing", "source", lost) in found(report)
    assert ("damaged", "users.sealed_totp", clinic.mate.user_id) in found(report)
    assert report.orphans == []
    assert last.id not in {one.row_id for one in report.findings}


@pytest.mark.timeout(120)
def test_rotation_and_purges_meanwhile_are_no_findings(clinic: Clinic) -> None:
    doomed = [clinic.done() for _ in range(6)]
    others = [clinic.done() for _ in range(2)]
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            clinic.vault.add_key(NOW)
            with clinic.session as session:
                key_rotation.rewrap(session, clinic.vault, NOW)
            if doomed:
                with clinic.session as session:
                    purges.purge(
                        *(session, clinic.vault, clinic.admin, doomed.pop(), NOW),
                        reason=PurgeReason.TEST_DATA,
                    )
            time.sleep(0.01)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        rounds = 0
        while doomed or rounds < 3:
            assert thread.is_alive()
            assert inspect(clinic).findings == []
            rounds += 1
    finally:
        stop.set()
        thread.join()
    assert inspect(clinic).studies == len(others)


def test_orders_and_reports_of_the_hospital_are_opened(clinic: Clinic) -> None:
    add_node(clinic)
    clinic.submit()
    give(clinic.core, made.orm(), made.oru())
    assert inspect(clinic).findings == []
    with clinic.session as session:
        row = session.scalars(select(HospitalReport)).one()
        row.sealed_text = row.sealed_text[:-1] + bytes([row.sealed_text[-1] ^ 1])
        session.commit()
    found = inspect(clinic).findings
    assert [(one.problem, one.what) for one in found] == [
        ("damaged", "hospital_reports.sealed_text")
    ]


SEALED = sorted(
    (table.name, column.name)
    for table in Base.metadata.tables.values()
    for column in table.columns
    # Opened with the file of its row: test_quarantine.
    if column.name.startswith("sealed_") and table.name != "quarantined_files"
)


@pytest.mark.parametrize(("table", "column"), SEALED)
def test_every_sealed_column_is_opened(clinic: Clinic, table: str, column: str) -> None:
    """Of each table a row whose value does not open, made of what its columns are."""
    only_on_sqlite(clinic.core.engine)
    found_in = Base.metadata.tables[table]
    study_id = clinic.done()
    with clinic.session as session:
        instance = session.scalars(select(Instance)).one()
        real = {
            "studies": study_id,
            "instances": instance.id,
            "users": clinic.owner.user_id,
            "teams": clinic.owner.team_id,
        }
        session.rollback()
    with clinic.core.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        for pragma in ("foreign_keys = OFF", "ignore_check_constraints = ON"):
            raw.execute(f"PRAGMA {pragma}")
        if not connection.execute(found_in.update().values({column: b"x"})).rowcount:
            row = {one.name: _any(one, real) for one in found_in.columns if not one.nullable}
            connection.execute(found_in.insert().values(row | {column: b"x"}))
        connection.commit()
        connection.invalidate()
    report = inspect(clinic)
    assert ("damaged", f"{table}.{column}") in {one[:2] for one in found(report)}


def _any(column: Column[Any], real: dict[str, UUID]) -> object:
    """A value of this column: the row that it names where that is known, else any of its kind."""
    for key in column.foreign_keys:
        return real.get(key.column.table.name, uuid4())
    if isinstance(column.type, Enum):
        assert column.type.enum_class is not None
        return next(iter(column.type.enum_class))
    if isinstance(column.type, UtcDateTime):
        return NOW
    kinds = {UUID: uuid4(), str: "x", bytes: b"x", int: 1, bool: False, float: 1.0}
    return kinds.get(column.type.python_type, [])
