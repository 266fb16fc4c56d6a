"""Installations for the fault tests: one on SQLite and one on PostgreSQL, each started once.

They end before the tests of other folders begin, which then have the processors to themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import postgres
from tests.support.running_portal import RunningPortal, with_workers


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    with RunningPortal(tmp_path_factory.mktemp("sqlite")) as running:
        yield with_workers(running)


@pytest.fixture(scope="package")
def running_on_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    with postgres() as url, RunningPortal(tmp_path_factory.mktemp("postgres"), url) as running:
        yield with_workers(running)
