"""A listener that kills itself after one of its steps, which is its argument (`none`: it does not).

Run as a program with the settings in its environment; it prints its port.
"""

import os
import signal
import sys
from datetime import datetime
from typing import Any
from uuid import UUID

from portal.dicom_network import listener
from portal.jobs.broker import Broker
from portal.operations.context import open_portal
from portal.quotas import Quotas
from portal.services import Services
from portal.settings import Settings
from portal.vault import Vault

STEPS = ("received", "sealed", "committed", "rung")
_STEP = sys.argv[1] if len(sys.argv) > 1 else "none"


def die_after(step: str) -> None:
    if step == _STEP:
        os.kill(os.getpid(), signal.SIGKILL)


class KillingQuotas(Quotas):
    """Asked once a data set is there, before it is looked at."""

    def upload(self, size: int, person: str, address: str, now: datetime) -> None:
        die_after("received")
        super().upload(size, person, address, now)


class KillingVault(Vault):
    """Asked to seal and write the file, before rows are committed."""

    def put(self, data_key: bytes, **given: Any) -> str:
        name = super().put(data_key, **given)
        die_after("sealed")
        return name


class KillingBroker(Broker):
    """Asked to announce the job, after the commit and before the answer."""

    def notify(self, kind: Any, job_id: UUID) -> bool:
        die_after("committed")
        done = super().notify(kind, job_id)
        die_after("rung")
        return done


def main() -> None:
    settings = Settings.from_env()
    assert settings.dicom is not None
    with open_portal(settings, linking=False) as (_session, _vault, engine):
        opened = Services.open(settings)
        services = Services(
            settings=settings,
            vault=KillingVault(settings),
            broker=KillingBroker(settings.redis_url, settings.visibility_seconds, {}),
            redis=opened.redis,
            throttle=opened.throttle,
            quotas=KillingQuotas(settings),
            provider=opened.provider,
            clock=opened.clock,
        )
        with listener.listening(services, engine, settings.dicom) as listens:
            print(listens.port, flush=True)
            sys.stdin.read()  # until the parent closes it, or a signal


if __name__ == "__main__":
    main()
