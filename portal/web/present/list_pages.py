"""The way from page to page of a list: by places, so that no page depends on what comes before."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from portal.languages import _, ngettext, number_text
from portal.reading.worklist import TOTAL_MOST, Page


@dataclass(frozen=True, slots=True)
class Pages:
    """The template's pager: how many there are, and where the pages around are; "" for none."""

    total: str
    previous: str
    following: str


def pages(found: Page, path: str, args: Mapping[str, str]) -> Pages:
    """The pages around one; `args`: what else their addresses state."""

    def at(**place: str) -> str:
        return f"{path}?{urlencode({**args, **place})}"

    return Pages(
        total=_total(found.total),
        previous=at(before=found.before) if found.before else "",
        following=at(after=found.after) if found.after else "",
    )


def _total(total: int) -> str:
    if total > TOTAL_MOST:
        return _("more than %(number)s cases", number=number_text(TOTAL_MOST))
    return ngettext("%(num)s case", "%(num)s cases", total)
