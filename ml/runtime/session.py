"""A loaded model: its files are checked, an engine is chosen, inputs become probability maps.

Owns the choice between torch on a GPU and OpenVINO on the CPU. torch is imported only where there
is a GPU; a CPU machine does not need it.

A model is a folder with ``card.json`` and the files whose sha256 the card names; a folder of
models names its default in the file ``CURRENT``.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.errors import BadInput

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["f32", "bf16"]
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
    (N, S, S), half of the difference of the two masks.
    """

    masks: Floats
    images: Floats
    patches: Floats | None = None
    spreads: Floats | None = None
    differences: Floats | None = None


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
) -> Session:
    """Load a model: from ``weights``, a model's folder or a folder of models, or the shipped one.

    device 'auto' takes the GPU where torch sees one, else the CPU. threads: CPU threads, 0 for as
    many as there are cores. precision: of the CPU's arithmetic. bf16 takes half of the
    time where the processor has it, but moved image probabilities by up to 0.03 and single pixels
    by 0.2: a result must not depend on the machine, so f32 is the default.
    """
    folder = locate(weights)
    card = read_card(folder)
    if device == "cuda" or (device == "auto" and _has_gpu()):
        return TorchSession(card, checked(folder, card, TENSORS), "cuda")
    graph = checked(folder, card, GRAPH)
    return _OpenVinoSession(card, graph, checked(folder, card, GRAPH_WEIGHTS), threads, precision)


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
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelMissing(f"the card in {folder} is not complete: {error!r}") from error
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


class _OpenVinoSession(Session):
    """The exported graph on the CPU."""

    def __init__(
        self,
        card: dict[str, Any],
        graph: bytes,
        weights: bytes,
        threads: int,
        precision: Precision,
    ) -> None:
        import openvino

        core = openvino.Core()
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            network = core.read_model(model=graph, weights=weights)
            shape = network.input("picture").get_partial_shape()
        except RuntimeError as error:
            raise ModelMissing(f"the graph of the model {card.get('name')} is none") from error
        # A graph made for one picture at a time is given one at a time.
        self._single = shape[0].is_static
        named = {name for output in network.outputs for name in output.get_names()}
        self._outputs = [name for name in OUTPUTS if name in named]
        self._request = core.compile_model(network, "CPU", settings).create_infer_request()
        super().__init__(card, f"cpu openvino {precision}", shape[2].get_length())

    def answer(self, inputs: Floats) -> Answer:
        _check_shape(inputs, self.size)
        step = 1 if self._single else len(inputs)
        found: dict[str, list[Floats]] = {name: [] for name in self._outputs}
        for start in range(0, len(inputs), step):
            self._request.infer({"picture": inputs[start : start + step]})
            for name, parts in found.items():
                # Copies: the request writes its next answer over these.
                parts.append(self._request.get_tensor(name).data[:, 0].copy())
        return Answer(*(np.concatenate(found[n]) if n in found else None for n in OUTPUTS))  # type: ignore[arg-type]  # the first two are always there


class TorchSession(Session):
    """The network itself, rebuilt from the recipe in its card: on a GPU, or to compare engines."""

    def __init__(
        self,
        card: dict[str, Any],
        tensors: bytes,
        place: Literal["cuda", "cpu"],
        channels_last: bool = True,
    ) -> None:
        try:
            import safetensors.torch
            import torch

            from ml.network import model
            from ml.recipe import Recipe
        except ModuleNotFoundError as error:
            raise ModelMissing(
                f"a model in torch needs {error.name}: install it with `pip install .[train]`"
            ) from error

        if place == "cuda" and not torch.cuda.is_available():
            raise ModelMissing("torch sees no GPU on this machine")
        self._torch, self._place = torch, place
        named = f"the model {card.get('name')}"
        try:
            recipe = Recipe.from_dict(card["trained"]["config"])
            net = model.build(recipe, weights=False)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelMissing(f"{named} has no usable recipe on its card: {error}") from error
        try:
            state = {name: value.float() for name, value in safetensors.torch.load(tensors).items()}
            net.load_state_dict(state)
        except (RuntimeError, safetensors.SafetensorError) as error:
            raise ModelMissing(
                f"the weights of {named} are not of the architecture on its card"
            ) from error
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        net.eval().to(place).to(memory_format=self._layout)
        self._patches = recipe.patch_weight > 0
        self._readings = functools.partial(model.readings, net, mirror=recipe.mirror)
        calibration = card.get("calibration") or {}
        self._temperature = float(calibration.get("temperature", 1.0))
        self._bias = float(calibration.get("bias", 0.0))
        name = torch.cuda.get_device_name() if place == "cuda" else "f32"
        super().__init__(card, f"{place} torch {name}", recipe.size)

    def answer(self, inputs: Floats) -> Answer:
        _check_shape(inputs, self.size)
        torch = self._torch
        with torch.inference_mode():
            batch = torch.from_numpy(inputs).to(self._place, memory_format=self._layout)
            found = self._readings(batch)
            logits = found.image_logits[:, 0] / self._temperature + self._bias
            image, alone = logits.mean(1).sigmoid(), logits.sigmoid()
            answer = Answer(
                found.mask[:, 0].cpu().numpy(),
                image.cpu().numpy(),
                found.patch[:, 0].cpu().numpy() if self._patches else None,
            )
            if found.difference is None:
                return answer
            return replace(
                answer,
                spreads=(alone[:, 0] - alone[:, 1]).abs().cpu().numpy(),
                differences=found.difference[:, 0].cpu().numpy(),
            )


def _check_shape(inputs: Floats, size: int) -> None:
    if inputs.ndim != 4 or inputs.shape[1:] != (1, size, size) or len(inputs) == 0:
        raise ValueError(f"inputs are (N, 1, {size}, {size}), not {inputs.shape}")
