"""What ships is what was trained, and only that is loaded."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("openvino", reason="openvino is not installed")
import safetensors.torch  # noqa: E402 - only where torch is

from ml.__main__ import main  # noqa: E402
from ml.datasets import catalogue, dataset  # noqa: E402
from ml.export import export  # noqa: E402
from ml.metrics.calibration import Calibration, Thresholds  # noqa: E402
from ml.network import model  # noqa: E402
from ml.recipe import DENOISERS, Recipe  # noqa: E402
from ml.runtime import session  # noqa: E402
from ml.runtime.torch_session import TorchSession  # noqa: E402
from ml.training import train  # noqa: E402

pytestmark = pytest.mark.torch

TINY = Recipe.from_dict(
    {
        "name": "tiny",
        "encoder": "tu-test_efficientnet",
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
    with torch.no_grad():  # looks, so that batch-norm statistics are those of such pictures
        for _ in range(40):
            net.train()(torch.from_numpy(phantoms()) + 0.3 * torch.randn(3, 1, 64, 64))
        net.image.weight.normal_(std=0.1)  # a logit that depends on the picture
    return net.eval()


@pytest.fixture(scope="module")
def exported(trained: model.Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    facts = {
        "name": "tiny",
        "version": "1",
        "trained": {"date": "2026-11-23", "config": TINY.to_dict()},
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


def test_openvino_gives_what_torch_gives_calibration_included(
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
    net = model.build(Recipe.from_dict(card["trained"]["config"]), weights=False)
    state = safetensors.torch.load_file(folder / session.TENSORS)
    large = {name for name, value in state.items() if value.dtype == torch.float32}
    assert {name.rpartition(".")[2] for name in large} == {"running_mean", "running_var"}
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
        export.half_precision(net)


def test_a_mirrored_model_gives_the_same_for_a_picture_and_its_mirror_image(
    trained: model.Segmenter, tmp_path: Path
) -> None:
    recipe = replace(TINY, mirror=True)
    facts = {
        "name": "tiny",
        "version": "1",
        "trained": {"date": "2026-11-23", "config": recipe.to_dict()},
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
    torch_session = TorchSession(opened.card, (folder / session.TENSORS).read_bytes(), "cpu")
    torch_masks, torch_images = torch_session.run(phantoms())
    np.testing.assert_allclose(masks, torch_masks, atol=0.01)
    np.testing.assert_allclose(images, torch_images, atol=0.01)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of a run that held nothing out."""
    state = train.start(replace(TINY, held_out_fold=-1), torch.device("cpu"))
    train.save(state, tmp_path / "checkpoint.pt")
    return tmp_path / "checkpoint.pt"


def exporting(checkpoint: Path, *more: str | Path) -> int:
    out = checkpoint.parent / "weights"
    return main(["export", "--checkpoint", str(checkpoint), "--out", str(out), *map(str, more)])


