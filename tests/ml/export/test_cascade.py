"""A first network that decides whether the second one outlines anything."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openvino", reason="openvino is not installed")
from ml.datasets import cases
from ml.errors import BadInput
from ml.evaluation import case_results
from ml.images import reader
from ml.images.picture import Picture
from ml.inference import serving
from ml.inference.predict import Prediction, predict, predict_batch
from ml.preparation import phantom
from ml.runtime import session
from tests.ml.conftest import write_tiny_model


def told(folder: Path, **facts: Any) -> dict[str, Any]:
    """A model's card with more on it."""
    card: dict[str, Any] = session.read_card(folder) | facts
    (folder / "card.json").write_text(json.dumps(card))
    return card


@pytest.fixture(scope="module")
def chests() -> list[Picture]:
    return [
        reader.read(phantom.dicom(phantom.draw(seed, "right", area, rows=360, columns=300)))
        for seed, area in ((3, 45), (4, 10))
    ]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A small gate beside a larger network."""
    gate = write_tiny_model(tmp_path / "gate", size=32)
    sha256 = "a" * 64  # the two tiny graphs differ in their size alone
    told(gate, name="gate", sha256=sha256)
    write_tiny_model(tmp_path / "main")
    return tmp_path


def gated(models: Path, below: float, **facts: Any) -> serving.Serving:
    named = {"name": "gate", "version": "1", "sha256": "a" * 64, "below": below}
    told(models / "main", gate=named, **facts)
    return serving.open(models / "main", device="cpu")


def first_words(models: Path, chests: list[Picture]) -> list[float]:
    """What the gate alone says of the pictures."""
    gate = serving.open(models / "gate", device="cpu")
    return [float(gate.run([gate.prepare(chest.pixels)])[1][0]) for chest in chests]


def codes(said: Prediction) -> list[str]:
    return [reason["code"] for reason in said.quality["reasons"]]


def outlined(said: Prediction) -> int:
    assert said.mask is not None
    return int(said.mask.sum())


def test_what_the_gate_lets_through_is_answered_as_without_it(
    models: Path, chests: list[Picture]
) -> None:
    alone = [predict(chest, serving.open(models / "main", device="cpu")) for chest in chests]
    for with_gate, plain in zip(
        predict_batch(chests, gated(models, below=1e-6)), alone, strict=True
    ):
        assert with_gate.facts() | {"seconds": 0} == plain.facts() | {"seconds": 0}
        assert outlined(with_gate) == outlined(plain) > 0


def test_what_it_stops_has_no_outline_and_says_why(models: Path, chests: list[Picture]) -> None:
    words = first_words(models, chests)
    stopped, passed = int(np.argmin(words)), int(np.argmax(words))
    assert words[stopped] < words[passed]
    alone = serving.open(models / "main", device="cpu")
    opened = gated(models, below=sum(words) / 2)
    said = predict_batch(chests, opened)
    assert outlined(said[stopped]) == 0
    assert outlined(said[passed]) > 0
    # Beside it the quality gate's own remarks on such a drawn chest stay, and no other comes.
    own = {n: codes(predict(chests[n], alone)) for n in (stopped, passed)}
    assert sorted(codes(said[stopped])) == sorted([*own[stopped], "stopped_early"])
    assert codes(said[passed]) == own[passed]
    assert "stopped_early" not in own[passed]
    assert said[stopped].quality["verdict"] == "limited"
    assert said[stopped].probability == pytest.approx(words[stopped], abs=1e-4)
    assert said[stopped].probability_map is not None
    assert said[stopped].probability_map.max() == 0
    assert said[stopped].statistics is not None
    # One by one it is no other than together.
    for chest, one in zip(chests, said, strict=True):
        assert predict(chest, opened).facts() | {"seconds": 0} == one.facts() | {"seconds": 0}


def test_evaluation_stops_what_service_stops(
    models: Path, chests: list[Picture], tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    words = first_words(models, chests)
    found = []
    for number, (seed, area) in enumerate(((3, 45), (4, 10))):
        film = phantom.draw(seed, "right", area, rows=360, columns=300)
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(phantom.dicom(film))
        found.append(cases.Case(str(number), file, ("-1",), str(number)))
    opened = gated(models, below=sum(words) / 2)
    rows = case_results.measure(found, opened).rows
    stopped = int(np.argmin(words))
    assert rows[stopped]["predicted"] == 0
    assert rows[stopped]["probability"] == pytest.approx(words[stopped], abs=1e-4)
    assert rows[1 - stopped]["predicted"] > 0


def test_its_probability_is_shown_on_the_scale_of_the_network(
    models: Path, chests: list[Picture]
) -> None:
    word = first_words(models, chests)[0]
    opened = gated(models, below=0.999, calibration={"temperature": 2.0, "bias": -1.0})
    logit = math.log(word / (1 - word)) / 2 - 1
    expected = 1 / (1 + math.exp(-logit))
    assert predict(chests[0], opened).probability == pytest.approx(expected, abs=1e-4)


def test_a_network_is_not_served_without_its_gate(models: Path, tmp_path: Path) -> None:
    opened = gated(models, below=0.5)
    with pytest.raises(session.ModelMissing, match="needs the first network of its card"):
        serving.Serving(opened.network, opened.finder)
    (models / "gate").rename(tmp_path.parent / f"{tmp_path.name}-away")
    with pytest.raises(session.ModelMissing, match="needs gate 1 beside it"):
        serving.open(models / "main", device="cpu")


def test_a_gate_that_was_changed_is_refused(models: Path) -> None:
    gated(models, below=0.5)
    graph = models / "gate" / "model.xml"
    graph.write_text(graph.read_text() + " ")
    with pytest.raises(session.TamperedModel):
        serving.open(models / "main", device="cpu")


def test_a_gate_must_have_held_out_the_same_patients(models: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from ml.export import cascade

    gate = models / "gate"
    with pytest.raises(BadInput, match="did not hold out the same fold"):
        cascade.first_stage(gate, [0])  # its card says nothing of what it held out
    told(gate, trained={"config": {"held_out_fold": 0}})
    with pytest.raises(BadInput, match="did not hold out the same fold"):
        cascade.first_stage(gate, [1])
    facts, judge = cascade.first_stage(gate, [0])
    assert facts == {"name": "gate", "version": "1", "sha256": "a" * 64, "below": 0.05}
    dark, bright = np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)
    bright[:8] = 0  # a picture of one grey has no contrast to be stretched
    dark[:2] = 255
    assert judge(dark) is None
    told(gate, gate=facts)
    with pytest.raises(BadInput, match="has a first network itself"):
        cascade.first_stage(gate, [0])


@pytest.mark.torch
def test_a_model_is_exported_and_measured_with_its_gate(models: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from ml.__main__ import main
    from ml.training import run_state
    from tests.support.ml.tiny_training import TINY, cache_of_three_folds

    cache = cache_of_three_folds(tmp_path / "cache")
    run_state.save(run_state.start(TINY, torch.device("cpu")), tmp_path / "checkpoint.pt")
    thresholds = session.read_card(models / "gate")["thresholds"]
    thresholds["image"]["high_sensitivity"] = 0.999  # it stops everything
    told(models / "gate", trained={"config": {"held_out_fold": 0}}, thresholds=thresholds)
    words = ["export", "--checkpoint", str(tmp_path / "checkpoint.pt"), "--out", str(models)]
    words += ["--cache", str(cache), "--gate", str(models / "gate")]
    assert main(words) == 0
    card = session.read_card(models / "tiny")
    assert card["gate"] == {"name": "gate", "version": "1", "sha256": "a" * 64, "below": 0.999}
    # Nothing is outlined, so no outline overlaps.
    assert card["metrics"]["positive_dice_ungated"]["value"] == 0
    assert serving.open(models / "tiny", device="cpu").first_stage is not None
