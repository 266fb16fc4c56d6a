"""Types of command-line options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml.errors import BadInput


def within(
    kind: type[int] | type[float], least: float, most: float = 10**9
) -> Callable[[str], Any]:
    """An option's type for argparse: a number from `least` to `most`."""

    def read(text: str) -> Any:
        value = kind(text)  # argparse reports a ValueError
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"lies between {least:g} and {most:g}, not {text}")
        return value

    read.__name__ = "whole number" if kind is int else "number"
    return read


def numbers(text: str, kind: type[int] | type[float]) -> list[Any]:
    """The numbers of a list such as 0,2; none of an empty one; BadInput for anything else."""
    try:
        return [kind(part) for part in text.split(",")] if text.strip() else []
    except ValueError as error:
        raise BadInput(f"{text} is not a list of numbers such as 0,2") from error


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options of `ml.inference.serving.open`: where and how the networks run."""
    parser.add_argument("--weights", type=Path, help="a model's folder (default: the shipped one)")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: the GPU where torch sees one, else the CPU (default)",
    )
    parser.add_argument(
        "--threads", type=within(int, 0, 1024), default=0, help="CPU threads, 0 for all"
    )
    parser.add_argument(
        "--precision",
        choices=("f32", "bf16", "fp16"),
        default="f32",
        help="of the arithmetic; bf16 is quicker where the processor has it, and less exact, as is "
        "fp16, which is for a GPU",
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "openvino", "torch"),
        default="auto",
        help="auto: torch on a GPU; on the CPU OpenVINO, or torch where that is not installed",
    )
