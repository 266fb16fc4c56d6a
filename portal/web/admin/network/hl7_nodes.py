"""HL7 nodes for administrators: which systems may send messages, from where, and for which team."""

from typing import Any
from uuid import UUID

from flask import Blueprint, request

from portal.access import Actor
from portal.governance import scheduler_signs
from portal.hl7 import messages, nodes
from portal.models import Hl7Node
from portal.services import db_session
from portal.web.admin.network.node_views import NodePages, add_views

blueprint = Blueprint("hl7", __name__, url_prefix="/admin/hl7")


def _found(session: Any, actor: Actor) -> list[tuple[nodes.Listed, Hl7Node]]:
    return [(one, one.node) for one in nodes.nodes(session, actor)]


def _stated(team_id: UUID) -> nodes.Described:
    form = request.form
    names = ("name", "application", "facility", "networks", "fingerprint", "authority")
    return nodes.Described(
        team_id=team_id,
        accession_field=form.get("accession_field", nodes.ACCESSION_FIELDS[0]),
        charset=form.get("charset", "ASCII"),
        **{name: form.get(name, "") for name in names},
    )


def _more() -> dict[str, Any]:
    session = db_session()
    return {
        "accession_fields": [(one, one) for one in nodes.ACCESSION_FIELDS],
        "charsets": [(one, one) for one in messages.CHARSETS],
        "listens": scheduler_signs.hl7_works(session),
        "is_silent": scheduler_signs.hl7_is_silent(session),
    }


add_views(
    NodePages(
        blueprint=blueprint,
        parameter="hl7_node_id",
        template="admin/hl7.html",
        found=_found,
        described=lambda _session, node: nodes.described(node),
        stated=_stated,
        add=nodes.add,
        change=nodes.change,
        switch=nodes.switch,
        label="name",
        more=_more,
    )
)
