"""Notes the requests of a portal's process, and the statements of each to the database.

Python runs this file at the start of every process that has its folder in PYTHONPATH. Each request
appends a line of JSON to a file in the folder REQUEST_COUNTER: the route, with ID for every id, and
each statement as its verb and first table, such as "UPDATE jobs". The call by which a sender is
checked before a large body is read (`body_check`) is a line of its own.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

FOLDER = os.environ.get("REQUEST_COUNTER", "")
_MODULE = "portal.server.application"
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+(\w+)")
_here = threading.local()


def _count(module: ModuleType) -> None:
    from sqlalchemy import Engine, event

    from portal.web.security.body_check import CHECK_ONLY

    def noted(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        verb, table = statement.split(None, 1)[0], _TABLE.search(statement)
        if verb == "BEGIN":  # SQLite's alone, of a transaction that only reads
            return
        name = f"{verb} {table.group(1)}" if table else verb
        _here.statements = [*getattr(_here, "statements", ()), name]

    event.listen(Engine, "before_cursor_execute", noted)
    run = module.Application._run

    def noting(self: Any, environ: dict[str, Any]) -> Any:
        _here.statements = []
        kind = "check, " if CHECK_ONLY in environ else ""
        route = f"{kind}{environ['REQUEST_METHOD']} {_ID.sub('ID', environ['PATH_INFO'])}"
        try:
            return run(self, environ)
        finally:
            with open(f"{FOLDER}/{os.getpid()}", "a", encoding="ascii") as file:
                file.write(json.dumps([route, _here.statements]) + "\n")

    module.Application._run = noting  # type: ignore[attr-defined]


class Finder:
    """Loads that module as it is, and then wraps its function."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The usual spec of the module; None leaves the others to the usual finders."""
        spec = PathFinder.find_spec(name, path, target) if name == _MODULE else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_count(module: ModuleType) -> None:
            load(module)
            _count(module)

        spec.loader.exec_module = load_and_count  # type: ignore[method-assign]
        return spec


if FOLDER:
    sys.meta_path.insert(0, Finder)
