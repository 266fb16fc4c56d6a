"""The models of one worker process: its own, and those that jobs ask for.

Owns finding (its folders), fetching (the registry's source, by checksum) and refusing: a job is
done with exactly the model that the portal named, or fails with a code that says why.
"""

from __future__ import annotations

import functools
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any, cast

from ml.inference import serving
from ml.inference.predict import OPERATING_POINTS, OperatingPoint
from ml.inference.serving import Serving
from ml.runtime import model_store, session
from worker.errors import Permanent, Transient
from worker.segment.batch_engine import Shared
from worker.settings import Settings

log = logging.getLogger(__name__)

# Beside the worker's own: the one that is promoted, and the one that it follows.
OTHERS = 2


class Models:
    """Loaded models by sha256."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own = self._open(settings.weights)
        self._others: OrderedDict[str, Serving] = OrderedDict()
        self._last = self._own

    @property
    def device(self) -> str:
        """Where they run, in words."""
        return self._own.device

    @property
    def name(self) -> str:
        """Name and version of the model that was used last."""
        card = self._last.card
        return f"{card['name']} {card['version']}"

    def chosen(self, wanted: dict[str, Any] | None) -> tuple[Serving, OperatingPoint]:
        """The model and the operating point for a job; None: the worker's own, balanced.

        Permanent where the model is not to be had or is not the one that the registry knows.
        """
        if wanted is None:
            self._last = self._own
            return self._own, "balanced"
        point = wanted.get("operating_point")
        sha256 = wanted.get("sha256")
        if point not in OPERATING_POINTS or not isinstance(sha256, str):
            raise Permanent("model_unclear")
        self._last = self._loaded(sha256, wanted)
        return self._last, cast(OperatingPoint, point)

    def _loaded(self, sha256: str, wanted: dict[str, Any]) -> Serving:
        files = wanted.get("files")
        if self._own.card["sha256"] == sha256 and (not files or self._own.card["files"] == files):
            return self._own
        known = self._others.get(sha256)
        if known is None or (files and known.card["files"] != files):
            known = self._found(sha256, wanted)
            self._others[sha256] = known
            while len(self._others) > OTHERS:
                self._others.popitem(last=False)
        self._others.move_to_end(sha256)
        return known

    def _found(self, sha256: str, wanted: dict[str, Any]) -> Serving:
        own = self._settings.weights
        places = [*([own, own.parent] if own else []), self._settings.models, session.WEIGHTS]
        try:
            folder = model_store.find(places, sha256) or self._fetched(sha256, wanted)
            model_store.inspect(folder, wanted.get("files"))
            found = self._open(folder)
        except (model_store.Tampered, session.TamperedModel) as error:
            log.error("model %s: %s", sha256[:12], error)
            raise Permanent("model_tampered") from None
        except (model_store.NotFetched, session.ModelMissing) as error:
            log.error("model %s: %s", sha256[:12], error)
            raise Permanent("model_missing") from None
        except OSError as error:  # no room for it, for example
            log.error("model %s: %s", sha256[:12], error.strerror)
            raise Transient("model_missing") from None
        found.warm_up()
        return found

    def _fetched(self, sha256: str, wanted: dict[str, Any]) -> Path:
        source, archive = str(wanted.get("source") or ""), str(wanted.get("archive_sha256") or "")
        if not source or source == "shipped":
            raise model_store.NotFetched("it lies in none of this worker's folders")
        settings = self._settings
        folder = model_store.fetch(source, archive or sha256, settings.models, settings.model_hosts)
        card = model_store.read_card(folder)
        if card is None or card.get("sha256") != sha256:
            raise model_store.Tampered(f"{source} holds another model than the registry says")
        return folder

    def _open(self, weights: Path | None) -> Serving:
        shared = self._settings.engine_socket
        opens = functools.partial(Shared, shared) if shared else None
        return serving.open(weights, self._settings.device, self._settings.threads, opens=opens)
