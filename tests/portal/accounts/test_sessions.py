"""Login sessions: people end their own alone."""

from datetime import timedelta

import pytest

from portal.access import Denied
from portal.accounts import api_tokens, sessions
from portal.accounts.sessions import actor_of
from portal.models import Role, User
from tests.support.core import NOW, Core
from tests.support.people import join


def test_an_administrator_ends_single_sessions_and_tokens_of_nobody_else(core: Core) -> None:
    user, boss = join(core), join(core, Role.ADMIN, "boss@example.org")
    with core.sessions() as session:
        row = session.get_one(User, user.id)
        token, raw = api_tokens.create_token(
            session, row, scopes=["studies:read"], name="t", lifetime=timedelta(days=1), now=NOW
        )
        text = sessions.start_session(session, row, address="", agent="", now=NOW)
        (login,) = sessions.sessions_of(session, user.id, NOW)
        with pytest.raises(Denied):
            sessions.end_session(session, actor_of(boss), login.id, NOW)
        with pytest.raises(Denied):
            api_tokens.revoke_token(session, actor_of(boss), token.id, NOW)
        assert sessions.load_session(session, text, NOW) is not None
        assert api_tokens.load_token(session, raw, NOW) is not None
