"""`python -m portal model`: a model is checked, stored, listed and promoted, or refused."""

import hashlib
import json
import math
from argparse import Namespace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from portal.cli import ai_models
from portal.operations import first_start
from portal.operations.context import Failed
from portal.settings import Settings
from tests.portal.ai_models.test_registry import card
from tests.portal.cli.test_commands import run
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.jobs import SHA256, prediction_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a migrated database."""
    path = tmp_path_factory.mktemp("cli") / "var"
    for command in ("migrate", "upgrade"):
        assert run(path, command).returncode == 0
    return path


def model(bundle: Path, **changes: Any) -> tuple[Path, str]:
    """A model's folder of a few bytes, and its sha256."""
    bundle.mkdir()
    weights = bundle.name.encode()
    (bundle / "model.bin").write_bytes(weights)
    sha256 = hashlib.sha256(weights).hexdigest()
    (bundle / "card.json").write_text(
        json.dumps(card(sha256, files={"model.bin": sha256}, **changes))
    )
    return bundle, sha256


def test_a_model_is_added_listed_and_promoted(folder: Path, tmp_path: Path) -> None:
    bundle, sha256 = model(tmp_path / "good")
    done = run(folder, "model", "add", str(bundle), "--sha256", sha256)
    assert done.returncode == 0, done.stderr
    assert f"is a candidate: {sha256}" in done.stdout
    done = run(folder, "model", "promote", sha256[:12], "--operating-point", "high_sensitivity")
    assert done.returncode == 0, done.stderr
    listed = run(folder, "model", "list").stdout
    assert f"{sha256[:12]}  active     net 1  high_sensitivity" in listed
    stored = [path.name for path in (folder / "models").iterdir()]
    assert stored == [f"net-{sha256[:12]}"]


def test_another_checksum_is_refused_with_a_sentence(folder: Path, tmp_path: Path) -> None:
    bundle, _ = model(tmp_path / "other")
    done = run(folder, "model", "add", str(bundle), "--sha256", "00" * 32)
    assert done.returncode == 1
    assert "another sha256 than was asked for" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_uncalibrated_one_is_stored_and_not_promoted(folder: Path, tmp_path: Path) -> None:
    bundle, sha256 = model(tmp_path / "plain", calibration={}, version="2")
    done = run(folder, "model", "add", str(bundle))
    assert "It can't be promoted. Its card lacks a calibration" in done.stdout
    done = run(folder, "model", "promote", sha256)
    assert done.returncode == 1
    assert "calibration" in done.stderr


def test_the_shipped_model_is_active_where_nobody_chose_another(
    tmp_path: Path,
) -> None:
    path = tmp_path / "var"
    for command in ("migrate", "upgrade"):
        assert run(path, command).returncode == 0
    settings = Settings.from_env({"PLEURA_DATA_DIR": str(path)})
    name = first_start.register_shipped(settings)
    assert name is not None
    assert first_start.register_shipped(settings) is None
    assert "active" in run(path, "model", "list").stdout
    bundle, sha256 = model(tmp_path / "mine", version="9")
    assert run(path, "model", "add", str(bundle)).returncode == 0
    refused = run(path, "model", "promote", sha256)
    assert refused.returncode == 1
    assert "is not on its card; the active model’s is" in refused.stderr
    assert "(--override REASON)" in refused.stderr
    assert "Traceback" not in refused.stderr
    reason = ("--override", "It was measured elsewhere.")
    assert run(path, "model", "promote", sha256, *reason).returncode == 0
    assert first_start.register_shipped(settings) is None
    assert f"{sha256[:12]}  active" in run(path, "model", "list").stdout


def test_what_a_models_predictions_stored_is_written_for_drift_and_names_no_case(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    core = clinic.core
    for key, value in {
        "PLEURA_ENV": "test",
        "PLEURA_DATA_DIR": str(core.data_dir),
        "DATABASE_URL": core.settings.database_url,
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(ai_models, "now", lambda: NOW + timedelta(days=1))
    study = clinic.done()
    clinic.done(now=NOW - timedelta(days=60))
    assert ai_models._statistics(Namespace(sha256=SHA256[:8], days=30.0)) == 0
    (line,) = capsys.readouterr().out.splitlines()
    facts = json.loads(line)
    assert facts["statistics"] == prediction_of()["statistics"]
    assert facts["probability"] == prediction_of()["probability"]
    assert (facts["model"]["sha256"], facts["quality"]["verdict"]) == (SHA256, "fit")
    assert facts["measurements"] == {"spacing_problem": None}
    assert study.hex not in line.replace("-", "")
    for wrong in (-1.0, math.nan, 1e9):
        with pytest.raises(Failed, match="--days lies between"):
            ai_models._statistics(Namespace(sha256=SHA256[:8], days=wrong))
