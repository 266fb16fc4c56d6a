"""Gunicorn's settings, the same for one machine and for the images.

`python -m gunicorn -c python:portal.server.gunicorn_settings --bind ADDRESS [--workers N]`
"""

import gc

from portal.formats import header_pool
from portal.server import limits
from portal.settings.process_environment import leave_environment
from worker.isolation import kernel

wsgi_app = "portal.server.application:create()"
worker_class = "portal.server.connection.GunicornWorker"
asgi_loop = "asyncio"
asgi_lifespan = "off"
http_parser = "python"
keepalive = limits.KEEPALIVE_SECONDS
# A process that does not even look at its connections for so long is replaced.
timeout = 60
graceful_timeout = 8
loglevel = "warning"
control_socket_disable = True
# Nobody sets the environment of a request by headers such as SCRIPT_NAME, from loopback either.
# Which headers of proxies count is decided by PLEURA_TRUSTED_PROXIES.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}


def on_starting(_server: object) -> None:
    """Before anything is opened or started: no secret stays in the environment, no memory open."""
    leave_environment()
    kernel.make_undumpable()


def post_worker_init(_worker: object) -> None:
    """A web process starts the processes that read headers now, not when a picture comes.

    What is loaded by now stays, and Python's search for unreachable objects leaves it out: with
    many connections at once, the search went through all of it so often that everybody waited.
    """
    header_pool.shared()
    gc.collect()
    gc.freeze()
