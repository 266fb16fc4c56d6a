"""What the commands about DICOM nodes and HL7 nodes do alike, and the processes that serve them."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ssl import SSLError
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from portal.errors import Conflict, Invalid
from portal.listeners import accepting, process
from portal.models import Team
from portal.operations.context import Failed, now, open_portal, print_line
from portal.services import Services
from portal.settings import Settings
from portal.settings.network.listener import Listener
from portal.vault import Vault


@dataclass(frozen=True, slots=True)
class NodeCommands:
    """The commands about one kind of node.

    word: what it is called. room: where it is added and changed (`add`, `change`, `switch`).
    naming, describing: add the options by which one is found, and those about this kind alone.
    lines: the list. node: the one that is named. stated: of a new one; changed: of one that is
    there.
    """

    word: str
    room: Any
    naming: Callable[[argparse.ArgumentParser], None]
    describing: Callable[[argparse.ArgumentParser], None]
    lines: Callable[[Session], Iterable[str]]
    node: Callable[[Session, argparse.Namespace], Any]
    stated: Callable[[argparse.Namespace, UUID], Any]
    changed: Callable[[Session, argparse.Namespace, Any], Any]
    needs_networks: bool

    def add_to(self, actions: Any) -> None:
        """Add them to the command's actions."""
        show = actions.add_parser("nodes", help="list the nodes")
        show.set_defaults(act=self._list)
        add = actions.add_parser("add-node", help="add a node: what it sends belongs to a team")
        self.naming(add)
        self._describing(add, is_new=True)
        add.set_defaults(act=self._add)
        change = actions.add_parser("change-node", help="change what is stated of a node")
        self.naming(change)
        self._describing(change, is_new=False)
        change.set_defaults(act=self._change)
        for name, text, on in (
            ("switch-off-node", "refuse what a node sends from now on", False),
            ("switch-on-node", "take it again", True),
        ):
            switch = actions.add_parser(name, help=text)
            self.naming(switch)
            switch.set_defaults(act=self._switch, on=on)

    def _describing(self, parser: argparse.ArgumentParser, *, is_new: bool) -> None:
        parser.add_argument("--name", help="what people call it")
        parser.add_argument("--team", required=is_new, help="the team that it belongs to")
        parser.add_argument(
            "--from",
            dest="networks",
            metavar="ADDRESSES",
            required=is_new and self.needs_networks,
            help="where it may send from, as 10.1.2.0/24",
        )
        parser.add_argument(
            "--fingerprint", help="its TLS certificate's SHA-256; empty: without TLS"
        )
        self.describing(parser)

    def _list(self, _chosen: argparse.Namespace) -> int:
        with opened() as (session, _vault, _settings):
            lines = list(self.lines(session))
        for line in lines or [f"No {self.word} node was added yet."]:
            print_line(line)
        return 0

    def _add(self, chosen: argparse.Namespace) -> int:
        with opened() as (session, _vault, _settings):
            stated = self.stated(chosen, team_of(session, chosen.team))
            self.room.add(session, None, stated, now())
        print_line("The node is added.")
        return 0

    def _change(self, chosen: argparse.Namespace) -> int:
        with opened() as (session, _vault, _settings):
            node = self.node(session, chosen)
            if chosen.team is not None:
                chosen.team_id = team_of(session, chosen.team)
            stated = self.changed(session, chosen, node)
            self.room.change(session, None, node.id, stated, now())
        print_line("The node is changed.")
        return 0

    def _switch(self, chosen: argparse.Namespace) -> int:
        with opened() as (session, _vault, _settings):
            node = self.node(session, chosen)
            self.room.switch(session, None, node.id, now(), on=chosen.on)
        print_line(f"The node is switched {'on' if chosen.on else 'off'}.")
        return 0


def given(chosen: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options of these names that were given."""
    return {name: value for name in names if (value := getattr(chosen, name, None)) is not None}


@contextmanager
def opened() -> Iterator[tuple[Session, Vault, Settings]]:
    """The portal, with refusals as sentences."""
    settings = Settings.from_env()
    with open_portal(settings) as (session, vault, _engine):
        try:
            yield session, vault, settings
        except (Invalid, Conflict) as refused:
            raise Failed(refused.message) from None


def is_alive(works: Callable[[Session], bool], what: str) -> int:
    """Whether a process elsewhere has given a sign of life; Failed where it has not."""
    with open_portal(Settings.from_env(), linking=False, statement_seconds=5) as (session, _v, _e):
        if not works(session):
            raise Failed(f"No {what} has given a sign for a minute.")
    print_line(f"The {what} works.")
    return 0


@contextmanager
def served(settings: Settings) -> Iterator[tuple[Services, Engine]]:
    """The services of a process that talks to other systems, until it ends."""
    with open_portal(settings, linking=False, statement_seconds=process.STATEMENT_SECONDS) as (
        _session,
        _vault,
        engine,
    ):
        services = Services.open(settings)
        try:
            yield services, engine
        finally:
            services.broker.close()


@contextmanager
def listening_at(settings: Listener) -> Iterator[None]:
    """Why nothing can be listened to, as a sentence."""
    try:
        yield
    except accepting.Deaf:
        raise Failed("No connection can be accepted any more.") from None
    except SSLError:
        raise Failed("The TLS certificate, its key or the authorities can't be read.") from None
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise Failed(f"It can't listen at {where}: {error.strerror or error}.") from None


def team_of(session: Session, name: str) -> UUID:
    """The id of the team of this name; Failed where there is none."""
    found = session.scalar(select(Team.id).where(Team.name == name))
    if found is None:
        raise Failed("There is no team of this name.")
    return found
