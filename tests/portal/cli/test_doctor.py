"""`doctor`: each thing that is broken is named with the way back, and hides no other."""

import json
import os
from pathlib import Path
from uuid import UUID

import pytest

from portal.__main__ import main
from portal.models import JobKind, Study, Worker
from portal.operations import backup
from portal.operations.context import now
from portal.settings.secret_files import new_backup_key, new_key_ring
from tests.support.clinic import Clinic
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import add_node, give
from tests.support.queries.damaged_pages import exchange_rows, overwrite_pages

Checks = dict[str, dict[str, str]]


@pytest.fixture(autouse=True)
def _environment(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLEURA_ENV", "test")
    monkeypatch.setenv("PLEURA_DATA_DIR", str(clinic.core.data_dir))
    monkeypatch.setenv("DATABASE_URL", clinic.core.settings.database_url)


def run(capsys: pytest.CaptureFixture[str]) -> tuple[int, Checks]:
    code = main(["doctor", "--json"])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return code, {check["name"]: check for check in json.loads(printed.out)}


def states(checks: Checks) -> dict[str, str]:
    return {name: check["state"] for name, check in checks.items() if check["state"] != "ok"}


def with_workers(clinic: Clinic) -> list[UUID]:
    studies = [clinic.done(now=now()) for _ in range(8)]
    with clinic.session as session:
        for kind in (JobKind.RENDER, JobKind.SEGMENT):
            session.merge(Worker(name=kind.value, queue=kind, last_seen=now()))
        session.commit()
    return studies


def test_an_installation_that_is_well_has_only_what_was_never_done(
    clinic: Clinic, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with_workers(clinic)
    code, checks = run(capsys)
    assert (code, states(checks)) == (
        0,
        {"background check": "warning", "scheduler": "warning", "backup": "warning"},
    )
    core = clinic.core
    backup.make(
        *(core.engine, core.vault, new_backup_key(), tmp_path / "b", now()),
        progress=lambda _done, _all: None,
    )
    assert "backup" not in states(run(capsys)[1])
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.startswith("ok       settings: for test\n")


def test_what_is_broken_is_named_with_the_way_back(
    clinic: Clinic, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.done()  # dated long ago, and no worker has reported since
    monkeypatch.setenv("REDIS_URL", "redis://:S3CRET@127.0.0.1:1/0")
    ring = json.dumps(json.loads(new_key_ring()))
    monkeypatch.setenv("PLEURA_KEY_RING", ring)
    code, checks = run(capsys)
    assert code == 1
    found = states(checks)
    assert (found["redis"], found["workers"], found["clock"]) == ("warning", "failed", "failed")
    assert found["key ids"] == "failed"
    assert found["files"] == "failed"
    assert all(check["advice"] for check in checks.values() if check["state"] != "ok")
    assert "S3CRET" not in json.dumps(checks)
    assert all(key not in json.dumps(checks) for key in json.loads(ring)["keys"].values())


def test_a_key_that_only_an_order_needs_is_missed_too(
    clinic: Clinic, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_node(clinic)
    give(clinic.core, made.orm())
    assert run(capsys)[1]["key ids"]["text"] == "all 1 that stored data need are there"
    monkeypatch.setenv("PLEURA_KEY_RING", new_key_ring())
    assert run(capsys)[1]["key ids"]["state"] == "failed"


def test_a_damaged_page_is_named(clinic: Clinic, capsys: pytest.CaptureFixture[str]) -> None:
    if clinic.core.engine.dialect.name != "sqlite":
        pytest.skip("overwrites a page of SQLite's file")
    study_id = with_workers(clinic)[0]
    with clinic.session as session:
        key = session.get_one(Study, study_id).wrapped_key
    assert key is not None
    assert overwrite_pages(clinic.core.engine, key) == 1
    code, checks = run(capsys)
    assert code == 1
    assert checks["integrity"]["state"] == checks["files"]["state"] == "failed"
    assert "restore" in checks["integrity"]["advice"]
    assert str(study_id) in checks["files"]["text"]


def test_rows_that_lie_in_a_wrong_order_are_named(
    clinic: Clinic, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page that can be read, and is wrong."""
    if clinic.core.engine.dialect.name != "sqlite":
        pytest.skip("changes a page of SQLite's file")
    with_workers(clinic)
    exchange_rows(clinic.core.engine, b"study_submitted")
    code, checks = run(capsys)
    assert code == 1
    assert checks["integrity"]["state"] == "failed"
    assert "out of order" in checks["integrity"]["text"]


def test_a_database_or_keys_that_are_not_there_are_named_too(
    clinic: Clinic, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{clinic.core.data_dir}/no/such/file.db")
    code, checks = run(capsys)
    assert (code, checks["database"]["state"]) == (1, "failed")
    assert {"keys", "redis", "disk"} <= set(checks)
    broken = clinic.core.data_dir / "text.db"
    broken.write_bytes(os.urandom(8192))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{broken}")
    code, checks = run(capsys)
    assert (code, checks["database"]["state"]) == (1, "failed")
    assert "restore" in checks["database"]["advice"]
    monkeypatch.setenv("PLEURA_KEY_RING", "{no ring")
    code, checks = run(capsys)
    assert code == 1
    assert {"settings", "keys"} & set(states(checks))
