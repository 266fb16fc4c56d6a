"""From data sets to the batches of steps and processes."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.training import batches  # noqa: E402
from ml.training.distributed import ProcessGroup  # noqa: E402
from tests.support.ml.tiny_training import TINY  # noqa: E402

pytestmark = pytest.mark.torch


class Second(ProcessGroup):
    """The second of two processes."""

    def __init__(self) -> None:
        super().__init__()
        self.size, self.rank = 2, 1


def numbers(loader: torch.utils.data.DataLoader[torch.Tensor]) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


def test_a_process_has_its_part_of_every_batch_in_order() -> None:
    recipe = replace(TINY, batch=4)
    pictures = list(range(12))
    assert numbers(batches.loader(pictures, recipe)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert numbers(batches.loader(pictures, recipe, Second())) == [[2, 3], [6, 7], [10, 11]]


def test_a_loader_draws_nothing_from_the_generator_of_torch() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    numbers(batches.loader(list(range(8)), TINY))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_has_its_passes_and_the_last_one_the_rest() -> None:
    five = [{"number": torch.tensor(number)} for number in range(5)]
    steps = [[int(batch["number"]) for batch in step] for step in batches.steps(five, 2)]
    assert steps == [[0, 1], [2, 3], [4]]
