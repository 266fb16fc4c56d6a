"""A sample of the campaign: open worklists hold up nobody."""

from pathlib import Path

from portal.models import Role, db
from tests.campaigns import slow_clients
from tests.support import wait
from tests.support.core import make_settings
from tests.support.portal_app import make_app, make_person, make_study
from tests.support.served.portal import REAL_LIMITS, serve

LISTS = 30


def test_the_streams_of_open_lists_are_all_answered_and_hold_up_nobody(tmp_path: Path) -> None:
    """Twice as many as the portal has threads for people and others together."""
    app = make_app(make_settings(tmp_path))
    readers = [make_person(app, Role.READER) for _ in range(2)]
    late = make_person(app, Role.READER)
    study = make_study(app, readers[0])
    with app.app_context():
        db.engine.dispose()
    with serve(tmp_path, REAL_LIMITS) as served:
        requests = [
            slow_clients.list_request(served, one, f"127.0.7.{number + 1}", str(study))
            for number, one in enumerate(readers)
        ]
        behaviours = [slow_clients.open_list]
        with slow_clients.slow_clients(served.port, behaviours, LISTS, requests) as slow:
            assert wait.until(lambda: slow.look()[200] == LISTS)
            assert slow_clients.list_request(served, late, "127.0.7.9"), "somebody signs in"
            assert served.answers()
        assert (slow.made, slow.answers) == (LISTS, {200: LISTS})
