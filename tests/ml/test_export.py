"""What ships is what was trained, and only that is loaded."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("openvino", reason="openvino is not installed")
import safetensors.torch  # noqa: E402 - only where torch is

from ml import config, export, model, session  # noqa: E402
from ml.calibrate import Calibration, Thresholds  # noqa: E402

pytestmark = pytest.mark.torch

TINY = config.from_dict(
    {
        "name": "tiny",
        "encoder": "tu-tf_efficientnet_lite0",
        "decoder_channels": [16, 16, 8, 8, 8],
        "size": 64,
        "size_from": [[0.0, 64]],
    }
)
CALIBRATION = Calibration(temperature=1.7, bias=-0.4)


@pytest.fixture(scope="module")
def trained() -> model.Segmenter:
    torch.manual_seed(0)
    net = model.build(TINY)
    with torch.no_grad():  # one look, so that batch-norm statistics are not the initial ones
        net.train()(torch.randn(4, 1, 64, 64))
        net.image.weight.normal_(std=0.1)  # a logit that depends on the picture
    return net.eval()


@pytest.fixture(scope="module")
def exported(trained: model.Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    facts = {
        "name": "tiny",
        "version": "1",
        "trained": {"date": "2026-11-23", "config": config.to_dict(TINY)},
    }
    out = tmp_path_factory.mktemp("weights")
    return export.write(out, trained, TINY, CALIBRATION, Thresholds(), facts, ["a limit"])


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(exported, tmp_path / "tiny"))


def phantoms() -> np.ndarray:
    """Smooth pictures (3, 1, 64, 64) in -1..1, so that neither output sits at its end."""
    y, x = np.mgrid[:64, :64] / 64
    waves = [np.sin(6 * x + k) * np.cos((4 + k) * y) for k in range(3)]
    return np.stack(waves)[:, None].astype(np.float32)


def test_openvino_says_what_torch_says_calibration_included(
    trained: model.Segmenter, folder: Path
) -> None:
    masks, images = session.open(folder, device="cpu", precision="f32").run(phantoms())
    with torch.no_grad():
        mask_logits, image_logits = trained(torch.from_numpy(phantoms()))
    expected = CALIBRATION.probability(image_logits[:, 0].double().numpy())
    np.testing.assert_allclose(masks, mask_logits[:, 0].sigmoid().numpy(), atol=0.01)
    np.testing.assert_allclose(images, expected, atol=0.01)
    assert np.ptp(images) > 0.001


def test_the_tensors_rebuild_the_network_from_the_card_alone(
    trained: model.Segmenter, folder: Path
) -> None:
    card = json.loads((folder / session.CARD).read_text(encoding="utf-8"))
    net = model.build(config.from_dict(card["trained"]["config"]), weights=False)
    state = safetensors.torch.load_file(folder / session.TENSORS)
    assert all(v.dtype != torch.float32 for v in state.values())
    net.load_state_dict(state)
    with torch.no_grad():
        again = net.eval()(torch.from_numpy(phantoms()))
        once = trained(torch.from_numpy(phantoms()))
    for ours, theirs in zip(again, once, strict=True):
        torch.testing.assert_close(ours.sigmoid(), theirs.sigmoid(), atol=0.01, rtol=0)


def test_the_card_names_what_ships(folder: Path) -> None:
    card = session.read_card(folder)
    assert set(card["files"]) == {"model.safetensors", "model.xml", "model.bin"}
    assert card["sha256"] == card["files"]["model.safetensors"]
    assert card["calibration"]["temperature"] == CALIBRATION.temperature
    assert card["architecture"]["encoder"] == TINY.encoder
    assert card["limits"] == ["a limit"]


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(session.TamperedModel):
        session.open(folder, device="cpu")


def test_weights_that_do_not_fit_fp16_are_not_shipped(tmp_path: Path) -> None:
    net = model.build(TINY, weights=False)
    with torch.no_grad():
        next(net.parameters()).fill_(1e6)
    with pytest.raises(ValueError, match="fp16"):
        export.as_half(net)


def test_a_mirrored_model_says_the_same_of_a_picture_and_of_its_mirror_image(
    trained: model.Segmenter, tmp_path: Path
) -> None:
    recipe = replace(TINY, mirror=True)
    facts = {
        "name": "tiny",
        "version": "1",
        "trained": {"date": "2026-11-23", "config": config.to_dict(recipe)},
    }
    folder = export.write(tmp_path, trained, recipe, CALIBRATION, Thresholds(), facts, ["a limit"])
    opened = session.open(folder, device="cpu", precision="f32")
    masks, images = opened.run(phantoms())
    other_masks, other_images = opened.run(phantoms()[..., ::-1].copy())
    np.testing.assert_allclose(masks, other_masks[..., ::-1], atol=1e-4)
    np.testing.assert_allclose(images, other_images, atol=1e-4)
    plain, plain_images = session.open(
        export.write(
            tmp_path / "plain", trained, TINY, CALIBRATION, Thresholds(), facts, ["a limit"]
        ),
        device="cpu",
        precision="f32",
    ).run(np.concatenate([phantoms(), phantoms()[..., ::-1]]))
    np.testing.assert_allclose(masks, (plain[:3] + plain[3:, :, ::-1]) / 2, atol=1e-3)
    logits = np.log(plain_images / (1 - plain_images))
    mean = 1 / (1 + np.exp(-(logits[:3] + logits[3:]) / 2))
    np.testing.assert_allclose(images, mean, atol=1e-3)
    torch_session = session.TorchSession(
        opened.card, (folder / session.TENSORS).read_bytes(), "cpu"
    )
    torch_masks, torch_images = torch_session.run(phantoms())
    np.testing.assert_allclose(masks, torch_masks, atol=0.01)
    np.testing.assert_allclose(images, torch_images, atol=0.01)


def test_a_checkpoint_without_held_out_pictures_ships_with_a_warning(tmp_path: Path) -> None:
    import argparse

    from ml import train

    state = train.start(replace(TINY, held_out_fold=-1), torch.device("cpu"))
    train.save(state, tmp_path / "checkpoint.pt")
    arguments = argparse.Namespace(
        checkpoint=tmp_path / "checkpoint.pt",
        out=tmp_path / "weights",
        name=None,
        version="1",
        cache=None,
        mirror=None,
    )
    (tmp_path / "weights").mkdir()
    assert export.run(arguments) == 0
    card = session.read_card(session.locate(tmp_path / "weights"))
    assert card["name"] == "tiny"
    assert card["metrics"] == {}
    assert any("measured" in limit for limit in card["limits"])


def test_the_shipped_model_is_whole_and_its_card_honest() -> None:
    card = session.read_card(session.locate())
    session.open(device="cpu")
    for name in ("kaggle_dice", "positive_dice", "auc", "sensitivity_at_specificity_0.93",
                 "ece", "brier"):  # fmt: skip
        measure = card["metrics"][name]
        assert measure["low"] <= measure["value"] <= measure["high"]
        assert measure["n"] > 50
    assert "research" in card["data"]["terms"]
    assert card["measured"]
