"""A sender that kills itself after one of its steps, which is its argument (`none`: it does not).

Run as a program with the settings in its environment; it does one attempt of the node that is its
second argument.
"""

import os
import signal
import sys
from typing import Any
from uuid import UUID

from portal.dicom_network.association import silence
from portal.dicom_network.sending import peer
from portal.dicom_network.sending.preparation import Composes
from portal.dicom_network.sending.sender import Sender
from portal.operations.context import open_portal
from portal.services import Services
from portal.settings import Settings
from portal.web.present.reports import objects as object_text
from portal.web.present.reports import text as report_text

STEPS = ("begun", "stored", "noted", "asked")
_STEP, _NODE = sys.argv[1], UUID(sys.argv[2])


def die_after(step: str) -> None:
    if step == _STEP:
        os.kill(os.getpid(), signal.SIGKILL)


class KillingPeer(peer.Peer):
    """Killed before the first object, after its answer, and once a commitment was asked for."""

    def store(self, number: int, file: peer.File) -> peer.Answer:
        die_after("begun")
        if number == 2:
            die_after("noted")
        answer = super().store(number, file)
        die_after("stored")
        return answer

    def ask_for_commitment(self, transaction: str, named: Any) -> bool:
        answers = super().ask_for_commitment(transaction, named)
        die_after("asked")
        return answers


def main() -> None:
    peer.Peer = KillingPeer  # type: ignore[misc]
    settings = Settings.from_env()
    silence()
    with open_portal(settings, linking=False) as (_session, _vault, engine):
        services = Services.open(settings)
        composes = Composes(report_text.compose, object_text.compose)
        sender = Sender(services, engine, composes, same_seconds=1.0)
        sender.step(_NODE)


if __name__ == "__main__":
    main()
