"""Frozen stages of an encoder."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.network import freeze, model  # noqa: E402 - only where torch is
from ml.recipe import Recipe  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch

TINY = Recipe.from_dict(
    {
        "encoder": "tu-tf_efficientnet_lite0",
        "decoder_channels": [16, 16, 8, 8, 8],
        "size": 64,
        "size_from": [[0.0, 64]],
    }
)


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
