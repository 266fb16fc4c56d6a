"""Backup and the restore drill, on both databases: equal afterwards, or refused with a reason."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.engine import make_url

from portal import audit, database
from portal.accounts import api_tokens, break_glass, invitations, people, sessions
from portal.accounts.throttle import Throttle
from portal.audit import verification
from portal.dicom_network import nodes as dicom_nodes
from portal.governance import purges, quarantine
from portal.hl7 import nodes
from portal.jobs import worker_tokens
from portal.models import (
    AuditEvent,
    AuditLink,
    Blob,
    DicomNode,
    ExamLinkKey,
    Hl7Node,
    JobKind,
    PurgeReason,
    QuarantinedFile,
    Role,
    Study,
    Team,
    User,
)
from portal.operations import backup, key_rotation
from portal.operations import restore as restoring
from portal.operations.encrypted_stream import Opener, UnusableBackup
from portal.operations.table_dump import TABLES, digest_of
from portal.reading import case, reviews
from portal.settings import Settings
from portal.settings.secret_files import new_backup_key, new_key_ring
from portal.teams import exam_links
from portal.vault import Vault
from tests.portal.vault.test_vault import files
from tests.support.audit_log import disarm, fill, link
from tests.support.clinic import Clinic, after
from tests.support.core import NOW, Core
from tests.support.hl7.listening import add_node
from tests.support.hostile_files.damage import flipped
from tests.support.pictures import CANARY

KEY = new_backup_key()
CHUNK = 1024 * 1024 + 16


def silent(_done: int, _all: int) -> None:
    """Says nothing."""


def make(clinic: Clinic, path: Path) -> backup.BackupSummary:
    return backup.make(clinic.core.engine, clinic.vault, KEY, path, NOW, progress=silent)


@dataclass
class Host:
    """A host that nobody has used, with the key ring of the clinic."""

    core: Core

    def restore(self, path: Path, key: str = KEY) -> restoring.Restored:
        return restoring.restore(
            self.core.engine, self.core.vault, key, path, after(days=1), progress=silent
        )

    def is_untouched(self) -> bool:
        """Whether not a row and not a file came in."""
        with self.core.engine.connect() as connection:
            rows = sum(
                connection.scalar(select(func.count()).select_from(table)) or 0
                for table in TABLES
                if table.name not in ("audit_head", "audit_writers")
                and self.core.engine.dialect.has_table(connection, table.name)
            )
        return rows == 0 and files(self.core.data_dir) == [] and not self._staged()

    def _staged(self) -> list[Path]:
        return [p for p in (self.core.data_dir / "restoring").rglob("*") if p.is_file()]


def open_host(folder: Path, address: str, key_ring: str) -> Host:
    settings = Settings.from_env(
        {
            "PLEURA_ENV": "test",
            "PLEURA_DATA_DIR": str(folder),
            "DATABASE_URL": address,
            "PLEURA_KEY_RING": key_ring,
        }
    )
    engine, vault = database.open_engine(settings), Vault(settings)
    audit.bind(engine, vault.audit_key())
    return Host(Core(settings, vault, engine, database.sessions(engine)))


@pytest.fixture
def empty_address(
    request: pytest.FixtureRequest, database_url: str, quick_path: Path
) -> Iterator[str]:
    """An empty database of the same kind as the clinic's."""
    if database_url.startswith("sqlite"):
        yield f"sqlite:///{quick_path / 'other.db'}"
        return
    server = create_engine(request.getfixturevalue("postgres_url"), isolation_level="AUTOCOMMIT")
    name = f"empty_{uuid4().hex}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(database_url).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def host(clinic: Clinic, empty_address: str, quick_path: Path) -> Iterator[Host]:
    opened = open_host(quick_path / "other", empty_address, clinic.core.settings.read_key_ring())
    yield opened
    opened.core.engine.dispose()


