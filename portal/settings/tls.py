"""What the settings require of the connections to PostgreSQL and Redis."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from worker.contract import tls

if TYPE_CHECKING:
    from portal.settings import Settings

_CHECKED = "verify-full"  # libpq's mode that checks authority and name
_POSTGRES_PORT = 5432
# By these libpq goes elsewhere than DATABASE_URL names, or by less than its TLS; GSSAPI's own
# encryption would come before TLS. What only says who asks (PGUSER, PGPASSWORD) is not among them.
_LIBPQ_VARIABLES: Final = (
    *("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR"),
    *("PGSSLMODE", "PGREQUIRESSL", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI"),
    *("PGSSLNEGOTIATION", "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION", "PGGSSENCMODE"),
)
_ELSEWHERE: Final = ("service", "servicefile")


def problems(settings: "Settings") -> Iterator[str]:
    """A sentence for each thing that is wrong; plain connections are refused in production only."""
    if (problem := tls.ca_file_problem(settings.tls_ca_file)) is not None:
        yield problem
        return
    if (problem := tls.ca_file_problem(settings.ca_file, "PLEURA_CA_FILE")) is not None:
        yield problem
    plain = settings.plain_hosts if settings.production else None
    if (problem := tls.redis_problem(settings.redis_url, settings.tls_ca_file, plain)) is not None:
        yield problem
    url = _database(settings)
    if url is None:
        return
    mode = url.query.get("sslmode")
    host = _remote_host(settings, url)
    if settings.production and host is not None and mode not in (None, _CHECKED):
        yield (
            f"DATABASE_URL: sslmode must be {_CHECKED} for {host}. In a network that nobody else "
            "reads, name the host in PLEURA_PLAIN_HOSTS."
        )
    elif _is_checked(settings, url) and settings.tls_ca_file is None:
        yield (
            f"PLEURA_TLS_CA_FILE must be set for TLS to PostgreSQL at {url.host}. In a network "
            "that nobody else reads, name the host in PLEURA_PLAIN_HOSTS instead."
        )


def libpq_problems(settings: "Settings", environ: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each thing beside DATABASE_URL by which libpq would find its server.

    For production: the rule above judges the address, so nothing else may count.
    """
    url = _database(settings)
    if url is None:
        return
    for name in _LIBPQ_VARIABLES:
        if environ.get(name):
            yield f"{name} must not be set: DATABASE_URL alone leads to PostgreSQL."
    for name in _ELSEWHERE:
        if name in url.query:
            yield f"DATABASE_URL must hold no {name}: it names the host itself."


def database_options(settings: "Settings") -> dict[str, Any]:
    """What libpq needs beside the address: nothing, or TLS with the certificate checked."""
    url = _database(settings)
    if url is None or not _is_checked(settings, url):
        return {}
    return {
        "sslmode": _CHECKED,
        "sslrootcert": str(settings.tls_ca_file),
        "gssencmode": "disable",  # its encryption would come first, and check no certificate
    }


def certificate_problems(settings: "Settings") -> Iterator[str]:
    """A sentence for each server that answers with a certificate that is not accepted.

    Connects to those that are reached by TLS. One that is down is no problem here.
    """
    ca_file, url = settings.tls_ca_file, _database(settings)
    if ca_file is None:
        return
    problem = tls.redis_certificate_problem(settings.redis_url, ca_file)
    if problem is not None:
        yield f"REDIS_URL: {problem}"
    if url is not None and url.host and _is_checked(settings, url):
        port = url.port or _POSTGRES_PORT
        problem = tls.certificate_problem(url.host, port, ca_file, postgres=True)
        if problem is not None:
            yield f"DATABASE_URL: {problem}"


def _is_checked(settings: "Settings", url: URL) -> bool:
    """Whether the database is reached by TLS with its certificate checked."""
    remote = _remote_host(settings, url) is not None
    return url.query.get("sslmode") == _CHECKED or (settings.production and remote)


def _remote_host(settings: "Settings", url: URL) -> str | None:
    """The first host of the address that is another machine and may not be reached plainly."""
    hosts = [url.host or "", *tls.host_of(url.query, "host"), *tls.host_of(url.query, "hostaddr")]
    remote = (h for h in hosts if not tls.is_here(h) and h.lower() not in settings.plain_hosts)
    return next(remote, None)


def _database(settings: "Settings") -> URL | None:
    """The database's address where it is PostgreSQL's and can be read."""
    try:
        url = make_url(settings.database_url)
    except ArgumentError:
        return None
    return url if url.get_backend_name() == "postgresql" else None
