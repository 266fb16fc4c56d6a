"""The segment job: canonical pixels become a prediction, by a model that is loaded once.

Owns the way from a job to its result; which model is used is told by `worker.segment.model_cache`.
Imported in the child process alone: OpenVINO and CUDA do not survive a fork.
"""

from __future__ import annotations

from typing import Any

from ml.images import overlay
from ml.images.picture import Picture
from ml.inference.predict import Prediction, predict
from worker.client.portal_client import Work
from worker.errors import Permanent
from worker.segment.model_cache import Models
from worker.settings import Settings

BYTES = "application/octet-stream"
PNG = "image/png"


class Engine:
    """The models of this process. ``kind`` is where they run."""

    def __init__(self, settings: Settings) -> None:
        self._models = Models(settings)
        self._models.chosen(None)[0].warm_up()
        self.kind = self._models.device

    @property
    def model(self) -> str:
        """Name and version of the model that was used last."""
        return self._models.name

    def segment(self, work: Work) -> dict[str, Any]:
        """Do one segment job up to its result; the caller finishes it."""
        if work.facts is None:
            raise Permanent("facts_missing")
        try:
            picture = Picture.from_canonical(work.input("pixels"), work.facts)
        except (ValueError, TypeError, KeyError):
            raise Permanent("pixels_do_not_fit") from None
        model, point = self._models.chosen(work.model)
        prediction = predict(picture, model, point)
        _store(work, picture, prediction)
        return {"prediction": prediction.facts()}


def _store(work: Work, picture: Picture, prediction: Prediction) -> None:
    """The pictures of a prediction; one that quality refused has none."""
    if prediction.probability_map is None or prediction.mask is None:
        return
    work.output("probability", prediction.probability_map.tobytes(), BYTES)
    work.output("mask", overlay.mask_png(prediction.mask), PNG)
    work.output("overlay", overlay.overlay_png(picture, prediction.mask), PNG)