def lived_in(clinic: Clinic) -> list[UUID]:
    """A clinic with studies in several states, reviews, a hold-free purge and a log."""
    named = clinic.submit(PatientName=CANARY).study_id
    clinic.segment(clinic.render(named))
    studies = [named, clinic.done(), clinic.submit().study_id]
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, studies[0]),
            finding="none",
            reason="skin_fold",
            comment="a comment",
            now=NOW,
        )
    with clinic.session as session:
        purges.purge(
            session, clinic.vault, clinic.admin, clinic.done(), NOW, reason=PurgeReason.OTHER
        )
        refused = quarantine.Reason("damaged")
        quarantine.keep(session, clinic.vault, clinic.owner, b"a refused picture", refused, NOW)
    return studies


def tallies(core: Core) -> dict[str, dict[str, object]]:
    with core.engine.connect() as connection:
        return {table.name: digest_of(connection, table).as_json() for table in TABLES}


# The drill


def test_the_restore_drill_rows_files_and_chain_are_equal(
    clinic: Clinic, host: Host, tmp_path: Path
) -> None:
    studies = lived_in(clinic)
    linked = link(clinic.core)
    fill(clinic.core, 2)  # rows that no sweep has linked yet
    before = tallies(clinic.core)
    made = make(clinic, tmp_path / "one.backup")
    done = host.restore(tmp_path / "one.backup")
    restored = tallies(host.core)
    # The restore itself is written down and linked, with what was not linked yet.
    changed = {"audit_events", "audit_writers", "audit_links", "audit_head"}
    assert {n: t for n, t in restored.items() if n not in changed} == {
        n: t for n, t in before.items() if n not in changed
    }
    assert made.rows == done.contents.rows == sum(int(t["rows"]) for t in before.values())
    ours, theirs = (
        {path.name: path.read_bytes() for path in files(folder)}
        for folder in (clinic.core.data_dir, host.core.data_dir)
    )
    assert ours == theirs
    assert made.blobs == len(ours) == 14
    with clinic.session as one, host.core.sessions() as other:
        length = restored["audit_events"]["rows"]
        old = {row.seq: row.mac for row in one.scalars(select(AuditEvent))}
        new = {row.seq: row.mac for row in other.scalars(select(AuditEvent))}
        assert [event for event in new if old.get(event) != new[event]] == [length]
        last = other.get_one(AuditEvent, length)
        assert last.event == "backup_restored"
        old_links = {row.position: row.mac for row in one.scalars(select(AuditLink))}
        new_links = {row.position: row.mac for row in other.scalars(select(AuditLink))}
        assert len(old_links) == linked
        assert old_links.items() <= new_links.items()
        assert verification.verify(other, after(days=2)).count == len(new_links) == length
        assert verification.verify(other, after(days=2)).is_whole
    with host.core.sessions() as session:
        view = case.open_study(session, host.core.vault, clinic.mate, studies[0], NOW)
        assert view.patient.patient_name == "CANARY, ZEBRA"
        assert view.reviews[0].comment == "a comment"
        blob = case.read_blob(session, host.core.vault, clinic.mate, studies[0], "mask", NOW)
        assert blob.data.startswith(b"\x89PNG")


