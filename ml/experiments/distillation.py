"""Soft labels of teacher networks: `python -m ml soft-labels --teacher RUN --name NAME`.

The teachers' mean predictions are stored in the cache under that name, and a recipe whose `taught`
is that name trains on them beside the radiologists' labels: several networks are distilled into
one, also with unlabelled pictures. After a stop, only the remaining pictures are predicted.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from tqdm import tqdm

from ml import output_places
from ml.datasets import catalogue, dataset
from ml.datasets.soft_labels import ORIGIN, PREDICTIONS, SIDE
from ml.errors import BadInput
from ml.export import graph
from ml.inference import serving
from ml.metrics.calibration import Calibration
from ml.network import model
from ml.preprocessing import transforms
from ml.recipe import NAME, Recipe
from ml.training import checkpoint, run_state


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        required=True,
        help="a checkpoint.pt (also of an ensemble) or a shipped model's folder; may be repeated",
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder made by `prepare`")
    parser.add_argument("--name", required=True, help="the name for a recipe's `taught`")


def run(args: argparse.Namespace) -> int:
    """Predict every picture of the cache that was not predicted yet."""
    records = catalogue.read_records(args.cache)
    if not re.fullmatch(NAME, args.name):
        raise BadInput(
            f"soft labels cannot be called {args.name!r}: a name has small letters, digits and "
            f"hyphens"
        )
    folder = args.cache / "taught" / args.name
    teachers, origin = _teachers(args.teacher)
    for _, recipe in teachers:
        catalogue.check_crop(records, recipe)
    known = folder / ORIGIN
    if known.exists() and json.loads(known.read_text(encoding="utf-8")) != origin:
        raise BadInput(f"{args.name!r} has soft labels of other teachers: choose another --name")
    for file in (known, folder / PREDICTIONS):
        output_places.check_file(file)
    known.write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    table = folder / PREDICTIONS
    done = _already_predicted(table)
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(("id", "probability"))
        left = [record for record in records if record.id not in done]
        networks = [Teacher.of(*teacher) for teacher in teachers] if left else []
        for record in tqdm(left, desc="predicting", unit="picture", disable=None):
            picture = dataset.Pictures.read_one(args.cache, record)
            map_, probability = predict(networks, record, picture)
            dataset.write_png(folder / f"{record.id}.png", map_)
            writer.writerow((record.id, f"{probability:.5f}"))
            file.flush()
    print(f"{folder}: {len(records)} pictures, {len(teachers)} teachers")
    return 0


@dataclass(frozen=True)
class Teacher:
    """A network as the graph that would be served, which is quicker than eager PyTorch."""

    recipe: Recipe
    graph: openvino.CompiledModel

    @classmethod
    def of(cls, net: model.Network, recipe: Recipe) -> Teacher:
        """The graph is that of `export`, with plain image probabilities."""
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        exported = graph.to_openvino(net, recipe, Calibration(temperature=1.0, bias=0.0))
        return cls(recipe, openvino.Core().compile_model(exported, "CPU", settings))

    def predict(
        self, record: catalogue.Record, picture: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], float]:
        """The map of a canonical picture, at its size, and the image's logit."""
        recipe, crop = self.recipe, record.crop(self.recipe)
        cleaned = transforms.clean(picture, recipe.denoise, recipe.clahe)
        outputs = self.graph(transforms.place(cleaned, recipe.size, crop)[None, None])
        rows, columns = picture.shape
        map_ = transforms.to_source(outputs["mask_probability"][0, 0], rows, columns, crop)
        return map_, serving.logit(float(outputs["image_probability"][0, 0]))


def _teachers(paths: list[Path]) -> tuple[list[tuple[model.Network, Recipe]], dict[str, Any]]:
    """The networks with their recipes, and their held-out folds and digests."""
    teachers, folds, sums = [], [], []
    for path in paths:
        content, recipe = checkpoint.read_trained(path)
        if len(recipe.classes) > 1:
            raise BadInput(f"{path} has several classes; a teacher has one")
        net = model.build(recipe, weights=False).eval()
        checkpoint.fill(net, content["average"], str(path))
        teachers.append((net, recipe))
        folds += content.get("folds", [recipe.held_out_fold])
        sums.append(run_state.digest(content["average"]))
    return teachers, {"held_out_folds": sorted(set(folds)), "teachers": sums}


def _already_predicted(table: Path) -> set[str]:
    """The pictures that were predicted before a stop; an incomplete last line is removed."""
    if not table.exists():
        return set()
    text = table.read_bytes()
    if not text.endswith(b"\n"):
        os.truncate(table, text.rfind(b"\n") + 1)
    with table.open(newline="", encoding="utf-8") as file:
        return {row["id"] for row in csv.DictReader(file) if row.get("probability")}


def predict(
    teachers: list[Teacher], record: catalogue.Record, picture: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], float]:
    """The mean map (longest side SIDE) as probability * 255, and the mean image probability.

    The image's is that of the plain logits: a student is calibrated by itself.
    """
    outputs = [teacher.predict(record, picture) for teacher in teachers]
    rows, columns = picture.shape
    scale = SIDE / max(rows, columns)
    height, width = max(1, round(rows * scale)), max(1, round(columns * scale))
    mean = np.stack([map_ for map_, _ in outputs]).mean(0, dtype=np.float32)
    small = transforms.resize(mean, height, width)
    probability = 1 / (1 + np.exp(-np.mean([logit for _, logit in outputs])))
    return np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8), float(probability)