def test_a_model_that_was_not_measured_is_not_served_unasked(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = checkpoint.parent / "weights"
    assert exporting(checkpoint) == 0
    with pytest.raises(session.ModelMissing):
        session.locate(weights)
    assert session.read_card(weights / "tiny")["metrics"] == {}
    # Nor does it take the place of the model that is served.
    (weights / "CURRENT").write_text("tiny\n")
    before = (weights / "tiny" / session.CARD).read_bytes()
    assert exporting(checkpoint, "--version", "2") == 1
    assert (weights / "tiny" / session.CARD).read_bytes() == before
    assert "--current" in capsys.readouterr().err
    assert exporting(checkpoint, "--name", "other") == 0
    assert (weights / "CURRENT").read_text() == "tiny\n"
    assert sorted(path.name for path in weights.iterdir()) == ["CURRENT", "other", "tiny"]


@pytest.mark.parametrize("more", [["--cache", "."], ["--name", "../tiny"]])
def test_what_cannot_be_exported_as_asked_is_a_sentence(
    checkpoint: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    done = exporting(checkpoint, *more)
    told = capsys.readouterr().err
    assert done == 1
    assert told.startswith("export: ")
    assert len(told.splitlines()) == 1


def test_a_measured_model_is_made_the_current_one_and_a_failed_export_leaves_the_old(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    for name in ("pictures", "masks"):
        (cache / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    records = []
    for number in range(24):
        grey = rng.integers(0, 255, (64, 64)).astype(np.uint8)
        cv2.imwrite(str(cache / "pictures" / f"{number}.png"), grey)
        positive = number % 3 == 0
        if positive:
            cv2.imwrite(str(cache / "masks" / f"{number}.png"), (grey > 128) * np.uint8(255))
        records.append(catalogue.Record(str(number), "masks", f"p{number}", 0, positive, 64, 64))
    state = train.start(TINY, torch.device("cpu"))
    train.save(state, checkpoint)
    catalogue.write_records(cache, records)
    assert exporting(checkpoint, "--cache", cache) == 0
    weights = tmp_path / "weights"
    card = session.read_card(session.locate(weights))
    assert card["metrics"]["auc"]["n"] == 24
    assert card["measured"]
    assert set(card["subgroups"]["size"]) == {"small", "medium", "large"}
    assert set(card["reference"]["quantiles"]) > {"input_mean", "map_share", "probability"}
    assert card["reference"]["n"] == 24
    assert "NaN" not in (session.locate(weights) / session.CARD).read_text("utf-8")
    # One class only in what is held out: a sentence, and the model that stood there stands.
    catalogue.write_records(cache, [record for record in records if not record.positive])
    assert exporting(checkpoint, "--cache", cache, "--version", "2") == 1
    assert (
        "fold 0 is too small: thresholds are to be chosen on 0 pictures with the finding"
        in capsys.readouterr().err
    )
    assert session.read_card(session.locate(weights))["version"] == "1"
    catalogue.write_records(cache, [replace(record, fold=1) for record in records])
    assert exporting(checkpoint, "--cache", cache) == 1
    assert "fold 0 holds no outlined picture" in capsys.readouterr().err


def test_an_unmeasured_model_that_is_wanted_all_the_same_says_so_on_its_card(
    checkpoint: Path, tmp_path: Path
) -> None:
    assert exporting(checkpoint, "--current") == 0
    card = session.read_card(session.locate(tmp_path / "weights"))
    assert card["name"] == "tiny"
    assert card["metrics"] == {}
    assert any("measured" in limit for limit in card["limits"])


@pytest.mark.parametrize("change", ["architecture", "recipe", "tensors"])
def test_weights_that_do_not_fit_their_card_are_no_model(folder: Path, change: str) -> None:
    card = json.loads((folder / session.CARD).read_text(encoding="utf-8"))
    tensors = (folder / session.TENSORS).read_bytes()
    if change == "architecture":
        card["trained"]["config"]["decoder_channels"] = [8, 8, 8, 8, 8]
    elif change == "recipe":
        del card["trained"]
    else:
        tensors = tensors[:100]
    with pytest.raises(session.ModelMissing, match="the model tiny"):
        TorchSession(card, tensors, "cpu")


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


@pytest.mark.parametrize("denoise", DENOISERS)
def test_serving_cleans_a_picture_as_training_did(
    trained: model.Segmenter, tmp_path: Path, denoise: str
) -> None:
    from ml.inference import serving
    from ml.preparation import phantom
    from ml.preprocessing import transforms
    from ml.runtime import lung_finder

    recipe = replace(TINY, denoise=denoise, clahe=2.0)
    facts = {
        "name": "tiny",
        "version": "1",
        "trained": {"date": "2026-11-23", "config": recipe.to_dict()},
    }
    folder = export.write(tmp_path, trained, recipe, CALIBRATION, Thresholds(), facts, ["a limit"])
    pixels = phantom.draw(8, "left", 20, rows=700, columns=600).pixels
    opened = serving.Serving(session.open(folder, device="cpu"), lung_finder.Finder())
    served = opened.prepare(pixels).input

    small = transforms.canonical(pixels, transforms.canonical_side(recipe.size))
    record = catalogue.Record("a", "masks", "A", 0, False, 700, 600)
    cached = dataset.Pictures([record], [small], [None])
    item = dataset.PlainPictures(cached, recipe)[0]["picture"][0].numpy()
    np.testing.assert_array_equal(served, item)
    assert not np.array_equal(served, dataset.PlainPictures(cached, TINY)[0]["picture"][0].numpy())
