"""worker.contract.job: claims, hellos and failures."""

from typing import Any
from uuid import uuid4

import pytest

from worker.contract.job import (
    QUEUE_OF,
    QUEUES,
    TASKS,
    Claim,
    Failure,
    FailureKind,
    Hello,
    JobKind,
    NextClaim,
    kinds_of,
)
from worker.contract.message import InvalidMessage

CLAIM = {
    "job": str(uuid4()),
    "kind": "segment",
    "attempt": 1,
    "ticket": "secret-of-this-attempt",
    "lease_seconds": 180.0,
    "soft_seconds": 120,
    "inputs": {"pixels": {"bytes": 12, "media_type": "application/octet-stream"}},
    "facts": {"rows": 2, "columns": 3, "bits": 8, "windows": []},
    "model": {"name": "net", "version": "1", "sha256": "ab" * 32, "operating_point": "balanced"},
}


def test_a_claim_keeps_its_form_and_hides_its_ticket() -> None:
    claim = Claim.parse(CLAIM)
    assert claim.as_json() == CLAIM
    assert claim.kind is JobKind.SEGMENT
    assert "secret" not in repr(claim)


@pytest.mark.parametrize(
    "wrong",
    [
        {"job": "17"},
        {"kind": "dance"},
        {"attempt": 0},
        {"ticket": None},
        {"lease_seconds": 0},
        {"facts": {"rows": 2}},
        {"model": {"sha256": None}},
    ],
)
def test_a_claim_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        Claim.parse(CLAIM | wrong)


def test_every_kind_has_a_task_of_its_name_and_every_queue_does_the_kind_of_its_name() -> None:
    assert {kind: f"pleura.{kind}" for kind in QUEUE_OF} == TASKS
    assert all(QUEUE_OF[queue] is queue and queue in kinds_of(queue) for queue in QUEUES)
    assert kinds_of(JobKind.MEASURE) == ()


def test_a_worker_of_the_version_before_names_no_kinds() -> None:
    assert NextClaim.parse({"worker": "w", "queue": "segment"}).kinds is None
    asked = {"worker": "w", "queue": "segment", "kinds": ["measure", "segment"]}
    assert NextClaim.parse(asked).as_json() == asked
    with pytest.raises(InvalidMessage):
        NextClaim.parse(asked | {"kinds": ["dance"]})


@pytest.mark.parametrize("queue", ["send", "export", "", "Render"])
def test_hello_comes_from_a_queue_that_workers_have(queue: str) -> None:
    body = {"name": "one", "queue": "render", "engine": "", "model": ""}
    assert Hello.parse(body).as_json() == body
    with pytest.raises(InvalidMessage):
        Hello.parse(body | {"queue": queue})


def test_hello_of_a_worker_of_the_version_before_is_for_one_job() -> None:
    before = {"name": "one", "queue": "segment", "engine": "", "model": ""}
    assert (Hello.parse(before).slots, Hello.parse(before | {"slots": 8}).slots) == (1, 8)
    for wrong in (0, -1, 65, 1.5, "2", True):
        with pytest.raises(InvalidMessage):
            Hello.parse(before | {"slots": wrong})


@pytest.mark.parametrize("body", [{"code": "A B", "kind": "permanent"}, {"code": "x", "kind": "y"}])
def test_a_failure_has_a_code_and_a_kind(body: dict[str, str]) -> None:
    assert Failure.parse({"code": "x", "kind": "transient"}).kind is FailureKind.TRANSIENT
    with pytest.raises(InvalidMessage):
        Failure.parse(body)