def test_what_let_in_when_the_backup_was_made_lets_in_nobody(
    clinic: Clinic, host: Host, tmp_path: Path
) -> None:
    lifetime = timedelta(days=300)
    with clinic.session as session:
        mate = session.get_one(User, clinic.mate.user_id)
        _, link = invitations.invite(
            session, clinic.admin, name="N", email="n@example.org", role=Role.ADMIN, now=NOW
        )
        _, token = api_tokens.create_token(
            session, mate, scopes=["studies:read"], name="t", lifetime=lifetime, now=NOW
        )
        worker, raw = worker_tokens.create(
            session, name="w", queue=JobKind.RENDER, lifetime=lifetime, now=NOW
        )
        login = sessions.start_session(session, mate, address="", agent="", now=NOW)
    study_id = clinic.done()
    with clinic.session as session:
        asked = {
            "case": str(study_id),
            "reason": "emergency",
            "explanation": "Bed 4, patient worse.",
        }
        break_glass.open_case(
            session, clinic.vault, Throttle(), clinic.admin, **asked, now=NOW, lifetime=lifetime
        )
        key = exam_links.make_key(session, clinic.vault, clinic.admin, clinic.owner.team_id, NOW)
        dicom_nodes.add(
            session,
            clinic.admin,
            dicom_nodes.Described("CT", "CT1", clinic.owner.team_id, networks="127.0.0.1"),
            NOW,
        )
    node = add_node(clinic)
    make(clinic, tmp_path / "one.backup")
    with clinic.session as session:  # which the restored portal does not have
        exam_links.end_key(
            session, clinic.admin, clinic.owner.team_id, UUID(key.partition(".")[0]), NOW
        )
        nodes.switch(session, clinic.admin, node.id, NOW, on=False)
        invitations.accept_invitation(session, link, password="blue kettle on tuesday", now=NOW)
        people.disable(session, clinic.admin, mate.id, NOW)
        worker_tokens.revoke(session, clinic.admin, worker.id, NOW)
    host.restore(tmp_path / "one.backup")
    with host.core.sessions() as session:
        assert session.get_one(User, mate.id).disabled_at is None
        for later in (after(days=1), NOW):  # even by a clock that was set back
            assert sessions.load_session(session, login, later) is None
            assert api_tokens.load_token(session, token, later) is None
            assert worker_tokens.load(session, raw, later) is None
        assert invitations.open_invitation(session, link, after(days=1)) is None
        last = session.scalars(select(AuditEvent).order_by(AuditEvent.seq.desc()).limit(1)).one()
        restored = json.loads(last.detail)
        assert break_glass.under(session, clinic.admin, study_id, NOW).grant is None
        for table in (DicomNode, Hl7Node):
            assert session.scalars(select(table.disabled_at)).one() is not None
        assert session.scalars(select(ExamLinkKey.ended_at)).one() is not None
    ways = ("sessions", "links", "tokens", "worker_tokens", "grants")
    ways += ("link_keys", "dicom_nodes", "hl7_nodes")
    assert [restored[name] for name in ways] == [1] * 8
    assert restored["report_targets"] == 0


