"""Runs the migrations: inside `flask db` and from `python -m portal migrate` alike."""

import warnings

from alembic import context
from flask import current_app
from sqlalchemy import Connection
from sqlalchemy.exc import SAWarning

from portal import database
from portal.models import Base


def run(connection: Connection) -> None:
    """Migrate over an open connection, in one transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite cannot ALTER most things: Alembic copies the table instead.
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction(), warnings.catch_warnings():
        # Of the tables that a copied one refers to; no such table is copied while it has such an
        # index, so nothing is lost.
        warnings.filterwarnings("ignore", "Skipped unsupported reflection of expr", SAWarning)
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with database.migrating(current_app.extensions["migrate"].db.engine) as opened:
        run(opened)
