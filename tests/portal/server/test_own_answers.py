"""The server's own answers: in words, with the portal's headers, and with how long to wait."""

from __future__ import annotations

import pytest

from portal.server.own_answers import OwnAnswers
from tests.support.served.raw_http import answer_of

OWN = OwnAnswers({"X-Content-Type-Options": "nosniff"})


@pytest.mark.parametrize(("status", "seconds"), [(400, None), (429, "1"), (503, "5")])
def test_whoever_may_come_again_learns_when(status: int, seconds: str | None) -> None:
    answer = answer_of(OWN.whole(status))
    assert (answer.status, answer.headers["Retry-After"]) == (status, seconds)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Connection"] == "close"
    assert len(answer.body) == int(answer.headers["Content-Length"])
    assert answer.body != b"The request was refused.\n"
