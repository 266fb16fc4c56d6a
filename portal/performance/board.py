"""The board of performance: how a model's results compare with the readers' verdicts, for admins.

Numbers of many exams, of all teams; nothing here is about a patient, so no row of the access log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Actor, Permission
from portal.models import ModelState, ModelVersion, PerformanceMonth
from portal.performance import months, readers, weighted
from portal.performance.exam_outcomes import COUNTS, DIMENSIONS
from portal.performance.intervals import Share
from portal.performance.months import Month
from portal.performance.readers import ReaderNumbers
from portal.performance.turnaround import PERCENTILES, Times
from portal.performance.weighted import Cell, Estimate

# The strata of second reads; in those of ALARMS the AI has found a pneumothorax.
STRATA: Final = ("likely", "possible", "none_found", "no_result")
ALARMS: Final = ("likely", "possible")


@dataclass(frozen=True, slots=True)
class Group:
    """The counts of one group of exams, by the names of COUNTS."""

    name: str
    counts: Mapping[str, int]

    @property
    def alarms(self) -> Share:
        """Exams with an alarm, of those that were analysed."""
        return Share(self.counts["alarms"], self.counts["exams"])

    @property
    def unanswered(self) -> Share:
        """Exams without a result in any picture, of those that were analysed."""
        return Share(self.counts["unanswered"], self.counts["exams"])

    @property
    def confirmed(self) -> Share:
        """The positive predictive value: alarms that the verdict confirms, of those with a
        verdict of "yes" or "no".
        """
        confirmed = self.counts["confirmed"]
        return Share(confirmed, confirmed + self.counts["rejected"])

    @property
    def agreed(self) -> Share:
        """Verdicts that agree with the result, of those that agree or disagree."""
        agreed = self.counts["agreed"]
        return Share(agreed, agreed + self.counts["disagreed"])


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that can be chosen."""

    model_id: UUID
    name: str
    version: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class MonthRow:
    """One month: the model's group, and what does not depend on a model.

    `computed_at` is empty where the scheduler has not computed it yet. `readers`: how many exams
    each reader has reviewed, the fewest first; empty where they are too few to be shown.
    """

    month: Month
    group: Group
    arrived: int
    readers: Sequence[int]
    turnaround: Mapping[str, Times]
    computed_at: datetime | None


@dataclass(slots=True)
class SecondReads:
    """The blind second reads of the exams of some months, of those that were drawn.

    `strata`: of the chosen model, by the AI's result. `pairs`: each two readers' first findings, by
    whether the first reader saw the AI result. `waiting`: how many wait for a second or a third
    reader, or ended unsure. `dice`: of the outlines of the two readers.
    """

    strata: dict[str, weighted.Stratum] = field(default_factory=dict)
    pairs: dict[bool, dict[tuple[str, str], Cell]] = field(
        default_factory=lambda: {False: {}, True: {}}
    )
    waiting: dict[str, int] = field(default_factory=dict)
    dice: list[float] = field(default_factory=list)

    @property
    def sensitivity(self) -> Estimate:
        """Of the chosen model, over exams in which it gave a result."""
        parts = {name: self.strata[name] for name in STRATA if name in self.strata}
        found = [one for name, one in parts.items() if name in ALARMS]
        return weighted.sensitivity(found, [parts[one] for one in parts if one == "none_found"])

    @property
    def kappa(self) -> Estimate:
        """Of the pairs in which neither reader saw the AI result or the other's finding."""
        return weighted.kappa(self.pairs[False])

    def add(self, content: Mapping[str, Any], model: "ModelChoice | None") -> None:
        """Add a month."""
        for of_model, stratum, *sums in content.get("strata", ()):
            if model is not None and of_model == model.model_id.hex:
                one = weighted.Stratum(Cell(*sums[:3]), Cell(*sums[3:]))
                known = self.strata.get(stratum)
                self.strata[stratum] = one if known is None else known + one
        for shown, first, second, *sums in content.get("pairs", ()):
            cells = self.pairs[shown]
            cells[first, second] = cells.get((first, second), Cell()) + Cell(*sums)
        for name, number in content.get("open", {}).items():
            self.waiting[name] = self.waiting.get(name, 0) + number
        self.dice = sorted([*self.dice, *content.get("dice", ())])


