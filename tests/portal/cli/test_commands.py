"""The command line: what it does, and its message when it cannot."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from portal.models import Role, Study, Team, User
from tests.support.commands.forked import Command, run_command
from tests.support.paths import ROOT
from tests.support.wait import until


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run_command(arguments, environment(folder, **environ))


def environment(folder: Path, **environ: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return inherited | {"PLEURA_DATA_DIR": str(folder), "PYTHONWARNINGS": "ignore"} | environ


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a migrated database."""
    path = tmp_path_factory.mktemp("cli") / "var"
    for command in ("migrate", "upgrade"):
        done = run(path, command)
        assert done.returncode == 0, done.stderr
    return path


def test_help_lists_every_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "portal", "--help"]
    shown = subprocess.run(
        command, env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert shown == run(tmp_path, "--help").stdout
    for command in (
        *("up", "demo", "migrate", "upgrade", "create-admin", "token", "worker-token", "model"),
        *(
            "audit",
            "sweep",
            "rotate-keys",
            "new-key-ring",
            "settings",
            "check",
            "purge",
            "retention",
        ),
        *("backup", "restore", "vault", "new-backup-key"),
    ):
        assert re.search(rf"^    {command}\b", shown, re.M), command


def test_a_command_before_the_migration_names_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path / "var", "audit", "verify")
    assert done.returncode == 1
    assert "run `python -m portal migrate`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_before_the_upgrade_names_what_to_do(tmp_path: Path) -> None:
    assert run(tmp_path / "var", "migrate").returncode == 0
    done = run(tmp_path / "var", "create-admin")
    assert done.returncode == 1
    assert "run `python -m portal upgrade`" in done.stderr


