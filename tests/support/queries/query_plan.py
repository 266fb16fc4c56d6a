"""The statements that a function runs, and how the database would carry them out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event


@dataclass(frozen=True)
class Statement:
    """A SELECT as it went to the database."""

    text: str
    parameters: Any


@contextmanager
def selects(engine: Engine) -> Iterator[list[Statement]]:
    """Every SELECT of the block, in order."""
    found: list[Statement] = []

    def note(*sent: Any) -> None:
        if sent[2].startswith("SELECT"):
            found.append(Statement(sent[2], sent[3]))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def plan_of(engine: Engine, statement: Statement) -> str:
    """The plan where an index can serve: few rows alone would make PostgreSQL read a table."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement.text}", statement.parameters
            )
            return "\n".join(row[-1] for row in rows)
        for method in ("seqscan", "sort"):
            connection.exec_driver_sql(f"SET LOCAL enable_{method} = off")
        rows = connection.exec_driver_sql(f"EXPLAIN {statement.text}", statement.parameters)
        return "\n".join(row[0] for row in rows)


def rows_read(engine: Engine, statement: Statement) -> int:
    """How many rows PostgreSQL looks at in all steps, where it may not read small tables whole."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explained = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement.text}", statement.parameters
        ).scalar()
    return _rows(explained[0]["Plan"])


def _rows(node: dict[str, Any]) -> int:
    removed = ("Rows Removed by Filter", "Rows Removed by Join Filter")
    own = node["Actual Rows"] + sum(node.get(name, 0) for name in removed)
    return int(own * node["Actual Loops"]) + sum(_rows(one) for one in node.get("Plans", ()))
