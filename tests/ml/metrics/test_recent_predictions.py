"""Reading the numbers of recent predictions."""

from __future__ import annotations

import json

import pytest

from ml.errors import BadInput
from ml.metrics import recent_predictions


def test_bare_statistics_are_read_too(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"input_mean": 0.5}\n')
    assert recent_predictions.read(path).rows == [{"input_mean": 0.5}]


def test_what_commands_and_the_portal_write_is_read(tmp_path):
    told = {"model": {"sha256": "a"}, "statistics": {"input_mean": 0.5}, "probability": 0.25}
    told["measurements"] = {"spacing_problem": "not_plausible"}
    other = {**told, "model": {"sha256": "b"}}
    refused = {"model": {"sha256": "a"}, "statistics": {}, "probability": None}
    path = tmp_path / "many.json"
    path.write_text(
        json.dumps({"picture": "x.dcm", "prediction": told}, indent=2)
        + json.dumps([told, other], indent=2)
        + "\n"
        + json.dumps({"study": 1, "prediction": refused})
        + json.dumps({"study": 2, "prediction": None})
    )
    found = recent_predictions.read(path, "a")
    assert found == ([{"input_mean": 0.5, "probability": 0.25}] * 2, 1, 1, 2)
    assert found.summary == (
        "3 predictions, 1 of them refused by the quality gate (33.3%); "
        "2 without sizes in mm, because their spacing is not plausible; 1 of other models left out"
    )
    assert len(recent_predictions.read(path).rows) == 3


def test_a_file_that_is_no_text_is_a_sentence(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="UTF-8"):
        recent_predictions.read(path)


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[1]",
        "3",
        '{"prediction": 3}',
        '{"a": 1' + "0" * 400 + "}",
        "[" * 10**5,
        '{"statistics": {"a": "b"}}',
        '{"a": NaN}',
        "{}",
        '[{"a": 1}, {}]',
        '{"prediction": {"statistics": {}}}',
    ],
)
def test_a_line_of_something_else_is_named(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(BadInput, match="line 2"):
        recent_predictions.read(path)
