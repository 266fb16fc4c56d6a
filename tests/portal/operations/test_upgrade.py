"""What the version before left is opened by this one, from its data folder and from its backup."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import create_engine, func, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, permissions_of
from portal.accounts import break_glass
from portal.audit import verification
from portal.formats.header_pool import HeaderPool
from portal.governance import joins, legal_holds, purges
from portal.models import (
    Blob,
    BlobKind,
    BreakGlass,
    Hold,
    Instance,
    Prediction,
    Purge,
    PurgeReason,
    Review,
    ReviewSeen,
    Role,
    Study,
    View,
)
from portal.operations import integrity, key_rotation, restore, upgrade
from portal.reading import case, worklist
from portal.settings import Settings
from portal.settings.secret_files import new_key_ring
from portal.studies.status import State
from portal.vault import Vault
from tests.portal.vault.test_vault import files
from tests.support import version_before
from tests.support.clinic import after
from tests.support.version_before import VersionBefore
from tests.support.wait import noted_while_waiting

LATER = after(days=2)


@dataclass
class Record:
    """The record of the version before, in tables of this one."""

    before: VersionBefore
    settings: Settings
    sessions: Callable[[], Session]
    vault: Vault

    def actor(self, name: str, role: Role) -> Actor:
        with self.sessions() as session:
            team = session.scalars(select(Study.team_id)).first()
        assert team is not None
        return Actor(self.before.people[name], team, role, permissions_of(role), uuid4())

    def upgrade(self) -> upgrade.Upgraded:
        with self.sessions() as session:
            return upgrade.upgrade(session, self.vault, LATER, progress=lambda _done, _all: None)

    def study(self, name: str) -> Study:
        with self.sessions() as session:
            return session.get_one(Study, self.before.studies[name])


def open_record(before: VersionBefore, data_dir: Path, address: str, key_ring: str) -> Record:
    settings = Settings.from_env(
        {
            "PLEURA_ENV": "test",
            "PLEURA_DATA_DIR": str(data_dir),
            "DATABASE_URL": address,
            "PLEURA_KEY_RING": key_ring,
        }
    )
    engine, vault = database.open_engine(settings), Vault(settings)
    audit.bind(engine, vault.audit_key())
    return Record(before, settings, database.sessions(engine), vault)


@pytest.fixture(params=["folder", "backup", pytest.param("postgres", marks=pytest.mark.postgres)])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Record]:
    """Its data folder, or its backup in an empty host of either database; migrated."""
    before = version_before.unpack(tmp_path)
    if request.param == "folder":
        found = open_record(before, before.data_dir, before.database_url, before.key_ring)
        database.upgrade(database.open_engine(found.settings))
        yield found
        return
    address, name = f"sqlite:///{tmp_path / 'other.db'}", f"before_{uuid4().hex}"
    server = None
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        server = create_engine(url, isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        address = make_url(url).set(database=name).render_as_string(hide_password=False)
    found = open_record(before, tmp_path / "other", address, before.key_ring)
    engine = database.open_engine(found.settings)
    audit.bind(engine, found.vault.audit_key())
    done = restore.restore(
        engine, found.vault, before.backup_key, before.backup, LATER, progress=lambda _d, _a: None
    )
    assert done.log.is_whole
    yield found
    engine.dispose()
    if server is not None:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


def digests(record: Record) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files(record.settings.data_dir)
    }


def test_everything_opens_and_no_file_was_touched(record: Record) -> None:
    before = digests(record)
    assert before
    done = record.upgrade()
    assert (done.joined, done.unreadable) == (2, [])  # the lateral view, and the second twin
    assert digests(record) == before
    with record.sessions() as session:
        report = integrity.inspect(session, record.vault, LATER, progress=lambda _done, _all: None)
        assert verification.verify(session).is_whole
        assert not session.scalars(select(Study).where(Study.needs_upgrade)).all()
    assert report.findings == []
    assert report.files == len(before)
    again = record.upgrade()
    assert (again.studies, again.joined) == (0, 0)


def test_nothing_is_locked_while_headers_are_read(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = noted_while_waiting(monkeypatch, database.open_engine(record.settings))
    record.upgrade()
    assert len(noted) > 3
    assert all(free for _, free in noted)


def test_a_file_that_changes_while_headers_are_read_is_read_anew(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row gets another id, as of a file that was sent again."""
    changed, ask = list[UUID](), HeaderPool.ask

    def change_once(pool: HeaderPool, *args: Any, **named: Any) -> Any:
        if not changed:
            with record.sessions() as session:
                study = session.scalars(select(Study).where(Study.needs_upgrade)).first()
                assert study is not None
                changed.append(study.id)
                blob = session.scalars(
                    select(Blob)
                    .join(Instance, Instance.id == Blob.instance_id)
                    .where(Instance.study_id == study.id, Blob.kind == BlobKind.SOURCE)
                ).one()
                session.execute(update(Blob).where(Blob.id == blob.id).values(current=False))
                session.commit()
        return ask(pool, *args, **named)

    monkeypatch.setattr(HeaderPool, "ask", change_once)
    done = record.upgrade()
    assert done.unreadable == []
    with record.sessions() as session:
        picture = session.scalars(select(Instance).where(Instance.arrived_in == changed[0])).one()
        assert picture.key_id is not None
        assert picture.series_uid_key is None, "nothing is taken from the file of before"


