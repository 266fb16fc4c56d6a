"""The installed Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Where Chromium is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for found in map(shutil.which, names) if found), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """The installed Chromium, for the duration of the block. A process has one at a time."""
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The installed Chromium."""
    if chromium() is None:
        pytest.skip("Chromium is not installed")
    with launched() as opened:
        yield opened
