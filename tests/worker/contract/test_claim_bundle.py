"""worker.contract.claim_bundle: a claim and its inputs in one body, and back."""

from uuid import uuid4

import pytest

from worker.contract.claim_bundle import pack, unpack
from worker.contract.job import Claim, InputFile, JobKind
from worker.contract.message import InvalidMessage

INPUTS = {"pixels": b"\x01\n\x02", "mask": b""}
CLAIM = Claim(
    job=uuid4(),
    kind=JobKind.SEGMENT,
    attempt=2,
    ticket="ticket",
    lease_seconds=20.0,
    soft_seconds=60.0,
    inputs={kind: InputFile(bytes=len(data), media_type="a/b") for kind, data in INPUTS.items()},
)
BUNDLE = pack(CLAIM, INPUTS)


def test_a_bundle_is_unpacked_to_what_was_packed() -> None:
    assert unpack(BUNDLE) == (CLAIM, INPUTS)


def test_a_claim_without_inputs_is_a_line() -> None:
    bare = CLAIM.model_copy(update={"inputs": {}})
    assert unpack(pack(bare, {})) == (bare, {})


@pytest.mark.parametrize(
    "body",
    [b"", b"{}\n", b"\xff\n", BUNDLE[:-1], BUNDLE + b"x", BUNDLE.partition(b"\n")[0], b"x" * 10**6],
)
def test_parts_that_do_not_fit_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        unpack(body)


def test_a_claim_of_a_negative_size_is_refused() -> None:
    odd = {"pixels": InputFile(bytes=-3, media_type="a/b")}
    with pytest.raises(InvalidMessage):
        unpack(pack(CLAIM.model_copy(update={"inputs": odd}), {"pixels": b"abc"}))