def test_two_cases_of_one_study_uid_are_one_exam_with_both_reviews(record: Record) -> None:
    record.upgrade()
    ids, reader = record.before.studies, record.actor("mate", Role.READER)
    with record.sessions() as session:
        view = case.open_study(session, record.vault, reader, ids["lateral"], LATER)
        by_id = case.open_study(session, record.vault, reader, ids["frontal"], LATER)
        rows = worklist.worklist(session, record.vault, reader, now=LATER).rows
    assert view.study_id == by_id.study_id == ids["frontal"]
    assert [picture.view for picture in view.pictures] == [View.PA, View.LL]
    assert by_id.picture.view is View.PA
    assert view.picture.view is View.LL  # the old address still means its own picture
    assert view.state.state is State.DONE
    assert [review.comment for review in view.reviews] == [
        "Small apical pneumothorax on the right.",
        "Lateral view only.",
    ]
    listed = {row.study_id for row in rows}
    assert ids["frontal"] in listed
    assert not listed & {ids["lateral"], ids["twin_second"]}
    assert record.study("frontal").is_read
    with record.sessions() as session:
        seen = session.execute(
            select(Review.study_id, Instance.arrived_in, Prediction.instance_id)
            .join(ReviewSeen, ReviewSeen.review_id == Review.id)
            .join(Instance, Instance.id == ReviewSeen.instance_id)
            .join(Prediction, Prediction.id == ReviewSeen.prediction_id)
        ).all()
        pictures = dict(session.execute(select(Instance.arrived_in, Instance.id)).all())
    assert {row[0] for row in seen} == {ids["frontal"], ids["lateral"]}
    assert all((first, pictures[first]) == (came, seen_of) for first, came, seen_of in seen)


def test_different_pictures_of_one_sop_uid_point_at_each_other(record: Record) -> None:
    record.upgrade()
    reader = record.actor("mate", Role.READER)
    with record.sessions() as session:
        twins = record.before.studies["twin_first"], record.before.studies["twin_second"]
        view = case.open_study(session, record.vault, reader, twins[1], LATER)
        rows = session.scalars(
            select(Instance).where(Instance.arrived_in.in_(twins)).order_by(Instance.created)
        ).all()
    assert view.shares_uid
    assert len(view.pictures) == 2
    assert [row.same_uid_as for row in rows] == [None, rows[0].id]


