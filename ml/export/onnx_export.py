"""A shipped model as ONNX, for other engines: `python -m ml onnx --out FILE`.

Owns the file and its comparison with the network. The graph is that of
`ml.export.graph.Probabilities`: sigmoids, calibration and the mirror image's reading are inside;
the input is that of `ml.inference.serving.Serving.prepare`. Needs the extra `onnx`; Pleura itself
serves OpenVINO.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import warnings
from pathlib import Path

import numpy as np
import openvino
import torch

from ml import output_places
from ml.errors import BadInput
from ml.export import graph, reexport
from ml.runtime import session

TOLERANCE = 0.01  # of any probability


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--weights", type=Path, help="folder of a model (the one that is served by default)"
    )
    parser.add_argument("--out", type=Path, required=True, help="the file to write")


def run(args: argparse.Namespace) -> int:
    """Write the file and print the largest difference to the network."""
    output_places.check_file(args.out)
    folder = session.locate(args.weights)
    worst = write(folder, args.out)
    print(f"{args.out}: differs from the network by at most {worst:.6f} in any probability")
    return 0


def write(folder: Path, out: Path) -> float:
    """Write a shipped model as ONNX; returns the largest difference in any probability.

    Input `picture` (N,1,S,S) in -1..1; outputs as in `session.OUTPUTS`. The metadata hold name,
    version and sha256 of the model. Raises BadInput where the extra is missing or where the file
    differs from the network by more than TOLERANCE; then no file is left.
    """
    if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
        raise BadInput("ONNX needs two packages more: `pip install .[onnx]`")
    card, plain, recipe = reexport.shipped(folder)
    views = torch.from_numpy(reexport.sample_inputs(recipe.size))
    fresh = out.with_name(f".{out.name}.new")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(
            plain,
            (views,),
            input_names=["picture"],
            output_names=plain.outputs,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            verbose=False,
        )
    assert program is not None
    for key in ("name", "version", "sha256"):
        program.model.metadata_props[f"pleura_{key}"] = str(card[key])
    program.model.metadata_props["pleura_thresholds"] = json.dumps(card["thresholds"])
    try:
        program.save(fresh, external_data=False)
        worst = _difference(plain, fresh, views)
        if worst > TOLERANCE:
            raise BadInput(f"the file's probabilities differ from the network's by {worst:.4f}")
        os.replace(fresh, out)
    finally:
        fresh.unlink(missing_ok=True)
    return worst


def _difference(plain: graph.Probabilities, file: Path, views: torch.Tensor) -> float:
    """The largest difference in any answer, with the file read by OpenVINO."""
    read = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = read(views.numpy())
    with torch.no_grad():
        ours = plain(views)
    return max(float(np.abs(found[n] - o.numpy()).max()) for n, o in enumerate(ours))
