"""The worklist and its live rows."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask import Blueprint, Response, jsonify, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.reading import case
from portal.reading import worklist as worklists
from portal.services import db_session
from portal.studies import status
from portal.web.present import list_rows
from portal.web.security import guard

blueprint = Blueprint("worklist", __name__, url_prefix="/worklist")

_OPTIONS = {
    "state": [
        ("", "All cases"),
        ("to_read", "To read"),
        ("read", "Read"),
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
_MOST_IDS = 200
_LONGEST = 700  # of a sealed search


@dataclass(frozen=True)
class ListPage:
    """The template's `page`."""

    rows: list[list_rows.ListRow]
    counts: worklists.Counts
    notices: list[str]
    filters: dict[str, str]
    typed: str = ""  # the text of the search field
    number: int = 1
    per_page: int = 1
    total: int = 0
    may_submit: bool = False

    @property
    def options(self) -> dict[str, list[tuple[str, str]]]:
        """What the filters offer."""
        return _OPTIONS

    @property
    def args(self) -> dict[str, str]:
        """The filters that are set, for links to other pages of the same list."""
        return {name: value for name, value in self.filters.items() if value}

    @property
    def filtered(self) -> bool:
        """Whether a filter hides cases."""
        return bool(self.args)

    @property
    def here(self) -> str:
        """The first page of the list with these filters."""
        return _address(self.args)

    @property
    def sealed(self) -> bool:
        """Whether the search is another person's, by an address that does not reveal it."""
        return not self.typed and self.filters.get("q", "").startswith("~")


@blueprint.get("")
@guard.permission(Permission.STUDY_LIST)
def worklist() -> str:
    """The list: AI-positive first, then what needs unaided reading, then the newest."""
    filters = {name: _choice(name) for name in ("state", "result", "side")}
    filters["q"] = request.args.get("q", "").strip()[:_LONGEST]
    found = worklists.worklist(
        db_session(),
        guard.services().vault,
        guard.actor(),
        state=filters["state"],
        result=filters["result"],
        side=filters["side"],
        query=filters["q"],
        page=_page_number(),
        now=guard.now(),
    )
    guard.services().shown.add(guard.actor().session_id, [row.study_id for row in found.rows])
    page = ListPage(
        rows=[list_rows.row(row) for row in found.rows],
        counts=found.counts,
        notices=_notices([row.state for row in found.rows]),
        filters=filters,
        typed=worklists.typed_of(guard.services().vault, guard.actor(), filters["q"]),
        number=found.page,
        per_page=found.per_page,
        total=found.total,
        may_submit=guard.actor().may(Permission.STUDY_SUBMIT),
    )
    return render_template("worklist/worklist.html", page=page)


@blueprint.post("/search")
@guard.permission(Permission.STUDY_LIST)
def search() -> BaseResponse:
    """Redirect from what was typed to an address that reveals nothing about a patient."""
    args = {name: _chosen(name, request.form.get(name, "")) for name in _OPTIONS}
    sought = request.form.get("q", "").strip()[:64]
    # Another person's search is not shown: left empty, the field leaves it as it is.
    previous = request.form.get("sealed", "")[:_LONGEST]
    args["q"] = previous if previous.startswith("~") else ""
    if sought:
        args["q"] = worklists.address_of(
            db_session(), guard.services().vault, guard.actor(), sought
        )
    return redirect(_address(args), 303)


@blueprint.get("/state")
@guard.permission(Permission.STUDY_LIST, background=True)
def states() -> Response:
    """The rows' present state as pieces of the page.

    This writes no audit row, except for a result that the session was not shown before.
    """
    found = case.states(db_session(), guard.actor(), _ids(), guard.now(), guard.services().shown)
    counts = worklists.counts(db_session(), guard.actor())
    page = ListPage([], counts, _notices(list(found.values())), {})
    return jsonify(
        rows={str(study_id): _live(study_id, state) for study_id, state in found.items()},
        counts=render_template("worklist/counts.html", page=page),
        notices=render_template("worklist/notices.html", page=page),
        all=counts.all,
    )


def _live(study_id: UUID, state: status.StudyState) -> dict[str, Any]:
    cells = list_rows.row_status(state, None)
    return {
        "state": state.state.value,
        "settled": cells.settled,
        "found": cells.label.found,
        "verdict": cells.verdict,
        "thumb": f"/studies/{study_id}/blobs/thumb" if state.has_picture else None,
        "html": render_template("worklist/ai_cells.html", status=cells),
    }


def _notices(states: list[status.StudyState]) -> list[str]:
    return list_rows.notices(states, redis_answers=guard.services().redis_answers())


def _address(filters: dict[str, str]) -> str:
    args = {name: value for name, value in filters.items() if value}
    return "/worklist" + (f"?{urlencode(args)}" if args else "")


def _choice(name: str) -> str:
    return _chosen(name, request.args.get(name, ""))


def _chosen(name: str, value: str) -> str:
    return value if any(value == known for known, _ in _OPTIONS[name]) else ""


def _page_number() -> int:
    text = request.args.get("page", "1")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 1


def _ids() -> list[UUID]:
    """The ids that are asked for; anything else is ignored."""
    found = []
    for text in request.args.get("ids", "").split(",")[:_MOST_IDS]:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found
