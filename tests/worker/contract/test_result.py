"""worker.contract.result: a result and its outputs in one body, and back."""

import json

import pytest

from worker.contract.facts import Facts
from worker.contract.files import BYTES, JPEG
from worker.contract.message import InvalidMessage
from worker.contract.result import Output, RenderResult, pack, unpack

RESULT = RenderResult(facts=Facts(rows=1, columns=2, bits=8, windows=[]))
OUTPUTS = [
    Output("pixels", BYTES, b"\x01\n\x02"),
    Output("thumb", JPEG, b""),
    Output("a", "b", b"c"),
]
BUNDLE = pack(RESULT, OUTPUTS)


def test_a_bundle_is_unpacked_to_what_was_packed() -> None:
    result, outputs = unpack(BUNDLE)
    assert RenderResult.parse(result) == RESULT
    assert outputs == OUTPUTS


def test_the_first_line_lists_the_outputs() -> None:
    head = json.loads(BUNDLE.partition(b"\n")[0])
    assert head["outputs"][0] == {"kind": "pixels", "media_type": BYTES, "bytes": 3}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}\n",
        b"[]\nx",
        b"\xff\n",
        BUNDLE[:-1],
        BUNDLE + b"x",
        BUNDLE.replace(b"\n", b"", 1),
        BUNDLE.replace(b'"bytes":', b'"bytes":-', 1),
        BUNDLE.replace(b'"bytes":3', b'"bytes":3.0', 1),
        BUNDLE.replace(b'"result":{', b'"result":[],"more":{', 1),
        b"[" * 200_000 + b"\n",
    ],
)
def test_a_bundle_whose_parts_do_not_fit_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        unpack(body)
