"""Which exams go to a second reader: drawn by chance, by strata of the AI's result.

Of all exams a team has a certain share read twice. What is rare among them, and says most about
the AI, is drawn more often: an exam with a finding of the AI four or five times as often as one
without. The probability is stored with each exam that is drawn, so that a share of all exams can be
estimated from those that were (Horvitz and Thompson, A generalization of sampling without
replacement from a finite universe, J Am Stat Assoc 47 (1952) 663-685).
"""

import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.models import READ, Band, Stratum, Study

# How often an exam of a stratum is drawn beside one in which nothing was found. By Neyman's rule in
# proportion to √(q(1-q)), with q the share of pneumothorax to be expected in the stratum: about
# 0.8, 0.4, 0.01 and 0.05.
WEIGHTS: Final[Mapping[Stratum, float]] = MappingProxyType(
    {Stratum.LIKELY: 4, Stratum.POSSIBLE: 5, Stratum.NONE_FOUND: 1, Stratum.NO_RESULT: 2}
)
# What is assumed of a hundred exams, beside those that the team has read last.
_USUAL: Final[Mapping[Stratum, int]] = MappingProxyType(
    {Stratum.LIKELY: 6, Stratum.POSSIBLE: 6, Stratum.NONE_FOUND: 82, Stratum.NO_RESULT: 6}
)
_LAST: Final = 500
# Unless nearly all are drawn, no reader can be sure that an exam is.
_SUREST: Final = 0.9
_STEPS: Final = 2**53


def probability(session: Session, team_id: UUID, percent: float, stratum: Stratum) -> float:
    """The probability with which an exam of this stratum is drawn, 0 to 1, where `percent` of all
    exams of the team are to be.
    """
    if percent <= 0 or percent >= 100:
        return 1.0 if percent >= 100 else 0.0
    counts = dict(_USUAL)
    for band, number in _last_read(session, team_id).items():
        counts[Stratum(band.value) if band else Stratum.NO_RESULT] += number
    return probabilities(percent, counts)[stratum]


def probabilities(percent: float, counts: Mapping[Stratum, int]) -> dict[Stratum, float]:
    """The probability of each stratum, such that `percent` of exams in this mixture are drawn.

    In proportion to WEIGHTS, none above 0.9, or above the share itself where that is larger.
    """
    share = percent / 100
    most = max(_SUREST, share)
    target = share * sum(counts.values())
    free, found = set(counts), dict[Stratum, float]()
    while free:
        per_weight = target / (sum(counts[one] * WEIGHTS[one] for one in free) or 1)
        full = {one for one in free if per_weight * WEIGHTS[one] >= most}
        if not full:
            return found | {one: per_weight * WEIGHTS[one] for one in free}
        found |= dict.fromkeys(full, most)
        target -= sum(counts[one] * most for one in full)
        free -= full
    return found


def is_drawn(chance: float, below: Callable[[int], int] = secrets.randbelow) -> bool:
    """Whether an exam is drawn: by the system's random numbers, which nobody can foresee or have
    again. `below`: a number from 0 to less than the one that it is given.
    """
    return below(_STEPS) < chance * _STEPS


def _last_read(session: Session, team_id: UUID) -> dict[Band | None, int]:
    """How many of the exams that a team has read last have which result, off the list's index."""
    last = (
        select(Study.band)
        .where(
            Study.team_id == team_id,
            Study.rank == READ,
            Study.purged_at.is_(None),
            Study.joined_into.is_(None),
        )
        .order_by(Study.weight)
        .limit(_LAST)
        .subquery()
    )
    rows = session.execute(select(last.c.band, func.count()).group_by(last.c.band))
    return dict(rows.all())  # a Result has keys(), which dict() would call
