"""A model ready to serve: the network, the lung finder, and a first network where there is one.

`Serving.prepare` makes the network's input from a picture, in the same way as training's cache.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.preprocessing import transforms
from ml.preprocessing.lung_crop import Crop
from ml.quality import typicality
from ml.quality.typicality import GateInput, Typicality
from ml.runtime import lung_finder, model_store, session
from ml.runtime.lung_finder import LungFields
from ml.runtime.session import Answer, Device, Engine, Floats, ModelMissing, Precision, Session


@dataclass(frozen=True)
class PreparedPicture:
    """What the network is given of a picture.

    input: (S, S) in -1..1; crop: the part of the picture that it shows, None for all; fields:
    the lungs, on the canonical picture; familiarity: how much it looks like a frontal chest;
    first_stage_input: what the first network is given, where there is one.
    """

    input: Floats
    crop: Crop | None
    fields: LungFields
    typicality: Typicality | None = None
    first_stage_input: Floats | None = None

    def map_of(self, mask_probability: Floats) -> NDArray[np.uint8]:
        """A probability map (S, S) over the whole picture and nothing else, as value * 255.

        As large as the network's input where that shows the whole picture; else as large as the
        canonical picture, and 0 outside of the crop.
        """
        rows, columns = self.fields.mask.shape
        if self.crop is None:
            inner = mask_probability[
                transforms.letterbox(rows, columns, len(mask_probability)).part
            ]
        else:
            inner = transforms.to_source(mask_probability, rows, columns, self.crop)
        map_: NDArray[np.uint8] = np.rint(np.clip(inner, 0, 1) * 255).astype(np.uint8)
        return map_


class Serving:
    """A network with all that it needs. ``card`` and ``device`` are the network's.

    first_stage: a smaller network that runs first. A picture for which it is sure enough that there
    is no pneumothorax is not outlined: see ``screened_out``.
    """

    def __init__(
        self, network: Session, finder: lung_finder.Finder, first_stage: Serving | None = None
    ) -> None:
        self.network, self.finder, self.first_stage = network, finder, first_stage
        self.card, self.device, self.size = network.card, network.device, network.size
        preprocessing = network.card.get("preprocessing", {})
        self._reference = typicality.read(finder.card["sha256"])
        self._cropped = preprocessing.get("crop") == "lungs"
        self._denoise = preprocessing.get("denoise", "")
        self._clahe = float(preprocessing.get("clahe", 0.0))
        wanted = preprocessing.get("lungs_sha256")
        if self._cropped and wanted != finder.card["sha256"]:
            raise ModelMissing(
                f"{network.card['name']} was made for other lung crops than those of "
                f"{lung_finder.NAME} {finder.card['version']}"
            )
        named = network.card.get("gate")
        if (first_stage.card["sha256"] if first_stage else None) != (
            named["sha256"] if named else None
        ):
            raise ModelMissing(f"{network.card['name']} needs the first network of its card")

    def prepare(self, pixels: NDArray[Any]) -> PreparedPicture:
        """A picture (rows, columns) of integers, more being denser, as the network's input."""
        picture = transforms.canonical(pixels, self.side)
        fields = self.finder.find(picture)
        first_input = None
        if self.first_stage is not None:
            smaller = transforms.canonical(pixels, self.first_stage.side)
            first_input = self.first_stage.input_of(smaller, fields)
        return PreparedPicture(
            self.input_of(picture, fields),
            fields.crop() if self._cropped else None,
            fields,
            self._reference.compare(GateInput(picture, fields)),
            first_input,
        )

    @property
    def side(self) -> int:
        """Longest side of the canonical picture that the input is made from, px."""
        return transforms.canonical_side(self.size, self._cropped)

    def input_of(self, picture: NDArray[np.uint8], fields: LungFields) -> Floats:
        """The network's input (S, S) from a canonical picture and its lungs."""
        crop = fields.crop() if self._cropped else None
        clean = transforms.clean(picture, self._denoise, self._clahe)
        return transforms.place(clean, self.size, crop)

    def screened_out(self, prepared: list[PreparedPicture]) -> list[float | None]:
        """The image probability of each picture that the first network stops, else None.

        On the scale of this network, whose calibration was fitted with the first one before it.
        """
        if self.first_stage is None:
            return [None] * len(prepared)
        inputs = [one.first_stage_input for one in prepared if one.first_stage_input is not None]
        first = self.first_stage.network.run(np.stack(inputs)[:, None])[1]
        return [self.stop_probability(float(one)) for one in first]

    def stop_probability(self, first: float) -> float | None:
        """`screened_out` for one probability of the first network."""
        if first >= self.card["gate"]["below"]:
            return None
        calibration = self.card.get("calibration") or {}
        scaled = logit(first) / calibration.get("temperature", 1.0) + calibration.get("bias", 0.0)
        return 1 / (1 + math.exp(-scaled))

    def answer(self, prepared: list[PreparedPicture]) -> Answer:
        """All outputs of the network for N pictures, in one run."""
        return self.network.answer(np.stack([one.input for one in prepared])[:, None])

    def run(self, prepared: list[PreparedPicture]) -> tuple[Floats, Floats]:
        """Mask (N, S, S) and calibrated image (N,) probabilities of N pictures, in one run."""
        answer = self.answer(prepared)
        return answer.masks, answer.images

    def warm_up(self) -> None:
        """Run once, because the first run prepares the engine: no reader should wait for it."""
        prepared = [self.prepare(np.zeros((self.size, self.size), dtype=np.uint16))]
        self.screened_out(prepared)
        self.run(prepared)


def logit(probability: float) -> float:
    """The logit of a probability, which is limited to 1e-6..1 - 1e-6."""
    limited = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(limited / (1 - limited))


def open(
    weights: Path | None = None,
    device: Device = "auto",
    threads: int = 0,
    precision: Precision = "f32",
    engine: Engine = "auto",
    opens: Callable[[Path], Session] | None = None,
) -> Serving:
    """Load the model, its first network if it has one, and the lung finder, on one back end.

    opens: another way to open a network's folder than `session.open`, whose parameters and errors
    are the others here.
    """
    folder = session.locate(weights)
    in_float32 = functools.partial(session.open, device=device, threads=threads, engine=engine)
    finder = lung_finder.Finder(opens=opens or in_float32)
    opens = opens or functools.partial(in_float32, precision=precision)
    network = opens(folder)
    first_stage = None
    if named := network.card.get("gate"):
        place = model_store.find([folder.parent, session.WEIGHTS], named["sha256"])
        if place is None:
            raise ModelMissing(
                f"{network.card['name']} needs {named['name']} {named['version']} beside it: "
                "its first network"
            )
        first_stage = Serving(opens(place), finder)
    return Serving(network, finder, first_stage)
