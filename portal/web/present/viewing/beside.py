"""The picture beside another: its label, the interval in words, and the viewer's data as JSON."""

from typing import Any, Final

from portal.access import Actor
from portal.languages import _, ngettext, pgettext
from portal.models import View
from portal.reading.viewer_preferences import Preferences
from portal.reading.viewing.beside import Beside, Choice
from portal.web.present import case_view

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_MONTH: Final = 30.44  # days


def page(found: Beside, actor: Actor, preferences: Preferences) -> dict[str, Any]:
    """What static/js/case/beside.js shows; `viewer` is None where nothing hangs beside by itself.

    It is looked at and not judged: nothing that is drawn on it is stored, and nothing is edited.
    """
    shown, view = found.shown, found.view
    if shown is None or view is None:
        return {"viewer": None, "label": None, "choices": _choices(found)}
    case = case_view.case_page(view, actor, preferences)
    viewer = case.viewer | {"preferencesUrl": None, "annotationsUrl": None}
    if not shown.is_same_exam:  # a look at a prior is no look at an exam that is to be read
        viewer["shownUrl"] = None
    viewer["outline"] = viewer["outline"] | {"mayEdit": False}
    return {
        "viewer": viewer,
        "label": {
            "kind": _kind(shown),
            "same": shown.is_same_exam,
            "when": interval(shown),
            "details": [part for part in (_details(shown), case.names_another) if part],
        },
        "spacing": case.spacing_note,
        "choices": _choices(found),
    }


def interval(choice: Choice) -> str:
    """'1 year 6 months before', '3 days later'; what is known where a header states no time."""
    if choice.is_same_exam:
        return _("same exam")
    if choice.seconds is None:
        return _("interval not known")
    length = _length(abs(choice.seconds))
    if choice.seconds >= 0:
        return _("%(interval)s before", interval=length)
    return _("%(interval)s later", interval=length)


def _length(seconds: int) -> str:
    if seconds < _HOUR:
        return ngettext("%(num)s minute", "%(num)s minutes", seconds // _MINUTE)
    if seconds < 2 * _DAY:
        return ngettext("%(num)s hour", "%(num)s hours", seconds // _HOUR)
    days = seconds // _DAY
    if days < 60:
        return ngettext("%(num)s day", "%(num)s days", days)
    months = round(days / _MONTH)
    if months < 12:
        return _months(months)
    years, rest = divmod(months, 12)
    parts = [ngettext("%(num)s year", "%(num)s years", years), _months(rest) if rest else ""]
    return " ".join(filter(None, parts))


def _months(count: int) -> str:
    return ngettext("%(num)s month", "%(num)s months", count)


def _kind(choice: Choice) -> str:
    if choice.is_same_exam:
        return _("Other picture")
    if choice.seconds is not None and choice.seconds < 0:
        return _("Later exam")
    return pgettext("exam", "Prior")


def _details(choice: Choice) -> str:
    parts = [
        choice.exam_date,
        choice.view.value if choice.view is not View.UNKNOWN else "",
        _("picture %(number)s", number=choice.number) if choice.number else "",
        "" if choice.is_same_exam else choice.case_number,
    ]
    return " · ".join(part for part in parts if part)


def _choices(found: Beside) -> list[dict[str, Any]]:
    return [
        {
            "picture": str(one.picture),
            "kind": _kind(one),
            "text": " · ".join(part for part in (_details(one), interval(one)) if part),
            "isShown": found.shown is not None and one.picture == found.shown.picture,
        }
        for one in found.choices
    ]
