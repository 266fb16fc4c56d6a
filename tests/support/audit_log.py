"""An access log to test with: filled, linked, checked, and laid open for tampering."""

from sqlalchemy import text

from portal import audit
from portal.audit import chain, verification
from portal.models import AuditEvent
from tests.support.clinic import after
from tests.support.core import Core


def fill(core: Core, count: int = 5) -> None:
    """Some rows, committed together and not linked."""
    with core.sessions() as session:
        for number in range(count):
            audit.append(session, "tested", now=after(minutes=number), detail={"number": number})
        session.commit()


def link(core: Core) -> int:
    """Link what waits, as the sweep does."""
    with core.sessions() as session:
        return chain.link(session)


def check(core: Core) -> verification.Verification:
    """Verify the log, whenever its rows were written."""
    with core.sessions() as session:
        return verification.verify(session)


def disarm(core: Core) -> None:
    """Drop the triggers, as whoever owns the database could."""
    with core.sessions() as session:
        if core.engine.dialect.name == "sqlite":
            names = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for name in session.scalars(names).all():
                session.execute(text(f"DROP TRIGGER {name}"))
        else:
            names = text(
                "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
            )
            for table in session.scalars(names).all():
                session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        session.commit()


def spoil(core: Core, table: str, column: str, value: str, where: str = "1 = 1") -> None:
    """Put a text that is no value of a column into it, past its checks."""
    disarm(core)
    with core.sessions() as session:
        if core.engine.dialect.name == "sqlite":
            session.execute(text("PRAGMA ignore_check_constraints = ON"))
        else:
            checks = text(
                "SELECT conname FROM pg_constraint "
                f"WHERE contype = 'c' AND conrelid = '{table}'::regclass"
            )
            for name in session.scalars(checks).all():
                session.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
        session.execute(text(f"UPDATE {table} SET {column} = '{value}' WHERE {where}"))
        session.commit()
        if core.engine.dialect.name == "sqlite":
            session.execute(text("PRAGMA ignore_check_constraints = OFF"))
            session.commit()


def copied_row(core: Core, event: str, detail: str, of: str = "") -> None:
    """Add a row by one INSERT, as whoever can write to the database could: a copy of another."""
    names = [column.name for column in AuditEvent.__table__.columns]
    changed = {
        "seq": "seq + 1000",
        "writer_seq": "writer_seq + 1000",
        "event": f"'{event}'",
        "detail": f"'{detail}'",
    }
    values = ", ".join(changed.get(name, name) for name in names)
    with core.sessions() as session:
        session.execute(
            text(
                f"INSERT INTO audit_events ({', '.join(names)}) SELECT {values} "
                f"FROM audit_events WHERE event = '{of or event}'"
            )
        )
        session.commit()


def tamper(core: Core, *statements: str) -> None:
    """Change the tables behind the portal's back."""
    disarm(core)
    with core.sessions() as session:
        for statement in statements:
            session.execute(text(statement))
        session.commit()
