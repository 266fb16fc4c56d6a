"""The drift job: by the code of `python -m ml drift`, so that both find the same."""

from __future__ import annotations

import numpy as np

from ml.errors import BadInput
from ml.metrics import drift, reference_distribution, reference_shares
from ml.metrics.drift import Drift
from ml.metrics.measures import Floats
from ml.metrics.reference_distribution import Reference
from worker.client.portal_client import Attempt
from worker.contract.contents.drift import (
    LEAST,
    Bar,
    DriftFound,
    DriftState,
    NumberFound,
    RecentNumbers,
)
from worker.contract.error_codes import ErrorCode
from worker.contract.files import FileKind
from worker.contract.message import InvalidMessage
from worker.contract.result import DriftResult
from worker.errors import Permanent

_BARS = 16
_CARD = "the model's card"


def compare(attempt: Attempt) -> DriftResult:
    """Do one drift job up to its result; the caller finishes it.

    Permanent INPUT_REFUSED where the card's reference is damaged.
    """
    try:
        given = RecentNumbers.parse_text(attempt.read_input(FileKind.RECENT_NUMBERS))
        return DriftResult(drift=found_in(given))
    except (InvalidMessage, BadInput):
        raise Permanent(ErrorCode.INPUT_REFUSED) from None


def found_in(given: RecentNumbers) -> DriftFound:
    """The comparison of all numbers that both have; none of fewer than LEAST predictions."""
    if given.window.predictions < LEAST:
        return DriftFound(window=given.window, numbers=[])
    known = reference_distribution.of_reference(given.reference, _CARD)
    shares = reference_shares.of_reference(given.reference, _CARD)
    columns = {name: np.array(values, np.float64) for name, values in given.columns.items()}
    found = drift.compare_columns(known, columns, shares)
    numbers = [_number(one, known.get(one.name), columns.get(one.name)) for one in found]
    return DriftFound(window=given.window, numbers=numbers)


def _number(found: Drift, known: Reference | None, values: Floats | None) -> NumberFound:
    parts = []
    if not found.is_share and known is not None and values is not None:
        parts = reference_distribution.bars(known, values, _BARS)
    return NumberFound(
        name=found.name,
        is_share=found.is_share,
        n=found.n,
        reference_n=found.reference_n,
        expected=round(found.expected, 6),
        recent=round(found.recent, 6),
        psi=round(max(found.psi, 0.0), 6),
        psi_by_chance=round(found.by_chance, 6),
        distance=min(round(found.ks, 6), 1.0),
        p_value=min(max(found.p_value, 0.0), 1.0),
        state=DriftState(found.status),
        is_alarm=found.is_alarm,
        bars=[
            Bar(low=low, high=high, reference=min(expected, 1.0), recent=min(recent, 1.0))
            for low, high, expected, recent in parts
        ],
    )
