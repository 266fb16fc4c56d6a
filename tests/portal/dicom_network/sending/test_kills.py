"""A sender killed between two of its steps: the next one completes the set, under the same UIDs."""

import os
import subprocess
import sys

import pytest

from portal.models import SendState
from tests.portal.dicom_network.test_commitment import own_address
from tests.portal.reports.test_objects import analysed
from tests.support.clinic import Clinic
from tests.support.dicom.pacs import Pacs, running
from tests.support.dicom.sending import due, prepared, receiver, sending, the_send
from tests.support.paths import ROOT

STEPS = ("begun", "stored", "noted", "asked")
WANTED = ("sr", "seg", "pr")

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_sender_doubles_nothing_and_leaves_nothing_out(clinic: Clinic, step: str) -> None:
    address = own_address()
    with running(Pacs(), address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address, objects=WANTED)
        analysed(clinic)
        prepared(clinic, sender, node)
        for killed, code in ((step, -9), ("none", 0)):
            due(clinic)  # the claim of who was killed lapses
            environment = {
                **os.environ,
                "PLEURA_ENV": "test",
                "PLEURA_DATA_DIR": str(clinic.core.data_dir),
                "DATABASE_URL": clinic.core.engine.url.render_as_string(hide_password=False),
                "PLEURA_OUTGOING_HOSTS": f"private:{address}:{pacs.port}",
                "PLEURA_LOG_LEVEL": "ERROR",
            }
            done = subprocess.run(
                [sys.executable, "-m", "tests.support.dicom.killed_sender", killed, str(node.id)],
                env=environment,
                cwd=ROOT,
                timeout=120,
                check=False,
            )
            assert done.returncode == code
    assert the_send(clinic).state is SendState.PROVEN
    assert len(pacs.stored) == len(WANTED)
    assert set(pacs.taken) == set(pacs.stored)
    # Only the object whose answer was lost came twice.
    assert len(pacs.taken) == len(WANTED) + (step == "stored")
