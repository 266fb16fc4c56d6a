"""The languages of pages and texts: English, which the code itself is written in, and German.

Marking a text is all that code does: `_("…")` where a request speaks, `lazy("…")` for a constant of
a module, which is translated where it is shown. Who sees it decides the language: see
`portal.web.security.page_language` for pages, `speaking` for what goes to a team. Elsewhere
(commands, logs, the scheduler, workers) nothing is chosen and texts are in English.
"""

from portal.languages.current import (
    DEFAULT,
    NAMES,
    Code,
    choose,
    current,
    direction,
    known,
    speaking,
)
from portal.languages.formats import (
    day_text,
    header_day_text,
    hour_text,
    moment_text,
    month_text,
    number_text,
    percent_text,
    short_day_text,
    short_number_text,
)
from portal.languages.texts import _, form_for, lazy, ngettext, pgettext

__all__ = [
    "DEFAULT",
    "NAMES",
    "Code",
    "_",
    "choose",
    "current",
    "day_text",
    "direction",
    "form_for",
    "header_day_text",
    "hour_text",
    "known",
    "lazy",
    "moment_text",
    "month_text",
    "ngettext",
    "number_text",
    "percent_text",
    "pgettext",
    "short_day_text",
    "short_number_text",
    "speaking",
]
