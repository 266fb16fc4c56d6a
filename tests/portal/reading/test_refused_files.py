"""Refused files of a session: listed to it alone, sealed, for a day."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import select, text

from portal.access import Actor, Denied
from portal.accounts import sessions
from portal.models import LoginSession, RefusedFile, User
from portal.reading import refused_files
from portal.reading.refused_files import Refusal
from tests.support.clinic import Clinic, after
from tests.support.core import NOW

WHY = "The file is not a DICOM, PNG or JPEG picture."


def signed_in(clinic: Clinic, person: Actor) -> Actor:
    """The person in a login session of their own."""
    with clinic.session as session:
        user = session.get_one(User, person.user_id)
        raw = sessions.start_session(session, user, address="", agent="", now=NOW)
        found = session.scalars(
            select(LoginSession.id).where(LoginSession.token_hash == sessions.hash_token(raw))
        ).one()
    return replace(person, session_id=found)


def note(clinic: Clinic, actor: Actor, *names: str, minutes: int = 0) -> None:
    with clinic.session as session:
        refused = [Refusal(name, WHY) for name in names]
        refused_files.note(session, clinic.vault, actor, refused, after(minutes=minutes))


def listed(clinic: Clinic, actor: Actor, minutes: int = 1, skip: int = 0) -> tuple[list[str], int]:
    with clinic.session as session:
        found = refused_files.of_session(
            session, clinic.vault, actor, after(minutes=minutes), skip=skip
        )
    assert all(row.why == WHY for row in found.rows)
    return [row.name for row in found.rows], found.total


def test_the_session_that_sent_them_sees_them_the_newest_first(clinic: Clinic) -> None:
    sender = signed_in(clinic, clinic.owner)
    note(clinic, sender, "first.dcm")
    note(clinic, sender, "CD / a", "CD / b", minutes=1)
    assert listed(clinic, sender, 2) == (["CD / a", "CD / b", "first.dcm"], 3)
    assert listed(clinic, sender, 2, skip=2) == (["first.dcm"], 1)
    assert listed(clinic, signed_in(clinic, clinic.owner), 2) == ([], 0)
    assert listed(clinic, signed_in(clinic, clinic.colleague), 2) == ([], 0)


def test_of_many_the_newest_are_listed_and_all_counted(clinic: Clinic) -> None:
    sender = signed_in(clinic, clinic.owner)
    note(clinic, sender, *(f"{number}.dcm" for number in range(60)))
    names, total = listed(clinic, sender)
    assert (len(names), names[0], total) == (50, "0.dcm", 60)
    note(clinic, sender, *(f"{number}.png" for number in range(990)), minutes=1)
    names, total = listed(clinic, sender, 2)
    assert (len(names), names[0], total) == (50, "0.png", 1000)  # the oldest are dropped


def test_a_name_is_sealed_and_gone_after_a_day(clinic: Clinic) -> None:
    sender = signed_in(clinic, clinic.owner)
    note(clinic, sender, "ZEBRA^CANARY\n.dcm")
    assert listed(clinic, sender)[0] == ["ZEBRA^CANARY .dcm"]
    with clinic.session as session:
        (row,) = session.execute(text("SELECT * FROM refused_files")).all()
        assert not any("ZEBRA" in str(value) for value in row)
        assert refused_files.forget_old(session, after(hours=23)) == 0
    assert listed(clinic, sender, minutes=24 * 60) == ([], 0)  # also where nothing tidies up
    with clinic.session as session:
        assert refused_files.forget_old(session, after(hours=25)) == 1


def test_one_that_was_moved_to_another_session_does_not_open(clinic: Clinic) -> None:
    sender, other = signed_in(clinic, clinic.owner), signed_in(clinic, clinic.colleague)
    note(clinic, sender, "one.dcm")
    with clinic.session as session:
        session.scalars(select(RefusedFile)).one().session_id = other.session_id or UUID(int=0)
        session.commit()
    with clinic.session as session:
        found = refused_files.of_session(session, clinic.vault, other, after(minutes=1))
    assert [(row.name, row.why) for row in found.rows] == [("", "The file was refused.")]


def test_programs_and_those_who_send_nothing_have_none(clinic: Clinic) -> None:
    note(clinic, replace(clinic.owner, session_id=None), "one.dcm")
    with clinic.session as session:
        assert session.scalars(select(RefusedFile)).all() == []
        with pytest.raises(Denied):
            refused_files.of_session(session, clinic.vault, clinic.auditor, NOW)
