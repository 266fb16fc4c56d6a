"""Checks of screens: what a person saw of the test pattern, by person and screen.

The pattern is drawn by static/js/screen.js: squares of little contrast in a field of 5 % and one of
95 %, as in the AAPM's TG18-QC pattern (AAPM OR-03, 2005), grey steps, line pairs, and a geometry.
A screen is told by a random number that the browser keeps in a cookie, which is stored as a digest.
"""

import hashlib
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.errors import Invalid
from portal.languages import _
from portal.models import ScreenCheck
from portal.reading.case_records import ScreenView

# The square in a field lies in one of its corners, or is not seen.
CORNERS: Final = ("top_left", "top_right", "bottom_left", "bottom_right")
NOT_SEEN: Final = "not_seen"
_MOST_PIXELS: Final = 100_000


def add(
    session: Session, actor: Actor, number: str, sent: dict[str, str], now: datetime
) -> ScreenCheck:
    """Store what the actor saw on the screen with this number. `sent`: for `dark` and `light` where
    the square was drawn (`…_at`) and where it was seen, for `lines` yes or no, and the size of the
    screen. One audit row. Raises Invalid for anything else.
    """
    actor.require(Permission.REVIEW_WRITE)
    check = ScreenCheck(
        id=uuid4(),
        user_id=actor.user_id,
        screen=_digest(number),
        dark=_is_found(sent, "dark"),
        light=_is_found(sent, "light"),
        lines=_choice(sent, "lines", ("yes", "no")) == "yes",
        width=_pixels(sent, "width"),
        height=_pixels(sent, "height"),
        created=now,
    )
    session.add(check)
    audit.append(
        session,
        "screen_checked",
        actor=actor,
        now=now,
        subject_id=check.id,
        detail={"dark": check.dark, "light": check.light, "lines": check.lines},
        bound=[check],
    )
    session.commit()
    return check


def last(session: Session, actor: Actor, number: str) -> ScreenCheck | None:
    """The actor's last check of the screen with this number; None without one."""
    if not number:
        return None
    found = session.scalars(
        select(ScreenCheck)
        .where(ScreenCheck.user_id == actor.user_id, ScreenCheck.screen == _digest(number))
        .order_by(ScreenCheck.created.desc())
        .limit(1)
    ).first()
    session.commit()
    return found


def last_id(session: Session, actor: Actor, number: str) -> UUID | None:
    """The id of the actor's last check of the screen with this number."""
    found = last(session, actor, number)
    return found.id if found else None


def view_of(session: Session, check_id: UUID | None) -> ScreenView | None:
    """A check as a review has it."""
    check = session.get(ScreenCheck, check_id) if check_id else None
    return as_view(check) if check else None


def as_view(check: ScreenCheck) -> ScreenView:
    """A check in short."""
    return ScreenView(check.created, check.dark and check.light and check.lines)


def _digest(number: str) -> str:
    return hashlib.sha256(number.encode("utf-8", "surrogatepass")).hexdigest()


def _is_found(sent: dict[str, str], name: str) -> bool:
    drawn = _choice(sent, f"{name}_at", CORNERS)
    return _choice(sent, name, (*CORNERS, NOT_SEEN)) == drawn


def _choice(sent: dict[str, Any], name: str, choices: tuple[str, ...]) -> str:
    value = sent.get(name)
    if value not in choices:
        raise Invalid("screen_check", _("Answer all questions about the test pattern."))
    return str(value)


def _pixels(sent: dict[str, Any], name: str) -> int:
    text = str(sent.get(name) or "")
    if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text) <= _MOST_PIXELS):
        raise Invalid("screen_check", _("The size of the screen is missing. Load the page again."))
    return int(text)
