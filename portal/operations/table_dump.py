"""The database's rows as lines of JSON and back, the same on SQLite and PostgreSQL.

Owns how each kind of column is written. A table's digest is over its lines in the order of its
primary key, so that two databases with equal rows have equal digests.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, Connection, Integer, MetaData, Table, Uuid, inspect, select
from sqlalchemy.types import TypeEngine

from portal.models import Base, UtcDateTime

# Parents before children.
TABLES: Final = tuple(Base.metadata.sorted_tables)
# Columns that a version before had, for its backups.
_DROPPED: Final[dict[tuple[str, str], TypeEngine[Any]]] = {
    ("blobs", "study_id"): Uuid(),
    ("predictions", "study_id"): Uuid(),
    ("jobs", "attempt_limit"): Integer(),
    ("reviews", "mask_blob_id"): Uuid(),
}
_AT_ONCE: Final = 1000


@dataclass
class TableDigest:
    """How many rows a table has and what they digest to."""

    rows: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, line: bytes) -> None:
        """Count one more line."""
        self.rows += 1
        self.digest.update(line)

    def as_json(self) -> dict[str, Any]:
        """For the record."""
        return {"rows": self.rows, "sha256": self.digest.hexdigest()}


def tables_of(connection: Connection) -> list[Table]:
    """The tables as they are in this database, whose schema may be an earlier version's."""
    there, found = inspect(connection), MetaData()
    names = set(there.get_table_names())
    for table in TABLES:
        if table.name in names:
            keys = {column.name for column in table.primary_key}
            columns = (column["name"] for column in there.get_columns(table.name))
            Table(
                table.name,
                found,
                *(
                    Column(name, _type_of(table, name), primary_key=name in keys)
                    for name in columns
                ),
            )
    return [found.tables[table.name] for table in TABLES if table.name in names]


def _type_of(table: Table, name: str) -> TypeEngine[Any]:
    dropped = _DROPPED.get((table.name, name))
    return table.columns[name].type if dropped is None else dropped


def lines(connection: Connection, table: Table) -> Iterator[bytes]:
    """Every row of a table as a line, by ascending primary key."""
    query = select(table).order_by(*table.primary_key.columns)
    options = {"yield_per": _AT_ONCE}
    for row in connection.execute(query, execution_options=options).mappings():
        values = {name: _written(value) for name, value in row.items()}
        yield json.dumps(values, sort_keys=True, allow_nan=False).encode() + b"\n"


def parse(table: Table, line: bytes) -> dict[str, Any]:
    """The values of a line; ValueError where it is not a row of this table."""
    values = json.loads(line)
    if not isinstance(values, dict) or set(values) != {column.name for column in table.columns}:
        raise ValueError("a row has other columns than the table")
    return {column.name: _read(column.type, values[column.name]) for column in table.columns}


def digest_of(connection: Connection, table: Table) -> TableDigest:
    """Count and digest a table as it is."""
    counted = TableDigest()
    for line in lines(connection, table):
        counted.add(line)
    return counted


def _written(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.value if isinstance(value, Enum) else value


def _read(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, UtcDateTime):
        return datetime.fromisoformat(value)
    python: type = kind.python_type
    if python is UUID:
        return UUID(value)
    if python is bytes:
        return base64.b64decode(value, validate=True)
    return python(value) if issubclass(python, Enum) else value
