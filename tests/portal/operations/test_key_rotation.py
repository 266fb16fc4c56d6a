"""Rotating keys under load: every read goes on, and nothing needs the old key afterwards."""

import json
import threading
from collections.abc import Callable
from unittest import mock
from uuid import UUID

import pytest
from sqlalchemy import select

from portal.audit import verification
from portal.hl7 import case_view
from portal.models import HospitalOrder, Instance, Study, User
from portal.operations import key_rotation
from portal.operations.context import Failed
from portal.reading import case
from portal.settings import Settings
from portal.vault import Vault
from tests.support.clinic import Clinic, after
from tests.support.core import NOW, make_settings
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import add_node, give
from tests.support.wait import only_on_postgresql


def test_of_two_hosts_that_change_the_ring_the_second_is_refused(clinic: Clinic) -> None:
    """A command stores the ring, as a key service does: no lock of a file is between the hosts.

    Each has a data folder of its own; the first stands between reading and storing the ring.
    """
    only_on_postgresql(clinic.core.engine)
    shared = clinic.core.data_dir.parent / "ring.json"
    shared.write_text(clinic.core.settings.read_key_ring())
    hosts = [
        make_settings(
            clinic.core.data_dir.parent / name,
            DATABASE_URL=clinic.core.settings.database_url,
            PLEURA_KEY_RING_COMMAND=f"cat {shared}",
            PLEURA_KEY_RING_STORE_COMMAND=f"cp /dev/stdin {shared}",
        )
        for name in ("one", "two")
    ]
    engine = clinic.core.engine

    def rotate(host: Settings) -> str:
        return key_rotation.add_key(engine, Vault(host), NOW)

    first, second = hosts
    change, refused = Settings.change_key_ring, list[str]()

    def held(settings: Settings, how: Callable[[str], str]) -> None:
        def changed(text: str) -> str:
            if settings is first:
                with pytest.raises(Failed) as busy:
                    rotate(second)
                refused.append(str(busy.value))
            return how(text)

        change(settings, changed)

    with mock.patch.object(Settings, "change_key_ring", held):
        added = [rotate(first), rotate(second)]
    assert set(added) < set(json.loads(shared.read_text())["keys"])
    assert refused[0].startswith("Another host is changing the key ring right now")


def test_keys_rotate_while_cases_are_read(clinic: Clinic) -> None:
    studies = [clinic.done(after(minutes=n)) for n in range(6)]
    with clinic.session as session:
        user = session.get_one(User, clinic.mate.user_id)
        user.sealed_totp = clinic.vault.seal_totp(user.id, "SECRETSECRET")
        user.sealed_totp_pending = clinic.vault.seal_totp(user.id, "NEWSECRET")
        session.commit()
    old = clinic.vault.active_key_id
    reader = Vault(clinic.core.settings)  # a process that started before the rotation
    stop, reads, problems = threading.Event(), [0], list[BaseException]()

    def read() -> None:
        while not stop.is_set():
            for study_id in studies:
                try:
                    with clinic.session as session:
                        case.read_blob(session, reader, clinic.mate, study_id, "pixels", NOW)
                    reads[0] += 1
                except BaseException as error:
                    problems.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        rotating = Vault(clinic.core.settings)
        for _ in range(3):
            rotating.add_key(NOW)
            with clinic.session as session:
                done = key_rotation.rewrap(session, rotating, NOW)
            assert (done.studies, done.pictures) == (6, 6)
            assert done.people == 1
    finally:
        stop.set()
        thread.join()
    assert problems == []
    assert reads[0] > 0
    with clinic.session as session:
        assert set(session.scalars(select(Study.key_id))) == {rotating.active_key_id}
        assert set(session.scalars(select(Instance.key_id))) == {rotating.active_key_id}
        assert key_rotation.keys_in_use(session, rotating) == {rotating.active_key_id}
        assert verification.verify(session).is_whole
    assert old in rotating.drop_keys({rotating.active_key_id}, after(hours=2)).gone
    fresh = Vault(clinic.core.settings)
    with clinic.session as session:
        assert case.open_study(session, fresh, clinic.mate, studies[0], NOW).patient.patient_name
        user = session.get_one(User, clinic.mate.user_id)
        assert user.sealed_totp is not None
        assert fresh.open_totp(user.id, user.sealed_totp) == "SECRETSECRET"


