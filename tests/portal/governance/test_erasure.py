"""After a purge's proof the database's files hold nothing of it; until then there is no proof."""

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import event, select, update

from portal import audit, database
from portal.audit import verification
from portal.governance import byte_search, erasure, purge_proofs, purges, quarantine
from portal.governance.erasure import NotErased
from portal.governance.quarantine import Reason
from portal.models import (
    AuditEvent,
    HospitalOrder,
    HospitalReport,
    Instance,
    Purge,
    PurgeReason,
    QuarantinedFile,
    StartedPurge,
    Study,
)
from portal.vault.blob_store import StorageUnavailable
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import add_node, give


class Killed(BaseException):
    """Ends a purge where a process could be killed."""


def values_of(clinic: Clinic, study_id: UUID) -> list[bytes]:
    """Every key, sealed value and keyed digest of a study and its picture."""
    with clinic.session as session:
        rows = [
            session.get_one(Study, study_id),
            session.scalars(select(Instance).where(Instance.study_id == study_id)).one(),
        ]
    names = (
        *("wrapped_key", "sealed_phi", "sealed_facts", "patient_key", "patient_id_key"),
        *("accession_key", "study_uid_key", "sop_key", "content_key", "series_uid_key"),
    )
    found = [getattr(row, name, None) for row in rows for name in names]
    return [v.encode() if isinstance(v, str) else v for v in found if v]


def in_files(clinic: Clinic, values: list[bytes]) -> list[bytes]:
    """Those of the values that are in the database's files."""
    path = Path(str(clinic.core.engine.url.database))
    files = sorted(path.parent.glob(f"{path.name}*"))
    # Not opened here: closing one of them would end this process's locks on it.
    data = subprocess.run(["cat", *files], capture_output=True, check=True).stdout
    return [value for value in values if value in data]


def purge(clinic: Clinic, study_id: UUID) -> Purge | None:
    with clinic.session as session:
        return purges.purge(
            session, clinic.vault, clinic.admin, study_id, NOW, reason=PurgeReason.OTHER
        )


def finish(clinic: Clinic) -> int:
    with clinic.session as session:
        return purges.finish_started(session, clinic.vault, after(minutes=5))


def erasure_of(proof: Purge) -> dict[str, object]:
    found: dict[str, object] = json.loads(proof.proof)["erasure"]
    return found


@contextmanager
def reading(clinic: Clinic) -> Iterator[None]:
    """Somebody who sees the database as it was before, as a backup does."""
    with database.snapshot(clinic.core.engine) as connection:
        connection.scalar(select(Study.id).limit(1))
        yield


def only_sqlite(clinic: Clinic) -> None:
    if clinic.core.engine.dialect.name != "sqlite":
        pytest.skip("about SQLite's files")


def test_after_the_proof_no_file_of_the_database_holds_what_was_destroyed(clinic: Clinic) -> None:
    only_sqlite(clinic)
    study_id = clinic.done()
    values = values_of(clinic, study_id)
    assert len(values) > 8
    clinic.submit(
        PatientID="P-2", AccessionNumber="B-2", StudyInstanceUID="1.2.3", SOPInstanceUID="1.2.3.4"
    )
    assert in_files(clinic, values) == values
    proof = purge(clinic, study_id)
    assert in_files(clinic, values) == []
    assert proof is not None
    done = erasure_of(proof)
    assert done["done"] == ["secure_delete", "wal_truncated"]
    assert done["searched"]["found"] == 0  # type: ignore[index]
    assert done["from"] == NOW.isoformat() <= str(done["until"])


def test_a_copy_in_an_unused_part_of_the_file_is_found_and_cleared(clinic: Clinic) -> None:
    """As a version without `secure_delete` left them, and as rows do that move to another page."""
    only_sqlite(clinic)
    study_id = clinic.done()
    values = values_of(clinic, study_id)
    other = sqlite3.connect(str(clinic.core.engine.url.database), isolation_level=None)
    other.execute("PRAGMA secure_delete = OFF")
    other.execute("CREATE TABLE moved (value BLOB)")
    for value in values:
        other.execute("INSERT INTO moved VALUES (?)", (value,))
    other.execute("DELETE FROM moved")
    other.close()
    proof = purge(clinic, study_id)
    assert in_files(clinic, values) == []
    assert proof is not None
    assert erasure_of(proof)["done"] == ["secure_delete", "wal_truncated", "vacuumed"]


def test_marks_are_searched_for_in_every_file_of_the_database(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    path.write_bytes(b"x" * 100 + b"first")
    path.with_name("some.db-wal").write_bytes(b"second")
    assert byte_search.search(path, [b"first", b"second", b"third"]) == (2, 111)
    assert byte_search.search(path, []) == (0, 111)


def test_a_value_across_two_parts_of_a_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_search, "_CHUNK", 8)
    path = tmp_path / "some.db"
    for start in range(20):
        path.write_bytes(b"." * start + b"needle" + b"." * 9)
        assert byte_search.search(path, [b"needle", b"nothing"])[0] == 1


def test_as_long_as_somebody_reads_old_pages_there_is_no_proof(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 0.1)
    study_id = clinic.done()
    with reading(clinic):
        assert purge(clinic, study_id) is None
        assert finish(clinic) == 0
        with clinic.session as session:
            assert session.get_one(Study, study_id).wrapped_key is None
            assert session.get(Purge, study_id) is None
            assert purges.residual_data(session, clinic.vault, study_id).is_empty
    assert finish(clinic) == 1
    assert finish(clinic) == 0
    with clinic.session as session:
        proof = session.get_one(Purge, study_id)
        assert purges.is_genuine(session, proof)
        assert verification.verify(session).is_whole
        events = session.scalars(select(AuditEvent).where(AuditEvent.study_id == study_id)).all()
        assert [row.event for row in events[-2:]] == ["purge_started", "study_purged"]
        assert {row.actor_id for row in events[-2:]} == {clinic.admin.user_id}
    done = erasure_of(proof)
    assert (done["from"], done["until"]) == (NOW.isoformat(), after(minutes=5).isoformat())


