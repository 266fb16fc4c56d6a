"""The board of performance for administrators: numbers, never patients."""

from flask import Blueprint, Response, render_template, request

from portal.access import Permission
from portal.languages import _, month_text
from portal.performance import board, drift, tables
from portal.performance.intervals import LEAST
from portal.performance.own_reading import LEAST_READERS
from portal.services import db_session
from portal.web.present import performance, plots
from portal.web.present.boards import readers
from portal.web.present.drift import board_view
from portal.web.security import guard
from portal.web.security.errors import Problem

blueprint = Blueprint("performance", __name__, url_prefix="/admin/performance")


@blueprint.get("")
@guard.permission(Permission.PERFORMANCE_READ)
def page() -> str:
    """How a model's results compare with the readers' verdicts, over the chosen months."""
    found = _board()
    return render_template(
        "admin/performance.html",
        board=found,
        total=performance.total(found),
        arrived=performance.arrived(found),
        second=performance.second(found),
        groups=performance.groups(found),
        months=performance.months(found),
        month_plots=performance.month_plots(found),
        times=performance.times(found),
        time_plots=performance.time_plots(found),
        chosen={
            "from": found.rows[0].month.name,
            "to": found.rows[-1].month.name,
            "model": found.model.model_id.hex if found.model else "",
        },
        month_names=[(name, month_text(name)) for name in reversed(found.names)],
        period=[month_text(row.month.name) for row in (found.rows[0], found.rows[-1])],
        model_names=[
            (
                one.model_id.hex,
                f"{one.name} {one.version}{' (' + _('active') + ')' if one.is_active else ''}",
            )
            for one in found.models
        ]
        or [("", _("None yet"))],
        least=LEAST,
        least_readers=LEAST_READERS,
        size=(plots.WIDTH, plots.HEIGHT),
        readers=readers.lines(found.readers),
        reader_plots=readers.drawn(found.readers),
        readers_left_out=readers.left_out(found.readers),
        drift_alarms=board_view.alarms(drift.alarms(db_session(), guard.now())),
    )


@blueprint.get("/table.csv")
@guard.permission(Permission.PERFORMANCE_READ)
def table() -> Response:
    """One of the board's tables to be saved: ?table=one of `tables.NAMES`, groups by default."""
    name = request.args.get("table", tables.NAMES[0])
    if name not in tables.NAMES:
        raise Problem(404, "not_found")
    return Response(
        tables.as_csv(_board(), name),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="performance-{name}.csv"'},
    )


@blueprint.get("/readers.json")
@guard.permission(Permission.PERFORMANCE_READ)
def readers_document() -> Response:
    """The table of readers, to be saved."""
    return Response(
        tables.readers_json(_board()),
        content_type="application/json",
        headers={"Content-Disposition": 'attachment; filename="performance-readers.json"'},
    )


def _board() -> board.Board:
    asked = request.args
    return board.board(
        db_session(),
        guard.actor(),
        first=asked.get("from", ""),
        last=asked.get("to", ""),
        model=asked.get("model", ""),
        now=guard.now(),
    )
