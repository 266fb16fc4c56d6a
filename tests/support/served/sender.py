"""A process that sends what is due by the webhook to a port of this machine, until it is killed.

python -m tests.support.served.sender DATA_DIR DATABASE_URL PORT NOW
"""

import sys
from datetime import datetime
from pathlib import Path

from portal.exchange import outbox
from portal.exchange.outbound import Target
from portal.exchange.outbox import Peers
from portal.models import Channel
from tests.support.core import make_settings, open_core

SECRET = "webhook-" + "k7VQmX2rT9sLwZ4bN8cJ1dH6"  # made up  # pragma: allowlist secret


def main(folder: str, database: str, port: str, now: str) -> None:
    """Send as the scheduler's thread does."""
    core = open_core(Path(folder), database)
    settings = make_settings(
        Path(folder),
        DATABASE_URL=database,
        PLEURA_WEBHOOK_URL="https://hooks.example.org/in",
        PLEURA_WEBHOOK_SECRET=SECRET,
    )

    def place() -> Target:
        return Target("http", "hooks.example.org", int(port), "/in", "127.0.0.1")

    moment = datetime.fromisoformat(now)
    outbox.send_due(
        core.sessions, settings, Channel.WEBHOOK, lambda: moment, peers=Peers(place, place)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
