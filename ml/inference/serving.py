"""What a worker holds: the network, and the lung finder that tells it where to look.

`see` makes the network's input of a picture, the same way as training's cache does it.
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
from ml.quality.typicality import Familiarity, Looks
from ml.runtime import lung_finder, model_store, session
from ml.runtime.lung_finder import Fields
from ml.runtime.session import Answer, Device, Floats, ModelMissing, Precision, Session


@dataclass(frozen=True)
class Seen:
    """What the network is given of a picture.

    input: (S, S) in -1..1; crop: the part of the picture that it shows, None for all; fields:
    the lungs, on the canonical picture; familiarity: how much it looks like a frontal chest;
    gate_input: what the first network is given, where there is one.
    """

    input: Floats
    crop: Crop | None
    fields: Fields
    familiarity: Familiarity | None = None
    gate_input: Floats | None = None

    def look(self) -> Familiarity | None:
        """What the quality gate asks for."""
        return self.familiarity

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

    gate: a first, smaller network. A picture that it is sure enough about is not outlined: see
    ``stopped``.
    """

    def __init__(
        self, network: Session, finder: lung_finder.Finder, gate: Serving | None = None
    ) -> None:
        self.network, self.finder, self.gate = network, finder, gate
        self.card, self.device, self.size = network.card, network.device, network.size
        needed = network.card.get("preprocessing", {})
        self._reference = typicality.read(finder.card["sha256"])
        self._cropped = needed.get("crop") == "lungs"
        self._denoise, self._clahe = needed.get("denoise", ""), float(needed.get("clahe", 0.0))
        wanted = needed.get("lungs_sha256")
        if self._cropped and wanted != finder.card["sha256"]:
            raise ModelMissing(
                f"{network.card['name']} was made for other lung crops than those of "
                f"{lung_finder.NAME} {finder.card['version']}"
            )
        named = network.card.get("gate")
        if (gate.card["sha256"] if gate else None) != (named["sha256"] if named else None):
            raise ModelMissing(f"{network.card['name']} needs the first network of its card")

    def see(self, pixels: NDArray[Any]) -> Seen:
        """The network's view of a picture (rows, columns) of integers, more being denser."""
        picture = transforms.canonical(pixels, self.side)
        fields = self.finder.find(picture)
        familiarity = self._reference.compare(Looks(picture, fields))
        gate_input = None
        if self.gate is not None:
            gate_input = self.gate.view(transforms.canonical(pixels, self.gate.side), fields)
        crop = fields.crop() if self._cropped else None
        return Seen(self.view(picture, fields), crop, fields, familiarity, gate_input)

    @property
    def side(self) -> int:
        """Of the canonical picture that the network's view is made of, px."""
        return transforms.canonical_side(self.size, self._cropped)

    def view(self, picture: NDArray[np.uint8], fields: Fields) -> Floats:
        """The network's input (S, S) of a canonical picture and its lungs."""
        crop = fields.crop() if self._cropped else None
        clean = transforms.clean(picture, self._denoise, self._clahe)
        return transforms.place(clean, self.size, crop)

    def stopped(self, seen: list[Seen]) -> list[float | None]:
        """The image probability of each view that the gate stops; None for one that goes on.

        On the scale of the network's own: its calibration was fitted with the gate before it.
        """
        if self.gate is None:
            return [None] * len(seen)
        views = np.stack([one.gate_input for one in seen if one.gate_input is not None])
        first = self.gate.network.run(views[:, None])[1]
        return [self.verdict(float(one)) for one in first]

    def verdict(self, first: float) -> float | None:
        """What `stopped` says for one probability of the gate's."""
        if first >= self.card["gate"]["below"]:
            return None
        calibration = self.card.get("calibration") or {}
        scaled = logit(first) / calibration.get("temperature", 1.0) + calibration.get("bias", 0.0)
        return 1 / (1 + math.exp(-scaled))

    def answer(self, seen: list[Seen]) -> Answer:
        """Everything that the network says of N views, in one run."""
        return self.network.answer(np.stack([one.input for one in seen])[:, None])

    def run(self, seen: list[Seen]) -> tuple[Floats, Floats]:
        """Mask (N, S, S) and calibrated image (N,) probabilities of N views, in one run."""
        said = self.answer(seen)
        return said.masks, said.images

    def warm_up(self) -> None:
        """The first run prepares the engine: no reader should wait for it."""
        seen = [self.see(np.zeros((self.size, self.size), dtype=np.uint16))]
        self.stopped(seen)
        self.run(seen)


def logit(probability: float) -> float:
    """The logit of a probability; of one that is nearly 0 or 1, a finite one."""
    kept = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(kept / (1 - kept))


def open(
    weights: Path | None = None,
    device: Device = "auto",
    threads: int = 0,
    precision: Precision = "f32",
    opens: Callable[[Path], Session] | None = None,
) -> Serving:
    """Load the model, its gate if it has one, and the lung finder.

    opens: another way to open a network's folder than `session.open`, whose parameters and errors
    are the others here.
    """
    folder = session.locate(weights)
    if opens is None:
        opens = functools.partial(session.open, device=device, threads=threads, precision=precision)
    finder = lung_finder.Finder(threads=threads)
    network = opens(folder)
    gate = None
    if named := network.card.get("gate"):
        place = model_store.find([folder.parent, session.WEIGHTS], named["sha256"])
        if place is None:
            raise ModelMissing(
                f"{network.card['name']} needs {named['name']} {named['version']} beside it: "
                "its first network"
            )
        gate = Serving(opens(place), finder)
    return Serving(network, finder, gate)
