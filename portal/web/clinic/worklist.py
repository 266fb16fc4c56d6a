"""The worklist and its live rows."""

from dataclasses import dataclass, field, replace
from typing import Any

from flask import Blueprint, Response, g, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.accounts import sessions
from portal.critical import open_findings
from portal.critical.open_findings import OpenFindings
from portal.reading import worklist as worklists
from portal.reading.lists import live
from portal.reading.second_reads import waiting
from portal.services import db_session
from portal.studies import status
from portal.studies.worklist_filters import SECOND_READ
from portal.web.present import list_arrivals, list_filters, list_pages, list_rows
from portal.web.present.informing import critical_view
from portal.web.present.list_filters import ListFilters
from portal.web.security import guard

blueprint = Blueprint("worklist", __name__, url_prefix="/worklist")


@dataclass(frozen=True)
class ListPage:
    """The template's `page`."""

    rows: list[list_rows.ListRow]
    counts: worklists.Counts
    notices: list[str]
    filters: ListFilters = field(default_factory=ListFilters)
    typed: str = ""  # the text of the search field
    readers: list[tuple[str, str]] = field(default_factory=list)
    pages: list_pages.Pages | None = None
    known: str = ""  # which arrivals the page knows, for `states`
    may_submit: bool = False
    critical: OpenFindings = open_findings.NONE
    second_reads: int = 0  # that wait for this person
    may_lack: bool = False  # an exam that can't be read

    @property
    def options(self) -> dict[str, list[tuple[str, str]]]:
        """What the filters offer."""
        offered = list_filters.BY_ARRIVAL if self.is_by_arrival else list_filters.OPTIONS
        return {**offered, "reader": [*offered["reader"], *self.readers]}

    @property
    def is_by_arrival(self) -> bool:
        """Whether the list is one of who may not see at once what the AI found."""
        return self.counts.positive is None

    @property
    def args(self) -> dict[str, Any]:
        """The filters that are set, for links to other pages of the same list."""
        return self.filters.args

    @property
    def place(self) -> dict[str, Any]:
        """The same with the page that is shown, for links to cases."""
        return self.filters.place

    @property
    def here(self) -> str:
        """The first page of the list with these filters."""
        return _address(self.filters)

    @property
    def positive(self) -> str:
        """A list with the exams to be read of which the AI found something: this one, unless a
        filter may leave them out.
        """
        return self.here if not self.args else _address(ListFilters(result="positive"))

    @property
    def all_cases(self) -> str:
        """The whole list, with the cases that were read."""
        return _address(ListFilters(state=list_filters.ALL))

    @property
    def is_all_read(self) -> bool:
        """Whether the list, if it is empty, is so because everything in it was read."""
        is_unread = self.filters.state == list_filters.TO_READ and not self.filters.q
        return is_unread and not self.counts.is_empty

    @property
    def stream(self) -> str:
        """Where changes of the list are sent as they happen; empty for who has to ask."""
        may_read = guard.actor().may(Permission.REVIEW_WRITE)
        return url_for("list_events.events", known=self.known) if may_read else ""

    @property
    def sealed(self) -> bool:
        """Whether the search is another person's, by an address that does not reveal it."""
        return not self.typed and self.filters.q.startswith("~")


@blueprint.get("")
@guard.permission(Permission.STUDY_LIST)
def worklist() -> str | BaseResponse:
    """The list, at first of what is to be read: AI-positive first, then what needs unaided reading,
    then the rest, each the oldest first; by arrival for who may not see at once what the AI found.
    """
    filters = list_filters.of_request()
    may_read = guard.actor().may(Permission.REVIEW_WRITE)
    if filters.state == SECOND_READ and may_read:
        return redirect(url_for("second_reads.page"), 303)
    found = worklists.worklist(
        db_session(),
        guard.services().vault,
        guard.actor(),
        after=filters.after,
        before=filters.before,
        now=guard.now(),
        **filters.query,
    )
    readers = worklists.readers(db_session(), guard.actor())
    guard.services().shown.add(guard.actor().session_id, [row.study_id for row in found.rows])
    sessions.remember_list(db_session(), g.user, filters.remembered)
    page = ListPage(
        rows=[list_rows.row(row) for row in found.rows],
        counts=found.counts,
        notices=_notices([row.state for row in found.rows]),
        filters=filters,
        typed=worklists.typed_of(guard.services().vault, guard.actor(), filters.q),
        readers=[(reader_id.hex, name) for reader_id, name in readers],
        pages=list_pages.pages(found, url_for("worklist.worklist"), filters.args),
        known=_known_arrivals(),
        may_submit=guard.actor().may(Permission.STUDY_SUBMIT),
        critical=worklists.critical(db_session(), guard.actor()),
        second_reads=waiting.count(db_session(), guard.actor()) if may_read else 0,
        may_lack=found.may_lack,
    )
    return render_template("worklist/worklist.html", page=page, **critical_view.TEXTS)


@blueprint.post("/search")
@guard.permission(Permission.STUDY_LIST)
def search() -> BaseResponse:
    """Redirect from what was typed to an address that reveals nothing about a patient."""
    chosen = replace(list_filters.filters_of(request.form), q="")
    sought = request.form.get("q", "").strip()[:64]
    # Another person's search is not shown: left empty, the field leaves it as it is.
    previous = request.form.get("sealed", "")[: list_filters.LONGEST]
    if sought:
        query = worklists.address_of(db_session(), guard.services().vault, guard.actor(), sought)
        # Who begins to look for a case wants it also if it was read.
        is_new = sought != request.form.get("typed", "")
        begins = is_new and chosen.state == list_filters.TO_READ
        chosen = replace(chosen, q=query, state=list_filters.ALL if begins else chosen.state)
    elif previous.startswith("~"):
        chosen = replace(chosen, q=previous)
    return redirect(_address(chosen), 303)


@blueprint.get("/state")
@guard.permission(Permission.STUDY_LIST, background=True)
def states() -> Response:
    """The rows' present state as pieces of the page.

    This writes no audit row, except for a result that the session was not shown before.
    """
    ids = list_rows.ids_of(request.args.get("ids", ""))
    found = live.live_rows(db_session(), guard.actor(), ids, guard.now(), guard.services().shown)
    counts = worklists.counts(db_session(), guard.actor())
    page = ListPage([], counts, _notices([row.state for row in found.values()]))
    return jsonify(
        rows={str(i): list_rows.live_row(i, row, _cells) for i, row in found.items()},
        counts=render_template("worklist/counts.html", counts=counts),
        notices=render_template("worklist/notices.html", page=page),
        critical=render_template(
            "worklist/critical.html",
            strip=worklists.critical(db_session(), guard.actor()),
            **critical_view.TEXTS,
        ),
        arrived=_arrivals(),
        positive=counts.positive,
    )


def _known_arrivals() -> str:
    since = guard.now() - list_arrivals.UNCERTAIN
    known = worklists.arrived_since(db_session(), guard.actor(), since)
    return list_arrivals.stated(since, known)


def _arrivals() -> int:
    """How many exams have arrived that the page which asks does not know."""
    since, known = list_arrivals.parse(request.args.get("known", ""), guard.now())
    return max(0, worklists.arrived_since(db_session(), guard.actor(), since) - known)


def _cells(status: list_rows.RowStatus) -> str:
    return render_template("worklist/live_cells.html", status=status)


def _notices(states: list[status.StudyState]) -> list[str]:
    return list_rows.notices(states, redis_answers=guard.services().redis_answers())


def _address(filters: ListFilters) -> str:
    return url_for("worklist.worklist", **filters.args)
