"""A served portal, started once for a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from portal.models import Role, db
from tests.support.core import make_settings
from tests.support.people import Person
from tests.support.portal_app import make_app, make_person
from tests.support.served.portal import ServedPortal, serve


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The portal of the served one's folder, to prepare people and look at rows."""
    return make_app(make_settings(tmp_path_factory.mktemp("served")))


@pytest.fixture(scope="module")
def technologist(app: Flask) -> Person:
    person = make_person(app, Role.TECHNOLOGIST)
    with app.app_context():
        db.engine.dispose()
    return person


@pytest.fixture(scope="module")
def served(app: Flask) -> Iterator[ServedPortal]:
    with serve(app.extensions["pleura"].settings.data_dir) as served:
        yield served
