"""A claim together with its inputs, in one body: one trip for what every job begins with.

The first line is the claim's JSON; the bytes of its inputs follow in the order in which it lists
them. A worker that sends `Accept: CLAIM_BUNDLE` may get it; the portal answers with the claim alone
where the inputs are large or can't be read, and to workers of a version before.
"""

from collections.abc import Mapping
from typing import Final

from worker.contract.job import Claim
from worker.contract.message import InvalidMessage

CLAIM_BUNDLE: Final = "application/vnd.pleura.claim"
# Inputs of more bytes together are fetched by requests of their own.
BUNDLE_INPUT_BYTES: Final = 32 * 1024 * 1024


def pack(claim: Claim, inputs: Mapping[str, bytes]) -> bytes:
    """A claim and all inputs that it lists."""
    head = claim.model_dump_json(exclude_unset=True).encode()
    return b"".join([head, b"\n", *(inputs[kind] for kind in claim.inputs)])


def unpack(body: bytes) -> tuple[Claim, dict[str, bytes]]:
    """The claim and its inputs by kind; InvalidMessage where they do not fit each other."""
    line, newline, _ = body[: Claim.bytes_max + 1].partition(b"\n")
    claim = Claim.parse_text(line)
    start, inputs = len(line) + len(newline), {}
    for kind, file in claim.inputs.items():
        inputs[kind] = body[start : start + file.bytes]
        start += len(inputs[kind])
    if (
        not newline
        or start != len(body)
        or any(len(inputs[kind]) != file.bytes for kind, file in claim.inputs.items())
    ):
        raise InvalidMessage("the inputs do not fit the claim")
    return claim, inputs
