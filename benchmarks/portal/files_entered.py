"""How many of the portal's files one request enters: how far a reader of the code has to walk.

    python -m benchmarks.portal.files_entered [--list]

A file counts when one of its functions runs between the request's arrival and its answer; a module
that is only imported does not. The requests are made by the tests' client, in this process, against
a portal on SQLite in a temporary folder: an upload, a worker's claim and finish of the render job,
a case opened, a review.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import UUID

import portal
from portal.models import JobKind, Role
from tests.support import portal_app
from tests.support.core import make_settings
from tests.support.pictures import picture

ROOT = str(Path(portal.__file__).parent)


@contextmanager
def entered(files: set[str]) -> Iterator[None]:
    """Collect the portal's files whose functions run."""

    def note(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(ROOT):
            files.add(name[len(ROOT) + 1 :])

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def measure() -> dict[str, set[str]]:
    """Files by request."""
    found: dict[str, set[str]] = {}

    def run(name: str, request: Callable[[], Any], *expected: int) -> Any:
        files: set[str] = set()
        with entered(files):
            answer = request()
        assert answer.status_code in expected, (name, answer.status_code)
        found[name] = files
        return answer

    with tempfile.TemporaryDirectory() as folder:
        app = portal_app.make_app(make_settings(Path(folder)))
        technologist = portal_app.make_person(app, Role.TECHNOLOGIST)
        reader = portal_app.make_person(app, Role.READER)
        sender, viewer = portal_app.sign_in(app, technologist), portal_app.sign_in(app, reader)
        token = portal_app.csrf_of(sender)
        form = {"csrf_token": token, "file": (BytesIO(picture()), "x.png")}
        as_script = {"Accept": "application/json"}
        sent = run("upload", lambda: sender.post("/studies", data=form, headers=as_script), 202)
        study_id = UUID(sent.json["id"])
        worker = portal_app.HttpWorker(app)
        job_id = portal_app.job_of(app, study_id)
        claimed = run("claim", lambda: worker.claim(job_id), 200).json
        worker.store(job_id, claimed["ticket"], portal_app.RENDERED)
        result = {"facts": portal_app.FACTS}
        run("finish", lambda: worker.finish(job_id, claimed["ticket"], result), 204)
        worker.do(portal_app.job_of(app, study_id, JobKind.SEGMENT))
        page = f"/studies/{study_id}"
        run("open case", lambda: viewer.get(page), 200)
        form = {"csrf_token": portal_app.csrf_of(viewer, page), "finding": "right"}
        run("review", lambda: viewer.post(f"{page}/reviews", data=form), 200, 303)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="name the files")
    chosen = parser.parse_args()
    for name, files in measure().items():
        print(f"{name:10} {len(files):3}")
        if chosen.list:
            print("".join(f"    {file}\n" for file in sorted(files)), end="")


if __name__ == "__main__":
    main()
