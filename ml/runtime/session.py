"""A loaded model: its files are checked, a back end is chosen, inputs become probability maps.

Owns what a back end gives (`Session`, `Answer`) and the choice between the two: OpenVINO on the
CPU (`openvino_session`), torch on a GPU or a CPU (`torch_session`). The pneumothorax network, a
first network before it and the lung finder, by which the quality gate judges, are all opened here.
Each back end is imported only where it is chosen: neither needs the other's packages.

A model is a folder with ``card.json`` and the files whose sha256 the card names; a folder of
models names its default in the file ``CURRENT``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.errors import BadInput

Device = Literal["auto", "cpu", "cuda"]
Engine = Literal["auto", "openvino", "torch"]
Precision = Literal["f32", "bf16", "fp16"]
Floats = NDArray[np.float32]

WEIGHTS = Path(__file__).parents[1] / "weights"
CARD = "card.json"
GRAPH, GRAPH_WEIGHTS, TENSORS = "model.xml", "model.bin", "model.safetensors"
# The outputs of a graph; the first two always, the others where the model has them.
OUTPUTS = (
    "mask_probability",
    "image_probability",
    "patch_probability",
    "image_spread",
    "mask_difference",
)


@dataclass(frozen=True)
class Answer:
    """The outputs of a model for N pictures; None for outputs that it does not have.

    masks (N, S, S) and images (N,): probabilities, the images' calibrated. patches (N, P, P): the
    probability that a patch holds a finding, over the same square. Of a model that also predicts
    on the mirror image: spreads (N,), the distance of its two image probabilities, and differences
    (N, S, S), half of the difference of the two masks. Of a model of C > 1 classes these are of the
    first; other_masks (N, C - 1, S, S) and other_images (N, C - 1) are of the others, whose image
    probabilities are not calibrated.
    """

    masks: Floats
    images: Floats
    patches: Floats | None = None
    spreads: Floats | None = None
    differences: Floats | None = None
    other_masks: Floats | None = None
    other_images: Floats | None = None

    @classmethod
    def of_outputs(cls, outputs: Sequence[Floats | None]) -> Answer:
        """From a network's outputs (N, C or 1, …) in the order of OUTPUTS; None: it has no such."""
        masks, images, *more = outputs
        assert masks is not None, "every network outlines"
        assert images is not None, "and has an image-level output"
        others = (masks[:, 1:], images[:, 1:]) if images.shape[1] > 1 else (None, None)
        first = [None if one is None else one[:, 0] for one in more]
        return cls(masks[:, 0], images[:, 0], *first, *others)


class ModelMissing(BadInput):
    """There is no complete model, or no engine to run it."""


class TamperedModel(BadInput):
    """A file of the model does not have the checksum on its card."""


class Session(ABC):
    """One loaded model. ``card`` is its card, ``device`` names where it runs."""

    def __init__(self, card: dict[str, Any], device: str, size: int) -> None:
        self.card = card
        self.device = device
        # The side S of the network's square input, in pixels.
        self.size = size

    @abstractmethod
    def answer(self, inputs: Floats) -> Answer:
        """All outputs of the model for inputs (N, 1, S, S) in -1..1."""

    def run(self, inputs: Floats) -> tuple[Floats, Floats]:
        """Inputs (N, 1, S, S) in -1..1 to mask (N, S, S) and image (N,) probabilities.

        The image probability is calibrated, the mask's is the plain sigmoid.
        """
        answer = self.answer(inputs)
        return answer.masks, answer.images


