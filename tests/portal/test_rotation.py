"""Rotating keys under load: every read goes on, and nothing needs the old key afterwards."""

import threading

from clinic import Clinic, after
from place import NOW
from sqlalchemy import select

from portal import audit, records, rotation
from portal.models import Study, User
from portal.vault import Vault


def test_keys_rotate_while_cases_are_read(clinic: Clinic) -> None:
    studies = [clinic.done(after(minutes=n)) for n in range(6)]
    with clinic.s as s:
        user = s.get_one(User, clinic.mate.user_id)
        user.sealed_totp = clinic.vault.seal_totp(user.id, "SECRETSECRET")
        user.sealed_totp_pending = clinic.vault.seal_totp(user.id, "NEWSECRET")
        s.commit()
    old = clinic.vault.active_key_id
    reader = Vault(clinic.place.settings)  # a process that started before the rotation
    stop, reads, problems = threading.Event(), [0], list[BaseException]()

    def read() -> None:
        while not stop.is_set():
            for study_id in studies:
                try:
                    with clinic.s as s:
                        records.read_blob(s, reader, clinic.mate, study_id, "pixels", NOW)
                    reads[0] += 1
                except BaseException as error:
                    problems.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        rotating = Vault(clinic.place.settings)
        for _ in range(3):
            rotating.add_key()
            with clinic.s as s:
                done = rotation.rewrap(s, rotating, NOW)
            assert done.studies == 6
            assert done.people == 1
    finally:
        stop.set()
        thread.join()
    assert problems == []
    assert reads[0] > 0
    with clinic.s as s:
        assert set(s.scalars(select(Study.key_id))) == {rotating.active_key_id}
        assert rotation.keys_in_use(s, rotating) == {rotating.active_key_id}
        assert audit.verify(s).is_whole
    assert old in rotating.drop_keys({rotating.active_key_id})
    fresh = Vault(clinic.place.settings)
    with clinic.s as s:
        assert records.open_study(s, fresh, clinic.mate, studies[0], NOW).patient.patient_name
        user = s.get_one(User, clinic.mate.user_id)
        assert user.sealed_totp is not None
        assert fresh.open_totp(user.id, user.sealed_totp) == "SECRETSECRET"
