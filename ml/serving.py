"""What a worker holds: the network, and the lung finder that tells it where to look.

`see` makes the network's input of a picture, the same way as training's cache does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import familiar, lungs, session, transforms
from ml.crop import Crop
from ml.familiar import Familiarity, Looks
from ml.lungs import Fields
from ml.session import Answer, Device, Floats, ModelMissing, Precision, Session


@dataclass(frozen=True)
class Seen:
    """What the network is given of a picture.

    input: (S, S) in -1..1; crop: the part of the picture that it shows, None for all; fields:
    the lungs, on the canonical picture; familiarity: how much it looks like a frontal chest.
    """

    input: Floats
    crop: Crop | None
    fields: Fields
    familiarity: Familiarity | None = None

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
            box = transforms.letterbox(rows, columns, len(mask_probability))
            down, across = slice(box.top, box.top + box.height), slice(box.left, None)
            inner = mask_probability[down, across][:, : box.width]
        else:
            inner = transforms.to_source(mask_probability, rows, columns, self.crop)
        map_: NDArray[np.uint8] = np.rint(np.clip(inner, 0, 1) * 255).astype(np.uint8)
        return map_


class Serving:
    """A network with all that it needs. ``card`` and ``device`` are the network's."""

    def __init__(self, network: Session, finder: lungs.Finder) -> None:
        self.network, self.finder = network, finder
        self.card, self.device, self.size = network.card, network.device, network.size
        needed = network.card.get("preprocessing", {})
        self._reference = familiar.read(finder.card["sha256"])
        self._cropped = needed.get("crop") == "lungs"
        self._denoise, self._clahe = needed.get("denoise", ""), float(needed.get("clahe", 0.0))
        wanted = needed.get("lungs_sha256")
        if self._cropped and wanted != finder.card["sha256"]:
            raise ModelMissing(
                f"{network.card['name']} was made for other lung crops than those of "
                f"{lungs.NAME} {finder.card['version']}"
            )

    def see(self, pixels: NDArray[Any]) -> Seen:
        """The network's view of a picture (rows, columns) of integers, more being denser."""
        side = transforms.canonical_side(self.size, self._cropped)
        picture = transforms.canonical(pixels, side)
        fields = self.finder.find(picture)
        crop = fields.crop() if self._cropped else None
        familiarity = self._reference.compare(Looks(picture, fields))
        view = transforms.clean(picture, self._denoise, self._clahe)
        return Seen(transforms.place(view, self.size, crop), crop, fields, familiarity)

    def answer(self, seen: list[Seen]) -> Answer:
        """Everything that the network says of N views, in one run."""
        return self.network.answer(np.stack([one.input for one in seen])[:, None])

    def run(self, seen: list[Seen]) -> tuple[Floats, Floats]:
        """Mask (N, S, S) and calibrated image (N,) probabilities of N views, in one run."""
        said = self.answer(seen)
        return said.masks, said.images

    def warm_up(self) -> None:
        """The first run prepares the engine: no reader should wait for it."""
        self.run([self.see(np.zeros((self.size, self.size), dtype=np.uint16))])


def open(
    weights: Path | None = None,
    device: Device = "auto",
    threads: int = 0,
    precision: Precision = "f32",
) -> Serving:
    """Load the model and the lung finder; parameters and errors as for `session.open`."""
    return Serving(session.open(weights, device, threads, precision), lungs.Finder(threads=threads))
