"""portal.web.api.bodies: the schemas are complete, and stored results are sent as they are."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from pydantic import ValidationError

from portal.web.api import bodies
from tests.support.jobs import OTHER_FINDING, REFUSED, prediction_of

MADE = datetime(2026, 3, 1, 12, 30, 5, 678901, tzinfo=UTC)


def body_of(**changes: Any) -> bodies.Prediction:
    sent = prediction_of(**changes)
    names = ("model", "band", "probability", "threshold", "operating_point", "measurements")
    names += ("image_threshold", "likely_threshold")
    return bodies.Prediction.model_validate(
        {name: sent[name] for name in (*names, "quality", "statistics", "seconds")}
        | {"other_findings": sent.get("other_findings")}
        | {"uncertainty": None, "region": None, "created": MADE}
        | {"pixel_threshold": sent["threshold"], "under_18": False}
        | {"model": {**sent["model"], "retracted": None}}
    )


def test_every_reference_of_the_schemas_is_among_them() -> None:
    found = bodies.schemas()
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(found)))
    assert named <= set(found)
    assert not [name for name in found if "__" in name], "two models share a name"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        REFUSED,
        {"measurements": {"area_px": 0, "side": None}},
        {"other_findings": [OTHER_FINDING]},
    ],
)
def test_a_stored_prediction_is_sent_as_it_is_and_as_it_is_described(
    changes: dict[str, Any],
) -> None:
    sent = body_of(**changes).as_json()
    stored = prediction_of(**changes)
    assert sent["measurements"] == stored["measurements"]
    assert sent["quality"] == stored["quality"]
    assert sent["created"] == "2026-03-01T12:30:05.678Z"
    schema = {**bodies.ref(bodies.Prediction), "components": {"schemas": bodies.schemas()}}
    Draft202012Validator(schema).validate(sent)


def test_what_an_older_version_stored_is_sent_without_another_check() -> None:
    old = {"area_px": 3, "left_over": "of an older version"}
    assert body_of(measurements=old).as_json()["measurements"] == old


@pytest.mark.parametrize("page", ["1_0", "+1", " 1", "1.0", "٣", "", "0", "1000001"])
def test_pages_are_plain_whole_numbers(page: str) -> None:
    assert bodies.StudyQuery.model_validate({"page": "12"}).page == 12
    with pytest.raises(ValidationError):
        bodies.StudyQuery.model_validate({"page": page})


def test_every_parameter_is_described() -> None:
    names = [parameter["name"] for parameter in bodies.parameters(bodies.StudyQuery)]
    assert names == list(bodies.StudyQuery.model_fields)
