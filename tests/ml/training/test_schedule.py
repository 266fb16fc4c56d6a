"""Rates, sizes and ends of a run, where torch has the same rule against torch."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.recipe import Recipe  # noqa: E402 - only where torch is
from ml.training import schedule  # noqa: E402 - only where torch is
from ml.training.schedule import ScheduleState  # noqa: E402

pytestmark = pytest.mark.torch

RECIPE = Recipe.from_dict({"size": 64, "size_from": [[0.0, 32], [0.5, 64]]})


@pytest.mark.parametrize(
    ("progress", "rate"), [(0.0, 0.01), (0.02, 0.5), (0.04, 1.0), (0.52, 0.5), (1.0, 0.0)]
)
def test_the_rate_warms_up_and_falls_with_a_cosine(progress: float, rate: float) -> None:
    assert schedule.rate_at(RECIPE, progress) == pytest.approx(rate, abs=1e-9)


def test_the_size_grows_with_progress() -> None:
    assert [schedule.size_at(RECIPE, p) for p in (0.0, 0.49, 0.5, 0.99)] == [32, 32, 64, 64]


def test_the_share_of_positives_goes_from_the_first_to_the_second() -> None:
    recipe = replace(RECIPE, positive_share=(0.8, 0.2))
    assert [schedule.share_at(recipe, p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.8, 0.5, 0.2])


def weight() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.zeros(1))


def test_one_cycle_is_that_of_torch() -> None:
    # torch counts from step 0 to the last one; its rise ends at step pct_start · steps - 1.
    steps = 101
    optimizer = torch.optim.SGD([weight()], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=steps, pct_start=31 / 101, cycle_momentum=False
    )
    recipe = replace(RECIPE, schedule="onecycle", onecycle_rise=0.3)
    for step in range(steps):
        assert schedule.rate_at(recipe, step / (steps - 1)) == pytest.approx(
            theirs.get_last_lr()[0], abs=1e-9
        )
        optimizer.step()
        if step < steps - 1:
            theirs.step()


@pytest.mark.parametrize(
    ("patience", "factor", "threshold"), [(3, 0.5, 0.0), (0, 0.1, 0.05), (2, 0.3, 1e-4)]
)
def test_the_plateau_is_that_of_torch(patience: int, factor: float, threshold: float) -> None:
    optimizer = torch.optim.SGD([weight()], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, patience=patience, factor=factor, threshold=threshold, eps=0
    )
    recipe = replace(
        RECIPE, schedule="plateau", plateau_patience=patience, plateau_factor=factor,
        plateau_threshold=threshold,
    )  # fmt: skip
    watch = ScheduleState()
    draw = torch.Generator().manual_seed(1)
    lowered = 0
    for epoch in range(60):
        loss = 1 / (1 + epoch / 5) + 0.1 * float(torch.rand(1, generator=draw))
        theirs.step(loss)
        before = watch.plateau_factor
        schedule.record_loss(watch, recipe, loss)
        lowered += watch.plateau_factor < before
        assert watch.plateau_factor == pytest.approx(optimizer.param_groups[0]["lr"])
    assert lowered > 1


def test_only_the_plateau_schedule_lowers_the_rate() -> None:
    watch = ScheduleState()
    for _ in range(9):
        schedule.record_loss(watch, RECIPE, 1.0)
    assert watch.plateau_factor == 1.0


def test_a_run_is_over_once_its_measure_has_not_risen_for_as_long_as_patience() -> None:
    recipe = replace(RECIPE, patience=4, validate_every=2)
    watch = ScheduleState()
    over = []
    for epochs, measure in ((2, 0.3), (4, 0.5), (6, 0.4), (8, float("nan"))):
        schedule.record_measure(watch, measure, epochs)
        over.append(schedule.is_over(watch, recipe, epochs))
    assert over == [False, False, False, True]
    assert (watch.best_epoch, watch.best_measure) == (4, 0.5)
    assert not schedule.is_over(watch, RECIPE, 100)  # off unless asked for
