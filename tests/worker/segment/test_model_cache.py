"""Which model a job uses: the worker's own, one of its folders, a fetched one, or none."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openvino", reason="openvino is not installed")
from tests.ml.conftest import write_tiny_model
from worker.contract.job import RequiredModel
from worker.errors import Permanent
from worker.segment.model_cache import ModelCache
from worker.settings import Settings


def named(folder: Path, version: str = "1", **thresholds: Any) -> RequiredModel:
    """A tiny model in a folder, as the registry names it."""
    write_tiny_model(folder, **thresholds)
    card = json.loads((folder / "card.json").read_text())
    # Every version has its own weights; of a tiny graph's, the graph stands for them.
    (folder / "model.xml").write_text((folder / "model.xml").read_text() + f"<!--{version}-->")
    sha256 = hashlib.sha256((folder / "model.xml").read_bytes()).hexdigest()
    card |= {"version": version, "files": {**card["files"], "model.xml": sha256}, "sha256": sha256}
    (folder / "card.json").write_text(json.dumps(card))
    return RequiredModel(
        **{key: card[key] for key in ("name", "version", "sha256", "files")},
        operating_point="high_precision",
    )


@pytest.fixture
def own(tmp_path: Path) -> RequiredModel:
    return named(tmp_path / "own")


@pytest.fixture
def models(tmp_path: Path, own: RequiredModel) -> ModelCache:
    given = {
        "REDIS_URL": "redis://127.0.0.1/0",
        "PLEURA_PORTAL_URL": "http://127.0.0.1:9",
        "PLEURA_WORKER_TOKEN": "token-of-a-worker",
        "PLEURA_WEIGHTS": str(tmp_path / "own"),
        "PLEURA_MODELS": str(tmp_path / "models"),
        "PLEURA_DEVICE": "cpu",
        "PLEURA_THREADS": "1",
    }
    return ModelCache(Settings.from_env(given))


def test_without_a_model_in_the_claim_the_workers_own_is_used(models: ModelCache) -> None:
    opened, point = models.choose(None)
    assert (opened.card["version"], point) == ("1", "balanced")
    assert models.name == "tiny 1"


def test_the_workers_own_model_may_be_the_required_one(
    models: ModelCache, own: RequiredModel
) -> None:
    opened, point = models.choose(own)
    assert opened is models.choose(None)[0]
    assert point == "high_precision"


def test_a_model_of_the_folder_is_found_and_loaded_once(models: ModelCache, tmp_path: Path) -> None:
    required = named(tmp_path / "models" / "two", "2")
    opened, _ = models.choose(required)
    assert opened.card["version"] == "2"
    assert models.name == "tiny 2"
    assert models.choose(required)[0] is opened


def test_a_model_is_fetched_from_the_registrys_source(models: ModelCache, tmp_path: Path) -> None:
    required = named(tmp_path / "elsewhere", "3")
    file = tmp_path / "model.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for path in (tmp_path / "elsewhere").iterdir():
            archive.write(path, path.name)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    required = required.model_copy(update={"source": f"file://{file}", "archive_sha256": sha256})
    assert models.choose(required)[0].card["version"] == "3"
    required = required.model_copy(update={"sha256": "ab" * 32})
    with pytest.raises(Permanent, match="model_tampered"):
        models.choose(required)


@pytest.mark.parametrize("source", ["", "shipped", "/nowhere/at/all"])
def test_a_model_that_cannot_be_found_is_refused(models: ModelCache, source: str) -> None:
    required = RequiredModel(
        name="net", version="1", sha256="ab" * 32, operating_point="balanced", source=source
    )
    with pytest.raises(Permanent, match="model_missing"):
        models.choose(required)


def test_files_that_were_changed_are_refused_with_or_without_their_card(
    models: ModelCache, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "two"
    required = named(folder, "2")
    graph = (folder / "model.xml").read_text()
    (folder / "model.xml").write_text(graph + "<!-- changed -->")
    with pytest.raises(Permanent, match="model_tampered"):
        models.choose(required)
    # Whoever changes the card as well is found by the registry's digest.
    card = json.loads((folder / "card.json").read_text())
    card["files"]["model.xml"] = hashlib.sha256((folder / "model.xml").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(Permanent, match="model_tampered"):
        models.choose(required)


def test_an_operating_point_that_is_unknown_is_refused(
    models: ModelCache, own: RequiredModel
) -> None:
    with pytest.raises(Permanent, match="model_unclear"):
        models.choose(own.model_copy(update={"operating_point": "bold"}))
