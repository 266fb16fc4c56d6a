"""`python -m portal cohort`: what it prints, and what it refuses in a sentence."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from portal.models import Role, db
from portal.reading.reviews import add_review
from tests.portal.cli.test_commands import run
from tests.support.core import make_settings
from tests.support.portal_app import analyse, core_of, make_app, make_person, make_study


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder with one PNG that was read."""
    from portal.accounts.sessions import actor_of
    from portal.models import User

    folder = tmp_path / "var"
    then = datetime.now(UTC) - timedelta(days=2)
    app = make_app(make_settings(folder), lambda: then)
    reader = make_person(app, Role.READER)
    study = make_study(app, reader)
    analyse(app, study)
    core = core_of(app)
    with core.sessions() as session:
        actor = actor_of(session.get_one(User, reader.id))
        add_review(session, core.vault, actor, study, finding="none", now=then)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    return folder


def test_freeze_list_check_and_purge(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "cohort"
    done = run(home, "cohort", "freeze", "trial", str(place), "--from", "2020-01-01")
    assert done.returncode == 0, done.stderr
    assert "Cohort trial, version 1: 0 pictures of 0 patients" in done.stdout
    assert "Left out: 1 (uploaded as PNG or JPEG" in done.stdout
    assert "trial 1" in run(home, "cohort", "list").stdout
    assert "as it was frozen" in run(home, "cohort", "check", str(place)).stdout
    assert "Taken out: 0" in run(home, "cohort", "purge", str(place)).stdout
    (place / "index.csv").write_text("x")
    changed = run(home, "cohort", "check", str(place))
    assert (changed.returncode, "index.csv: changed" in changed.stderr) == (1, True)
    again = run(home, "cohort", "freeze", "trial", str(place))
    assert (again.returncode, "is not empty" in again.stderr) == (1, True)
    team = run(home, "cohort", "freeze", "trial", str(tmp_path / "b"), "--team", "Nobody's")
    assert (team.returncode, "Name one team" in team.stderr) == (1, True)
    none = run(home, "cohort", "check", str(tmp_path / "nothing"))
    assert (none.returncode, "holds no cohort" in none.stderr) == (1, True)
