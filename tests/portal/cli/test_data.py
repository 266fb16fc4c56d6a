"""The commands about data: purge, retention, backup, restore, vault."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from portal.models import AnnouncedPurge, ClockState, Role, db
from portal.settings.secret_files import new_backup_key
from tests.portal.cli.test_commands import run
from tests.portal.vault.test_vault import files
from tests.support.core import make_settings, open_core
from tests.support.portal_app import analyse, make_app, make_person, make_study

KEY = {"PLEURA_BACKUP_KEY": new_backup_key()}


@pytest.fixture
def home(tmp_path: Path) -> tuple[Path, list[UUID]]:
    """A data folder with an admin and three analysed studies, 40 days old."""
    folder = tmp_path / "var"
    then = datetime.now(UTC) - timedelta(days=40)
    app = make_app(make_settings(folder), lambda: then)
    sender = make_person(app, Role.TECHNOLOGIST)
    studies = [make_study(app, sender, shade) for shade in range(3)]
    for study_id in studies:
        analyse(app, study_id)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    return folder, studies


def test_a_case_is_purged_and_the_proof_printed(home: tuple[Path, list[UUID]]) -> None:
    folder, studies = home
    done = run(folder, "purge", studies[0].hex[:6], "--reason", "test_data", "--reference", "T-1")
    assert done.returncode == 0, done.stderr
    proof, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert proof["study"] == str(studies[0])
    assert len(proof["destroyed"]["files"]) == 6
    assert "no file of it is left" in done.stdout
    again = run(folder, "purge", str(studies[0]), "--reason", "test_data")
    assert (again.returncode, again.stderr) == (1, "This case was purged before.\n")
    none = run(folder, "purge", "CANARY", "--reason", "test_data")
    assert none.returncode == 1
    assert "no such case" in none.stderr
    assert run(folder, "purge", str(studies[1]), "--reason", "because").returncode == 2


def announce_long_ago(folder: Path, studies: list[UUID]) -> None:
    """The database as a scheduler that ran for eight days since the announcement leaves it."""
    now = datetime.now(UTC)
    core = open_core(folder, f"sqlite:///{folder / 'pleura.db'}")
    with core.sessions() as session:
        days = timedelta(days=8)
        session.merge(
            ClockState(id=1, trusted_at=now, after_seq=0, running_seconds=days.total_seconds())
        )
        for study_id in studies:
            session.add(
                AnnouncedPurge(
                    study_id=study_id,
                    kind="unreviewed",
                    announced_at=now - days,
                    announced_running=0.0,
                )
            )
        session.commit()
    core.engine.dispose()


def test_retention_lists_first_and_purges_on_request(home: tuple[Path, list[UUID]]) -> None:
    folder, studies = home
    days = {"PLEURA_RETENTION_UNREVIEWED_DAYS": "30"}
    assert "Nothing is due." in run(folder, "retention").stdout
    listed = run(folder, "retention", **days)
    assert "3 are due." in listed.stdout
    assert all(str(study_id) in listed.stdout for study_id in studies)
    refused = run(folder, "retention", "--purge", **days)  # nothing happened for 40 days
    assert (refused.returncode, "The clock is ahead" in refused.stderr) == (1, True)
    assert len(files(folder)) == 18
    announce_long_ago(folder, studies)
    assert "Purged: 3." in run(folder, "retention", "--purge", **days).stdout
    assert files(folder) == []
    assert "Nothing is due." in run(folder, "retention", **days).stdout


def test_the_sweep_purges_what_is_due_and_nothing_by_a_clock_that_is_ahead(
    home: tuple[Path, list[UUID]],
) -> None:
    folder, studies = home
    swept = run(folder, "sweep", PLEURA_RETENTION_UNREVIEWED_DAYS="30")
    assert (swept.returncode, len(files(folder))) == (0, 18)
    assert "the clock is ahead" in swept.stderr
    announce_long_ago(folder, studies)
    swept = run(folder, "sweep", PLEURA_RETENTION_UNREVIEWED_DAYS="30")
    assert "purged 3 studies" in swept.stderr
    assert files(folder) == []


def test_backup_and_restore_from_the_keyboard(
    home: tuple[Path, list[UUID]], tmp_path: Path
) -> None:
    folder, _ = home
    file = str(tmp_path / "one.backup")
    without = run(folder, "backup", file)
    assert without.returncode == 1
    assert "new-backup-key" in without.stderr
    assert not Path(file).exists()
    made = run(folder, "backup", file, **KEY)
    assert made.returncode == 0, made.stderr
    assert "and 18 files" in made.stdout
    twice = run(folder, "backup", file, **KEY)
    assert (twice.returncode, "left alone" in twice.stderr) == (1, True)
    assert "The backup is whole" in run(folder, "restore", file, "--check", **KEY).stdout

    ring = {"PLEURA_KEY_RING_FILE": str(folder / "keys" / "key_ring.json")}
    other = tmp_path / "other"
    bad = run(other, "restore", file, **ring, PLEURA_BACKUP_KEY=new_backup_key())
    assert bad.returncode == 1
    assert bad.stderr == (
        "The backup was sealed with another key (or its beginning is damaged).\n"
        "Nothing was restored.\n"
    )
    restored = run(other, "restore", file, **KEY, **ring)
    assert restored.returncode == 0, restored.stderr
    assert "Restored" in restored.stdout
    assert "Everything is intact" in run(other, "vault", "verify", **ring).stdout
    assert "is whole" in run(other, "audit", "verify", **ring).stdout
    again = run(other, "restore", file, **KEY, **ring)
    assert (again.returncode, "Nothing was restored" in again.stderr) == (1, True)


def test_vault_verify_names_what_is_wrong_and_ends_with_1(home: tuple[Path, list[UUID]]) -> None:
    folder, _ = home
    whole = run(folder, "vault", "verify")
    assert whole.returncode == 0, whole.stderr
    assert "Opened 18 files" in whole.stdout
    os.truncate(files(folder)[0], 20)
    files(folder)[1].unlink()
    broken = run(folder, "vault", "verify")
    assert broken.returncode == 1
    assert "2 are not as they were written:" in broken.stderr
    assert "damaged: " in broken.stderr
    assert "missing: " in broken.stderr
    assert "Traceback" not in broken.stderr


def test_the_log_is_anchored_by_a_command_and_by_the_sweep_and_verified(
    home: tuple[Path, list[UUID]], tmp_path: Path
) -> None:
    folder, _ = home
    assert "Anchored at row" in run(folder, "audit", "anchor").stdout
    (beside,) = (folder.parent / f"{folder.name}-anchors").iterdir()
    assert "Checked against 1 anchors" in run(folder, "audit", "verify").stdout
    file = tmp_path / "anchors"
    setting = {"PLEURA_AUDIT_ANCHOR_FILE": str(file)}
    assert run(folder, "audit", "anchor", **setting).returncode == 0
    assert run(folder, "sweep", **setting).returncode == 0
    assert len(file.read_text().splitlines()) == 2
    both = run(folder, "audit", "verify", "--anchor", str(file)).stdout
    assert "Checked against 1 anchors" in both
    assert "Checked against 2 anchors" in both
    (tmp_path / "empty").touch()
    none = run(folder, "audit", "verify", "--anchor", str(tmp_path / "empty"))
    assert (none.returncode, none.stderr) == (1, "There is no anchor in this file.\n")
    beside.write_text(beside.read_text().replace('"seq": ', '"seq": 1'))
    changed = run(folder, "audit", "verify")
    assert (changed.returncode, "can't be compared" in changed.stderr) == (1, True)


def test_the_log_is_exported_by_a_command(home: tuple[Path, list[UUID]]) -> None:
    folder, studies = home
    shown = run(folder, "audit", "export", "--format", "jsonl", "--event", "study_submitted")
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [row["study_id"] for row in rows] == [str(study_id) for study_id in studies]
    bad = run(folder, "audit", "export", "--since", "yesterday")
    assert (bad.returncode, "2026-03-04" in bad.stderr) == (1, True)
