"""Checks of screens in words."""

from datetime import datetime

from portal.models import ScreenCheck
from portal.reading.case_records import ScreenView


def result(check: ScreenCheck) -> tuple[str, str]:
    """What a person is told after a check, and how it is marked."""
    missing = [
        text
        for is_seen, text in (
            (check.dark, "the square in the dark field was not found"),
            (check.light, "the square in the light field was not found"),
            (check.lines, "not all lines are apart and straight"),
        )
        if not is_seen
    ]
    if not missing:
        return "Screen checked: all of the test pattern was seen.", "ok"
    return f"Screen checked: {', '.join(missing)}. It is noted in your reviews.", "warn"


def note(screen: ScreenView | None, reviewed: datetime) -> str:
    """'screen checked 2 days before', as a review has it."""
    if screen is None:
        return "screen not checked"
    days = (reviewed - screen.created).days
    when = "the same day" if days < 1 else f"{days} day{'' if days == 1 else 's'} before"
    return f"screen checked {when}" + ("" if screen.is_passed else ", not all of the pattern seen")
