"""The model card is made from card.json, and the one in docs/ is that of the shipped model."""

from __future__ import annotations

import json

import pytest

from ml.__main__ import main
from ml.evaluation import card_sections, model_card
from ml.runtime import session
from tests.support.paths import ROOT

HEADINGS = [
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
    "CLAIM checklist",
]


def headings(text: str) -> list[str]:
    return [line[3:] for line in text.splitlines() if line.startswith("## ")]


def test_the_document_in_docs_is_that_of_the_shipped_model():
    """`python -m ml card --out docs/model-card.md` makes it anew."""
    written = (ROOT / "docs" / "model-card.md").read_text("utf-8")
    assert written == model_card.render(session.read_card(session.locate()))


def test_every_number_of_the_card_is_in_the_document_with_its_interval():
    card = session.read_card(session.locate())
    text = model_card.render(card)
    assert headings(text) == HEADINGS
    for found in card["metrics"].values():
        assert f"| {found['value']:.3f} | {found['low']:.3f}–{found['high']:.3f} |" in text
    for value in card["thresholds"]["image"].values():
        assert f"{value:.3f}" in text
    joined = " ".join(text.split())
    for limit in card["limits"]:
        assert limit in joined
    assert card["sha256"] in text
    assert card["data"]["terms"] in joined


def test_groups_are_shown_where_the_card_has_them():
    card = session.read_card(session.locate())
    measure = {"value": 0.5, "low": 0.25, "high": 0.75}
    nothing = {"value": None, "low": None, "high": None}
    card["subgroups"] = {
        "view": {
            "PA": {"pictures": 30, "positives": 9, "auc": measure, "positive_dice": nothing},
        }
    }
    card["reference"] = {"n": 3}
    text = model_card.render(card)
    assert "### View" in text
    assert "| PA | 30 | 9 | – | – | – | 0.500 (0.250–0.750) |" in text
    assert "Measured apart, below: view." in text
    assert "python -m ml drift" in text


def test_it_names_whose_pictures_and_whose_labels_were_learnt_from():
    card = session.read_card(session.locate())
    card["trained"]["config"] |= {"sources": ["masks", "unlabelled"], "taught": "two"}
    text = " ".join(model_card.render(card).split())
    assert "Pictures outlined by radiologists, without a label. Also trained on soft labels" in text
    assert "a weight of 0.5 against the radiologists' labels" in text


def test_a_model_that_was_never_measured_says_so(tiny_model, tmp_path, capsys):
    out = tmp_path / "deep" / "card.md"
    assert main(["card", "--weights", str(tiny_model), "--out", str(out)]) == 0
    text = out.read_text("utf-8")
    assert headings(text) == HEADINGS
    assert "This version was not measured." in text
    assert card_sections._NOT_KNOWN in text
    assert main(["card", "--weights", str(tiny_model)]) == 0
    assert capsys.readouterr().out.endswith(text)


def test_a_folder_that_holds_no_model_is_a_sentence(tmp_path, capsys):
    assert main(["card", "--weights", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("card: ")


@pytest.mark.parametrize("path", sorted((ROOT / "ml" / "weights").glob("*/card.json")), ids=str)
def test_every_shipped_card_can_be_written(path):
    assert model_card.render(json.loads(path.read_text("utf-8"))).startswith("# Model card: ")
