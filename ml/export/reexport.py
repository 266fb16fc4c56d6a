"""A shipped model's graph exported again from its tensors: `export --from-weights FOLDER`.

Weights, metrics, calibration and thresholds stay, and the graph's outputs are compared with the old
one's. Only the graph's files and their checksums on the card are new. For graphs that an older
version of this program exported with fewer outputs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch

from ml.errors import BadInput
from ml.export import export, graph
from ml.metrics.calibration import Calibration
from ml.network import model
from ml.recipe import Recipe
from ml.runtime import session
from ml.training import checkpoint

# The old and the new graph may differ by this much in any probability.
TOLERANCE = 1e-3


def shipped(folder: Path) -> tuple[dict[str, Any], graph.Probabilities, Recipe]:
    """A shipped model's card, its network as it is served, and its recipe.

    Raises ModelMissing or TamperedModel where the folder is no complete model, BadInput where its
    card has no recipe.
    """
    card = session.read_card(folder)
    tensors = session.checked(folder, card, session.TENSORS)
    try:
        recipe = Recipe.from_dict(card["trained"]["config"])
    except (KeyError, TypeError) as error:
        raise BadInput(f"the card in {folder} has no recipe") from error
    net = model.build(recipe, weights=False).eval()
    state = {name: value.float() for name, value in safetensors.torch.load(tensors).items()}
    checkpoint.fill(net, state, str(folder / session.TENSORS))
    known = card.get("calibration") or {}
    calibration = Calibration(known.get("temperature", 1.0), known.get("bias", 0.0))
    return card, graph.Probabilities(net, calibration, recipe).eval(), recipe


def reexport(folder: Path, out: Path) -> Path:
    """Write `<out>/<name>/` again from the tensors and the card in `folder`; returns it.

    Raises ModelMissing or TamperedModel where the folder is no complete model, BadInput where the
    new graph's outputs differ from the old one's.
    """
    card, plain, recipe = shipped(folder)
    place = out / str(card["name"])
    fresh = place.with_name(f".{place.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(folder, fresh)
    graph.save(graph.to_openvino(plain.net, recipe, plain.calibration), fresh)
    for name in (session.GRAPH, session.GRAPH_WEIGHTS):
        card["files"][name] = hashlib.sha256((fresh / name).read_bytes()).hexdigest()
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (fresh / session.CARD).write_text(text, encoding="utf-8")
    try:
        _compare(folder, fresh, recipe.size)
    except BadInput:
        shutil.rmtree(fresh)
        raise
    return export.replace_folder(fresh, place)


def _compare(old: Path, new: Path, size: int) -> None:
    """BadInput unless both graphs have the same outputs for smooth and for noisy pictures."""
    inputs = sample_inputs(size)
    outputs: list[Any] = [
        session.open(folder, "cpu", precision="f32").run(inputs) for folder in (old, new)
    ]
    for what, before, after in zip(("outlines", "image probabilities"), *outputs, strict=True):
        worst = float(np.abs(before - after).max())
        if worst > TOLERANCE:
            raise BadInput(f"the new graph's {what} differ from the old one's by up to {worst:.4f}")


def sample_inputs(size: int) -> session.Floats:
    """Pictures (3, 1, S, S) in -1..1, always the same."""
    y, x = np.mgrid[:size, :size] / size
    noise = np.random.default_rng(0).uniform(-1, 1, (size, size))
    chest = np.cos(2 * np.pi * (x - 0.5) * 1.5) * np.sin(np.pi * y)
    views = np.stack([chest, -0.5 * chest + 0.5 * noise, noise])
    return views[:, None].astype(np.float32)
