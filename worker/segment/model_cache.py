"""The models of one worker process: its own, and those that jobs ask for.

A model is found in the worker's folders or fetched from the registry's source, and checked by its
checksums. A job is done with exactly the model that the portal named, or fails with a code.
"""

from __future__ import annotations

import functools
import logging
from collections import OrderedDict
from pathlib import Path

from ml.inference import serving
from ml.inference.predict import OPERATING_POINTS, OperatingPoint
from ml.inference.serving import Serving
from ml.runtime import model_store, session
from worker.contract.error_codes import ErrorCode
from worker.contract.job import RequiredModel
from worker.errors import Permanent, Transient
from worker.segment.batch_client import BatchSession
from worker.settings import Settings

log = logging.getLogger(__name__)

# Beside the worker's own: the active model and the one before it.
OTHER_MODELS = 2


class ModelCache:
    """Loaded models by sha256."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own = self._open(settings.weights)
        self._others: OrderedDict[str, Serving] = OrderedDict()
        self._last = self._own

    @property
    def device(self) -> str:
        """What they run on, for people."""
        return self._own.device

    @property
    def name(self) -> str:
        """Name and version of the model that was used last."""
        card = self._last.card
        return f"{card['name']} {card['version']}"

    def choose(self, required: RequiredModel | None) -> tuple[Serving, OperatingPoint]:
        """The model and the operating point for a job; None: the worker's own, balanced.

        Permanent where the model cannot be found or is not the one of the registry.
        """
        if required is None:
            self._last = self._own
            return self._own, "balanced"
        if required.operating_point not in OPERATING_POINTS:
            raise Permanent(ErrorCode.MODEL_UNCLEAR)
        self._last = self._load(required)
        return self._last, required.operating_point

    def _load(self, required: RequiredModel) -> Serving:
        sha256, files = required.sha256, required.files
        own = self._own.card
        if own["sha256"] == sha256 and (not files or own["files"] == files):
            return self._own
        known = self._others.get(sha256)
        if known is None or (files and known.card["files"] != files):
            known = self._find(required)
            self._others[sha256] = known
            while len(self._others) > OTHER_MODELS:
                self._others.popitem(last=False)
        self._others.move_to_end(sha256)
        return known

    def _find(self, required: RequiredModel) -> Serving:
        sha256 = required.sha256
        own = self._settings.weights
        folders = [*([own, own.parent] if own else []), self._settings.models, session.WEIGHTS]
        try:
            folder = model_store.find(folders, sha256) or self._fetch(required)
            model_store.inspect(folder, required.files)
            found = self._open(folder)
        except (model_store.Tampered, session.TamperedModel) as error:
            log.error("model %s: %s", sha256[:12], error)
            raise Permanent(ErrorCode.MODEL_TAMPERED) from None
        except (model_store.NotFetched, session.ModelMissing) as error:
            log.error("model %s: %s", sha256[:12], error)
            raise Permanent(ErrorCode.MODEL_MISSING) from None
        except OSError as error:  # no room for it, for example
            log.error("model %s: %s", sha256[:12], error.strerror)
            raise Transient(ErrorCode.MODEL_MISSING) from None
        found.warm_up()
        return found

    def _fetch(self, required: RequiredModel) -> Path:
        source, archive_sha256 = required.source, required.archive_sha256 or required.sha256
        if not source or source == "shipped":
            raise model_store.NotFetched("it is in none of this worker's folders")
        settings = self._settings
        folder = model_store.fetch(source, archive_sha256, settings.models, settings.model_hosts)
        card = model_store.read_card(folder)
        if card is None or card.get("sha256") != required.sha256:
            raise model_store.Tampered(f"{source} holds another model than the registry names")
        return folder

    def _open(self, weights: Path | None) -> Serving:
        settings = self._settings
        shared = settings.engine_socket
        opens = functools.partial(BatchSession, shared) if shared else None
        where = settings.device, settings.threads, settings.precision, settings.engine
        return serving.open(weights, *where, opens=opens)
