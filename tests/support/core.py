"""Settings, vault and database of a new portal, for tests of the core."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from portal import audit, database
from portal.audit import first_seals
from portal.settings import Settings
from portal.vault import Vault

NOW = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)


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


def open_core(data_dir: Path, database_url: str) -> Core:
    """The core over a migrated database."""
    settings = Settings.from_env(
        {
            "PLEURA_ENV": "test",
            "PLEURA_DATA_DIR": str(data_dir),
            "DATABASE_URL": database_url,
        }
    )
    engine = database.open_engine(settings)
    vault = Vault(settings)
    audit.bind(engine, vault.audit_key())
    sessions = database.sessions(engine)
    with sessions() as session:
        first_seals.seal(session)
    return Core(settings, vault, engine, sessions)
