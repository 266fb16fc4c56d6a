"""The worklist's filters as they stand in addresses, so that a case leads back to its list."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from flask import request

from portal.languages import lazy
from portal.studies.worklist_filters import DAYS, MINE, NOBODY, RETRACTED, SECOND_READ, Asked

# The list begins with what is to be read; a search looks in everything.
TO_READ: Final = "to_read"
ALL: Final = "all"
LONGEST: Final = 700  # of a sealed search
# Filters that are empty where nothing is chosen.
_NAMES: Final = ("result", "side", "size", "verdict", "reader", "days")
_LAST: Final = (
    lazy("Last 24 hours"),
    lazy("Last 3 days"),
    lazy("Last 7 days"),
    lazy("Last 30 days"),
)
OPTIONS: Final[dict[str, list[tuple[str, str]]]] = {
    "state": [
        (TO_READ, lazy("To read")),
        ("read", lazy("Read", context="state")),
        (ALL, lazy("All cases")),
        ("received", lazy("Waiting")),
        ("preparing", lazy("Preparing")),
        ("analysing", lazy("Analysing")),
        ("done", lazy("With AI result")),
        ("skipped", lazy("Skipped by rule")),
        ("failed", lazy("Failed")),
    ],
    "result": [
        ("", lazy("All results")),
        ("positive", lazy("AI positive")),
        ("likely", lazy("Likely")),
        ("possible", lazy("Possible")),
        ("none_found", lazy("None found")),
        ("no_result", lazy("No AI result")),
    ],
    "side": [
        ("", lazy("All sides")),
        ("right", lazy("Right")),
        ("left", lazy("Left")),
        ("both", lazy("Both sides")),
    ],
    "size": [
        ("", lazy("All sizes")),
        ("below_10", lazy("Below 10 %")),
        ("10_to_30", lazy("10 to 30 %")),
        ("above_30", lazy("Above 30 %")),
        ("unknown", lazy("Size not known")),
    ],
    "verdict": [
        ("", lazy("All verdicts")),
        ("ai_only", lazy("No verdict (AI only)")),
        ("preliminary", lazy("Preliminary")),
        ("final", lazy("Final")),
        ("amended", lazy("Amended")),
        (RETRACTED, lazy("AI result retracted")),
    ],
    "reader": [
        ("", lazy("All readers")),
        (MINE, lazy("Read by me")),
        (NOBODY, lazy("Read by nobody")),
    ],
    "days": [
        ("", lazy("Any arrival")),
        *((str(days), text) for days, text in zip(DAYS, _LAST, strict=True)),
    ],
}
# Those of a list whose reader may not see at once what the AI found.
_OF_AI: Final = ("result", "side", "size")
_OF_ANALYSIS: Final = ("analysing", "done", "skipped", "failed")
BY_ARRIVAL: Final = OPTIONS | {
    "state": [one for one in OPTIONS["state"] if one[0] not in _OF_ANALYSIS],
    **{name: [] for name in _OF_AI},
    "verdict": [
        (value, lazy("No verdict") if value == "ai_only" else text)
        for value, text in OPTIONS["verdict"]
        if value != RETRACTED
    ],
}
_READER: Final = re.compile(r"[0-9a-f]{32}")
_PLACE: Final = re.compile(r"[0-9a-f_.e+-]{34,100}")


@dataclass(frozen=True, slots=True)
class ListFilters:
    """Which cases a list shows, and which of its pages. Unknown values are the usual ones."""

    state: str = TO_READ
    result: str = ""
    side: str = ""
    size: str = ""
    verdict: str = ""
    reader: str = ""
    days: str = ""
    q: str = ""
    after: str = ""  # the place before the page's first case
    before: str = ""  # or after its last one

    @property
    def args(self) -> dict[str, Any]:
        """What of it an address states: what is not as usual."""
        found = {name: getattr(self, name) for name in (*_NAMES, "q")}
        if self.state != _usual_state(self.q):
            found["state"] = self.state
        return {name: value for name, value in found.items() if value}

    @property
    def place(self) -> dict[str, Any]:
        """The same with the page, for links to the cases of it and back."""
        page = {"after": self.after} if self.after else {"before": self.before}
        return self.args | {name: value for name, value in page.items() if value}

    @property
    def remembered(self) -> dict[str, Any]:
        """The filters that the way back to the list has, from whichever page: without the search,
        which ends with its list, and without the page.
        """
        state = TO_READ if self.q and self.state == ALL else self.state
        return replace(ListFilters(state), **{n: getattr(self, n) for n in _NAMES}).args

    @property
    def query(self) -> Asked:
        """What `reading.worklist` is asked for."""
        return {
            "state": "" if self.state == ALL else self.state,
            "result": self.result,
            "side": self.side,
            "size": self.size,
            "verdict": self.verdict,
            "reader": self.reader,
            "days": self.days,
            "query": self.q,
        }

    @property
    def is_narrowed(self) -> bool:
        """Whether it leaves out cases that are to be read."""
        return any(getattr(self, name) for name in _NAMES)


def filters_of(args: Mapping[str, str]) -> ListFilters:
    """The filters that an address or a form states."""
    query = args.get("q", "").strip()[:LONGEST]
    after, before = (_place(args.get(name, "")) for name in ("after", "before"))
    chosen = {name: _known(name, args.get(name, "")) for name in _NAMES}
    return ListFilters(
        state=_known("state", args.get("state", "")) or _usual_state(query),
        **chosen,
        q=query,
        after=after,
        before="" if after else before,
    )


def of_request() -> ListFilters:
    """The filters in the address of the request."""
    return filters_of(request.args)


def _usual_state(query: str) -> str:
    return ALL if query else TO_READ


def _known(name: str, value: str) -> str:
    if name == "reader" and _READER.fullmatch(value):
        return value
    if name == "state" and value == SECOND_READ:  # a list of its own, which is no choice of this
        return value
    return value if any(value == known for known, _ in OPTIONS[name]) else ""


def _place(value: str) -> str:
    return value if _PLACE.fullmatch(value) else ""
