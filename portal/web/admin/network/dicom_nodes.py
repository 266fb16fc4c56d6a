"""DICOM nodes for administrators: which systems may send, from where, and what was refused."""

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, request
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Actor, Permission
from portal.dicom_network import nodes, refusals
from portal.dicom_network.outgoing import echo
from portal.dicom_network.retrieving import overview as retrievals
from portal.dicom_network.retrieving import sources
from portal.dicom_network.sending import choices, overview
from portal.errors import Conflict
from portal.governance import scheduler_signs
from portal.languages import _
from portal.models import DicomNode
from portal.services import db_session
from portal.web.admin.network.node_views import NodePages, add_views
from portal.web.security import guard

blueprint = Blueprint("dicom", __name__, url_prefix="/admin/dicom")


def _found(session: Any, actor: Actor) -> list[tuple[str, DicomNode]]:
    return [(team, node) for node, team in nodes.nodes(session, actor)]


def _stated(team_id: UUID) -> nodes.Described:
    form = request.form
    return nodes.Described(
        name=form.get("name", ""),
        ae_title=form.get("ae_title", ""),
        team_id=team_id,
        sends=form.get("sends") == "yes",
        receives=form.get("receives") == "yes",
        networks=form.get("networks", ""),
        host=form.get("host", ""),
        port=form.get("port", ""),
        fingerprint=form.get("fingerprint", ""),
        objects=tuple(form.getlist("objects")),
        moments=tuple(form.getlist("moments")),
        queried=form.get("queried", ""),
        priors=form.get("priors") == "yes",
        at_once=form.get("at_once", ""),
    )


def _more() -> dict[str, Any]:
    session, actor, vault = db_session(), guard.actor(), guard.services().vault
    return {
        "sends": overview.sends(session, vault, actor, guard.now()),
        "gets": choices.all_of(session),
        "kinds": choices.OBJECTS,
        "moments": choices.MOMENTS,
        "sends_most": overview.MOST,
        "queried": sources.all_of(session),
        "ways": sources.KINDS,
        "retrievals": retrievals.retrievals(session, actor, guard.now()),
        "retrievals_most": retrievals.MOST,
        "sender_works": scheduler_signs.sender_works(session),
        "sender_is_silent": scheduler_signs.sender_is_silent(session),
        "refused": refusals.newest(session, vault, actor, guard.now()),
        "listens": scheduler_signs.dicom_works(session),
        "is_silent": scheduler_signs.dicom_is_silent(session),
    }


_PAGES = NodePages(
    blueprint=blueprint,
    parameter="node_id",
    template="admin/dicom.html",
    found=_found,
    described=nodes.described,
    stated=_stated,
    add=nodes.add,
    change=nodes.change,
    switch=nodes.switch,
    label="ae_title",
    more=_more,
)
_manage = guard.permission(Permission.PEOPLE_MANAGE, step_up=_PAGES.page)
add_views(_PAGES)


@blueprint.post("/<uuid:node_id>/echo")
@_manage
def test(node_id: UUID) -> BaseResponse:
    """Call the node at its host and port."""
    result = echo.test(db_session(), guard.actor(), guard.services().settings, node_id)
    flash(str(echo.RESULTS[result]), "ok" if result == "answers" else "warn")
    return _PAGES.back()


@blueprint.post("/sends/<uuid:send_id>/again")
@_manage
def send_again(send_id: UUID) -> BaseResponse:
    """Have a send tried again now."""
    try:
        overview.again(db_session(), guard.actor(), send_id, guard.now())
    except Conflict as refused:
        flash(refused.message, "warn")
    else:
        flash(_("It is tried again."), "ok")
    return _PAGES.back()


@blueprint.post("/retrievals/<uuid:retrieval_id>/again")
@_manage
def retrieve_again(retrieval_id: UUID) -> BaseResponse:
    """Have a retrieval tried again now."""
    try:
        retrievals.again(db_session(), guard.actor(), retrieval_id, guard.now())
    except Conflict as refused:
        flash(refused.message, "warn")
    else:
        flash(_("It is tried again."), "ok")
    return _PAGES.back()
