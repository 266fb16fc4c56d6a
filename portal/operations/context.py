"""What every command uses: an open database and vault, the time, and lines of output."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from portal import audit, database
from portal.audit import chain, first_seals
from portal.settings import Settings
from portal.studies import exams
from portal.vault import Vault, VaultError


class Failed(Exception):
    """The command could not do what was asked; the text gives the reason to a person."""


def no_options(_parser: argparse.ArgumentParser) -> None:
    """A command without options."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its name, what it is for, its options and what it does."""

    name: str
    help: str
    run: Callable[[argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] = field(default=no_options)


@contextlib.contextmanager
def open_portal(
    settings: Settings,
    *,
    linking: bool = True,
    upgrading: bool = False,
    statement_seconds: int | None = None,
) -> Iterator[tuple[Session, Vault, Engine]]:
    """A session on a database with the current schema, the vault and the engine.

    What the command writes to the access log is linked at its end: no sweep need be running. Its
    rows are all of this version, except where `upgrading`. statement_seconds: the longest that a
    statement may take on PostgreSQL; None: as long as it needs.
    """
    settings.check_certificates()
    vault = Vault(settings)
    engine = database.open_engine(settings, statement_seconds)
    audit.bind(engine, vault.audit_key())
    try:
        if not database.schema_is_current(engine):
            raise Failed("The database's schema is old or missing: run `python -m portal migrate`.")
        with database.sessions(engine)() as session:
            if not upgrading and (exams.await_upgrade(session) or first_seals.are_missing(session)):
                raise Failed(
                    "The database was not filled by this version yet: "
                    "run `python -m portal upgrade`."
                )
            session.commit()
            yield session, vault, engine
        if linking:
            with contextlib.suppress(DBAPIError), database.sessions(engine)() as session:
                chain.link(session)
    except DBAPIError as error:
        raise Failed(f"The database can't be used: {type(error.orig).__name__}.") from None
    except VaultError as error:
        raise Failed(f"The vault can't be used: {error}.") from None
    finally:
        engine.dispose()


def now() -> datetime:
    """The time at which the command runs."""
    return datetime.now(UTC)


def print_line(line: str) -> None:
    """Write one line to standard output, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
