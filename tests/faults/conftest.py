"""Houses for the fault tests: one on SQLite and one on PostgreSQL, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import postgres
from tests.support.running_portal import House, furnished


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("sqlite")) as house:
        yield furnished(house)


@pytest.fixture(scope="session")
def postgres_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with postgres() as url, House(tmp_path_factory.mktemp("postgres"), url) as house:
        yield furnished(house)
