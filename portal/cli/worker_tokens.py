"""`python -m portal worker-token`: tokens of single workers are made, listed and ended."""

import argparse
from datetime import timedelta

from portal.jobs import worker_tokens
from portal.models import JobKind
from portal.operations.context import Failed, now, open_portal, print_line
from portal.settings import Settings


def worker_token_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command and what it can do."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a worker's token and print it, once")
    create.add_argument("name", help="what the worker is called on the Jobs page")
    create.add_argument(
        "--queue", required=True, choices=[q.value for q in worker_tokens.QUEUES], help="its jobs"
    )
    create.add_argument("--days", type=int, default=365, help="how long it works")
    create.set_defaults(act=_create)
    show = actions.add_parser("list", help="list the tokens that work")
    show.set_defaults(act=_list)
    revoke = actions.add_parser("revoke", help="end a token, and what its worker is doing, at once")
    revoke.add_argument("id", help="the beginning of the token's id, as list shows it")
    revoke.set_defaults(act=_revoke)


def _create(chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        try:
            _, raw = worker_tokens.create(
                session,
                name=chosen.name,
                queue=JobKind(chosen.queue),
                lifetime=timedelta(days=chosen.days),
                now=now(),
            )
        except (ValueError, OverflowError) as bad:
            raise Failed(str(bad)) from None
    print_line(raw)
    return 0


def _list(_chosen: argparse.Namespace) -> int:
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        for token in worker_tokens.working(session, now()):
            seen = f"{token.last_seen:%Y-%m-%d %H:%M}" if token.last_seen else "never"
            print_line(
                f"{token.id.hex[:12]}  {token.queue.value:7}  until {token.expires:%Y-%m-%d}  "
                f"seen {seen}  {token.name}"
            )
    return 0


def _revoke(chosen: argparse.Namespace) -> int:
    wanted = chosen.id.replace("-", "").lower()
    with open_portal(Settings.from_env()) as (session, _vault, _engine):
        found = [
            token
            for token in worker_tokens.working(session, now())
            if len(wanted) >= 6 and token.id.hex.startswith(wanted)
        ]
        if len(found) != 1:
            raise Failed("Give at least six characters of one token's id, as list shows it.")
        worker_tokens.revoke(session, None, found[0].id, now())
    print_line("The token no longer works.")
    return 0
