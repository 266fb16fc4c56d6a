"""A database and a vault made by the version before are opened by this one."""

from pathlib import Path

from sqlalchemy import create_engine, select

from portal import database
from portal.audit import first_bindings, verification
from portal.models import Study
from portal.studies import sealed_fields
from tests.support.core import NOW, open_core
from tests.support.version_before import unpack


def test_the_access_log_and_every_patient_of_the_version_before_can_be_read(
    tmp_path: Path,
) -> None:
    before = unpack(tmp_path)
    engine = create_engine(before.database_url)
    database.upgrade(engine)
    engine.dispose()
    core = open_core(before.data_dir, before.database_url)
    with core.sessions() as session:
        assert verification.verify(session, records=False).is_whole
        assert len(verification.verify(session).bad_records) > 0
        assert first_bindings.bind(session, NOW) > 0  # as `upgrade` does
        assert verification.verify(session).is_whole
        studies = session.scalars(select(Study).where(Study.purged_at.is_(None))).all()
        assert {study.id for study in studies} == {
            study_id for name, study_id in before.studies.items() if name != "purged"
        }
        for study in studies:
            data_key = sealed_fields.key_of(core.vault, study)
            patient = sealed_fields.open_patient(core.vault, data_key, study)
            assert patient.patient_name == ("PHANTOM, ONE" if study.study_uid_key else "")
    core.engine.dispose()