def open(
    weights: Path | None = None,
    device: Device = "auto",
    threads: int = 0,
    precision: Precision = "f32",
    engine: Engine = "auto",
) -> Session:
    """Load a model: from ``weights``, a model's folder or a folder of models, or the shipped one.

    device 'auto' takes the GPU where torch sees one, else the CPU. engine 'auto' is torch on a GPU;
    on a CPU it is OpenVINO, or torch where OpenVINO is not installed. threads: CPU threads, 0 for
    as many as there are cores. precision: of the arithmetic; fp16 is for a GPU. bf16 takes half of
    the time where the processor has it, but moved image probabilities by up to 0.03 and single
    pixels by 0.2: a result must not depend on the machine, so f32 is the default.

    Raises ModelMissing for an incomplete model, a missing package or GPU, and for settings that do
    not go together; TamperedModel for a file that is not the one of its card.
    """
    folder = locate(weights)
    card = read_card(folder)
    chosen, place = choose(device, engine, precision)
    if chosen == "torch":
        from ml.runtime.torch_session import TorchSession

        tensors = checked(folder, card, TENSORS)
        return TorchSession(card, tensors, place, precision=precision, threads=threads)
    from ml.runtime.openvino_session import OpenVinoSession

    graph, values = checked(folder, card, GRAPH), checked(folder, card, GRAPH_WEIGHTS)
    return OpenVinoSession(card, graph, values, threads, precision)


def choose(
    device: Device, engine: Engine, precision: Precision
) -> tuple[Literal["openvino", "torch"], Literal["cpu", "cuda"]]:
    """The back end and the place; ModelMissing where these settings or packages do not allow it."""
    if device == "cuda" and engine == "openvino":
        raise ModelMissing("OpenVINO runs on the CPU here: for a GPU the engine is torch")
    if device == "cuda" or (device == "auto" and engine != "openvino" and _has_gpu()):
        return "torch", "cuda"
    if precision == "fp16":
        raise ModelMissing("fp16 is for a GPU: on a CPU the precision is f32 or bf16")
    if engine != "auto":
        return engine, "cpu"
    if importlib.util.find_spec("openvino") is not None:
        return "openvino", "cpu"
    if importlib.util.find_spec("torch") is not None:
        return "torch", "cpu"
    raise ModelMissing(
        "neither OpenVINO nor torch is installed, and a model needs one of them: "
        "`pip install .[worker-cpu]` for the CPU, `.[worker-gpu]` for a GPU"
    )


def locate(weights: Path | None = None) -> Path:
    """The folder of the model meant: itself, or the one that CURRENT names."""
    folder = weights or WEIGHTS
    if (folder / CARD).is_file():
        return folder
    current = folder / "CURRENT"
    if current.is_file():
        name = current.read_text(encoding="utf-8").strip()
        chosen = folder / name
        if name and Path(name).name == name and (chosen / CARD).is_file():
            return chosen
        raise ModelMissing(f"{current} names no model of that folder")
    raise ModelMissing(f"there is no model in {folder} (neither {CARD} nor CURRENT)")


def read_card(folder: Path) -> dict[str, Any]:
    """A model's card; ModelMissing when it lacks what serving needs."""
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
        thresholds = card["thresholds"]
        for number in (thresholds["mask"], *thresholds["image"].values()):
            if not 0 < float(number) < 1:
                raise ValueError("a threshold lies between 0 and 1")
        floors = thresholds["area_px_min"], thresholds.get("island_px_min", 0)
        if any(int(floor) < 0 for floor in floors) or not thresholds["image"]:
            raise ValueError("thresholds are incomplete")
        for key in ("name", "version", "files", "sha256"):
            if not card[key]:
                raise KeyError(key)
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise ModelMissing(f"there is no model in {folder}: {CARD}: {reason}") from error
    except KeyError as error:
        raise ModelMissing(f"the card in {folder} is not complete: {error} is missing") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelMissing(f"the card in {folder} is not complete: {error}") from error
    return card


def checked(folder: Path, card: dict[str, Any], name: str) -> bytes:
    """A file's bytes, after checking them: what was hashed is what will be loaded."""
    if name not in card["files"]:
        raise ModelMissing(f"the model in {folder} comes without {name}")
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise ModelMissing(f"{name} is missing in {folder}") from error
    if hashlib.sha256(data).hexdigest() != card["files"][name]:
        raise TamperedModel(f"{name} in {folder} is not the file of its card")
    return data


def _has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def check_shape(inputs: Floats, size: int) -> None:
    """ValueError unless the inputs are (N, 1, S, S) with N > 0."""
    if inputs.ndim != 4 or inputs.shape[1:] != (1, size, size) or len(inputs) == 0:
        raise ValueError(f"inputs are (N, 1, {size}, {size}), not {inputs.shape}")
