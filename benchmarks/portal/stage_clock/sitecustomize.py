"""Processor time by stage, noted within the processes that `cost.py` measures.

Python runs this file at the start of every process that has its folder in PYTHONPATH. It wraps the
functions of `STAGES` once their modules are loaded and writes what each has taken, less what stages
within it have taken, into a file of its own in the folder STAGE_CLOCK. A thread's own clock is read
(the whole process's for `WHOLE`, where the model's threads work), so that waiting costs nothing and
threads do not count twice.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

FOLDER = os.environ.get("STAGE_CLOCK")
# Within a stage marked with this nothing is noted apart: all of it belongs to the stage.
CLOSED = "!"
WHOLE = ("job", "model", "PNG", "pixels")
# The requests of one picture; what a worker asks for beside them is "other".
REQUESTS = ("studies", "claim", "inputs", "outputs", "finish")
STAGES = {
    "portal.server.application": {"Application._run": "request"},
    "portal.vault.encryption": {"seal": "seal!", "open_sealed": "seal!"},
    "portal.vault.blob_store": {
        "FolderStorage.write": "write and fsync!",
        "FolderStorage.read": "read file!",
    },
    "portal.audit": {"append": "access log!"},
    "portal.studies.worklist_order": {"place": "worklist place!"},
    "portal.jobs.broker": {"Broker.notify": "notify!"},
    "portal.jobs.results.result_checks": {
        "check_output": "checks!",
        "check_facts": "checks!",
        "check_prediction": "checks!",
    },
    "portal.jobs.results.prediction_checks": {"check": "checks!"},
    "portal.formats.header_pool": {"HeaderPool.read": "header!"},
    "portal.quotas": {"Quotas.upload": "quotas!", "Quotas.call": "quotas!"},
    "portal.accounts.api_tokens": {"load_token": "token!"},
    "sqlalchemy.orm.session": {
        f"Session.{name}": "rows!"
        for name in (
            *("execute", "scalars", "scalar", "get", "get_one", "flush"),
            *("commit", "rollback", "begin_nested"),
        )
    },
    "worker.client.portal_client": {
        "PortalClient.claim": "claim!",
        "PortalClient.claim_next": "claim!",
        "Attempt.read_input": "fetch!",
        "Attempt.store_output": "send!",
        "Attempt.finish": "send!",
    },
    "worker.job_process": {"JobProcess.run": "hand over!"},
    "worker.render.pictures": {"Decoder.decode": "decoder's pipe!"},
    "worker.segment.segmenter": {"Segmenter.segment": "job", "_store": "PNG"},
    "ml.images.picture": {"Picture.from_canonical": "pixels!"},
    "ml.inference.predict": {"predict": "model!"},
}

_totals: dict[str, int] = {}
_lock = threading.Lock()
_here = threading.local()


def timed(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
    """The function, with its processor time added to the stage's."""
    name, closed = stage.rstrip(CLOSED), stage.endswith(CLOSED)
    clock = time.process_time_ns if name in WHOLE else time.thread_time_ns

    @functools.wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        inner: list[int] | None = getattr(_here, "inner", None)
        if getattr(_here, "closed", False):
            return function(*arguments, **named)
        if name == "request":
            _here.request = _request(arguments)
        _here.inner, _here.closed = [0], closed
        began = clock()
        try:
            return function(*arguments, **named)
        finally:
            spent = clock() - began
            key = f"{getattr(_here, 'request', '')}/{name}"
            with _lock:
                _totals[key] = _totals.get(key, 0) + spent - _here.inner[0]
            _here.inner, _here.closed = inner, False
            if inner is None:
                _here.request = ""
                _save()
            else:
                inner[0] += spent

    return run


def _request(arguments: Sequence[Any]) -> str:
    path = str(arguments[1].get("PATH_INFO", ""))
    return next((name for name in REQUESTS if name in path.rsplit("/", 2)[-2:]), "other")


def _save() -> None:
    """Write the totals; a process may be killed at any moment."""
    assert FOLDER is not None
    with _lock:
        text = json.dumps(_totals).ljust(16_384).encode()
        descriptor = os.open(f"{FOLDER}/{os.getpid()}", os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(descriptor, text, 0)
        os.close(descriptor)


class Finder:
    """Loads the modules of `STAGES` as they are, and then wraps their functions."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The usual spec of one of these modules; None leaves the others to the usual finders."""
        spec = PathFinder.find_spec(name, path, target) if name in STAGES else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_wrap(module: ModuleType) -> None:
            load(module)
            for place, stage in STAGES[name].items():
                owner, _, last = place.rpartition(".")
                holder = getattr(module, owner) if owner else module
                setattr(holder, last, timed(getattr(holder, last), stage))

        spec.loader.exec_module = load_and_wrap  # type: ignore[method-assign]
        return spec


def _after_fork() -> None:
    """A forked process counts for itself; the lock may have been held by another thread."""
    global _lock
    _lock = threading.Lock()
    _totals.clear()


if FOLDER:
    sys.meta_path.insert(0, Finder)
    os.register_at_fork(after_in_child=_after_fork)
