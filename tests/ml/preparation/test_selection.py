"""Which pictures a cache is made of, with patients and folds."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.datasets import catalogue  # noqa: E402 - with torch
from ml.errors import BadInput  # noqa: E402
from ml.preparation import prepare, selection  # noqa: E402 - with torch
from tests.support.ml.training_cache import given, table  # noqa: E402

pytestmark = pytest.mark.torch


def test_a_fold_that_is_no_number_is_a_sentence(tmp_path: Path) -> None:
    index = table(tmp_path / "index.csv", ["ImageId", "patient", "fold"], [["a", "A", "one"]])
    with pytest.raises(BadInput, match="fold 'one'"):
        prepare.run(given(tmp_path, [["a", "-1"]], index=index))


def test_labels_from_reports_are_taken_on_request(tmp_path: Path) -> None:
    rows = [
        ["p1", "radiologist panel", "1", "A"],
        ["p2", "text-mined, unverified", "0", "B"],
        ["p3", "none", "unknown", "C"],
        ["p4", "text-mined, unverified", "unknown", "D"],
    ]
    index = table(tmp_path / "panel.csv", ["id", "label", "pneumothorax", "patient"], rows)
    assert selection.panel_labels(index, {"A": 3}) == {"p1": ("A", 3, True)}
    assert selection.panel_labels(index, {"A": 3}, reports=True) == {
        "p1": ("A", 3, True),
        "p2": ("B", catalogue.NO_FOLD, False),
    }


def test_patients_without_folds_are_dealt_out_and_stay_together(tmp_path: Path) -> None:
    texts = {f"p{k}": ["5 9"] if k % 3 == 0 else ["-1"] for k in range(40)}
    index = table(
        tmp_path / "index.csv",
        ["ImageId", "patient", "fold"],
        [[f"p{k}", f"P{k // 2}", "4" if k < 2 else ""] for k in range(40)],
    )
    rows = selection.outlined_labels(texts, index)
    folds: dict[str, set[int]] = {}
    for patient, fold, _ in rows.values():
        folds.setdefault(patient, set()).add(fold)
    assert folds["P0"] == {4}
    assert all(len(found) == 1 for found in folds.values())
    assert len(set.union(*folds.values())) == 5
