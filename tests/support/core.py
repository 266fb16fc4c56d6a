"""Settings, clock, vault and database of a new portal: what all tests of the portal begin with."""

import functools
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, make_url
from sqlalchemy.orm import Session, sessionmaker

from portal import audit, database
from portal.audit import first_seals
from portal.operations import first_start
from portal.settings import Settings
from portal.vault import Vault

NOW = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still until a test moves it forward."""

    def __init__(self, start: datetime = NOW) -> None:
        self.time = start

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **amount: float) -> None:
        """Move on: `clock.forward(minutes=16)`."""
        self.time += timedelta(**amount)


@dataclass
class Core:
    """Settings, vault, engine and sessions of a portal."""

    settings: Settings
    vault: Vault
    engine: Engine
    sessions: sessionmaker[Session]

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir


def make_settings(folder: Path, **environ: str) -> Settings:
    """Settings of a portal for tests, all its files under `folder`."""
    return Settings.from_env(
        {"PLEURA_ENV": "test", "PLEURA_DATA_DIR": str(folder), "PLEURA_LOG_LEVEL": "ERROR"}
        | environ
    )


def open_core(data_dir: Path, database_url: str) -> Core:
    """The core over a migrated database."""
    settings = make_settings(data_dir, DATABASE_URL=database_url)
    engine = database.open_engine(settings)
    vault = Vault(settings)
    audit.bind(engine, vault.audit_key())
    sessions = database.sessions(engine)
    with sessions() as session:
        first_seals.seal(session)
    return Core(settings, vault, engine, sessions)


def migrate(settings: Settings, at: datetime | None = None) -> None:
    """Bring a new database to this version's schema and fill it as `python -m portal upgrade` does.

    An SQLite file is copied, because migrations take half a second; one that exists is left.
    """
    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite":
        first_start.migrate(settings)
    elif url.database and not Path(url.database).exists():
        Path(url.database).write_bytes(migrated_sqlite())
    first_start.upgrade_rows(settings, progress=lambda _done, _all: None, at=at)


@functools.cache
def migrated_sqlite() -> bytes:
    """An SQLite file of this version's schema without rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pleura.db"
        engine = database.open_engine(make_settings(Path(folder), DATABASE_URL=f"sqlite:///{path}"))
        database.upgrade(engine)
        engine.dispose()  # the last connection writes the log back into the file
        return path.read_bytes()
