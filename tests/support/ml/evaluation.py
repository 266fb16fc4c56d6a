"""`python -m ml evaluate` on drawn chests: their size, and one run over a folder of them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ml.evaluation import evaluate

SIDE = 256
SIZE = ["--mask-size", str(SIDE), str(SIDE)]


def run(folder: Path, *more: str) -> tuple[int, dict[str, Any] | None]:
    """The exit code and the report, if one was written."""
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    out = folder / "out.json"
    given = ["--rle", str(folder / "rle.csv"), "--dicom", str(folder / "pictures")]
    given += ["--json", str(out), "--replicates", "20", "--device", "cpu", "--precision", "f32"]
    code = evaluate.run(parser.parse_args([*given, *SIZE, *more]))
    return code, json.loads(out.read_text()) if out.exists() else None