def test_what_does_not_open_is_named_and_the_rest_is_moved(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "_BATCH", 2)
    studies = sorted(clinic.done(after(minutes=n)) for n in range(7))
    broken = (studies[0], studies[3])
    with clinic.session as session:
        for study_id in broken:
            session.get_one(Study, study_id).wrapped_key = b"x" * 60
        picture = session.scalars(select(Instance).order_by(Instance.id)).all()[4]
        picture.wrapped_key, closed = b"x" * 60, picture.id
        for actor in (clinic.mate, clinic.owner):
            user = session.get_one(User, actor.user_id)
            user.sealed_totp = clinic.vault.seal_totp(user.id, "SECRETSECRET")
        session.get_one(User, clinic.owner.user_id).sealed_totp = b"gone:nothing"
        session.commit()
    old = clinic.vault.active_key_id
    new = clinic.vault.add_key(NOW)
    with clinic.session as session:
        done = key_rotation.rewrap(session, clinic.vault, NOW)
    assert done == key_rotation.Rotated(
        key_id=new,
        studies=5,
        pictures=6,
        people=1,
        unreadable_studies=broken,
        unreadable_pictures=(closed,),
        unreadable_people=(clinic.owner.user_id,),
    )
    with clinic.session as session:
        under = dict(session.execute(select(Study.id, Study.key_id)).all())
        assert {i for i, key in under.items() if key == old} == set(broken)
        left = session.scalars(select(Instance.id).where(Instance.key_id == old)).all()
        assert left == [closed]
        assert old in key_rotation.keys_in_use(session, clinic.vault), (
            "it may be needed to mend them"
        )
        assert verification.verify(session).is_whole


def test_a_key_under_which_an_upload_is_coming_in_is_not_dropped(clinic: Clinic) -> None:
    """It has wrapped its key and not committed: no row names the key of the ring yet."""
    study = UUID(int=9)
    data_key, wrapped = clinic.vault.new_data_key(study)
    rotating = Vault(clinic.core.settings)
    rotating.add_key(NOW)
    with clinic.session as session:
        key_rotation.rewrap(session, rotating, NOW)
        dropped = rotating.drop_keys(key_rotation.keys_in_use(session, rotating), after(minutes=1))
    assert (dropped.gone, dropped.waiting) == ([], [wrapped.key_id])
    fresh = Vault(clinic.core.settings)
    assert fresh.data_key(study, wrapped.wrapped, wrapped.key_id) == data_key


def test_orders_and_reports_of_the_hospital_move_with_their_keys(clinic: Clinic) -> None:
    add_node(clinic)
    study_id = clinic.submit().study_id
    assert [ack.code for ack in give(clinic.core, made.orm(), made.oru("Text."))] == ["AA", "AA"]
    new = clinic.vault.add_key(NOW)
    with clinic.session as session:
        done = key_rotation.rewrap(session, clinic.vault, NOW)
        assert (done.hospital, done.unreadable_hospital) == (2, ())
        later = after(hours=2)
        dropped = clinic.vault.drop_keys(key_rotation.keys_in_use(session, clinic.vault), later)
        assert (clinic.vault.key_ids, len(dropped.gone)) == ({new}, 1)
        found = case_view.of_case(
            session, clinic.vault, clinic.mate, study_id, hides_findings=False
        )
    assert found.order is not None
    assert [report.text for report in found.reports] == ["Text."]


def test_an_order_that_does_not_open_is_named(clinic: Clinic) -> None:
    add_node(clinic)
    give(clinic.core, made.orm())
    with clinic.session as session:
        row = session.scalars(select(HospitalOrder)).one()
        row.wrapped_key = b"x" * 60
        session.commit()
        clinic.vault.add_key(NOW)
        done = key_rotation.rewrap(session, clinic.vault, NOW)
        assert done.unreadable_hospital == (row.id,)
        assert row.key_id in key_rotation.keys_in_use(session, clinic.vault)
