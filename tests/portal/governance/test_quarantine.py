"""Files in quarantine: sealed, counted, gone with their row, key and file together."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from portal.governance import purges, quarantine
from portal.governance.quarantine import Reason
from portal.jobs import sweeper
from portal.models import AuditEvent, PurgeReason, QuarantinedFile, Team
from portal.operations import backup, integrity, key_rotation
from portal.settings.secret_files import new_backup_key
from portal.vault import NotReadable, VaultError
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.hostile_files.damage import flipped
from tests.support.pictures import dicom

REFUSED = Reason("not_single_frame")


def keep(clinic: Clinic, data: bytes, reason: Reason = REFUSED, **more: Any) -> bool:
    with clinic.session as session:
        return quarantine.keep(
            session, clinic.vault, more.pop("actor", clinic.owner), data, reason, NOW, **more
        )


def rows(clinic: Clinic) -> list[QuarantinedFile]:
    with clinic.session as session:
        found = select(QuarantinedFile).order_by(QuarantinedFile.created, QuarantinedFile.id)
        return list(session.scalars(found))


def files(clinic: Clinic) -> list[Path]:
    return [one for one in (clinic.core.data_dir / "blobs").rglob("*") if one.is_file()]


def events(clinic: Clinic, name: str) -> int:
    with clinic.session as session:
        counted = select(func.count()).select_from(AuditEvent).where(AuditEvent.event == name)
        return session.scalar(counted) or 0


def test_a_file_is_sealed_under_a_key_of_its_own_and_opens_again(clinic: Clinic) -> None:
    data = dicom(PatientName="CANARY^ONE")
    assert keep(clinic, data, stated={"patient_name": "CANARY"})
    (row,) = rows(clinic)
    assert quarantine.read(clinic.vault, row) == (data, {"patient_name": "CANARY"})
    (path,) = files(clinic)
    assert b"CANARY" not in path.read_bytes() + row.sealed_stated + row.wrapped_key
    assert events(clinic, "quarantine_filled") == 1


def test_the_same_file_is_kept_once_for_a_team(clinic: Clinic) -> None:
    data = dicom()
    assert keep(clinic, data)
    assert not keep(clinic, data)
    assert keep(clinic, data, actor=clinic.outsider)
    assert (len(rows(clinic)), len(files(clinic))) == (2, 2)


@pytest.mark.parametrize("limit", ["MOST_FILES", "MOST_BYTES"])
def test_a_team_has_so_much_room_and_others_have_theirs(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    first, second = dicom(), dicom()
    monkeypatch.setattr(quarantine, limit, 1 if limit == "MOST_FILES" else len(first) + 10)
    assert keep(clinic, first)
    assert not keep(clinic, second)
    assert keep(clinic, second, actor=clinic.outsider)
    assert (len(rows(clinic)), len(files(clinic))) == (2, 2)


def test_nothing_is_left_behind_where_its_row_can_not_be_stored(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise VaultError("away")

    with monkeypatch.context() as patched:
        patched.setattr(quarantine.audit, "append", fails)
        with pytest.raises(VaultError):
            keep(clinic, dicom())
    assert (rows(clinic), files(clinic)) == ([], [])


def test_after_thirty_days_row_and_file_are_gone_and_not_before(clinic: Clinic) -> None:
    keep(clinic, dicom())
    for days, left in ((29, 1), (30, 0)):
        with clinic.session as session:
            quarantine.forget_old(session, clinic.vault, NOW + timedelta(days=days))
        assert (len(rows(clinic)), len(files(clinic))) == (left, left)
    assert events(clinic, "quarantine_expired") == 1


def test_the_sweep_and_the_check_know_these_files(clinic: Clinic) -> None:
    keep(clinic, dicom())
    with clinic.session as session:
        for minute in range(256):
            sweeper.tidy(session, clinic.vault, after(hours=2, minutes=minute))
        assert len(files(clinic)) == 1
        found = integrity.inspect(session, clinic.vault, after(hours=3), progress=lambda *_: None)
        assert (found.findings, found.orphans) == ([], [])
        (path,) = files(clinic)
        path.write_bytes(flipped(path.read_bytes(), 40))
        found = integrity.inspect(session, clinic.vault, after(hours=3), progress=lambda *_: None)
    assert [(one.problem, one.what) for one in found.findings] == [("damaged", "quarantined_files")]


def test_keys_are_rotated_and_one_in_use_stays(clinic: Clinic) -> None:
    data = dicom()
    keep(clinic, data)
    before = rows(clinic)[0].key_id
    key_rotation.add_key(clinic.core.engine, clinic.vault, NOW)
    with clinic.session as session:
        assert before in key_rotation.keys_in_use(session, clinic.vault)
        key_rotation.rewrap(session, clinic.vault, NOW)
        assert before not in key_rotation.keys_in_use(session, clinic.vault)
    (row,) = rows(clinic)
    assert row.key_id != before
    assert quarantine.read(clinic.vault, row)[0] == data


def test_a_backup_holds_them(clinic: Clinic, tmp_path: Path) -> None:
    keep(clinic, dicom())
    done = backup.make(
        *(clinic.core.engine, clinic.vault, new_backup_key(), tmp_path / "backup", NOW),
        progress=lambda *_: None,
    )
    assert (done.blobs, done.missing, done.tables["quarantined_files"]["rows"]) == (1, [], 1)


def test_a_purge_of_the_exam_takes_what_is_in_quarantine_of_it(clinic: Clinic) -> None:
    study = clinic.submit(StudyInstanceUID="1.2.3").study_id
    for uid in ("1.2.3", "1.2.4", ""):
        keep(clinic, dicom(), Reason("by_rule", study_uid=uid))
    keep(clinic, dicom(), Reason("by_rule", study_uid="1.2.3"), actor=clinic.outsider)
    with clinic.session as session:
        gone = session.scalars(
            select(QuarantinedFile).where(
                QuarantinedFile.study_key == clinic.vault.lookup("study_uid", "1.2.3"),
                QuarantinedFile.team_id == clinic.owner.team_id,
            )
        ).one()
        proof = purges.purge(
            session, clinic.vault, clinic.admin, study, NOW, reason=PurgeReason.PATIENT_REQUEST
        )
        assert proof is not None
        assert gone.name in proof.proof
        assert not clinic.vault.has(gone.name)
        with pytest.raises(NotReadable):
            clinic.vault.sealed_file(gone.name)
    left = rows(clinic)
    assert len(left) == 3
    assert gone.id not in {one.id for one in left}
    with clinic.session as session:
        assert session.scalar(select(func.count()).select_from(Team)) is not None