def test_a_backup_moves_from_one_kind_of_database_to_the_other(
    clinic: Clinic, quick_path: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if clinic.core.engine.dialect.name == "sqlite":
        pytest.skip("from PostgreSQL to SQLite is enough: the other way is the same lines")
    lived_in(clinic)
    make(clinic, tmp_path / "one.backup")
    ring = clinic.core.settings.read_key_ring()
    other = open_host(quick_path / "third", f"sqlite:///{quick_path / 'third.db'}", ring)
    assert other.restore(tmp_path / "one.backup").log.is_whole
    other.core.engine.dispose()


def test_a_backup_is_one_moment_although_people_go_on(
    clinic: Clinic, host: Host, tmp_path: Path
) -> None:
    lived_in(clinic)
    stop = threading.Event()
    sent = 0

    def go_on() -> None:
        nonlocal sent
        while not stop.is_set():
            study_id = clinic.submit().study_id
            sent += 1
            if sent % 3 == 0:
                with clinic.session as session:
                    purges.purge(
                        session, clinic.vault, clinic.admin, study_id, NOW, reason=PurgeReason.OTHER
                    )

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        while sent < 3:
            assert writer.is_alive()
        made = [make(clinic, tmp_path / f"{n}.backup") for n in range(3)]
    finally:
        stop.set()
        writer.join()
    assert all(one.missing == [] for one in made)
    assert made[0].rows < made[2].rows
    done = host.restore(tmp_path / "2.backup")
    assert done.log.is_whole
    with host.core.sessions() as session:
        named = set(session.scalars(select(Blob.name)))
        named |= set(session.scalars(select(QuarantinedFile.name)))
        assert named == {path.name for path in files(host.core.data_dir)}


def test_a_file_that_a_row_names_and_that_is_missing_is_reported(
    clinic: Clinic, host: Host, tmp_path: Path
) -> None:
    lived_in(clinic)
    lost = files(clinic.core.data_dir)[0]
    lost.unlink()
    assert make(clinic, tmp_path / "one.backup").missing == [lost.name]
    assert host.restore(tmp_path / "one.backup").contents.missing == [lost.name]


def test_a_log_that_was_broken_before_is_restored_and_reported(
    clinic: Clinic, host: Host, tmp_path: Path
) -> None:
    lived_in(clinic)
    disarm(clinic.core)
    with clinic.session as session:
        session.execute(text("UPDATE audit_events SET event = 'other' WHERE seq = 3"))
        session.commit()
    make(clinic, tmp_path / "one.backup")
    assert host.restore(tmp_path / "one.backup").log.first_bad == 3


# What it gives away


def test_a_backup_holds_no_key_ring_and_nothing_readable(clinic: Clinic, tmp_path: Path) -> None:
    lived_in(clinic)
    path = tmp_path / "one.backup"
    make(clinic, path)
    sealed = path.read_bytes()
    with path.open("rb") as stream:
        inside = Opener(stream, KEY).read()
    ring = clinic.core.settings.read_key_ring()
    parsed = json.loads(ring)
    secrets = [*parsed["keys"].values(), parsed["index"], KEY]
    for data in (sealed, inside):
        for secret in secrets:
            assert secret.encode() not in data
        for word in (b"CANARY", b"ZEBRA", b"DICM", b"a comment"):
            assert word not in data
    assert b"mate@example.org" in inside  # what the test looks through is really the rows
    assert b"mate@example.org" not in sealed
    assert path.stat().st_mode & 0o077 == 0


def test_without_the_key_ring_a_backup_is_of_no_use(
    clinic: Clinic, empty_address: str, quick_path: Path, tmp_path: Path
) -> None:
    lived_in(clinic)
    make(clinic, tmp_path / "one.backup")
    stranger = open_host(quick_path / "other", empty_address, new_key_ring())
    with pytest.raises(UnusableBackup, match="key ring of this host is not the one"):
        stranger.restore(tmp_path / "one.backup")
    assert stranger.is_untouched()
    stranger.core.engine.dispose()


def test_a_rotated_ring_does_not_restore_an_old_backup(
    clinic: Clinic, empty_address: str, quick_path: Path, tmp_path: Path
) -> None:
    lived_in(clinic)
    make(clinic, tmp_path / "one.backup")
    clinic.vault.add_key(NOW)
    with clinic.session as session:
        key_rotation.rewrap(session, clinic.vault, NOW)
        clinic.vault.drop_keys(key_rotation.keys_in_use(session, clinic.vault), after(hours=2))
    ring = clinic.core.settings.read_key_ring()
    later = open_host(quick_path / "other", empty_address, ring)
    with pytest.raises(UnusableBackup, match="lacks keys"):
        later.restore(tmp_path / "one.backup")
    assert later.is_untouched()
    later.core.engine.dispose()


# Refused, with a reason and nothing half-restored


def test_whatever_happens_to_the_file_nothing_is_half_restored(
    clinic: Clinic, host: Host, tmp_path: Path
) -> None:
    lived_in(clinic)
    clinic.submit(rows=1000, columns=900)  # more than one chunk
    path = tmp_path / "one.backup"
    make(clinic, path)
    good = path.read_bytes()
    start = good.index(b"\n") + 1
    assert len(good) > start + CHUNK + 1000

    salt = good.index(b'"salt": "') + 12

    damages = {
        "its first byte": (flipped(good, 0), "not a backup"),
        "a byte of the header": (
            flipped(good, salt),
            "another key|not a backup",
        ),
        "a byte in the middle": (flipped(good, start + 5000), "is damaged"),
        "a byte of the last chunk": (flipped(good, -300), "damaged or cut off"),
        "the last byte": (flipped(good, -1), "damaged or cut off"),
        "cut in a chunk": (good[:-1000], "damaged or cut off"),
        "cut between chunks": (good[: start + CHUNK], "end is missing"),
        "cut after the header": (good[:start], "damaged or cut off"),
        "two chunks changed places": (
            good[:start]
            + good[start + CHUNK : start + CHUNK + CHUNK]
            + good[start : start + CHUNK],
            "is damaged",
        ),
        "more behind the end": (good + b"x" * 50, "is damaged|cut off"),
        "empty": (b"", "not a backup"),
        "something else": (os.urandom(5000), "not a backup"),
    }
    for what, (data, reason) in damages.items():
        bad = tmp_path / "bad.backup"
        bad.write_bytes(data)
        with pytest.raises(UnusableBackup, match=reason):
            host.restore(bad)
        assert host.is_untouched(), what
    with pytest.raises(UnusableBackup, match="another key"):
        host.restore(path, new_backup_key())
    with pytest.raises(UnusableBackup, match="can't be read"):
        host.restore(tmp_path / "none.backup")
    assert host.is_untouched()
    assert host.restore(path).log.is_whole  # and after all that the good one still goes in


def test_a_host_that_was_used_is_left_alone(clinic: Clinic, host: Host, tmp_path: Path) -> None:
    lived_in(clinic)
    make(clinic, tmp_path / "one.backup")
    database.upgrade(host.core.engine)
    with host.core.sessions() as session:
        session.add(Team(id=uuid4(), name="Somebody was first", created=NOW))
        session.commit()
    with pytest.raises(UnusableBackup, match=r"not empty \(teams\)"):
        host.restore(tmp_path / "one.backup")
    with host.core.sessions() as session:
        assert session.scalars(select(Team.name)).all() == ["Somebody was first"]
        assert session.scalars(select(Study.id)).all() == []


def test_a_data_folder_with_files_is_left_alone(clinic: Clinic, host: Host, tmp_path: Path) -> None:
    lived_in(clinic)
    make(clinic, tmp_path / "one.backup")
    folder = host.core.data_dir / "blobs"
    shutil.copytree(clinic.core.data_dir / "blobs", folder)
    there = sorted(path.name for path in files(host.core.data_dir))
    with pytest.raises(UnusableBackup, match="holds encrypted files"):
        host.restore(tmp_path / "one.backup")
    assert sorted(path.name for path in files(host.core.data_dir)) == there


def test_a_restore_that_breaks_at_the_end_leaves_nothing(
    clinic: Clinic, host: Host, tmp_path: Path
) -> None:
    """The data folder can't take the files in: the rows must not come in either."""
    lived_in(clinic)
    make(clinic, tmp_path / "one.backup")
    (host.core.data_dir / "blobs").write_text("in the way")
    with pytest.raises(OSError):  # noqa: PT011 whichever the system raises
        host.restore(tmp_path / "one.backup")
    (host.core.data_dir / "blobs").unlink()
    assert host.is_untouched()
    assert host.restore(tmp_path / "one.backup").log.is_whole


def test_a_backup_never_replaces_a_file(clinic: Clinic, tmp_path: Path) -> None:
    path = tmp_path / "one.backup"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        make(clinic, path)
    assert path.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["one.backup"]


def test_checking_changes_nothing_and_lists_the_contents(clinic: Clinic, tmp_path: Path) -> None:
    lived_in(clinic)
    made = make(clinic, tmp_path / "one.backup")
    found = restoring.check(tmp_path / "one.backup", KEY)
    assert (found.rows, found.blobs["files"], found.tables) == (made.rows, made.blobs, made.tables)
    with clinic.session as session:
        assert session.scalars(
            select(AuditEvent.event).order_by(AuditEvent.seq.desc())
        ).first() == ("backup_made")
