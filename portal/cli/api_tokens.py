"""`python -m portal token`: API tokens are made, listed and ended for a person."""

import argparse
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts import api_tokens, sessions
from portal.errors import Invalid
from portal.models import User
from portal.operations.context import Failed, now, open_portal, print_line
from portal.settings import Settings


def token_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command and what it can do."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a token and print it, once")
    create.add_argument("--user", required=True, help="the owner's e-mail address")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=sorted(api_tokens.SCOPES),
        help="what the token is for; may be given several times",
    )
    create.add_argument("--name", default="command line", help="what the token is called")
    create.add_argument("--days", type=int, default=90, help="how long it works")
    create.set_defaults(act=_token_create)
    show = actions.add_parser("list", help="list a person's tokens")
    show.add_argument("--user", required=True, help="the owner's e-mail address")
    show.set_defaults(act=_token_list)
    revoke = actions.add_parser("revoke", help="end a token at once")
    revoke.add_argument("--user", required=True, help="the owner's e-mail address")
    revoke.add_argument("id", help="the beginning of the token's id, as list shows it")
    revoke.set_defaults(act=_token_revoke)


def _owner(session: Session, email: str) -> User:
    user = session.scalars(select(User).where(User.email == email.strip().lower())).first()
    if user is None:
        raise Failed("Nobody has this address.")
    return user


def _token_create(chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        user = _owner(session, chosen.user)
        if user.disabled_at is not None:
            raise Failed("This person's account is disabled.")
        try:
            _, raw = api_tokens.create_token(
                session,
                user,
                scopes=chosen.scope,
                name=chosen.name,
                lifetime=timedelta(days=chosen.days),
                now=now(),
            )
        except Invalid as bad:
            raise Failed(bad.message) from None
        except OverflowError as error:
            raise Failed(str(error)) from None
    print_line(raw)
    return 0


def _token_list(chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        for token in api_tokens.tokens_of(session, _owner(session, chosen.user).id, now()):
            used = f"{token.last_used_at:%Y-%m-%d}" if token.last_used_at else "never"
            scopes = ",".join(token.scopes)
            print_line(
                f"{token.id.hex[:12]}  until {token.expires:%Y-%m-%d}  used {used}  "
                f"{scopes}  {token.name}"
            )
    return 0


def _token_revoke(chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        owner = _owner(session, chosen.user)
        wanted = chosen.id.replace("-", "").lower()
        found = [
            token
            for token in api_tokens.tokens_of(session, owner.id, now())
            if len(wanted) >= 6 and token.id.hex.startswith(wanted)
        ]
        if len(found) != 1:
            raise Failed("Give at least six characters of one token's id, as list shows it.")
        by_command = replace(sessions.actor_of(owner), via="cli")
        api_tokens.revoke_token(session, by_command, found[0].id, now())
    print_line("The token no longer works.")
    return 0
