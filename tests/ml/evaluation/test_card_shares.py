"""`python -m ml shares`: a card gets the shares of held-out pictures, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml.__main__ import main
from ml.metrics import reference_shares
from ml.runtime import session
from tests.support.drift.predictions import card


def written(folder: Path, **changes: object) -> Path:
    known = card() | {"sha256": "ab" * 32, "thresholds": {"image": {"balanced": 0.25}}} | changes
    del known["reference"]["shares"]
    path = folder / "card.json"
    path.write_text(json.dumps(known))
    return path


def lines(folder: Path, sha256: str = "ab" * 32) -> Path:
    found = [
        {
            "model": {"sha256": sha256},
            "statistics": {"input_mean": 0.1},
            "probability": k / 10,
            "view": ("AP", "PA", "LL", None)[k % 4],
        }
        for k in range(10)
    ]
    path = folder / "held-out.jsonl"
    path.write_text("\n".join(map(json.dumps, found)))
    return path


def test_a_card_gets_shares_and_stays_as_it_is(tmp_path, capsys):
    path = written(tmp_path)
    before = json.loads(path.read_text())
    assert main(["shares", "--card", str(path), "--statistics", str(lines(tmp_path))]) == 0
    after = json.loads(path.read_text())
    shares = after["reference"].pop("shares")
    assert after == before
    assert shares["view_ap"] == {"n": 6, "count": 3, "of": "view_ap", "at": 0.5}
    assert shares["called"] == {"n": 10, "count": 7, "of": "probability", "at": 0.25}
    assert shares["prevalence"]["mean"] == 0.45
    assert "view_ap" in capsys.readouterr().out


def test_what_gives_no_shares_is_a_sentence_and_changes_nothing(tmp_path, capsys):
    path = written(tmp_path)
    before = path.read_text()
    given = ["shares", "--card", str(path), "--statistics"]
    assert main([*given, str(lines(tmp_path, "cd" * 32))]) == 1
    assert "no prediction of this model" in capsys.readouterr().err
    assert path.read_text() == before
    bare = written(tmp_path, thresholds={})
    assert main([*given, str(lines(tmp_path))]) == 1
    assert "no balanced threshold" in capsys.readouterr().err
    assert "shares" not in json.loads(bare.read_text())["reference"]


def test_the_shipped_card_has_the_shares_that_drift_looks_at():
    shipped = session.read_card(session.locate(None))
    found = {one.name: one for one in reference_shares.of_reference(shipped["reference"], "it")}
    assert set(found) == {"view_ap", "called", "prevalence"}
    assert found["called"].at == pytest.approx(shipped["thresholds"]["image"]["balanced"], abs=1e-6)
    assert all(one.n >= 280 for one in found.values())
