"""Checks of screens in words."""

from datetime import datetime

from portal.languages import _, ngettext
from portal.models import ScreenCheck
from portal.reading.case_records import ScreenView


def result(check: ScreenCheck) -> tuple[str, str]:
    """What a person is told after a check, and how it is marked."""
    missing = [
        text
        for is_seen, text in (
            (check.dark, _("the square in the dark field was not found")),
            (check.light, _("the square in the light field was not found")),
            (check.lines, _("not all lines are apart and straight")),
        )
        if not is_seen
    ]
    if not missing:
        return _("Screen checked: all of the test pattern was seen."), "ok"
    return _(
        "Screen checked: %(missing)s. It is noted in your reviews.", missing=", ".join(missing)
    ), "warn"


def note(screen: ScreenView | None, reviewed: datetime) -> str:
    """'screen checked 2 days before', as a review has it."""
    if screen is None:
        return _("screen not checked")
    days = (reviewed - screen.created).days
    if days < 1:
        checked = _("screen checked the same day")
    else:
        checked = ngettext(
            "screen checked %(num)s day before", "screen checked %(num)s days before", days
        )
    return checked if screen.is_passed else f"{checked}, {_('not all of the pattern seen')}"
