"""Every remark of the quality gate is known to the pages, so that it can be translated."""

import ast
from collections.abc import Iterator

import pytest

from ml.quality import gate
from portal.languages import catalogues, speaking
from portal.web.present.viewing import quality_texts
from tests.support.languages.page_texts import Pseudo
from tests.support.paths import ROOT


@pytest.fixture
def pseudo() -> Iterator[None]:
    catalogues.put_in_place("de", Pseudo())
    yield
    catalogues.put_in_place("de", None)


def written() -> Iterator[str]:
    """The sentences that stand in the code of the gate, and those that it puts together."""
    for name in ("ml/quality/gate.py", "ml/inference/predict.py"):
        for call in ast.walk(ast.parse((ROOT / name).read_text("utf-8"))):
            if not isinstance(call, ast.Call) or len(call.args) < 2:
                continue
            message = call.args[1]
            is_reason = ast.unparse(call.func) in ("Reason", "gate.Reason")
            if is_reason and isinstance(message, ast.Constant):
                yield str(message.value)
    for view in sorted(set(gate._OTHER_VIEWS.values())):
        yield f"The header names {view}."
    for edge in ("upper", "lower"):
        yield f"The lungs reach beyond the picture's {edge} edge."
    yield "The picture seems to be upside down."


SENTENCES = list(written())


def test_the_gate_s_sentences_are_found() -> None:
    assert len(SENTENCES) > 20


@pytest.mark.parametrize(
    "sentence",
    [
        *SENTENCES,
        "The picture seems to be turned by 90 degrees.",
        "The modality is CT; the model was made for CR and DX.",
        "The modality is missing; the model was made for CR and DX.",
        "The picture has 99 x 120 pixels; at least 256 are needed on each side.",
    ],
)
def test_each_is_translated_and_is_the_same_in_english(pseudo: None, sentence: str) -> None:
    reason = {"code": "x", "message": sentence}
    assert quality_texts.shown(reason) == sentence
    with speaking("de"):
        assert quality_texts.shown(reason).startswith("⟦")


def test_one_of_another_version_is_shown_as_it_is_stored(pseudo: None) -> None:
    with speaking("de"):
        assert quality_texts.shown({"message": "Something new."}) == "Something new."