def test_priors_are_of_the_same_issuer_and_in_the_order_of_acquisition(record: Record) -> None:
    record.upgrade()
    frontal, prior = record.study("frontal"), record.study("prior")
    other = record.study("other_issuer")
    assert frontal.patient_key == prior.patient_key != other.patient_key
    assert frontal.patient_id_key == prior.patient_id_key == other.patient_id_key
    assert frontal.acquired is not None
    assert prior.acquired is not None
    # 2025-11-05 08:00:00 to 2026-03-01 10:15:10 by the clocks of the place
    assert frontal.acquired - prior.acquired == 116 * 86400 + 2 * 3600 + 15 * 60 + 10
    waiting = record.study("waiting")
    assert (waiting.sex.value, waiting.age_band) == ("M", 10)
    assert record.study("png").acquired is None
    reader = record.actor("mate", Role.READER)
    with record.sessions() as session:
        view = case.open_study(session, record.vault, reader, frontal.id, LATER)
        found = worklist.worklist(session, record.vault, reader, query="P-1", now=LATER)
    assert [one.study_id for one in view.priors] == [prior.id]
    assert found.total == 3


def test_holds_purges_and_emergency_access_are_as_they_were(record: Record) -> None:
    record.upgrade()
    ids, admin = record.before.studies, record.actor("admin", Role.ADMIN)
    auditor = record.actor("auditor", Role.AUDITOR)
    with record.sessions() as session:
        assert legal_holds.held(session, ids["held"]) is not None
        assert session.scalar(select(func.count()).select_from(Hold)) == 1
        assert purges.is_genuine(session, session.get_one(Purge, ids["purged"]))
        assert purges.residual_data(session, record.vault, ids["purged"]).is_empty
        (grant,) = break_glass.grants(
            session, record.vault, auditor, after(minutes=58), also=_grants(session)
        )
        assert grant.case_number == ids["prior"].hex[:6].upper()
        assert grant.explanation == "Bed 4, patient worse."
        purges.purge(
            session,
            record.vault,
            admin,
            ids["lateral"],
            LATER,
            reason=PurgeReason.TEST_DATA,
        )
        assert purges.residual_data(session, record.vault, ids["frontal"]).is_empty
    assert record.study("lateral").wrapped_key is None


def _grants(session: Session) -> list[UUID]:
    return list(session.scalars(select(BreakGlass.id)))


def test_keys_rotate_and_pictures_are_read_afterwards(tmp_path: Path) -> None:
    before = version_before.unpack(tmp_path)
    ring = tmp_path / "version-0.1" / "var" / "keys" / "key_ring.json"
    settings = Settings.from_env(
        {
            "PLEURA_ENV": "test",
            "PLEURA_DATA_DIR": str(before.data_dir),
            "DATABASE_URL": before.database_url,
            "PLEURA_KEY_RING_FILE": str(ring),
        }
    )
    engine, vault = database.open_engine(settings), Vault(settings)
    audit.bind(engine, vault.audit_key())
    database.upgrade(engine)
    record = Record(before, settings, database.sessions(engine), vault)
    record.upgrade()
    acquired = record.study("frontal").acquired
    new = vault.add_key(LATER)
    with record.sessions() as session:
        done = key_rotation.rewrap(session, vault, LATER)
        assert key_rotation.keys_in_use(session, vault) == {new}
    assert done.pictures == done.studies > 0
    fresh = Vault(settings)
    reader = record.actor("mate", Role.READER)
    with record.sessions() as session:
        for name in ("frontal", "lateral", "twin_first"):
            study_id = before.studies[name]
            read = case.read_blob(session, fresh, reader, study_id, BlobKind.PIXELS, LATER)
            assert read.data
    assert fresh.acquired(0) == vault.acquired(0)
    assert acquired == record.study("frontal").acquired
    engine.dispose()


class Killed(Exception):
    """What stands for a kill."""


