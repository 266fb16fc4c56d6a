"""Further readers of a clinic's team, and what they state."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from portal.access import Actor
from portal.accounts.sessions import actor_of
from portal.models import Review, Role, SecondRead
from portal.reading import reviews
from portal.reading.second_reads import requests
from portal.studies.second_reads import blindness
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.people import add_person


def colleague(clinic: Clinic, name: str) -> Actor:
    """Another reader of the mate's team."""
    with clinic.session as session:
        user = add_person(
            session, Role.READER, f"{name}@example.org", name=f"Test {name}", team="Here"
        )
        user.team_id = clinic.mate.team_id
        session.commit()
        return actor_of(user, uuid4())


def state(
    clinic: Clinic, actor: Actor, study_id: UUID, finding: str, now: datetime = NOW, **more: Any
) -> Review:
    """A reader's finding, stated."""
    with clinic.session as session:
        given = {"finding": finding, "now": now} | more
        return reviews.add_review(session, clinic.vault, actor, study_id, **given).review


def ask(clinic: Clinic, actor: Actor, study_id: UUID, now: datetime = NOW) -> SecondRead:
    """A reader asks for a second one."""
    with clinic.session as session:
        return requests.ask(session, actor, study_id, now)


def second_read(clinic: Clinic, study_id: UUID) -> SecondRead:
    """The exam's second read as it is stored."""
    with clinic.session as session:
        return session.scalars(select(SecondRead).where(SecondRead.study_id == study_id)).one()


def is_blind(clinic: Clinic, actor: Actor, study_id: UUID) -> bool:
    with clinic.session as session:
        return blindness.of(session, [study_id]).is_blind(actor, study_id)
