"""The worklist's filters as they stand in addresses, so that a case leads back to its list."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from flask import request

# The list begins with what is to be read; a search looks in everything.
TO_READ: Final = "to_read"
ALL: Final = "all"
LONGEST: Final = 700  # of a sealed search
OPTIONS: Final[dict[str, list[tuple[str, str]]]] = {
    "state": [
        (TO_READ, "To read"),
        ("read", "Read"),
        (ALL, "All cases"),
        ("received", "Waiting"),
        ("preparing", "Preparing"),
        ("analysing", "Analysing"),
        ("done", "With AI result"),
        ("failed", "Failed"),
    ],
    "result": [
        ("", "All results"),
        ("positive", "AI positive"),
        ("likely", "Likely"),
        ("possible", "Possible"),
        ("none_found", "None found"),
        ("no_result", "No AI result"),
    ],
    "side": [("", "All sides"), ("right", "Right"), ("left", "Left"), ("both", "Both sides")],
}


class Query(TypedDict):
    """The filters as arguments of `reading.worklist`."""

    state: str
    result: str
    side: str
    query: str


@dataclass(frozen=True, slots=True)
class ListFilters:
    """Which cases a list shows, and which of its pages. Unknown values are the usual ones."""

    state: str = TO_READ
    result: str = ""
    side: str = ""
    q: str = ""
    page: int = 1

    @property
    def args(self) -> dict[str, Any]:
        """What of it an address states: what is not as usual."""
        found = {"result": self.result, "side": self.side, "q": self.q}
        if self.state != _usual_state(self.q):
            found["state"] = self.state
        return {name: value for name, value in found.items() if value}

    @property
    def place(self) -> dict[str, Any]:
        """The same with the page, for links to the cases of it and back."""
        return self.args | ({"page": str(self.page)} if self.page > 1 else {})

    @property
    def remembered(self) -> dict[str, Any]:
        """The filters that the way back to the list has, from whichever page: without the search,
        which ends with its list, and without the page.
        """
        state = TO_READ if self.q and self.state == ALL else self.state
        return ListFilters(state, self.result, self.side).args

    @property
    def query(self) -> Query:
        """What `reading.worklist` is asked for."""
        state = "" if self.state == ALL else self.state
        return {"state": state, "result": self.result, "side": self.side, "query": self.q}


def filters_of(args: Mapping[str, str]) -> ListFilters:
    """The filters that an address or a form states."""
    query = args.get("q", "").strip()[:LONGEST]
    page = args.get("page", "1")
    return ListFilters(
        state=_known("state", args.get("state", "")) or _usual_state(query),
        result=_known("result", args.get("result", "")),
        side=_known("side", args.get("side", "")),
        q=query,
        page=int(page) if page.isascii() and page.isdecimal() and len(page) < 9 else 1,
    )


def of_request() -> ListFilters:
    """The filters in the address of the request."""
    return filters_of(request.args)


def _usual_state(query: str) -> str:
    return ALL if query else TO_READ


def _known(name: str, value: str) -> str:
    return value if any(value == known for known, _ in OPTIONS[name]) else ""
