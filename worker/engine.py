"""The segment job: canonical pixels become a prediction, by a model that is loaded once.

Owns the loaded model of its worker process. Imported in the child process alone: OpenVINO and
CUDA do not survive a fork.
"""

from __future__ import annotations

from typing import Any, cast

from ml import overlay, serving, session
from ml.picture import Picture
from ml.predict import Prediction, predict
from worker.client import Work
from worker.errors import Permanent
from worker.settings import Settings

BYTES = "application/octet-stream"
PNG = "image/png"


class Engine:
    """The model of this process. ``kind`` is where it runs, ``model`` its name and version."""

    def __init__(self, settings: Settings) -> None:
        device = cast(session.Device, settings.device)
        self._serving = serving.open(settings.weights, device, settings.threads)
        self._serving.warm_up()
        card = self._serving.card
        self.kind = self._serving.device
        self.model = f"{card['name']} {card['version']}"

    def segment(self, work: Work) -> dict[str, Any]:
        """Do one segment job up to its result; the caller finishes it."""
        if work.facts is None:
            raise Permanent("facts_missing")
        try:
            picture = Picture.from_canonical(work.input("pixels"), work.facts)
        except (ValueError, TypeError, KeyError):
            raise Permanent("pixels_do_not_fit") from None
        prediction = predict(picture, self._serving)
        _store(work, picture, prediction)
        return {"prediction": prediction.facts()}


def _store(work: Work, picture: Picture, prediction: Prediction) -> None:
    """The pictures of a prediction; one that quality refused has none."""
    if prediction.probability_map is None or prediction.mask is None:
        return
    work.output("probability", prediction.probability_map.tobytes(), BYTES)
    work.output("mask", overlay.mask_png(prediction.mask), PNG)
    work.output("overlay", overlay.overlay_png(picture, prediction.mask), PNG)
