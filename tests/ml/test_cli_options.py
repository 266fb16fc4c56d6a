"""Types and options of the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from ml import cli_options
from ml.errors import BadInput


def test_lists_of_numbers_are_read_and_anything_else_is_refused() -> None:
    assert cli_options.numbers("0,2", int) == [0, 2]
    assert cli_options.numbers("0.25,1", float) == [0.25, 1.0]
    assert cli_options.numbers(" ", int) == []
    with pytest.raises(BadInput, match="0;2 is not a list of numbers such as 0,2"):
        cli_options.numbers("0;2", int)


@pytest.mark.parametrize("text", ["-1", "9", "one", "2.5"])
def test_a_number_outside_of_its_range_ends_the_command(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=cli_options.within(int, 0, 8))
    assert parser.parse_args(["--count", "8"]).count == 8
    with pytest.raises(SystemExit):
        parser.parse_args(["--count", text])
    assert "--count" in capsys.readouterr().err


def test_the_options_of_a_model_have_the_defaults_of_serving() -> None:
    parser = argparse.ArgumentParser()
    cli_options.add_model_options(parser)
    assert vars(parser.parse_args([])) == {
        "weights": None,
        "device": "auto",
        "threads": 0,
        "engine": "auto",
        "precision": "f32",
    }
    given = parser.parse_args(["--weights", "models/x", "--device", "cpu", "--threads", "2"])
    assert (given.weights, given.device, given.threads) == (Path("models/x"), "cpu", 2)
