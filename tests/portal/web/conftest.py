"""A portal with a clock that the test moves, and people of every role who can sign in.

The portal of the first test is kept as it was before anything happened, and copied for each test:
migrations and slow password hashes are made once.
"""

import shutil
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.models import Role, db
from tests.support.core import Clock, make_settings
from tests.support.people import Person
from tests.support.portal_app import make_app, make_person, sign_in

Furnished = tuple[Path, dict[Role, Person]]


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    """A data folder with one person of every role."""
    folder = tmp_path_factory.mktemp("furnished")
    app = make_app(make_settings(folder), Clock())
    staff = {role: make_person(app, role) for role in Role}
    with app.app_context():
        db.engine.dispose()  # the last connection writes everything into the one file
    return folder, staff


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock, furnished: Furnished) -> Flask:
    shutil.copytree(furnished[0], tmp_path, dirs_exist_ok=True)
    return make_app(make_settings(tmp_path), clock)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def reader(furnished: Furnished) -> Person:
    return furnished[1][Role.READER]


@pytest.fixture
def technologist(furnished: Furnished) -> Person:
    return furnished[1][Role.TECHNOLOGIST]


@pytest.fixture
def admin(furnished: Furnished) -> Person:
    return furnished[1][Role.ADMIN]


@pytest.fixture
def auditor(furnished: Furnished) -> Person:
    return furnished[1][Role.AUDITOR]


@pytest.fixture
def admin_client(app: Flask, admin: Person) -> FlaskClient:
    return sign_in(app, admin)
