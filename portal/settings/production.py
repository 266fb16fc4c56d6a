"""What production refuses: missing or insecure settings that development allows."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from portal.settings import secret_files

if TYPE_CHECKING:
    from portal.settings import Settings


def problems(settings: "Settings", key_ring: str) -> Iterator[str]:
    """A sentence for each thing that production refuses in these settings."""
    if settings.database_url.startswith("sqlite"):
        yield "DATABASE_URL must name a PostgreSQL database in production."
    if not settings.redis_url:
        yield "REDIS_URL must be set in production."
    if not settings.base_url.startswith("https://"):
        yield "PLEURA_BASE_URL must start with https:// in production."
    secrets = {"PLEURA_SECRET_KEY": settings.secret_key}
    if settings.shared_worker_token:
        secrets["PLEURA_WORKER_TOKEN"] = settings.worker_token
    for name, value in secrets.items():
        if weakness := secret_files.weakness(value):
            yield f"{name} {weakness}."
    if not key_ring:
        yield "PLEURA_KEY_RING is missing (or PLEURA_KEY_RING_FILE)."
    elif weakness := secret_files.key_ring_weakness(key_ring):
        yield f"PLEURA_KEY_RING {weakness}."
    if settings.smtp and settings.smtp.security == "none":
        yield "PLEURA_SMTP_SECURITY must be starttls or tls in production."
    if settings.sso and (unfit := settings.sso.unfit_for_production()):
        yield f"PLEURA_OIDC_ISSUER {unfit}."
