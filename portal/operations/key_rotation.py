"""Moving everything that is wrapped by the key ring to the ring's newest key.

Files are left alone: only the studies' data keys and the second factors' secrets are sealed anew,
a batch at a time, so that the portal goes on meanwhile. Stopped half-way, it can be run again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.jobs.attempts import changed
from portal.models import Study, User
from portal.vault import NotReadable, Vault

_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Rotated:
    """How much was wrapped by the active key, and what does not open and was left as it is."""

    key_id: str
    studies: int
    people: int
    unreadable_studies: tuple[UUID, ...] = ()
    unreadable_people: tuple[UUID, ...] = ()


def rewrap(session: Session, vault: Vault, now: datetime) -> Rotated:
    """Wrap everything that is wrapped by an older key with the active one.

    What does not open is left as it is and named; the rest goes on.
    """
    studies, people, closed = 0, 0, list[UUID]()
    while True:  # until a round finds nothing: an upload may have come in behind it
        moved, unreadable = _rewrap_studies(session, vault)
        studies += moved
        if not moved:
            break
    for user_id in session.scalars(select(User.id).order_by(User.id)).all():
        try:
            people += _reseal_factors(session, vault, user_id)
        except NotReadable:
            session.rollback()
            closed.append(user_id)
    done = Rotated(vault.active_key_id, studies, people, tuple(unreadable), tuple(closed))
    audit.append(
        session,
        "keys_rotated",
        now=now,
        detail={
            "key": done.key_id,
            "studies": studies,
            "people": people,
            "unreadable": len(unreadable) + len(closed),
        },
    )
    session.commit()
    return done


def keys_in_use(session: Session, vault: Vault) -> set[str]:
    """The ids of the ring's keys without which something could not be opened."""
    found = {key for key in session.scalars(select(Study.key_id).distinct()) if key is not None}
    for sealed, pending in session.execute(select(User.sealed_totp, User.sealed_totp_pending)):
        found |= {vault.totp_key_id(value) for value in (sealed, pending) if value is not None}
    session.commit()
    return found


def _rewrap_studies(session: Session, vault: Vault) -> tuple[int, list[UUID]]:
    """One round over all studies, by ascending id; how many were moved, and which do not open."""
    old = (
        select(Study.id, Study.wrapped_key, Study.key_id)
        .where(Study.wrapped_key.is_not(None), Study.key_id != vault.active_key_id)
        .order_by(Study.id)
        .limit(_BATCH)
    )
    moved, unreadable, batch = 0, list[UUID](), old
    while rows := session.execute(batch).all():
        for study_id, wrapped, key_id in rows:
            assert wrapped is not None
            assert key_id is not None
            try:
                fresh = vault.rewrap(study_id, wrapped, key_id)
            except NotReadable:
                unreadable.append(study_id)
                continue
            # Only where nothing else has changed it meanwhile: a purge must stay a purge.
            moved += changed(
                session,
                update(Study)
                .where(Study.id == study_id, Study.key_id == key_id)
                .values(wrapped_key=fresh.wrapped, key_id=fresh.key_id),
            )
        session.commit()
        batch = old.where(Study.id > rows[-1].id)
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
