"""Losses against values worked out by hand."""

import itertools
import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.network import losses  # noqa: E402 - only where torch is

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

# Errors 1 - logit·sign, of pixel 3 (a miss of the hinge's margin), 2 and none of the others:
# logits are 2.197, 0.405, -0.847, -2.197, so errors are -1.2, 0.595, 0.153, -1.2. With pixel 2
# wrong 1 - IoU is 1/2; with pixel 3 wrong, too, it is 2/3.
LOVASZ = (1 - math.log(1.5)) / 2 + (1 - math.log(7 / 3)) * (2 / 3 - 1 / 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bce", BCE),
        ("dice", DICE),
        ("tversky", TVERSKY),
        ("focal", FOCAL),
        ("bce_dice", 0.75 * BCE + 0.25 * DICE),
        ("focal_tversky_bce", TVERSKY**0.75 + BCE),
        ("lovasz", LOVASZ),
        ("bce_lovasz", 0.75 * BCE + 0.25 * LOVASZ),
    ],
)
def test_every_loss_has_its_closed_form_value(name: str, expected: float) -> None:
    value = losses.MASK_LOSSES[name](LOGITS, MASK)
    assert value.shape == (1,)
    assert value.item() == pytest.approx(expected, abs=1e-5)


def test_no_loss_is_left_out_of_the_table_above() -> None:
    assert set(losses.MASK_LOSSES) == {
        "bce", "dice", "tversky", "focal", "bce_dice", "focal_tversky_bce", "lovasz", "bce_lovasz",
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


def test_the_lovasz_hinge_is_the_integral_over_all_sets_of_wrong_pixels() -> None:
    """Brute force by the definition: the closure of a set function is its integral over levels."""
    draw = torch.Generator().manual_seed(2)
    for mask in itertools.product((0.0, 1.0), repeat=4):
        masks = torch.tensor(mask, dtype=torch.float64).reshape(1, 1, 2, 2)
        logits = torch.randn(1, 1, 2, 2, generator=draw, dtype=torch.float64) * 2
        errors = (1 - logits * (2 * masks - 1)).relu().flatten().tolist()
        truth = {k for k in range(4) if mask[k]}
        levels = sorted({0.0, *errors})
        expected = 0.0
        for low, high in itertools.pairwise(levels):
            wrong = {k for k in range(4) if errors[k] > low}
            said = truth ^ wrong
            union = truth | said
            expected += (high - low) * (1 - len(truth & said) / len(union) if union else 0)
        assert losses.lovasz(logits, masks).item() == pytest.approx(expected, abs=1e-9)


def test_hinges_at_the_wrong_end_of_all_pixels_cost_one_minus_iou() -> None:
    """At logits of ±1 the hinge's errors are 0 and 2: twice 1 - IoU."""
    masks = torch.tensor([1.0, 1, 1, 0, 0, 0]).reshape(1, 1, 2, 3)
    said = torch.tensor([1.0, 1, -1, 1, -1, -1]).reshape(1, 1, 2, 3)
    assert losses.lovasz(said, masks).item() == pytest.approx(2 * (1 - 2 / 4))


def test_the_losses_of_a_step_s_passes_add_up_to_those_of_one_large_batch() -> None:
    draw = torch.Generator().manual_seed(0)
    positive = torch.tensor([1.0, 1, 1, 0, 1, 0])
    outlined = torch.tensor([1.0, 0, 1, 0, 1, 0])  # unequal in the halves below
    masks = (torch.rand(6, 1, 8, 8, generator=draw) > 0.7) * outlined[:, None, None, None]
    given = [torch.randn(6, *s, generator=draw) for s in ((1, 8, 8), (1,), (1, 2, 2))]
    everything = (*given, masks, positive, outlined)
    large = losses.combined(*everything, losses.bce_dice)
    halves = [[value[part] for value in everything] for part in (slice(0, 3), slice(3, 6))]
    whole = losses.StepCounts.of([{"positive": half[4], "outlined": half[5]} for half in halves])
    parts = [losses.combined(*half, losses.bce_dice, whole=whole) for half in halves]
    for name in ("mask", "image", "patch"):
        summed = sum(getattr(part, name).item() for part in parts)
        assert summed == pytest.approx(getattr(large, name).item(), abs=1e-6)


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
