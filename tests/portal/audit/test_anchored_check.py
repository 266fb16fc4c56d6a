"""What the log by itself can't show, its anchors do; the check states how far they reach."""

import json
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, select, text

from portal import audit, database
from portal.audit import anchored_check, anchors, verification
from portal.models import AuditEvent
from tests.portal.audit.test_bindings import CHANGES, use
from tests.support.audit_log import disarm, fill, link
from tests.support.clinic import Clinic, after
from tests.support.core import Core


def anchor(core: Core, now: float = 1) -> None:
    with core.sessions() as session:
        taken = anchors.take(session, after(hours=now))
        anchors.write(taken, file=anchors.place(session, core.settings), syslog="")


def check(core: Core, hours: float = 1) -> anchored_check.Checked:
    with core.sessions() as session:
        return anchored_check.check(session, core.settings, after(hours=hours))


def file_of(core: Core) -> Path:
    with core.sessions() as session:
        return anchors.place(session, core.settings)


def ends(connection: Connection) -> list[tuple[str, dict[str, object]]]:
    """The log's ends as they are: of the chain and of each writer."""
    return [
        (table, dict(row))
        for table in ("audit_head", "audit_writers")
        for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()
    ]


def cut(core: Core, rows: int, older: list[tuple[str, dict[str, object]]]) -> None:
    """Cut the log to its first rows, with a copy of the ends as they were sealed then."""
    disarm(core)
    with core.engine.begin() as connection:
        connection.execute(text(f"DELETE FROM audit_events WHERE seq > {rows}"))
        connection.execute(text(f"DELETE FROM audit_links WHERE position > {rows}"))
        for table, row in older:
            values = ", ".join(f"{name} = :{name}" for name in row)
            connection.execute(text(f"UPDATE {table} SET {values} WHERE id = :id"), row)


def test_a_tail_cut_with_the_database_alone_is_found_by_the_anchors(core: Core) -> None:
    fill(core, 6)
    link(core)
    with core.engine.connect() as connection:
        older = ends(connection)
    fill(core, 4)
    link(core)
    anchor(core)
    assert check(core).is_whole
    cut(core, 6, older)
    found = check(core)
    assert found.log.is_whole  # the log by itself can't tell
    assert not found.is_whole
    assert found.contradiction.startswith("from row 7 on: 4 rows that were there")


def test_it_states_how_far_the_anchors_reach(core: Core) -> None:
    fill(core, 3)
    link(core)
    found = check(core)
    assert found.is_whole
    assert found.reach.startswith("There is no anchor yet")
    anchor(core)
    fill(core, 2)
    link(core)
    fill(core, 1)  # not linked yet
    found = check(core, 1)
    assert found.reach == (
        "Checked against 1 anchors, the newest of 2026-03-04 10:00 UTC. They reach to row 3; "
        "3 rows after it have no anchor."
    )
    link(core)
    assert "The newest anchor is late" in check(core, 4).reach


def test_anchors_that_cannot_be_read_are_no_anchors_that_fit(core: Core) -> None:
    fill(core, 3)
    anchor(core)
    file = file_of(core)
    line = json.loads(file.read_text())
    line["pleura_anchor"]["seq"] = 2
    file.write_text(json.dumps(line))
    found = check(core)
    assert not found.is_whole
    assert "was not written by this portal" in found.refused
    file.unlink()
    file.mkdir()
    assert "can't be read" in check(core).refused


def test_a_log_that_is_broken_by_itself_is_not_compared(core: Core) -> None:
    fill(core, 3)
    anchor(core)
    disarm(core)
    with core.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_events WHERE seq = 2"))
    found = check(core)
    assert (found.is_whole, found.reach, found.anchored) == (False, "", None)


def test_a_backup_that_was_restored_explains_older_anchors_and_hides_no_later_cut(
    core: Core,
) -> None:
    """The log goes on from row 4, as after a restore at 11:00; anchors of 10:00 have 9 rows."""
    fill(core, 4)
    link(core)
    with core.engine.connect() as connection:
        backup = ends(connection)
    fill(core, 5)
    anchor(core, 1)
    cut(core, 4, backup)
    assert "5 rows that were there" in check(core, 2).contradiction
    with core.sessions() as session:
        audit.go_on_numbering(session)
        detail = {anchors.LINKED_ROWS: 4}
        audit.append(session, anchors.RESTORED, now=after(hours=2), detail=detail)
        session.commit()
    fill(core, 2)
    link(core)
    with core.engine.connect() as connection:
        older = ends(connection)
    found = check(core, 2)
    assert found.is_whole
    assert "1 anchors are of rows that the backup did not hold" in found.reach
    fill(core, 3)
    anchor(core, 3)
    assert check(core, 3).is_whole
    cut(core, 7, older)
    assert "3 rows that were there" in check(core, 3).contradiction


def test_an_older_file_of_the_database_put_back_is_found_for_every_table(
    clinic: Clinic, tmp_path: Path
) -> None:
    """A copy is taken before each kind of row is written, and each copy is put back."""
    core = clinic.core
    if core.engine.dialect.name != "sqlite":
        pytest.skip("about SQLite's file")
    path = Path(str(core.engine.url.database))
    clinic.done()
    steps = list[str]()

    def copy(tables: str) -> None:
        if tables == "audit_links":
            fill(core, 1)
        else:
            link(core)
        steps.append(tables)
        with sqlite3.connect(path) as here, sqlite3.connect(path.with_name(f"{tables}.db")) as to:
            here.backup(to)

    use(clinic, tmp_path, copy)
    anchor(core)
    assert check(core).is_whole
    assert sorted(" ".join(steps).split()) == sorted(CHANGES)
    key = core.vault.audit_key()
    for step in steps:
        older = create_engine(f"sqlite:///{path.with_name(f'{step}.db')}")
        audit.bind(older, key)
        with database.sessions(older)() as session:
            assert verification.verify(session).is_whole or step == "audit_links", step
            found = anchored_check.check(session, core.settings, after(hours=1))
            assert "are missing at the end" in found.contradiction, step
            assert session.scalars(select(AuditEvent.seq)).first() == 1
        older.dispose()
