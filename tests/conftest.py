"""Real servers for the tests, and a core with a vault and a database, fresh for each test.

`redis_url` and `postgres_url` are servers of this run alone, in folders of their own. `core` is
everything that the core needs, once on SQLite and once on PostgreSQL; `tests/support/clinic.py`
fills it with people.
"""

import gc
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url

from portal import database
from portal.standalone import embedded_redis
from tests import sample
from tests.support.core import Core, migrated_sqlite, open_core
from tests.support.postgres import postgres
from tests.support.queries import compiled_once

# A busy machine may take its time for an example; what must be quick is measured in benchmarks/.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--sample`."""
    sample.add_option(parser)


def pytest_report_header(config: pytest.Config) -> str:
    """What repeats this run's sample."""
    seed = sample.seed(config)
    return f"--sample={seed}" if seed else "all tests, no sample"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of tests that run on both databases a sample runs on PostgreSQL."""
    sample.choose(config, items)


def pytest_collection_finish() -> None:
    """What was imported stays: searched for unreachable objects, it takes a tenth of the time."""
    gc.collect()
    gc.freeze()


compiled_once.share()


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis-compatible server on a private socket; NoServer where none is installed."""
    server = embedded_redis.prepare(folder)
    process = subprocess.Popen(server.command, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not server.answers():
            assert process.poll() is None, "the Redis server ended"
            assert time.monotonic() < end, "the Redis server does not answer"
            time.sleep(0.05)
        yield server.url
    finally:
        process.terminate()
        process.wait()
        server.tidy()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis-compatible server on a private socket."""
    try:
        with redis_server(tmp_path_factory.mktemp("redis")) as address:
            yield address
    except embedded_redis.NoServer as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a PostgreSQL server with one empty database."""
    with postgres(_quick_folder()) as address:
        yield address


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """A folder of this test alone where syncing costs nothing, if the machine has such a place."""
    with tempfile.TemporaryDirectory(prefix="pleura-", dir=_quick_folder()) as folder:
        yield Path(folder)


def _quick_folder() -> str | None:
    """The memory's file system, if there is room: hundreds of small databases are synced here."""
    memory = Path("/dev/shm")
    try:
        roomy = shutil.disk_usage(memory).free > 1024**3
    except OSError:
        return None
    return str(memory) if roomy and os.access(memory, os.W_OK) else None


@pytest.fixture(params=["sqlite", pytest.param(sample.POSTGRES, marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, quick_path: Path) -> Iterator[str]:
    """A migrated database of this test alone, in both kinds."""
    if request.param == "sqlite":
        (quick_path / "pleura.db").write_bytes(migrated_sqlite())
        yield f"sqlite:///{quick_path / 'pleura.db'}"
        return
    server, template = request.getfixturevalue("_migrated_postgres")
    name = f"test_{uuid4().hex}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))
    yield server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def _migrated_postgres(postgres_url: str) -> Iterator[tuple[Engine, str]]:
    server = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        # Nothing of this server has to outlive a power cut.
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(text(f"ALTER SYSTEM SET {name} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.execute(text("CREATE DATABASE migrated"))
    engine = create_engine(make_url(postgres_url).set(database="migrated"))
    database.upgrade(engine)
    engine.dispose()
    yield server, "migrated"
    server.dispose()


@pytest.fixture
def core(database_url: str, quick_path: Path) -> Iterator[Core]:
    """Settings, vault and database of a portal that nobody has used yet."""
    opened = open_core(quick_path / "data", database_url)
    yield opened
    opened.engine.dispose()


# A name of this machine that is no localhost: over http browsers trust a page of it less.
INTRANET = "pleura.test"
_CHROMIUM_ARGUMENTS = [
    f"--host-resolver-rules=MAP {INTRANET} 127.0.0.1",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Where Chromium is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for found in map(shutil.which, names) if found), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """The installed Chromium, for the duration of the block. A process has one at a time."""
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium(), args=_CHROMIUM_ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The installed Chromium, one for all tests of a process: two can't be driven at once."""
    if chromium() is None:
        pytest.skip("Chromium is not installed")
    with launched() as opened:
        yield opened
