"""What the pages of DICOM nodes and of HL7 nodes do alike: list, add, change, switch off and on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Actor, Permission
from portal.accounts import teams
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.models import DicomNode, Hl7Node
from portal.services import db_session
from portal.web.security import guard

Node = TypeVar("Node", DicomNode, Hl7Node)
Stated = TypeVar("Stated")


class _Switch(Protocol):
    def __call__(
        self, session: Any, actor: Actor, node_id: UUID, now: datetime, /, *, on: bool
    ) -> object: ...


@dataclass(frozen=True, slots=True)
class NodePages(Generic[Node, Stated]):
    """The pages of one kind of node, below the address of their blueprint.

    parameter: of addresses, the node's id. template: extends `admin/nodes.html`.
    found: all nodes, each as the template shows it, and its row.
    described: what is stated of a node now. stated: what a form states, of a team.
    label: what a node is called on the page. more: what the template needs beside that.
    """

    blueprint: Blueprint
    parameter: str
    template: str
    found: Callable[[Any, Actor], Sequence[tuple[object, Node]]]
    described: Callable[[Any, Node], Stated]
    stated: Callable[[UUID], Stated]
    add: Callable[[Any, Actor, Stated, datetime], Node]
    change: Callable[[Any, Actor, UUID, Stated, datetime], Node]
    switch: _Switch
    label: str
    more: Callable[[], dict[str, Any]]

    @property
    def page(self) -> str:
        """The endpoint of the list."""
        return f"{self.blueprint.name}.page"

    def back(self) -> BaseResponse:
        """To the list, after something was done."""
        return redirect(url_for(self.page), 303)

    def shown(
        self,
        *,
        changing: UUID | None = None,
        stated: Stated | None = None,
        error: Invalid | Conflict | None = None,
    ) -> str:
        """The list with its form: of a new node, or of one that is changed."""
        session = db_session()
        nodes = self.found(session, guard.actor())
        chosen = changing or _asked_for()
        row = next((node for _shown, node in nodes if node.id == chosen), None)
        if stated is None and row is not None:
            stated = self.described(session, row)
        return render_template(
            self.template,
            nodes=nodes,
            chosen=row,
            stated=stated,
            error=error,
            label=self.label,
            views=self.blueprint.name,
            parameter=self.parameter,
            teams=[(one.id, one.name) for one in teams.teams(session)],
            fresh=guard.is_fresh(),
            now=guard.now(),
            **self.more(),
        )


def add_views(pages: NodePages[Any, Any]) -> None:
    """Add the views of one kind of node to its blueprint."""
    blueprint, one = pages.blueprint, f"/<uuid:{pages.parameter}>"
    manage = guard.permission(Permission.PEOPLE_MANAGE, step_up=pages.page)

    @blueprint.get("")
    @guard.permission(Permission.PEOPLE_MANAGE)
    def page() -> str:
        """All nodes; with `change=ID` the form of one."""
        return pages.shown()

    @blueprint.post("")
    @manage
    def add() -> BaseResponse | tuple[str, int]:
        """A new node."""
        stated = pages.stated(_team())
        try:
            added = pages.add(db_session(), guard.actor(), stated, guard.now())
        except (Invalid, Conflict) as refused:
            return pages.shown(stated=stated, error=refused), _status(refused)
        flash(_("The node %(name)s is added.", name=getattr(added, pages.label)), "ok")
        return pages.back()

    @blueprint.post(one)
    @manage
    def change(**named: UUID) -> BaseResponse | tuple[str, int]:
        """Other values for a node."""
        node_id, stated = named[pages.parameter], pages.stated(_team())
        try:
            changed = pages.change(db_session(), guard.actor(), node_id, stated, guard.now())
        except (Invalid, Conflict) as refused:
            return pages.shown(changing=node_id, stated=stated, error=refused), _status(refused)
        flash(_("The node %(name)s is changed.", name=getattr(changed, pages.label)), "ok")
        return pages.back()

    @blueprint.post(f"{one}/off")
    @manage
    def switch_off(**named: UUID) -> BaseResponse:
        """Refuse what it sends from now on."""
        pages.switch(db_session(), guard.actor(), named[pages.parameter], guard.now(), on=False)
        flash(_("The node is switched off."), "ok")
        return pages.back()

    @blueprint.post(f"{one}/on")
    @manage
    def switch_on(**named: UUID) -> BaseResponse:
        """Take what it sends again."""
        pages.switch(db_session(), guard.actor(), named[pages.parameter], guard.now(), on=True)
        flash(_("The node is switched on."), "ok")
        return pages.back()


def _team() -> UUID:
    """The team that a form names; none that exists where it names none."""
    return _uuid(request.form.get("team", "")) or UUID(int=0)


def _asked_for() -> UUID | None:
    return _uuid(request.args.get("change", ""))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _status(refused: Invalid | Conflict) -> int:
    return 422 if isinstance(refused, Invalid) else 409
