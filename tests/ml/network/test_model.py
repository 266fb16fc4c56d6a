"""The network, and the ImageNet weights that it starts from."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.errors import BadInput  # noqa: E402 - only where torch is
from ml.network import model  # noqa: E402 - only where torch is
from ml.recipe import ARCHITECTURES, Recipe  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch

RECIPES = sorted((Path(model.__file__).parents[1] / "recipes").glob("*.toml"))

TINY = Recipe.from_dict(
    {
        "encoder": "tu-tf_efficientnet_lite0",
        "decoder_channels": [16, 16, 8, 8, 8],
        "size": 64,
        "size_from": [[0.0, 64]],
    }
)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_builds_its_network_without_a_download(recipe: Path) -> None:
    net = model.build(Recipe.load(recipe), weights=False).eval()
    with torch.no_grad():
        masks, images = net(torch.zeros(2, 1, 64, 64))
    assert masks.shape == (2, 1, 64, 64)
    assert images.shape == (2, 1)


def test_unknown_pretrained_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="no pretrained weights called 'radimagenet'"):
        Recipe.from_dict({"pretrained": "radimagenet"})
    with pytest.raises(ValueError, match="are for tu-tf_efficientnet_lite2"):
        Recipe.from_dict({"pretrained": "efficientnet-lite2", "encoder": "resnet18"})


def test_weights_that_cannot_be_fetched_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    wanted = Recipe.from_dict({"pretrained": "imagenet", "encoder": "efficientnet-b3"})
    with pytest.raises(ValueError, match="weights of efficientnet-b3 could not be fetched"):
        model.build(wanted)
    model.build(wanted, weights=False)


CHOICES = [{"architecture": name} for name in ARCHITECTURES] + [
    {"architecture": "Unet", "attention": "scse"},
    {"architecture": "UnetPlusPlus", "attention": "scse"},
    {"architecture": "MAnet", "outline_stride": 2},
]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(map(str, choice.values())))
def test_every_architecture_can_be_chosen_by_configuration(choice: dict[str, object]) -> None:
    recipe = replace(TINY, decoder_channels=(16,) * 5, **choice)
    net = model.build(recipe, weights=False).eval()
    with torch.no_grad():
        mask_logits, image_logit = net(torch.zeros(2, 1, 64, 64))
    assert mask_logits.shape == (2, 1, 64, 64)
    assert image_logit.shape == (2, 1)
    assert any("scse" in type(m).__name__.lower() for m in net.modules()) == bool(recipe.attention)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet-34", "resnet34"),
        ("tu-tf_efficientnet_lite-2", "tu-tf_efficientnet_lite2"),
        ("efficientnet-b99", "efficientnet-b"),
    ],
)
def test_an_encoder_that_nobody_has_is_a_short_sentence_with_near_names(
    name: str, near: str
) -> None:
    with pytest.raises(BadInput, match=f"there is no encoder '{name}'; near names: .*{near}") as no:
        model.build(replace(TINY, encoder=name), weights=False)
    assert len(str(no.value)) < 160
    with pytest.raises(BadInput, match=r"^there is no encoder '0123456789'$"):
        model.build(replace(TINY, encoder="0123456789"), weights=False)


def test_frozen_norms_keep_their_statistics_in_training() -> None:
    net = model.build(TINY, weights=False).train()
    model.freeze_norm(net.encoder)
    before = {k: v.clone() for k, v in net.encoder.state_dict().items() if "running" in k}
    decoder_before = {k: v.clone() for k, v in net.decoder.state_dict().items() if "running" in k}
    net(torch.randn(2, 1, 64, 64))
    for name, value in before.items():
        torch.testing.assert_close(net.encoder.state_dict()[name], value)
    after = net.decoder.state_dict()
    assert any(not torch.equal(after[name], value) for name, value in decoder_before.items())


def test_every_parameter_is_trained_once_and_norms_do_not_decay() -> None:
    net = model.build(TINY, weights=False)
    groups = model.parameter_groups(net, TINY)
    seen = [id(value) for group in groups for value in group["params"]]
    assert sorted(seen) == sorted(id(value) for value in net.parameters())
    for group in groups:
        for value in group["params"]:
            assert (value.ndim > 1) == (group["weight_decay"] > 0)


def test_an_outline_at_half_the_size_is_enlarged_to_the_whole() -> None:
    net = model.build(replace(TINY, outline_stride=2), weights=False).eval()
    with torch.no_grad():
        mask_logits, image_logit = net(torch.randn(2, 1, 64, 96))
    assert mask_logits.shape == (2, 1, 64, 96)
    assert image_logit.shape == (2, 1)
    whole = model.build(TINY, weights=False)
    assert len(net.decoder.blocks) == len(whole.decoder.blocks) - 1


def test_three_channels_are_the_grey_picture_three_times() -> None:
    """The same answer as one channel with the sum of the three's weights."""
    one = model.build(TINY, weights=False).eval()
    three = model.build(replace(TINY, channels=3), weights=False).eval()
    state = three.state_dict()
    name = next(key for key, value in state.items() if value.shape[1:2] == (3,))
    one.load_state_dict(state | {name: state[name].sum(1, keepdim=True)})
    picture = torch.rand(2, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        for ours, theirs in zip(three(picture), one(picture), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_reference_recipe_has_the_papers_channels_and_denoising() -> None:
    path = next(path for path in RECIPES if path.stem == "efficientnet-b3-384")
    recipe = Recipe.load(path)
    assert (recipe.channels, recipe.denoise) == (3, "median")
    with pytest.raises(ValueError, match="channels must be 1 or 3"):
        replace(recipe, channels=2)
