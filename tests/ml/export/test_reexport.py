"""A graph made anew says what the old one said, and more."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
openvino = pytest.importorskip("openvino", reason="openvino is not installed")

from ml.__main__ import main  # noqa: E402
from ml.errors import BadInput  # noqa: E402
from ml.export import export, reexport  # noqa: E402 - only where torch is
from ml.metrics.calibration import Calibration, Thresholds  # noqa: E402
from ml.network import model  # noqa: E402 - only where torch is
from ml.recipe import Recipe  # noqa: E402 - only where torch is
from ml.runtime import session  # noqa: E402 - only where torch is
from ml.runtime.torch_session import TorchSession  # noqa: E402

pytestmark = pytest.mark.torch

RECIPE = Recipe.from_dict(
    {
        "name": "tiny",
        "encoder": "tu-test_efficientnet",
        "decoder_channels": [16, 16, 8, 8, 8],
        "size": 64,
        "size_from": [[0.0, 64]],
        "mirror": True,
    }
)


def views() -> np.ndarray:
    y, x = np.mgrid[:64, :64] / 64
    waves = [np.sin(6 * x + k) * np.cos((4 + k) * y) for k in range(3)]
    return np.stack(waves)[:, None].astype(np.float32)


@pytest.fixture(scope="module")
def net() -> model.Segmenter:
    torch.manual_seed(0)
    built = model.build(RECIPE, weights=False)
    with torch.no_grad():
        built.train()(torch.randn(4, 1, 64, 64))
        built.image.weight.normal_(std=0.1)
    return built.eval()


@pytest.fixture(scope="module")
def shipped(net: model.Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    facts = {
        "name": "tiny",
        "version": "1",
        "trained": {"config": RECIPE.to_dict()},
        "metrics": {"auc": {"value": 0.9}},
        "reference": {"kept": True},
    }
    out = tmp_path_factory.mktemp("weights")
    thresholds, calibration = Thresholds(), Calibration(1.7, -0.4)
    return export.write(out, net, RECIPE, calibration, thresholds, facts, ["a limit"])


@pytest.fixture
def old(shipped: Path, tmp_path: Path) -> Path:
    """The model as an older version exported it: two outputs only."""
    folder = Path(shutil.copytree(shipped, tmp_path / "old"))
    graph = openvino.Core().read_model(folder / "model.xml")
    for output in list(graph.outputs)[2:]:
        graph.remove_result(output.get_node())
    openvino.save_model(graph, tmp_path / "fewer.xml", compress_to_fp16=True)
    del graph
    card = json.loads((folder / "card.json").read_text())
    for name in ("xml", "bin"):
        shutil.move(tmp_path / f"fewer.{name}", folder / f"model.{name}")
        data = (folder / f"model.{name}").read_bytes()
        card["files"][f"model.{name}"] = hashlib.sha256(data).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_the_graph_says_more_and_nothing_else(old: Path, tmp_path: Path) -> None:
    before = session.open(old, "cpu").answer(views())
    assert before.patches is None
    assert before.spreads is None
    assert main(["export", "--from-weights", str(old), "--out", str(tmp_path / "new")]) == 0
    opened = session.open(tmp_path / "new" / "tiny", "cpu")
    after = opened.answer(views())
    np.testing.assert_allclose(after.masks, before.masks, atol=1e-3)
    np.testing.assert_allclose(after.images, before.images, atol=1e-3)
    assert after.patches is not None
    assert after.patches.shape == (3, 2, 2)
    card, was = opened.card, session.read_card(old)
    assert {k: v for k, v in card.items() if k != "files"} == {
        k: v for k, v in was.items() if k != "files"
    }


def test_two_readings_are_distinguished_as_torch_does(net: model.Segmenter, shipped: Path) -> None:
    graph = session.open(shipped, "cpu")
    card, tensors = graph.card, (shipped / "model.safetensors").read_bytes()
    said, torch_said = (
        graph.answer(views()),
        TorchSession(card, tensors, "cpu").answer(views()),
    )
    for name in ("masks", "images", "patches", "spreads", "differences"):
        np.testing.assert_allclose(getattr(said, name), getattr(torch_said, name), atol=0.01)
    mirrored = graph.answer(views()[..., ::-1].copy())
    np.testing.assert_allclose(said.spreads, mirrored.spreads, atol=1e-4)
    np.testing.assert_allclose(said.differences, -mirrored.differences[..., ::-1], atol=1e-4)
    with torch.no_grad():
        logits = [net(torch.from_numpy(v.copy()))[1][:, 0] for v in (views(), views()[..., ::-1])]
    alone = [(one / 1.7 - 0.4).sigmoid().numpy() for one in logits]
    np.testing.assert_allclose(said.spreads, np.abs(alone[0] - alone[1]), atol=0.01)


def test_one_reading_has_no_differences_and_untaught_patches_are_not_shown(
    net: model.Segmenter, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, mirror=False, patch_weight=0.0)
    facts = {"name": "tiny", "version": "1", "trained": {"config": recipe.to_dict()}}
    folder = export.write(tmp_path, net, recipe, Calibration(), Thresholds(), facts, [])
    said = session.open(folder, "cpu").answer(views())
    assert (said.patches, said.spreads, said.differences) == (None, None, None)


def test_a_graph_that_would_say_otherwise_is_not_written(old: Path, tmp_path: Path) -> None:
    card = json.loads((old / "card.json").read_text())
    card["calibration"]["bias"] = 1.5  # the old graph has another one inside
    (old / "card.json").write_text(json.dumps(card))
    with pytest.raises(BadInput, match="differ"):
        reexport.reexport(old, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_tensors_that_were_changed_are_not_exported(old: Path, tmp_path: Path) -> None:
    data = bytearray((old / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (old / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(session.TamperedModel):
        reexport.reexport(old, tmp_path / "new")


def test_a_folder_without_a_model_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    asked = ["--from-weights", str(tmp_path / "empty"), "--out", str(tmp_path / "new")]
    assert main(["export", *asked]) == 1
    sentence = f"there is no model in {tmp_path / 'empty'}: card.json: no such file or directory"
    assert capsys.readouterr().err == f"export: {sentence}\n"
    (tmp_path / "empty" / "card.json").write_text('{"thresholds": {}}')
    assert main(["export", *asked]) == 1
    assert capsys.readouterr().err.endswith("is not complete: 'mask' is missing\n")