def test_the_first_admin_comes_by_a_link_and_a_fresh_database_has_nobody(folder: Path) -> None:
    done = run(folder, "create-admin", PLEURA_BASE_URL="http://127.0.0.1:9999")
    assert re.search(r"http://127\.0\.0\.1:9999/join/\S{40,}$", done.stdout.strip())
    whole = run(folder, "audit", "verify")
    assert whole.stdout.startswith("The access log is whole: ")
    assert run(folder, "token", "list", "--user", "admin@localhost").stderr.startswith("Nobody")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE audit_events SET detail = '{}' WHERE seq = 1", "row 1"),
        ("DELETE FROM audit_events WHERE seq = 1", "row 1"),
    ],
)
def test_a_changed_log_is_named_and_ends_the_command_with_1(
    folder: Path, tmp_path: Path, change: str, named: str
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "var"))
    assert run(copy, "create-admin").returncode == 0
    with closing(sqlite3.connect(copy / "pleura.db")) as database, database:
        for (trigger,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_events'"
        ).fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        assert database.execute(change).rowcount == 1
    done = run(copy, "audit", "verify")
    assert (done.returncode, done.stdout) == (1, "")
    assert "The access log is broken" in done.stderr
    assert named in done.stderr.lower()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create-admin", "--email", "nonsense"], "not an e-mail address"),
        (["create-admin", "--hours", "0"], "--hours"),
        (["token", "create", "--user", "x@y.z", "--scope", "studies:read"], "Nobody"),
        (["token", "create", "--user", "x@y.z", "--scope", "admin"], "invalid choice"),
        (["token", "revoke", "--user", "x@y.z", "abcdef12"], "Nobody"),
        (["sweep", "--every", "0"], "--every"),
        (["fly"], "invalid choice"),
        ([], "required"),
    ],
)
def test_what_cannot_be_done_is_answered_by_a_sentence(
    folder: Path, arguments: list[str], message: str
) -> None:
    done = run(folder, *arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_check_lists_what_production_would_refuse(folder: Path) -> None:
    done = run(folder, "check")
    assert done.returncode == 1
    for name in ("DATABASE_URL", "REDIS_URL", "PLEURA_SECRET_KEY", "PLEURA_KEY_RING"):
        assert name in done.stderr


def test_production_without_secrets_does_not_start(tmp_path: Path) -> None:
    done = run(tmp_path / "var", "migrate", PLEURA_ENV="production")
    assert done.returncode == 1
    assert "PLEURA_SECRET_KEY is missing" in done.stderr
    assert not (tmp_path / "var").exists()


def test_keys_rotate_and_the_old_one_leaves(folder: Path) -> None:
    file = folder / "keys" / "key_ring.json"
    (first,) = json.loads(file.read_text())["keys"]
    done = run(folder, "rotate-keys", "--drop-old")
    assert done.returncode == 0, done.stderr
    assert f"Retired within the last hour and kept: {first}." in done.stdout
    ring = json.loads(file.read_text())
    assert set(ring["keys"]) == {first, ring["active"]} != {first}
    ring["retired_at"][first] = "2026-03-04T09:00:00+00:00"
    file.write_text(json.dumps(ring))
    done = run(folder, "rotate-keys", "--resume", "--drop-old")
    assert done.returncode == 0, done.stderr
    assert f"Removed from the key ring: {first}." in done.stdout
    assert set(json.loads(file.read_text())["keys"]) == {ring["active"]}


def test_a_study_that_does_not_open_is_named_and_the_command_fails(folder: Path) -> None:
    engine = create_engine(f"sqlite:///{folder / 'pleura.db'}")
    study, team, person = uuid4(), uuid4(), uuid4()
    now = datetime.now(UTC)
    with Session(engine) as session:
        session.add(Team(id=team, name="Rotation", created=now))
        session.flush()
        session.add(
            User(
                id=person,
                name="X",
                email="x@rotation.example",
                role=Role.READER,
                team_id=team,
                created=now,
            )
        )
        session.flush()
        session.add(
            Study(
                id=study,
                team_id=team,
                uploaded_by=person,
                created=now,
                case_number="ABCDEF",
                wrapped_key=b"x" * 60,
                key_id="gone",
                weight=0.0,
            )
        )
        session.commit()
    try:
        done = run(folder, "rotate-keys")
        assert done.returncode == 1
        assert f"study {study}" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        with Session(engine) as session:
            session.delete(session.get_one(Study, study))
            session.commit()
        engine.dispose()


def test_a_ring_that_cannot_be_written_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    ring = tmp_path / ("k" * 250)  # so that no name is left for the file that is to replace it
    ring.write_text((folder / "keys" / "key_ring.json").read_text())
    before = ring.read_text()
    done = run(folder, "rotate-keys", PLEURA_KEY_RING_FILE=str(ring))
    assert done.returncode == 1
    assert f"The key ring {ring} can't be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert ring.read_text() == before


def test_a_new_key_ring_is_one_that_production_takes(tmp_path: Path) -> None:
    ring = run(tmp_path, "new-key-ring").stdout
    done = run(tmp_path, "check", PLEURA_KEY_RING=ring)
    assert "PLEURA_SECRET_KEY" in done.stderr
    assert "PLEURA_KEY_RING" not in done.stderr


def test_settings_are_listed(tmp_path: Path) -> None:
    assert "JOB_SECONDS  (default: 120)" in run(tmp_path, "settings").stdout


def test_a_database_that_is_away_is_a_sentence(folder: Path) -> None:
    done = run(
        folder, "audit", "verify", DATABASE_URL="postgresql+psycopg://x:secret@127.0.0.1:1/x"
    )
    assert done.returncode == 1
    assert "The database can't be used" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.postgres
@pytest.mark.parametrize("command", ["migrate", "check", "doctor"])
def test_a_database_in_another_encoding_is_a_sentence(
    tmp_path: Path, postgres_url: str, command: str
) -> None:
    """PostgreSQL makes its databases in SQL_ASCII where the system has no locale."""
    server = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    name = f"ascii_{uuid4().hex}"
    with server.connect() as connection:
        made = f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
        connection.execute(text(f"{made} TEMPLATE template0"))
    url = server.url.set(database=name).render_as_string(hide_password=False)
    done = run(tmp_path / "var", command, DATABASE_URL=url)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()
    assert done.returncode == 1
    assert "stores texts in SQL_ASCII" in done.stdout + done.stderr
    assert "--encoding=UTF8" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_sweep_runs_once_or_until_it_is_stopped(folder: Path, tmp_path: Path) -> None:
    assert run(folder, "sweep").returncode == 0
    anchors = tmp_path / "anchors"  # written at the end of the first round
    environ = environment(folder, PLEURA_AUDIT_ANCHOR_FILE=str(anchors))
    process = Command(["sweep", "--loop", "--every", "0.2"], environ)
    assert until(lambda: anchors.exists() or process.poll() is not None)
    time.sleep(1)  # some rounds more
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_workers_token_is_made_listed_and_ended(folder: Path) -> None:
    made = run(folder, "worker-token", "create", "gpu-1", "--queue", "segment")
    assert made.returncode == 0, made.stderr
    assert re.fullmatch(r"plw_[A-Za-z0-9_-]{43}\n", made.stdout)
    listed = run(folder, "worker-token", "list").stdout
    assert re.search(
        r"^[0-9a-f]{12}  segment  until \d{4}-\d\d-\d\d  seen never  gpu-1$", listed, re.M
    )
    assert made.stdout.strip() not in listed
    assert run(folder, "worker-token", "revoke", "12").returncode == 1
    assert run(folder, "worker-token", "revoke", listed[:12]).returncode == 0
    assert run(folder, "worker-token", "list").stdout == ""


@pytest.mark.parametrize(
    "arguments", [("x",), ("x", "--queue", "export"), ("", "--queue", "render")]
)
def test_a_workers_token_needs_a_name_and_a_queue(folder: Path, arguments: tuple[str, ...]) -> None:
    done = run(folder, "worker-token", "create", *arguments)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
