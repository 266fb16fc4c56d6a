"""What networks see in a cache's pictures: `python -m ml teach --teacher RUN --name NAME`.

What they say is kept in the cache under that name, and a recipe whose `taught` names it learns
from it beside what people drew: several networks are distilled into one, and pictures that nobody
judged teach as well. Runs that go on after a stop look only at what is left.
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
        help="a checkpoint.pt (also of a committee) or a shipped model's folder; may be repeated",
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder made by `prepare`")
    parser.add_argument("--name", required=True, help="what a recipe's `taught` will call it")


def run(args: argparse.Namespace) -> int:
    """Look at every picture of the cache that was not looked at yet."""
    records = catalogue.read_records(args.cache)
    if not re.fullmatch(NAME, args.name):
        raise BadInput(
            f"what is taught cannot be called {args.name!r}: a name has small letters, digits and "
            "hyphens"
        )
    folder = args.cache / "taught" / args.name
    teachers, origin = _teachers(args.teacher)
    for _, recipe in teachers:
        catalogue.check_crop(records, recipe)
    known = folder / ORIGIN
    if known.exists() and json.loads(known.read_text(encoding="utf-8")) != origin:
        raise BadInput(f"other teachers have begun {args.name!r}: choose another --name")
    folder.mkdir(parents=True, exist_ok=True)
    known.write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    words = folder / PREDICTIONS
    said = _already_predicted(words)
    with words.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(("id", "probability"))
        left = [record for record in records if record.id not in said]
        looking = [Teacher.of(*teacher) for teacher in teachers] if left else []
        for record in tqdm(left, desc="looking", unit="picture", disable=None):
            picture = dataset.Pictures.read_one(args.cache, record)
            map_, probability = predict(looking, record, picture)
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
        said = self.graph(transforms.place(cleaned, recipe.size, crop)[None, None])
        rows, columns = picture.shape
        map_ = transforms.to_source(said["mask_probability"][0, 0], rows, columns, crop)
        return map_, serving.logit(float(said["image_probability"][0, 0]))


def _teachers(paths: list[Path]) -> tuple[list[tuple[model.Network, Recipe]], dict[str, Any]]:
    """The networks with their recipes, and what is noted of them."""
    teachers, folds, sums = [], [], []
    for path in paths:
        content, recipe = checkpoint.read_trained(path)
        if len(recipe.classes) > 1:
            raise BadInput(f"{path} tells of several findings; a teacher tells of one")
        net = model.build(recipe, weights=False).eval()
        checkpoint.fill(net, content["average"], str(path))
        teachers.append((net, recipe))
        folds += content.get("folds", [recipe.held_out_fold])
        sums.append(run_state.digest(content["average"]))
    return teachers, {"held_out_folds": sorted(set(folds)), "teachers": sums}


def _already_predicted(words: Path) -> set[str]:
    """The pictures that were looked at before a stop, which may have torn the last line."""
    if not words.exists():
        return set()
    text = words.read_bytes()
    if not text.endswith(b"\n"):
        os.truncate(words, text.rfind(b"\n") + 1)
    with words.open(newline="", encoding="utf-8") as file:
        return {row["id"] for row in csv.DictReader(file) if row.get("probability")}


def predict(
    teachers: list[Teacher], record: catalogue.Record, picture: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], float]:
    """The mean map (longest side SIDE) as probability * 255, and the mean image probability.

    The image's is that of the plain logits: what a student learns is calibrated by itself.
    """
    seen = [teacher.predict(record, picture) for teacher in teachers]
    rows, columns = picture.shape
    scale = SIDE / max(rows, columns)
    height, width = max(1, round(rows * scale)), max(1, round(columns * scale))
    mean = np.stack([map_ for map_, _ in seen]).mean(0, dtype=np.float32)
    small = transforms.resize(mean, height, width)
    probability = 1 / (1 + np.exp(-np.mean([logit for _, logit in seen])))
    return np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8), float(probability)
