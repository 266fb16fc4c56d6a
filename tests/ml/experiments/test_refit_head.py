"""The image-level layer fitted anew: it finds what separates; patients stay together."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.experiments import refit_head  # noqa: E402 - only where torch is
from ml.network import model  # noqa: E402 - only where torch is
from ml.recipe import Recipe  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch


def labelled(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of very different scales, of which the second tells the label, noisily."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 6, generator=draw) * torch.tensor([1, 20, 0.01, 5, 1, 1]) + 3
    noise = 0.3 * torch.randn(count, generator=draw)
    return features, ((features[:, 1] - 3) / 20 + noise > 0).float()


def test_the_layer_finds_the_feature_that_decides() -> None:
    features, positive = labelled(400)
    weight, bias = refit_head.fit(features, positive, 1e-3)
    right = ((features @ weight + bias > 0) == (positive > 0)).float().mean()
    assert right > 0.85
    standardised = (weight * features.std(0)).abs()
    assert standardised.argmax() == 1


def test_the_fit_is_where_the_gradient_vanishes() -> None:
    features, positive = labelled(200)
    penalty = 0.1
    weight, bias = refit_head.fit(features, positive, penalty)
    scaled = (features - features.mean(0)) / features.std(0)
    own = weight * features.std(0)
    residual = (features @ weight + bias).sigmoid() - positive
    gradient = scaled.T @ residual / len(positive) + penalty * own
    assert gradient.abs().max() < 1e-3
    assert residual.mean().abs() < 1e-3


def test_the_penalty_is_chosen_on_patients_that_were_not_fitted() -> None:
    features, positive = labelled(300)
    telling = refit_head.choose(features, positive, [str(i) for i in range(300)], seed=1)
    assert max(telling.aucs.values()) > 0.9
    draw = torch.Generator().manual_seed(5)
    # One picture many times: only a split that tears the patient apart could tell the label.
    noise = torch.randn(30, 6, generator=draw).repeat_interleave(10, 0)
    label = (torch.rand(30, generator=draw) > 0.5).float().repeat_interleave(10)
    patients = [str(i // 10) for i in range(300)]
    chance = refit_head.choose(noise, label, patients, seed=1)
    assert max(chance.aucs.values()) < 0.85


def test_the_features_are_those_of_the_image_logit() -> None:
    recipe = Recipe.from_dict(
        {"encoder": "tu-tf_efficientnet_lite0", "size": 64, "size_from": [[0.0, 64]]}
    )
    net = model.build(recipe, weights=False).eval()
    torch.nn.init.normal_(net.image.weight)
    picture = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        masks, images = net(picture)
        seen = net.outputs(picture)
        torch.testing.assert_close(net.image(seen.features), images)
    torch.testing.assert_close(seen.mask_logits, masks)
    assert seen.features.shape == (2, model.WIDE + model.EVIDENCE)
    assert seen.patch_logits.shape == (2, 1, 2, 2)


def test_the_patches_count_by_their_log_mean_exp() -> None:
    net = model.build(Recipe.from_dict({"encoder": "tu-tf_efficientnet_lite0"}), False).eval()
    with torch.no_grad():
        seen = net.outputs(torch.randn(2, 1, 64, 96))
    patches = seen.patch_logits.flatten(1)
    assert patches.shape == (2, 6)
    expected = patches.double().exp().mean(1).log()
    torch.testing.assert_close(seen.features[:, model.WIDE].double(), expected)


def test_evidence_grows_with_what_is_outlined_and_stays_small() -> None:
    nothing = torch.full((1, 1, 96, 96), -9.0)
    something = nothing.clone()
    something[:, :, 10:30, 10:30] = 4.0
    one_pixel = nothing.clone()
    one_pixel[:, :, 40, 40] = 9.0
    low, high, single = (model.evidence(m) for m in (nothing, something, one_pixel))
    assert bool((high > low).all())
    assert high[0, 1] > 0.9
    assert single[0, 1] < 0
    assert bool((torch.cat([low, high, single]).abs() <= 2).all())
