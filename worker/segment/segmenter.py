"""The segment worker's jobs: canonical pixels become a prediction, outlines are measured.

Imported in the child process alone: OpenVINO and CUDA do not survive a fork.
"""

from __future__ import annotations

from ml.images import overlay
from ml.images.picture import Picture
from ml.inference.predict import Prediction as ModelPrediction
from ml.inference.predict import predict
from worker.client.portal_client import Attempt
from worker.contract.error_codes import ErrorCode
from worker.contract.files import FileKind
from worker.contract.job import JobKind
from worker.contract.message import InvalidMessage
from worker.contract.prediction import Prediction
from worker.contract.result import MeasureResult, SegmentResult
from worker.errors import Permanent
from worker.segment import measured
from worker.segment.model_cache import ModelCache
from worker.settings import Settings


class Segmenter:
    """The models of this process. ``device`` describes what they run on."""

    def __init__(self, settings: Settings) -> None:
        self._models = ModelCache(settings)
        self._models.choose(None)[0].warm_up()
        self.device = self._models.device

    @property
    def model(self) -> str:
        """Name and version of the model that was used last."""
        return self._models.name

    def do(self, attempt: Attempt) -> SegmentResult | MeasureResult:
        """Do one job up to its result; the caller finishes it."""
        if attempt.kind is not JobKind.MEASURE:
            return self.segment(attempt)
        model, _ = self._models.choose(attempt.model)
        return measured.measure(attempt, _picture(attempt), model)

    def segment(self, attempt: Attempt) -> SegmentResult:
        """Do one segment job up to its result; the caller finishes it."""
        picture = _picture(attempt)
        model, operating_point = self._models.choose(attempt.model)
        found = predict(picture, model, operating_point, age_min=attempt.age_min)
        try:
            prediction = Prediction.parse(found.facts())
        except InvalidMessage:
            raise Permanent(ErrorCode.RESULT_REFUSED) from None
        _store(attempt, picture, found)
        return SegmentResult(prediction=prediction)


def _picture(attempt: Attempt) -> Picture:
    if attempt.facts is None:
        raise Permanent(ErrorCode.FACTS_MISSING)
    try:
        return Picture.from_canonical(attempt.read_input(FileKind.PIXELS), attempt.facts.as_json())
    except (ValueError, TypeError, KeyError):
        raise Permanent(ErrorCode.PIXELS_DO_NOT_FIT) from None


def _store(attempt: Attempt, picture: Picture, found: ModelPrediction) -> None:
    """Store the pictures of a prediction; a refused picture has none."""
    if found.probability_map is None or found.mask is None:
        return
    others = [other.mask for other in found.other_findings or ()]
    attempt.store_output(FileKind.PROBABILITY, found.probability_map.tobytes())
    attempt.store_output(FileKind.MASK, overlay.mask_png(picture.as_in_source(found.mask)))
    # Elsewhere the portal draws it when it is asked for, from pixels and mask alone.
    if found.mark or picture.shutters or picture.source_size or others:
        drawn = overlay.overlay_png(picture, found.mask, found.mark, others)
        attempt.store_output(FileKind.OVERLAY, drawn)
