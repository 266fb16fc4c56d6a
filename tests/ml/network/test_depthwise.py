"""Depthwise convolutions in bf16."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.network import depthwise, model  # noqa: E402 - only where torch is
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
