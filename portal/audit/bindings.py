"""Which records the access log binds: their digests stand in the rows of the log about them.

Whoever writes a review, a signature, an outline, a report, a proof of a purge, a hold, a prediction
or a model names it in the row of the log that goes with it: table, key, and a digest of all its
columns as they are then. The row's MAC covers this. The newest such row about a record must fit it:
a record that was added, changed or removed from outside does not.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, Select, Table, and_, bindparam, or_, select
from sqlalchemy.orm import Session

from portal.models import (
    Addendum,
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
    return "/".join((table.name, *(value.hex for value in _key_of(table, row))))


def with_keys(table: Table, keys: Sequence[tuple[UUID, ...]]) -> Select[*tuple[Any, ...]]:
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
            record_, _, digest = one.rpartition("/")
            yield record_, digest


def compare(session: Session, bound: Bound) -> tuple[int, list[str]]:
    """Compare all records with what the log states about them.

    Returns how many there are and a sentence for each that does not fit. Empties `bound`.
    """
    count, bad = 0, list[str]()
    for table in TABLES:
        query = select(table).order_by(*table.primary_key.columns)
        rows = session.execute(query, execution_options={"yield_per": _AT_ONCE}).mappings()
        for row in rows:
            count += 1
            name = record(table, row)
            seq, digest = bound.pop(name, (0, ""))
            if not seq:
                bad.append(f"{name}: no row of the log is about it")
            elif digest != _digest(table, row):
                bad.append(f"{name}: not as row {seq} of the log states")
    bad += [
        f"{name}: missing, row {seq} of the log is about it" for name, (seq, _) in bound.items()
    ]
    bound.clear()
    return count, bad


def _key_of(table: Table, row: Values) -> tuple[UUID, ...]:
    return tuple(row[column.name] for column in table.primary_key.columns)


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
