"""The pages of a case in another language: no English is left on them, nor in what scripts show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.languages import catalogues
from tests.support.jobs import OTHER_FINDING, prediction_of
from tests.support.languages.page_texts import Pseudo, english_of
from tests.support.people import Person
from tests.support.portal_app import analyse, csrf_of, make_study, post, sign_in

_EXTENT: dict[str, Any] = prediction_of()["measurements"]["extents"][0]
# As of a picture without a pixel spacing.
MEASURED: dict[str, Any] = prediction_of()["measurements"] | {
    "area_mm2": None,
    "distance_mm": None,
    "components": [],
    "extents": [
        _EXTENT
        | {
            name: (_EXTENT[name] or {}) | {"mm": None}
            for name in ("apex", "upper", "middle", "lower")
        }
    ],
}
JSON = {"Accept": "application/json"}


@pytest.fixture
def pseudo() -> Iterator[None]:
    catalogues.put_in_place("de", Pseudo())
    yield
    catalogues.put_in_place("de", None)


def signed_in(app: Flask, person: Person) -> FlaskClient:
    client = sign_in(app, person)
    assert post(client, "/account/language", {"language": "de"}).status_code == 303
    return client


def case_of(app: Flask, person: Person, **prediction: Any) -> str:
    """The page of a case with a result."""
    study = make_study(app, person)
    analyse(app, study, **prediction)
    return f"/studies/{study}"


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


def test_a_case_with_a_result_a_finding_and_what_scripts_show(
    app: Flask, reader: Person, pseudo: None
) -> None:
    case = case_of(app, reader, measurements=MEASURED, other_findings=[OTHER_FINDING])
    client = signed_in(app, reader)
    assert english_of(client.get(case).text) == []
    stated = {"finding": "right", "seen": "done", "after": "", "size": "10_to_30"}
    answer = post(client, f"{case}/reviews", stated | {"critical_offered": "1"}, headers=JSON).json
    assert answer is not None
    assert english_of(f"<p>{answer['label']}</p>") == []
    assert english_of(answer["line"]) == []
    assert english_of(answer["critical"]["html"]) == []
    refused = post(client, f"{case}/reviews", stated | {"finding": "left"}, headers=JSON).json
    assert refused is not None
    assert english_of(f"<p>{refused['title']} {refused['detail']}</p>") == []
    told = {"person": "Ward 3", "means": "phone", "read_back": "yes", "minutes_ago": "1"}
    marked = post(client, f"{case}/critical/mark", {"critical": "yes"}, headers=JSON).json
    assert marked is not None
    assert english_of(marked["html"]) == []
    closed = post(client, f"{case}/critical/communications", told, headers=JSON)
    assert english_of(closed.get_json()["html"]) == []
    page = client.get(case).text
    assert english_of(page) == []
    shown = json.loads(unescape(known_of(page)))["shown"]
    body = {"id": str(uuid4()), "shown": shown, "after": hidden(page, "after"), "finding": "right"}
    headers = {"X-CSRFToken": csrf_of(client), **JSON}
    signed = client.post(f"{case}/signatures", json=body, headers=headers)
    assert signed.status_code == 200, signed.text
    page = client.get(case).text
    assert english_of(page) == []
    again = re.search(r'href="([^"]*seen=[^"]*)"', page)
    assert again is not None
    assert english_of(client.get(unescape(again[1])).text) == []


def known_of(page: str) -> str:
    found = re.search(r'data-known="([^"]*)"', page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(
            {
                "band": "none_found",
                "probability": 0.05,
                "measurements": {"area_px": 0, "side": None},
            },
            id="none-found",
        ),
        pytest.param(
            {
                "quality": {
                    "verdict": "limited",
                    "reasons": [
                        {"code": "flat", "message": "The picture has almost no contrast."},
                        {
                            "code": "too_small",
                            "message": "The picture has 99 x 99 pixels; at least 256 are needed "
                            "on each side.",
                        },
                    ],
                }
            },
            id="limited",
        ),
    ],
)
def test_other_results(app: Flask, reader: Person, pseudo: None, more: dict[str, Any]) -> None:
    case = case_of(app, reader, **more)
    assert english_of(signed_in(app, reader).get(case).text) == []


def test_a_case_that_waits(app: Flask, reader: Person, pseudo: None) -> None:
    case = f"/studies/{make_study(app, reader)}"
    client = signed_in(app, reader)
    assert english_of(client.get(case).text) == []
    review = post(client, f"{case}/reviews", {"finding": "none"}, headers=JSON).json
    assert review is not None
    assert english_of(f"<p>{review['detail']}</p>") == []


@pytest.mark.parametrize("part", ["/export", "/patient", "/reports"])
def test_the_pages_of_a_case(app: Flask, reader: Person, pseudo: None, part: str) -> None:
    case = case_of(app, reader)
    client = signed_in(app, reader)
    if part == "/reports":
        assert post(client, case + part).status_code == 303
    page = client.get(case + part).text
    assert "⟦" in page
    assert english_of(page) == []


def test_the_screen_s_check(app: Flask, reader: Person, pseudo: None) -> None:
    client = signed_in(app, reader)
    assert english_of(client.get("/screen").text) == []
    seen = {"dark": "top_left", "dark_at": "top_right", "light": "not_seen", "light_at": "top_left"}
    size = {"lines": "no", "width": "1000", "height": "800"}
    assert post(client, "/screen", seen | size).status_code == 303
    assert english_of(client.get("/screen").text) == []


def test_a_model_s_card(app: Flask, reader: Person, pseudo: None) -> None:
    case = case_of(app, reader)
    client = signed_in(app, reader)
    link = re.search(r'href="(/models/[^"]*)"', client.get(case).text)
    assert link is not None
    assert english_of(client.get(link[1]).text) == []
