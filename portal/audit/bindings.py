"""Which records the access log binds: their digests stand in the rows of the log about them.

Whoever writes a review, a signature, an outline, a report, a proof of a purge, a hold, a rule for
arrivals, a prediction or a model names it in the row of the log that goes with it: table, key, and
a digest of all its columns as they are then. The row's MAC covers this. The newest such row about a
record must fit it: a record that was added, changed or removed from outside does not.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, Select, Table, and_, bindparam, or_, select
from sqlalchemy.orm import Session

from portal import database
from portal.languages import _
from portal.models import (
    Addendum,
    ArrivalRule,
    ArrivalRulesVersion,
    Base,
    Cohort,
    Communication,
    CriticalFinding,
    Hold,
    ModelVersion,
    Outline,
    OutlineMeasurement,
    Prediction,
    Purge,
    Report,
    ReportFile,
    Review,
    ReviewAnnotations,
    ReviewSeen,
    ScreenCheck,
    SecondRead,
    Signature,
)

TABLES: Final[tuple[Table, ...]] = tuple(
    Base.metadata.tables[model.__tablename__]
    for model in (
        Review,
        ReviewSeen,
        ReviewAnnotations,
        SecondRead,
        Outline,
        OutlineMeasurement,
        Signature,
        Addendum,
        Report,
        ReportFile,
        Cohort,
        Purge,
        Hold,
        Prediction,
        ModelVersion,
        CriticalFinding,
        Communication,
        ArrivalRulesVersion,
        ArrivalRule,
        ScreenCheck,
    )
)
DETAIL: Final = "bound"
_AT_ONCE: Final = 1000
# Made once, as a prediction is bound with every result.
_BY_KEY: Final = {
    table: select(table).where(
        *(column == bindparam(column.name) for column in table.primary_key.columns)
    )
    for table in TABLES
}

# A row of a table, as a query or an instance gives it.
Values = RowMapping | Mapping[str, Any]
# A row's primary key.
Key = tuple[UUID | int, ...]
# By record: the row of the log that is about it, and the digest that stands there.
Bound = dict[str, tuple[int, str]]


def entries(session: Session, rows: Sequence[Base]) -> list[str]:
    """What the log's detail holds of these rows, as they are in the database now."""
    session.flush()
    found = list[str]()
    for table in TABLES:
        keys = [_key_of(table, row.__dict__) for row in rows if row.__tablename__ == table.name]
        if not keys:
            continue
        names = [column.name for column in table.primary_key.columns]
        for key in sorted(keys):
            row = session.execute(_BY_KEY[table], dict(zip(names, key, strict=True)))
            found += [entry(table, one) for one in row.mappings()]
    if len(found) != len(rows):
        raise ValueError("a row that the log binds is not in the database")
    return found


def entry(table: Table, row: Values) -> str:
    """One row's entry in the log's detail."""
    return f"{record(table, row)}/{_digest(table, row)}"


def record(table: Table, row: Values) -> str:
    """A row's table and key, as in `reviews/1f3a…`."""
    return "/".join((table.name, *map(_part_of_name, _key_of(table, row))))


def with_keys(table: Table, keys: Sequence[Key]) -> Select[*tuple[Any, ...]]:
    """The rows of a table with these primary keys, in their order."""
    key = table.primary_key.columns
    wanted = (
        and_(*(column == value for column, value in zip(key, values, strict=True)))
        for values in keys
    )
    return select(table).where(or_(False, *wanted)).order_by(*key)


def collect(bound: Bound, seq: int, detail: str) -> None:
    """Note what a row of the log, whose MAC is right, states about records."""
    for record_, digest in bound_in(detail):
        if record_ not in bound or bound[record_][0] < seq:
            bound[record_] = (seq, digest)


def bound_in(detail: str) -> Iterator[tuple[str, str]]:
    """The records that a detail names, each with its digest."""
    if f'"{DETAIL}"' in detail:
        for one in json.loads(detail).get(DETAIL, ()):
            record_, _slash, digest = one.rpartition("/")
            yield record_, digest


@dataclass(frozen=True, slots=True)
class Compared:
    """How many records there are, a sentence for each that does not fit, and how many can't be
    compared: a row of the log that can't be read may be about them.
    """

    count: int
    bad: list[str]
    unknown: int = 0


def compare(session: Session, bound: Bound, unread: Collection[int] | None = None) -> Compared:
    """Compare all records with what the log states about them. Empties `bound`.

    `unread`: the numbers of rows of the log that can't be read, if any. Then a table of which a row
    can't be read is stated, and the others are compared; without `unread` its error is raised.
    """
    count, unknown, bad, newest = 0, 0, list[str](), max(unread or (), default=0)
    for table in TABLES:
        query = select(table).order_by(*table.primary_key.columns)
        try:
            with nullcontext() if unread is None else session.begin_nested():
                rows = session.execute(query, execution_options={"yield_per": _AT_ONCE})
                for row in rows.mappings():
                    count += 1
                    name = record(table, row)
                    seq, digest = bound.pop(name, (0, ""))
                    if seq and digest == _digest(table, row):
                        continue
                    if seq < newest:
                        unknown += 1
                    elif not seq:
                        bad.append(_("%(record)s: no row of the log is about it", record=name))
                    else:
                        bad.append(_differs(name, seq))
        except database.UNREADABLE as error:
            if unread is None or not database.is_damage(error):
                raise
            bad.append(_("%(table)s: a row can't be read", table=table.name))
            for name in [one for one in bound if one.startswith(f"{table.name}/")]:
                del bound[name]
    for name, (seq, _digest_then) in bound.items():
        if seq < newest:
            unknown += 1
        else:
            bad.append(
                _("%(record)s: missing, row %(row)s of the log is about it", record=name, row=seq)
            )
    bound.clear()
    return Compared(count, bad, unknown)


def _differs(name: str, seq: int) -> str:
    return _("%(record)s: not as row %(row)s of the log states", record=name, row=seq)


def _key_of(table: Table, row: Values) -> Key:
    return tuple(row[column.name] for column in table.primary_key.columns)


def _part_of_name(value: UUID | int) -> str:
    return value.hex if isinstance(value, UUID) else str(value)


def _digest(table: Table, row: Values) -> str:
    """SHA-256 of all columns that hold a value: one that a later version adds changes no digest."""
    values = {name: _written(value) for name, value in row.items() if value is not None}
    text = json.dumps([table.name, values], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _written(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID | bytes):
        return value.hex if isinstance(value, UUID) else value.hex()
    return value.value if isinstance(value, Enum) else value
