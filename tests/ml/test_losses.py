"""Losses against values worked out by hand."""

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml import losses  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch

# One picture of four pixels with probabilities .9 .6 .3 .1; the first two are pneumothorax.
P = [0.9, 0.6, 0.3, 0.1]
LOGITS = torch.tensor([math.log(p / (1 - p)) for p in P]).reshape(1, 1, 2, 2)
MASK = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
HIT, MISSED, ALARM = 1.5, 0.5, 0.4
BCE = -(math.log(0.9) + math.log(0.6) + math.log(0.7) + math.log(0.9)) / 4
DICE = 1 - (2 * HIT + 1) / (2 * HIT + MISSED + ALARM + 1)
TVERSKY = 1 - (HIT + 0.5) / (HIT + 0.7 * MISSED + 0.3 * ALARM + 0.5)
FOCAL = (
    -(
        0.25 * 0.1**2 * math.log(0.9)
        + 0.25 * 0.4**2 * math.log(0.6)
        + 0.75 * 0.3**2 * math.log(0.7)
        + 0.75 * 0.1**2 * math.log(0.9)
    )
    / 4
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bce", BCE),
        ("dice", DICE),
        ("tversky", TVERSKY),
        ("focal", FOCAL),
        ("bce_dice", 0.75 * BCE + 0.25 * DICE),
        ("focal_tversky_bce", TVERSKY**0.75 + BCE),
    ],
)
def test_every_loss_has_its_closed_form_value(name: str, expected: float) -> None:
    value = losses.MASK_LOSSES[name](LOGITS, MASK)
    assert value.shape == (1,)
    assert value.item() == pytest.approx(expected, abs=1e-5)


def test_no_loss_is_left_out_of_the_table_above() -> None:
    assert set(losses.MASK_LOSSES) == {
        "bce", "dice", "tversky", "focal", "bce_dice", "focal_tversky_bce",
    }  # fmt: skip


@pytest.mark.parametrize("name", losses.MASK_LOSSES)
def test_a_perfect_answer_costs_next_to_nothing_and_a_wrong_one_much(name: str) -> None:
    loss = losses.MASK_LOSSES[name]
    right, wrong = (MASK * 2 - 1) * 30, (1 - MASK * 2) * 30
    assert loss(right, MASK).item() < 1e-3
    assert loss(wrong, MASK).item() > 0.5


@pytest.mark.parametrize("name", losses.MASK_LOSSES)
def test_an_empty_mask_and_extreme_logits_give_finite_gradients(name: str) -> None:
    logits = torch.full((2, 1, 4, 4), -80.0, requires_grad=True)
    losses.MASK_LOSSES[name](logits, torch.zeros(2, 1, 4, 4)).sum().backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


def test_outlined_and_empty_pictures_teach_the_outline_and_judged_ones_do_not() -> None:
    logits = torch.randn(3, 1, 4, 4, requires_grad=True)
    image = torch.zeros(3, 1)
    patches = torch.zeros(3, 1, 2, 2, requires_grad=True)
    masks = torch.zeros(3, 1, 4, 4)
    masks[0, 0, 0] = 1
    positive, outlined = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])
    part = losses.combined(logits, image, patches, masks, positive, outlined, losses.bce_dice)
    (part.mask + part.patch).backward()
    assert logits.grad is not None
    assert bool(logits.grad[:2].flatten(1).any(1).all())
    assert not bool(logits.grad[2].any())
    expected = losses.bce_dice(logits, masks)[0] + 0.5 * losses.bce(logits, masks)[1]
    assert part.mask.item() == pytest.approx(expected.item())
    assert part.image.item() == pytest.approx(math.log(2))
    assert part.patch.item() == pytest.approx(math.log(2))
    # The upper patches of the first picture hold its outline; the third's are not known.
    assert patches.grad is not None
    assert patches.grad[0, 0].sign().tolist() == [[-1, -1], [1, 1]]
    assert bool((patches.grad[1] > 0).all())
    assert not bool(patches.grad[2].any())


def test_a_batch_of_judged_positives_has_no_mask_loss() -> None:
    part = losses.combined(
        torch.randn(2, 1, 4, 4),
        torch.zeros(2, 1),
        torch.randn(2, 1, 2, 2),
        torch.zeros(2, 1, 4, 4),
        torch.ones(2),
        torch.zeros(2),
        losses.bce_dice,
    )
    assert part.mask.item() == 0
    assert part.patch.item() == 0


@pytest.mark.parametrize(("label", "told"), [(1.0, 0.9), (0.0, 0.1)])
def test_doubted_labels_make_the_surest_answer_cost_something(label: float, told: float) -> None:
    nothing = torch.zeros(1, 1, 4, 4)
    given = torch.tensor([label])

    def cost(probability: float) -> float:
        logit = torch.tensor([[math.log(probability / (1 - probability))]])
        return losses.combined(
            nothing, logit, nothing, nothing, given, given * 0, losses.bce, label_doubt=0.1
        ).image.item()

    assert cost(told) < min(cost(0.01), cost(0.5), cost(0.99))