@pytest.mark.parametrize("commits", [1, 4, 8, 11])
def test_stopped_anywhere_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    ends = []
    for name in ("whole", "stopped"):
        before = version_before.unpack(tmp_path / name)
        record = open_record(before, before.data_dir, before.database_url, before.key_ring)
        database.upgrade(database.open_engine(record.settings))
        if name == "stopped":
            left, commit = [commits], Session.commit

            def counted(session: Session, left: list[int] = left, commit: Any = commit) -> None:
                left[0] -= 1
                if left[0] < 0:
                    session.rollback()
                    raise Killed
                commit(session)

            with monkeypatch.context() as patched:
                patched.setattr(Session, "commit", counted)
                with pytest.raises(Killed):
                    record.upgrade()
        record.upgrade()
        ends.append(_end(record))
    assert ends[0] == ends[1]


def _end(record: Record) -> dict[str, Any]:
    """Everything but what is random or depends on when it was done."""
    left_out = {"wrapped_key", "sealed_phi", "changed"}
    with record.sessions() as session:
        found = {
            table.__tablename__: [
                {
                    column.name: str(getattr(row, column.name))
                    for column in table.__table__.columns
                    if column.name not in left_out
                }
                for row in session.scalars(select(table).order_by(*table.__table__.primary_key))
            ]
            for table in (Study, Instance, ReviewSeen)
        }
        report = integrity.inspect(session, record.vault, LATER, progress=lambda _d, _a: None)
        assert verification.verify(session).is_whole
    return found | {"findings": report.findings, "files": report.files}


def test_a_study_that_does_not_open_is_named_and_stands_in_no_others_way(tmp_path: Path) -> None:
    before = version_before.unpack(tmp_path)
    record = open_record(before, before.data_dir, before.database_url, before.key_ring)
    database.upgrade(database.open_engine(record.settings))
    broken = before.studies["frontal"]
    with record.sessions() as session:
        row = session.get_one(Study, broken)
        whole, row.wrapped_key = row.wrapped_key, b"x" * 60
        session.commit()
    done = record.upgrade()
    assert done.unreadable == [broken]
    assert done.joined == 1
    assert record.study("lateral").joined_into is None
    with record.sessions() as session:
        session.get_one(Study, broken).wrapped_key = whole
        session.commit()
    again = record.upgrade()
    assert (again.studies, again.joined, again.unreadable) == (1, 1, [])
    with record.sessions() as session:
        report = integrity.inspect(session, record.vault, LATER, progress=lambda _d, _a: None)
    assert report.findings == []


def test_a_picture_that_was_joined_to_a_closed_study_keeps_its_own_key(tmp_path: Path) -> None:
    before = version_before.unpack(tmp_path)
    record = open_record(before, before.data_dir, before.database_url, before.key_ring)
    database.upgrade(database.open_engine(record.settings))
    closed = before.studies["frontal"]
    with record.sessions() as session:
        row = session.get_one(Study, closed)
        whole, row.wrapped_key = row.wrapped_key, b"x" * 60
        session.commit()
    assert record.upgrade().unreadable == [closed]
    with record.sessions() as session:
        joins.join(session, record.vault, None, closed, before.studies["lateral"], LATER)
        session.get_one(Study, closed).wrapped_key = whole
        session.commit()
    assert record.upgrade().unreadable == []
    with record.sessions() as session:
        report = integrity.inspect(session, record.vault, LATER, progress=lambda _d, _a: None)
    assert report.findings == []


def test_another_ring_opens_nothing_and_changes_nothing_for_good(tmp_path: Path) -> None:
    before = version_before.unpack(tmp_path)
    other = open_record(before, before.data_dir, before.database_url, new_key_ring())
    database.upgrade(database.open_engine(other.settings))
    assert len(other.upgrade().unreadable) == len(before.studies) - 1
    record = open_record(before, before.data_dir, before.database_url, before.key_ring)
    assert record.upgrade().unreadable == []
    with record.sessions() as session:
        report = integrity.inspect(session, record.vault, LATER, progress=lambda _d, _a: None)
    assert report.findings == []
