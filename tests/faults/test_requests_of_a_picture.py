"""What one picture asks of the portal, from upload to result: its requests, and their statements.

Its cost grows by one more statement here and one more request there. The table is that of today:
whoever adds one changes it, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.preparation import phantom
from tests.support.paths import ROOT
from tests.support.running_portal import RunningPortal

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

COUNTER = ROOT / "tests" / "support" / "request_counter"
# At most so many are sent until one is not disturbed by a worker that asks by itself.
PICTURES = 4
Requests = list[tuple[str, list[str]]]

# Each request of one picture in turn, and each of its statements with the reason for it. Workers
# have the token that they share; with one of their own each request has one statement more.
LOG = [
    ("SELECT audit_writers", "a writer of the access log that no other transaction holds"),
    ("SELECT audit_events", "the row's number"),
    ("INSERT audit_events", "what was done"),
    ("UPDATE audit_writers", "where the writer's rows end, sealed"),
]
SENDER = [
    ("SELECT api_tokens", "whose token it is, and whether it works"),
    ("SELECT users", "what this person may do"),
]
RESULT = [
    ("SELECT jobs", "whether the attempt is the job's, before files are written"),
    ("SELECT instances", "its picture: a join would read damaged pages of jobs to be planned"),
    ("SELECT jobs", "the job again, locked until the end, as files are written unlocked"),
    ("SELECT blobs", "files that it has already: those that these replace, and the others"),
    ("INSERT blobs", "the files"),
    ("SELECT instances", "the picture as it is now: purged or joined meanwhile"),
]
TABLE = [
    ("check, POST /api/v1/studies", SENDER),  # before the picture is read from the connection
    (
        "POST /api/v1/studies",
        [
            *SENDER,
            ("SELECT teams", "from when on an exam is an old one here"),
            ("SELECT instances", "whether the team has this picture"),
            ("SELECT instances", "whether it has another of the same UID"),
            ("SELECT arrival_rules_versions", "the team's rules for arrivals as they are now"),
            ("SELECT studies", "whether it has the exam"),
            ("INSERT studies", "the exam"),
            ("INSERT study_names", "the words of its patient's name, keyed, for the search"),
            ("INSERT instances", "the picture"),
            ("INSERT blobs", "its file"),
            ("INSERT arrivals", "the rule that it met, for good"),
            ("INSERT jobs", "the render job"),
            *LOG,
            ("UPDATE jobs", "it is announced"),
        ],
    ),
    (
        "POST /worker/v1/jobs/ID/claim",
        [
            ("UPDATE jobs", "the attempt begins, of one worker alone"),
            ("SELECT instances", "the picture's key"),
            ("SELECT blobs", "its file"),
            *LOG,
        ],
    ),
    ("check, POST /worker/v1/jobs/ID/finish", []),  # the ticket needs no row
    (
        "POST /worker/v1/jobs/ID/finish",
        [
            *RESULT,
            ("UPDATE instances", "what the header and the pixels are"),
            ("SELECT studies", "whether it is an old one, and what its rule makes of the picture"),
            ("INSERT jobs", "the segment job"),
            ("UPDATE jobs", "the render job is done"),
            *LOG,
            ("UPDATE jobs", "the segment job is announced"),
        ],
    ),
    (
        "POST /worker/v1/jobs/ID/claim",
        [
            ("UPDATE jobs", "the attempt begins, of one worker alone"),
            ("SELECT instances", "the picture's key and facts"),
            ("SELECT blobs", "the picture's files"),
            ("SELECT teams", "from which age on it has pictures analysed"),
            ("SELECT model_versions", "the active model"),
            *LOG,
        ],
    ),
    ("check, POST /worker/v1/jobs/ID/finish", []),
    (
        "POST /worker/v1/jobs/ID/finish",
        [
            *RESULT,
            ("SELECT model_versions", "the model's card, which the band has to fit"),
            ("SELECT model_versions", "the model's row"),
            ("INSERT predictions", "the result"),
            ("UPDATE jobs", "the segment job is done"),
            ("SELECT studies", "the exam, locked while its place in the worklist changes"),
            ("SELECT instances", "its pictures: how many, seen, failed; its last reader"),
            ("SELECT predictions", "the last result of each"),
            ("UPDATE studies", "its place"),
            ("SELECT predictions", "the result as it is stored, which the log binds"),
            *LOG,
        ],
    ),
]
# What is asked whether there is a picture or not, and what a job that takes long sends.
BESIDE = {
    "GET /health/ready",
    "POST /worker/v1/hello",
    "POST /worker/v1/claim",
    "POST /worker/v1/jobs/ID/heartbeat",
}


class Noted:
    """The requests that the portal's processes have noted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def requests(self) -> Requests:
        """Route and statements of each request of a picture so far."""
        lines = [
            json.loads(line)
            for file in sorted(self._folder.iterdir())
            for line in file.read_text("ascii").splitlines(keepends=True)
            if line.endswith("\n")
        ]
        return [(route, statements) for route, statements in lines if route not in BESIDE]


@pytest.fixture
def noted(tmp_path: Path) -> Noted:
    return Noted(tmp_path / "requests")


@pytest.fixture
def running(tmp_path: Path, noted: Noted) -> Iterator[RunningPortal]:
    made = RunningPortal(tmp_path / "portal")
    made.for_all = {
        "PYTHONPATH": f"{COUNTER}:{ROOT}",
        "REQUEST_COUNTER": str(tmp_path / "requests"),
        "PYTHONWARNINGS": "ignore",
    }
    with made:
        made.start_worker("render")
        made.start_worker("segment")
        yield made


def of_one_picture(running: RunningPortal, noted: Noted, seed: int) -> Requests:
    """The requests of a picture that is sent now, until the one with its result has ended."""
    before = len(noted.requests())
    drawn = phantom.draw(seed, "left", 30, rows=512, columns=512)
    running.submit(phantom.dicom(drawn), f"{seed}.dcm")
    end = "POST /worker/v1/jobs/ID/finish"

    def ends() -> int:
        return [route for route, _ in noted.requests()[before:]].count(end)

    running.wait("both of its jobs have ended", lambda: ends() == 2)
    return noted.requests()[before:]


def test_a_picture_asks_of_the_portal_what_it_did(running: RunningPortal, noted: Noted) -> None:
    of_one_picture(running, noted, 0)  # the first one prepares what all later ones use
    table = [(route, [statement for statement, _ in each]) for route, each in TABLE]
    routes = [route for route, _ in table]
    seen: Requests = []
    for seed in range(1, PICTURES):
        seen = of_one_picture(running, noted, seed)
        if [route for route, _ in seen] == routes:
            break  # in others a worker asked for its job before the message about it came
    assert seen == table, "\n".join(f"{route}: {each}" for route, each in seen)