@pytest.mark.parametrize("point", ["files", "erasure", "proof", "log"])
def test_a_purge_that_was_killed_is_finished_later(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    study_id = clinic.done()
    values = values_of(clinic, study_id)

    def kill(*_given: object, **_named: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if point == "log":  # the last statement of the last transaction
            append = audit.append
            patch.setattr(
                audit,
                "append",
                lambda *a, **b: kill() if a[1] == "study_purged" else append(*a, **b),
            )
        else:
            where, name = {
                "files": (clinic.vault, "destroy"),
                "erasure": (erasure, "erase"),
                "proof": (purge_proofs, "proof_from"),
            }[point]
            patch.setattr(where, name, kill)
        with pytest.raises(Killed):
            purge(clinic, study_id)
    with clinic.session as session:
        assert session.get_one(Study, study_id).wrapped_key is None
        assert session.get(Purge, study_id) is None
    assert finish(clinic) == 1
    with clinic.session as session:
        assert purges.residual_data(session, clinic.vault, study_id).is_empty
        assert session.get(StartedPurge, study_id) is None
        assert purges.is_genuine(session, session.get_one(Purge, study_id))
        assert verification.verify(session).is_whole
    if clinic.core.engine.dialect.name == "sqlite":
        assert in_files(clinic, values) == []


def test_files_that_cannot_be_removed_hold_up_the_proof_of_their_purge_alone(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = clinic.done(), clinic.done()
    destroy = clinic.vault.destroy
    with clinic.session as session:
        theirs = {
            blob.name
            for blob in purge_proofs.ToDestroy.of(session, session.get_one(Study, first)).blobs
        }

    def away(name: str) -> None:
        if name in theirs:
            raise StorageUnavailable("the bucket does not answer")
        destroy(name)

    monkeypatch.setattr(clinic.vault, "destroy", away)
    assert purge(clinic, first) is None
    assert purge(clinic, second) is not None
    assert finish(clinic) == 0
    monkeypatch.undo()
    assert finish(clinic) == 1


def test_two_who_finish_a_purge_write_one_proof(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 0.1)
    study_id = clinic.done()
    with reading(clinic):
        assert purge(clinic, study_id) is None
    with clinic.session as session:
        first = purges.finish(session, clinic.vault, study_id, after(minutes=1))
    with clinic.session as session:
        second = purges.finish(session, clinic.vault, study_id, after(minutes=2))
    assert first is not None
    assert second is not None
    assert first.digest == second.digest


def exam_with_all(clinic: Clinic) -> UUID:
    """An exam that has an order, a report and a file in quarantine."""
    add_node(clinic)
    study_id = clinic.done()
    assert {ack.code for ack in give(clinic.core, made.orm(), made.oru())} == {"AA"}
    with clinic.session as session:
        uid_key = session.get_one(Study, study_id).study_uid_key
        assert quarantine.keep(
            session, clinic.vault, clinic.owner, b"refused", Reason("no_dicom"), NOW
        )
        session.execute(update(QuarantinedFile).values(study_key=uid_key))
        session.commit()
    return study_id


def test_the_tables_whose_old_rows_are_cleared_are_those_that_a_purge_deletes_from_or_empties(
    clinic: Clinic,
) -> None:
    study_id, changed = exam_with_all(clinic), set[str]()

    def look(*sent: Any) -> None:
        found = _CHANGES.match(sent[2])
        changed.update(found.groups() if found else ())

    event.listen(clinic.core.engine, "after_cursor_execute", look)
    with clinic.session as session:
        purges._destroy(session, clinic.admin, study_id, NOW, PurgeReason.OTHER, "", None)
    event.remove(clinic.core.engine, "after_cursor_execute", look)
    assert sorted(changed - _STATES) == sorted(erasure.TABLES)


_CHANGES: Final = re.compile(r"(?:DELETE FROM|UPDATE) (\w+)")
# Of these a purge changes a state, or a head of the log: no value of the patient.
_STATES: Final = {"jobs", "dicom_sends", "dicom_retrievals", "audit_head", "audit_writers"}


@pytest.mark.parametrize("table", [QuarantinedFile, HospitalOrder, HospitalReport])
def test_a_row_with_a_key_of_its_own_that_comes_back_is_seen(clinic: Clinic, table: Any) -> None:
    """Though the exam's digests, by which it was found, are gone."""
    study_id = exam_with_all(clinic)
    with clinic.session as session:
        row = session.scalars(select(table)).one()
        kept = {column.name: getattr(row, column.name) for column in table.__table__.columns}
    assert purge(clinic, study_id) is not None
    with clinic.session as session:
        assert purges.residual_data(session, clinic.vault, study_id).is_empty
        session.add(table(**kept))
        session.commit()
        left = purges.residual_data(session, clinic.vault, study_id)
    assert (left.key, left.sealed_values, left.lookups) == (True, 1, 2)


def test_a_search_that_fails_is_no_search_that_found_nothing(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_sqlite(clinic)
    monkeypatch.setattr(byte_search, "__file__", "/nothing/here.py")
    with clinic.session as session, pytest.raises(NotErased):
        erasure.erase(session, [b"mark"])
