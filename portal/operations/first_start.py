"""First start of a portal: the schema, the shipped model, the link for the first admin."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from portal import database
from portal.accounts import invitations
from portal.ai_models import cards, registry
from portal.errors import Conflict, Invalid
from portal.models import ModelState, ModelVersion, OperatingPoint, Role, User
from portal.operations import upgrade
from portal.operations.context import Failed, now, open_portal
from portal.settings import Settings

_ML: Final = Path(__file__).resolve().parents[2] / "ml"


def migrate(settings: Settings) -> str | None:
    """Bring the database to the schema of this version; returns its revision."""
    settings.check_certificates()
    engine = database.open_engine(settings)
    try:
        database.upgrade(engine)
        return database.revisions(engine)[0]
    except DBAPIError as error:
        raise Failed(f"The database can't be used: {type(error.orig).__name__}.") from None
    finally:
        engine.dispose()


def upgrade_rows(
    settings: Settings, *, progress: Callable[[int, int], None], at: datetime | None = None
) -> upgrade.Upgraded:
    """Bring the rows of a version before to this one, see `upgrade`. `at`: the time, if not now."""
    with open_portal(settings, upgrading=True) as (session, vault, _engine):
        return upgrade.upgrade(session, vault, at or now(), progress=progress)


def admin_link(
    settings: Settings,
    *,
    name: str = "Administrator",
    email: str = "admin@localhost",
    team: str | None = None,
    hours: int = 24,
    if_none: bool = False,
) -> str | None:
    """A one-time link that makes an administrator; None where `if_none` and there is one."""
    with open_portal(settings) as (session, _vault, _engine):
        admin = select(User.id).where(User.role == Role.ADMIN, User.disabled_at.is_(None))
        if if_none and session.scalars(admin.limit(1)).first() is not None:
            return None
        session.commit()
        try:
            _, token = invitations.invite(
                session,
                None,
                name=name,
                email=email,
                role=Role.ADMIN,
                team=team,
                now=now(),
                lifetime=timedelta(hours=hours),
            )
        except Invalid as bad:
            raise Failed(bad.message) from None
    return f"{settings.base_url}/join/{token}"


def register_shipped(settings: Settings) -> str | None:
    """Make the model that came with this version active, unless another was chosen.

    Returns its name where that is new.
    """
    card = _shipped()
    if card is None or list(cards.problems_of(card)):
        return None
    with open_portal(settings) as (session, _vault, _engine):
        active = session.scalars(
            select(ModelVersion).where(ModelVersion.state == ModelState.ACTIVE)
        ).first()
        if active is not None and (active.source != registry.SHIPPED or active.card == card):
            return None
        model = registry.add(session, card, source=registry.SHIPPED, now=now())
        if active is None or active.id != model.id:
            point = active.operating_point if active is not None else OperatingPoint.BALANCED
            chosen = active.id if active is not None else None
            try:
                registry.promote(
                    *(session, None, model.id, now()),
                    point=point,
                    only_if=lambda other: (other.id if other else None) == chosen,
                    # The one before is no longer part of the installation.
                    override="It came with this version of the program.",
                )
            except Conflict:
                return None  # an administrator, or another start, has chosen one meanwhile
        return f"{model.name} {model.version}"


def _shipped() -> dict[str, Any] | None:
    try:
        name = (_ML / "weights" / "CURRENT").read_text(encoding="utf-8").strip()
        card = json.loads((_ML / "weights" / name / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return card if isinstance(card, dict) else None
