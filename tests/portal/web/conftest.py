"""A portal with a clock that the test moves, and people of every role who can sign in.

The first portal is copied for each test as it was before anything happened, because its people and
their second factors take time to make.
"""

import itertools
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.models import AiShown, Role, db
from tests import sample
from tests.support.core import Clock, Core, make_settings
from tests.support.hidden.hospital import Hospital, Opened, Staffed, open_hospital
from tests.support.people import Person
from tests.support.portal_app import core_of, make_app, make_person, sign_in


@pytest.fixture(scope="session")
def staffed(tmp_path_factory: pytest.TempPathFactory) -> Staffed:
    """A data folder with one person of every role."""
    folder = tmp_path_factory.mktemp("staffed")
    app = make_app(make_settings(folder), Clock())
    staff = {role: make_person(app, role) for role in Role}
    with app.app_context():
        db.engine.dispose()  # the last connection writes everything into the one file
    return folder, staff


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock, staffed: Staffed) -> Iterator[Flask]:
    shutil.copytree(staffed[0], tmp_path, dirs_exist_ok=True)
    made = make_app(make_settings(tmp_path), clock)
    yield made
    with made.app_context():  # an app that is gone keeps its connections until it is collected
        db.engine.dispose()


@pytest.fixture
def core(app: Flask) -> Core:
    """What the app is built over; with it `clinic` has the app's cases."""
    return core_of(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def reader(staffed: Staffed) -> Person:
    return staffed[1][Role.READER]


@pytest.fixture
def technologist(staffed: Staffed) -> Person:
    return staffed[1][Role.TECHNOLOGIST]


@pytest.fixture
def admin(staffed: Staffed) -> Person:
    return staffed[1][Role.ADMIN]


@pytest.fixture
def auditor(staffed: Staffed) -> Person:
    return staffed[1][Role.AUDITOR]


@pytest.fixture
def admin_client(app: Flask, admin: Person) -> FlaskClient:
    return sign_in(app, admin)


@pytest.fixture
def opened(staffed: Staffed, tmp_path: Path, request: pytest.FixtureRequest) -> Opened:
    """Opens portals that differ in what became of one exam."""
    numbers = itertools.count()

    def open_(outcome: str, policy: AiShown = AiShown.WITH_PICTURE) -> Hospital:
        hospital = open_hospital(staffed, tmp_path / str(next(numbers)), outcome, policy)
        hospital.is_asked = partial(sample.is_taken, request.config, share=8)
        return hospital

    return open_
