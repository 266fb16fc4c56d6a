"""The ends of the log are sealed from the start, once, and never again."""

import pytest
from sqlalchemy import create_engine, select

from portal import audit, database
from portal.audit import chain, first_seals
from portal.models import AuditHead, AuditWriter
from portal.operations import upgrade
from tests.support.audit_log import check, fill, link, tamper
from tests.support.clinic import Clinic
from tests.support.core import NOW, Core
from tests.support.version_before import unpack

UNSEALED = (
    "UPDATE audit_writers SET seal = '' WHERE count = 0",
    "UPDATE audit_head SET seal = '' WHERE count = 0",
)


def seal(core: Core) -> bool:
    with core.sessions() as session:
        return first_seals.seal(session)


def run_upgrade(core: Core) -> None:
    with core.sessions() as session:
        upgrade.upgrade(session, core.vault, NOW, progress=lambda _done, _all: None)


def test_every_end_has_a_seal_before_the_first_row(core: Core) -> None:
    with core.sessions() as session:
        seals = [*session.scalars(select(AuditWriter.seal)), session.get_one(AuditHead, 1).seal]
    assert len(seals) == 66
    assert all(len(one) == 64 for one in seals)
    assert len(set(seals)) == 66
    assert check(core).is_whole
    assert not seal(core)


def test_a_new_log_takes_no_row_and_no_link_until_its_ends_are_sealed(core: Core) -> None:
    tamper(core, *UNSEALED)  # as the tables are made
    with core.sessions() as session:
        assert first_seals.are_missing(session)
        with pytest.raises(RuntimeError, match="run `python -m portal upgrade`"):
            audit.append(session, "tested", now=NOW)
        session.rollback()
        assert chain.link(session) == 0
    run_upgrade(core)
    fill(core)
    assert link(core) == 6  # the upgrade has written one
    assert check(core).is_whole


@pytest.mark.parametrize("linked", [True, False])
def test_an_end_that_was_set_back_is_not_sealed_by_an_upgrade(core: Core, linked: bool) -> None:
    fill(core)
    if linked:
        link(core)
    tamper(core, *UNSEALED)
    run_upgrade(core)
    run_upgrade(core)
    assert not check(core).is_whole


def test_an_emptied_log_is_not_sealed_by_an_upgrade_where_people_exist(clinic: Clinic) -> None:
    fill(clinic.core)
    link(clinic.core)
    tamper(
        clinic.core,
        *(f"DELETE FROM {table}" for table in ("audit_events", "audit_links")),
        "UPDATE audit_writers SET count = 0, mac = '', seal = ''",
        "UPDATE audit_head SET count = 0, mac = '', seal = '', linked = '{}'",
    )
    run_upgrade(clinic.core)
    fill(clinic.core)
    assert not check(clinic.core).is_whole


def test_with_another_key_the_log_of_the_version_before_is_left_as_it_is(core: Core) -> None:
    before = unpack(core.data_dir.parent / "before")
    engine = create_engine(before.database_url)
    database.upgrade(engine)
    audit.bind(engine, core.vault.audit_key())
    with database.sessions(engine)() as session:
        assert not first_seals.seal(session)
        assert set(session.scalars(select(AuditWriter.seal))) == {""}
    engine.dispose()
