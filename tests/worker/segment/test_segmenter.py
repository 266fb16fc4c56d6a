"""worker.segment.segmenter: which files a segment job stores."""

from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from ml.images.picture import Picture, Window
from ml.inference.predict import Prediction
from tests.worker.client.test_portal_client import settings
from worker.client.portal_client import Attempt, PortalClient
from worker.contract.job import Claim, JobKind
from worker.segment.segmenter import _store

BOTH = ["probability", "mask"]


@pytest.mark.parametrize(
    ("drawn_otherwise", "stored"),
    [
        ({}, BOTH),
        ({"shutters": (((1, 1), (1, 6), (7, 6), (7, 1)),)}, [*BOTH, "overlay"]),
        ({"source_size": (8, 3)}, [*BOTH, "overlay"]),
    ],
    ids=["plain", "shutter", "pixels that are not square"],
)
def test_an_overlay_is_stored_only_where_the_portal_does_not_draw_it(
    drawn_otherwise: dict[str, Any], stored: list[str]
) -> None:
    picture = Picture(
        np.zeros((8, 6), np.uint16), 8, "a/b", (Window(1.0, 2.0, ""),), "", **drawn_otherwise
    )
    found = Prediction(
        model={},
        operating_point="balanced",
        quality={},
        seconds=0.0,
        probability_map=np.zeros((4, 4), np.uint8),
        mask=np.zeros((8, 6), np.bool_),
    )
    claim = Claim(
        job=uuid4(),
        kind=JobKind.SEGMENT,
        attempt=1,
        ticket="",
        lease_seconds=1.0,
        soft_seconds=1.0,
    )
    portal = PortalClient(settings("http://127.0.0.1:9"), JobKind.SEGMENT)
    attempt = Attempt(portal, claim)
    _store(attempt, picture, found)
    portal.close()
    assert [output.kind for output in attempt._outputs] == stored
