"""Which model a job is done with: the worker's own, one of its folders', a fetched one, or none."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openvino", reason="openvino is not installed")
from tests.ml.conftest import write_tiny_model
from worker.errors import Permanent
from worker.segment.model_cache import Models
from worker.settings import Settings


def named(folder: Path, version: str = "1", **thresholds: Any) -> dict[str, Any]:
    """A tiny model in a folder, as the registry names it."""
    write_tiny_model(folder, **thresholds)
    card = json.loads((folder / "card.json").read_text())
    # Every version has its own weights; of a tiny graph's, the graph stands for them.
    (folder / "model.xml").write_text((folder / "model.xml").read_text() + f"<!--{version}-->")
    sha256 = hashlib.sha256((folder / "model.xml").read_bytes()).hexdigest()
    card |= {"version": version, "files": {**card["files"], "model.xml": sha256}, "sha256": sha256}
    (folder / "card.json").write_text(json.dumps(card))
    return {
        **{key: card[key] for key in ("name", "version", "sha256", "files")},
        "operating_point": "high_precision",
        "source": "",
        "archive_sha256": "",
    }


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Any]:
    return named(tmp_path / "own")


@pytest.fixture
def models(tmp_path: Path, own: dict[str, Any]) -> Models:
    told = {
        "REDIS_URL": "redis://127.0.0.1/0",
        "PLEURA_PORTAL_URL": "http://127.0.0.1:9",
        "PLEURA_WORKER_TOKEN": "token-of-a-worker",
        "PLEURA_WEIGHTS": str(tmp_path / "own"),
        "PLEURA_MODELS": str(tmp_path / "models"),
        "PLEURA_DEVICE": "cpu",
        "PLEURA_THREADS": "1",
    }
    return Models(Settings.from_env(told))


def test_without_a_word_from_the_portal_the_workers_own_speaks(models: Models) -> None:
    opened, point = models.chosen(None)
    assert (opened.card["version"], point) == ("1", "balanced")
    assert models.name == "tiny 1"


def test_the_own_one_may_be_the_one_that_is_meant(models: Models, own: dict[str, Any]) -> None:
    opened, point = models.chosen(own)
    assert opened is models.chosen(None)[0]
    assert point == "high_precision"


def test_a_model_of_the_folder_is_found_and_loaded_once(models: Models, tmp_path: Path) -> None:
    wanted = named(tmp_path / "models" / "two", "2")
    opened, _ = models.chosen(wanted)
    assert opened.card["version"] == "2"
    assert models.name == "tiny 2"
    assert models.chosen(wanted)[0] is opened


def test_a_model_is_fetched_from_where_the_registry_says(models: Models, tmp_path: Path) -> None:
    wanted = named(tmp_path / "elsewhere", "3")
    file = tmp_path / "model.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for path in (tmp_path / "elsewhere").iterdir():
            archive.write(path, path.name)
    wanted["source"] = f"file://{file}"
    wanted["archive_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    assert models.chosen(wanted)[0].card["version"] == "3"
    wanted = {**wanted, "sha256": "ab" * 32}
    with pytest.raises(Permanent, match="model_tampered"):
        models.chosen(wanted)


@pytest.mark.parametrize("source", ["", "shipped", "/nowhere/at/all"])
def test_a_model_that_is_not_to_be_had_is_refused(models: Models, source: str) -> None:
    wanted = {"sha256": "ab" * 32, "operating_point": "balanced", "source": source}
    with pytest.raises(Permanent, match="model_missing"):
        models.chosen(wanted)


def test_files_that_were_changed_are_refused_with_or_without_their_card(
    models: Models, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "two"
    wanted = named(folder, "2")
    graph = (folder / "model.xml").read_text()
    (folder / "model.xml").write_text(graph + "<!-- changed -->")
    with pytest.raises(Permanent, match="model_tampered"):
        models.chosen(wanted)
    # Whoever changes the card as well is found out by what the registry knows.
    card = json.loads((folder / "card.json").read_text())
    card["files"]["model.xml"] = hashlib.sha256((folder / "model.xml").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(Permanent, match="model_tampered"):
        models.chosen(wanted)


@pytest.mark.parametrize("wrong", [{"operating_point": "bold"}, {"sha256": None}])
def test_a_wish_that_is_not_understood_is_refused(
    models: Models, own: dict[str, Any], wrong: dict[str, Any]
) -> None:
    with pytest.raises(Permanent, match="model_unclear"):
        models.chosen({**own, **wrong})
