"""Moving everything that is wrapped by the key ring to the ring's newest key.

Files are left alone: only the data keys of studies, pictures and the hospital's orders and reports
and the second factors' secrets are sealed anew, a batch at a time, so that the portal goes on
meanwhile. Stopped half-way, it can be run again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.jobs.attempts import changed
from portal.models import HospitalOrder, HospitalReport, Instance, QuarantinedFile, Study, User
from portal.operations.context import Failed
from portal.vault import Dropped, NotReadable, Vault

_BATCH: Final = 200
# The number of PostgreSQL's advisory lock, in one database; it has no other meaning.
_RING_LOCK: Final = 0x504C4B52
_Keyed = TypeVar("_Keyed", Study, Instance, QuarantinedFile, HospitalOrder, HospitalReport)


@dataclass(frozen=True, slots=True)
class Rotated:
    """How much was wrapped by the active key, and what does not open and was left as it is. Files
    in quarantine count as pictures.
    """

    key_id: str
    studies: int
    pictures: int
    people: int
    unreadable_studies: tuple[UUID, ...] = ()
    unreadable_pictures: tuple[UUID, ...] = ()
    unreadable_people: tuple[UUID, ...] = ()
    hospital: int = 0  # orders and reports
    unreadable_hospital: tuple[UUID, ...] = ()


def add_key(engine: Engine, vault: Vault, now: datetime) -> str:
    """Add a key to the ring and make it the active one; Failed where another host changes it."""
    with _ring_lock(engine):
        return vault.add_key(now)


def drop_keys(engine: Engine, session: Session, vault: Vault, now: datetime) -> Dropped:
    """Remove the ring's keys that nothing needs; Failed where another host changes it."""
    with _ring_lock(engine):
        return vault.drop_keys(keys_in_use(session, vault), now)


def rewrap(session: Session, vault: Vault, now: datetime) -> Rotated:
    """Wrap everything that is wrapped by an older key with the active one.

    What does not open is left as it is and named; the rest goes on.
    """
    people, closed = 0, list[UUID]()
    studies, unreadable = _rewrap_all(session, vault, Study)
    pictures, unreadable_pictures = _rewrap_all(session, vault, Instance)
    more, closed_files = _rewrap_all(session, vault, QuarantinedFile)
    pictures, unreadable_pictures = pictures + more, unreadable_pictures + closed_files
    hospital, unreadable_hospital = 0, list[UUID]()
    for moved, unopened in (
        _rewrap_all(session, vault, HospitalOrder),
        _rewrap_all(session, vault, HospitalReport),
    ):
        hospital += moved
        unreadable_hospital += unopened
    for user_id in session.scalars(select(User.id).order_by(User.id)).all():
        try:
            people += _reseal_factors(session, vault, user_id)
        except NotReadable:
            session.rollback()
            closed.append(user_id)
    done = Rotated(
        key_id=vault.active_key_id,
        studies=studies,
        pictures=pictures,
        people=people,
        unreadable_studies=tuple(unreadable),
        unreadable_pictures=tuple(unreadable_pictures),
        unreadable_people=tuple(closed),
        hospital=hospital,
        unreadable_hospital=tuple(unreadable_hospital),
    )
    audit.append(
        session,
        "keys_rotated",
        now=now,
        detail={
            "key": done.key_id,
            "studies": studies,
            "pictures": pictures,
            "people": people,
            "hospital": hospital,
            "unreadable": sum(
                map(len, (unreadable, unreadable_pictures, unreadable_hospital, closed))
            ),
        },
    )
    session.commit()
    return done


def keys_in_use(session: Session, vault: Vault) -> set[str]:
    """The ids of the ring's keys without which something could not be opened."""
    tables = (Instance, QuarantinedFile, HospitalOrder, HospitalReport)
    named = session.scalars(select(Study.key_id).union(*(select(table.key_id) for table in tables)))
    found = {key for key in named if key is not None}
    for sealed, pending in session.execute(select(User.sealed_totp, User.sealed_totp_pending)):
        found |= {vault.totp_key_id(value) for value in (sealed, pending) if value is not None}
    session.commit()
    return found


def _rewrap_all(session: Session, vault: Vault, table: type[_Keyed]) -> tuple[int, list[UUID]]:
    """Move all keys of a table: how many were moved, and the ids of those that do not open."""
    total = 0
    while True:  # until a round finds nothing: an upload may have come in behind it
        moved, unreadable = _round(session, vault, table)
        total += moved
        if not moved:
            return total, unreadable


def _round(session: Session, vault: Vault, table: type[_Keyed]) -> tuple[int, list[UUID]]:
    """One round over a table, by ascending id; how many were moved, and which do not open."""
    old = (
        select(table)
        .where(table.wrapped_key.is_not(None), table.key_id != vault.active_key_id)
        .order_by(table.id)
        .limit(_BATCH)
        .execution_options(populate_existing=True)
    )
    moved, unreadable, batch = 0, list[UUID](), old
    while rows := session.scalars(batch).all():
        for row in rows:
            # A key is moved where it lies: neither purged nor joined into another study meanwhile.
            place = [table.id == row.id, table.key_id == row.key_id]
            try:
                if isinstance(row, Instance):
                    place.append(Instance.study_id == row.study_id)
                    fresh = vault.rewrap(row.study_id, row.wrapped_key, row.key_id, row.id)
                else:
                    fresh = vault.rewrap(row.id, row.wrapped_key, row.key_id)
            except NotReadable:
                unreadable.append(row.id)
                continue
            moved += changed(
                session,
                update(table).where(*place).values(wrapped_key=fresh.wrapped, key_id=fresh.key_id),
            )
        session.commit()
        batch = old.where(table.id > rows[-1].id)
    session.commit()
    return moved, unreadable


def _reseal_factors(session: Session, vault: Vault, user_id: UUID) -> int:
    user = session.scalars(
        select(User)
        .where(User.id == user_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()
    changed = 0
    if user is not None:
        for name in ("sealed_totp", "sealed_totp_pending"):
            sealed = getattr(user, name)
            if sealed is not None and vault.totp_key_id(sealed) != vault.active_key_id:
                setattr(user, name, vault.seal_totp(user.id, vault.open_totp(user.id, sealed)))
                changed = 1
    session.commit()
    return changed


@contextmanager
def _ring_lock(engine: Engine) -> Iterator[None]:
    """Let this host alone change the key ring.

    A ring that a command stores has no lock of its own: of two hosts that each add a key to what
    they have read, one would take the other's key away, and what it wraps could not be opened. The
    hosts of a portal share its database, so the lock is there. With SQLite there is one host, and
    the lock of its files is enough.
    """
    if engine.dialect.name == "sqlite":
        yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(select(func.pg_try_advisory_lock(_RING_LOCK))):
            raise Failed(
                "Another host is changing the key ring right now, so nothing was changed here. "
                "Try again when it has ended."
            )
        try:
            yield
        finally:
            connection.scalar(select(func.pg_advisory_unlock(_RING_LOCK)))
