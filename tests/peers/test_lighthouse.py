"""Lighthouse on the page of sign-in; the campaign of that name looks at more, and more often."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers import lighthouse
from tests.support.browser_portal import open_browser_portal

pytestmark = pytest.mark.browser


def test_the_page_of_sign_in_is_found_quick_and_accessible(tmp_path: Path, redis_url: str) -> None:
    missing = lighthouse.missing()
    if missing:
        pytest.skip(missing)
    with open_browser_portal(tmp_path / "data", redis_url) as site:
        report = lighthouse.run(
            f"{site.url}/sign-in", "desktop", {}, ["performance", "accessibility"]
        )
    assert report.url == f"{site.url}/sign-in"
    assert report.scores["accessibility"] >= 95, report.faults
    # The time of tasks depends on what else this machine does; what is painted and moved hardly.
    assert report.metrics["cumulative-layout-shift"] < 0.02, report.faults
    assert report.metrics["largest-contentful-paint"] < 2500, report.faults
    assert 0 < report.metrics["script-bytes-sent"] < 20_000
