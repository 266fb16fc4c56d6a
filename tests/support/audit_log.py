"""An access log to test with: filled, linked, checked, and laid open for tampering."""

from sqlalchemy import text

from portal import audit
from portal.audit import chain, verification
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


def tamper(core: Core, *statements: str) -> None:
    """Change the tables behind the portal's back."""
    disarm(core)
    with core.sessions() as session:
        for statement in statements:
            session.execute(text(statement))
        session.commit()
