"""Kills of the DICOM listener between its steps: each 0x0000 is there exactly once.

A picture is sent to a listener of its own process, which is killed (SIGKILL) after the step, then
again to one that is not killed, as a modality does that got no answer.
`tests/portal/dicom_network/test_kills.py` does each once.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.campaigns.campaign import Arguments, Row
from tests.support.clinic import open_clinic
from tests.support.core import make_settings, migrate, open_core
from tests.support.dicom.kills import ALL_STEPS, killed_after
from tests.support.dicom.listening import add_node

COLUMNS = ("killed after", "times", "0x0000 before it", "there exactly once", "s")
ROUNDS = 20


def run(arguments: Arguments) -> list[Row]:
    """A row for each step."""
    with tempfile.TemporaryDirectory(prefix="listener-kills-") as folder:
        settings = make_settings(Path(folder))
        migrate(settings)
        core = open_core(Path(folder), settings.database_url)
        clinic = open_clinic(core)
        add_node(clinic)
        rows = []
        for step in ALL_STEPS:
            began = time.monotonic()
            outcomes = [killed_after(clinic, step) for _ in range(arguments.rounds)]
            good = sum(not one.problem for one in outcomes)
            taken = sum(one.first == 0 for one in outcomes)
            seconds = f"{time.monotonic() - began:.0f}"
            cells = (step, str(arguments.rounds), str(taken), str(good), seconds)
            rows.append(Row(cells, good == arguments.rounds))
        core.engine.dispose()
        return rows