@dataclass(frozen=True, slots=True)
class Board:
    """One page. `groups` by dimension; of "all" there is one group."""

    models: list[ModelChoice]
    model: ModelChoice | None
    rows: list[MonthRow]
    groups: dict[str, list[Group]]
    second: SecondReads
    readers: ReaderNumbers
    names: list[str]  # of all months that can be chosen

    @property
    def total(self) -> Group:
        """All exams of the chosen months that the model analysed."""
        return self.groups["all"][0]

    @property
    def computed_at(self) -> datetime | None:
        """When the oldest of the shown summaries was computed."""
        return min((row.computed_at for row in self.rows if row.computed_at), default=None)


def board(
    session: Session, actor: Actor, *, first: str, last: str, model: str, now: datetime
) -> Board:
    """The board of the months `first` to `last` ("2026-03"; others: the last twelve) and of a model
    by its id in hex (others: the active one, or else the newest). Raises Denied.
    """
    actor.require(Permission.PERFORMANCE_READ)
    chosen = months.chosen(first, last, now)
    models = _models(session)
    picked = next(
        (one for one in models if one.model_id.hex == model), models[0] if models else None
    )
    found: dict[tuple[str, UUID | None], PerformanceMonth] = {
        (row.month, row.model_id): row
        for row in session.scalars(
            select(PerformanceMonth).where(
                PerformanceMonth.month.in_([month.name for month in chosen])
            )
        )
        if row.model_id is None or (picked and row.model_id == picked.model_id)
    }
    counts = _Counts()
    second = SecondReads()
    rows = []
    for month in chosen:
        of_all = found.get((month.name, None))
        if of_all is not None:
            second.add(of_all.content.get("second_reads", {}), picked)
        of_model = found.get((month.name, picked.model_id)) if picked else None
        rows.append(_row(month, of_all, counts.add(of_model)))
    by_reader = readers.board(
        session, [row.content for row in found.values() if row.model_id is None]
    )
    session.commit()
    return Board(
        models=models,
        model=picked,
        rows=rows,
        groups={name: counts.groups(name) for name in DIMENSIONS},
        second=second,
        readers=by_reader,
        names=[month.name for month in months.until(now)],
    )


class _Counts:
    """Adds up the groups of the months."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, list[int]]] = {name: {} for name in DIMENSIONS}
        self._sums["all"][""] = [0] * len(COUNTS)

    def add(self, row: PerformanceMonth | None) -> Group:
        """Add a month of the model; returns its group of all exams."""
        own = [0] * len(COUNTS)
        for dimension, name, *counts in row.content["groups"] if row else ():
            if dimension == "all":
                own = counts
            sums = self._sums[dimension].setdefault(name, [0] * len(COUNTS))
            sums[:] = [a + b for a, b in zip(sums, counts, strict=True)]
        return _group("", own)

    def groups(self, dimension: str) -> list[Group]:
        """The groups of a dimension, by name."""
        return [_group(name, counts) for name, counts in sorted(self._sums[dimension].items())]


def _group(name: str, counts: Sequence[int]) -> Group:
    return Group(name, dict(zip(COUNTS, counts, strict=True)))


def _row(month: Month, of_all: PerformanceMonth | None, group: Group) -> MonthRow:
    content: Mapping[str, Any] = of_all.content if of_all else _NOTHING
    return MonthRow(
        month=month,
        group=group,
        arrived=content["arrived"],
        readers=content["readers"],
        turnaround={
            step: Times(number, dict(zip(PERCENTILES, seconds, strict=True)))
            for step, (number, *seconds) in content["turnaround"].items()
        },
        computed_at=of_all.computed_at if of_all else None,
    )


_NOTHING: Final[Mapping[str, Any]] = {"arrived": 0, "readers": [], "turnaround": {}}


def _models(session: Session) -> list[ModelChoice]:
    """The models that have results here, and the active one: that first, then the newest."""
    counted = select(PerformanceMonth.model_id).distinct()
    rows = session.execute(
        select(ModelVersion.id, ModelVersion.name, ModelVersion.version, ModelVersion.state)
        .where((ModelVersion.state == ModelState.ACTIVE) | ModelVersion.id.in_(counted))
        .order_by(ModelVersion.created.desc())
    )
    found = [
        ModelChoice(row.id, row.name, row.version, row.state is ModelState.ACTIVE) for row in rows
    ]
    return sorted(found, key=lambda one: not one.is_active)
