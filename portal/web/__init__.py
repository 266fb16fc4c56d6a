"""The web application: `create_app` joins settings, services, guard, headers, errors and pages.

Every page module here has a `blueprint`, and every view of it a rule of `guard`. Views parse,
call one function of the core, and render; what they need is `current_app.extensions["pleura"]`
(a `portal.services.Services`) and `portal.models.db.session`.
"""

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import IO

from flask import Flask, Request, Response
from flask_migrate import Migrate
from werkzeug.middleware.proxy_fix import ProxyFix

from portal import database
from portal.audit import bind, first_seals
from portal.models import db
from portal.services import Services
from portal.settings import Settings, SettingsError
from portal.studies import exams
from portal.web import static_files
from portal.web.security import (
    cross_origin,
    errors,
    guard,
    headers,
    page_language,
    request_log,
)
from portal.web.static_files import StaticFiles

_ROOT = Path(__file__).resolve().parents[2]
_PAGES = (
    "accounts.sign_in",
    "accounts.single_sign_on",
    "accounts.account",
    "accounts.passkeys",
    "accounts.session",
    "admin.people",
    "admin.data",
    "admin.teams",
    "admin.rota",
    "admin.rules.pages",
    "admin.notifications",
    "admin.network.dicom_nodes",
    "admin.incoming.quarantine",
    "admin.incoming.exam_links",
    "admin.network.hl7_nodes",
    "admin.network.dicom_backfills",
    "admin.network.report_targets",
    "admin.sentences",
    "admin.ai_models",
    "admin.performance",
    "admin.drift",
    "clinic.model_card",
    "admin.audit_log",
    "clinic.emergency_access",
    "api.health",
    "clinic.worklist",
    "clinic.list_events",
    "clinic.second_reads",
    "clinic.upload",
    "clinic.case",
    "clinic.claims",
    "clinic.informing.critical",
    "clinic.informing.sentence",
    "clinic.patient",
    "clinic.outline",
    "clinic.signing",
    "clinic.viewer",
    "clinic.export",
    "clinic.links.open_exam",
    "clinic.links.retrieval",
    "clinic.reports.pages",
    "clinic.history",
    "api.worker",
    "api.v1",
    "api.openapi",
    "dicomweb.search",
    "dicomweb.retrieval",
    "dicomweb.storing",
)


class InMemoryRequest(Request):
    """Keeps uploads in memory: a patient's picture is never in an unencrypted file.

    `MAX_CONTENT_LENGTH`, set by the guard for each view, bounds how much that is.
    """

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return BytesIO()


class Portal(Flask):
    """The Flask application with its own kind of request, and its static files in memory."""

    request_class = InMemoryRequest

    @cached_property
    def static_files(self) -> StaticFiles:
        """What the pages load."""
        return StaticFiles(Path(self.root_path) / "static")

    def send_static_file(self, filename: str) -> Response:
        """Answer for the view that Flask makes of `static_folder`."""
        return self.static_files.answer(filename)


def create_app(
    settings: Settings | None = None, *, clock: Callable[[], datetime] | None = None
) -> Flask:
    """Make the portal; raises when a view has no rule, PostgreSQL's or
    Redis' certificate is not accepted or, in production, the schema is old."""
    settings = settings or Settings.from_env()
    settings.check_certificates()
    app = Portal(
        "portal.web",
        root_path=str(_ROOT),
        template_folder="templates",
        static_folder="static",
    )
    _configure(app, settings)
    services = Services.open(settings, clock)
    app.extensions["pleura"] = services
    db.init_app(app)
    Migrate(app, db, directory=str(database.MIGRATIONS))
    request_log.install(app, settings.log_level)
    page_language.install(app)
    cross_origin.install(app)
    guard.install(app)
    headers.install(app)
    errors.install(app)
    static_files.install(app, app.static_files)
    for name in _PAGES:
        app.register_blueprint(import_module(f"portal.web.{name}").blueprint)
    guard.public(app.view_functions["static"])
    guard.check(app)
    with app.app_context():
        bind(db.engine, services.vault.audit_key())
        if settings.production and not database.schema_is_current(db.engine):
            raise SettingsError(["The database's schema is old: run `python -m portal migrate`."])
        if settings.production and (
            exams.await_upgrade(db.session()) or first_seals.are_missing(db.session())
        ):
            raise SettingsError(
                ["The database was not filled by this version yet: run `python -m portal upgrade`."]
            )
        db.session.remove()
    return app


def _configure(app: Flask, settings: Settings) -> None:
    secure = settings.production or settings.base_url.startswith("https://")
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=database.request_engine_options(settings),
        # A cookie named __Host- is only kept when it is Secure, without a domain, for the path /.
        SESSION_COOKIE_NAME="__Host-pleura" if secure else "pleura",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_PATH="/",
        PREFERRED_URL_SCHEME="https" if secure else "http",
        MAX_FORM_PARTS=200,
        MAX_FORM_MEMORY_SIZE=256 * 1024,
    )
    if settings.trusted_proxies:
        n = settings.trusted_proxies
        # Not X-Forwarded-Host: a proxy that does not set it lets through what the client sent, and
        # no page needs it (addresses that are sent elsewhere begin with PLEURA_BASE_URL).
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=n, x_proto=n, x_host=0
        )
