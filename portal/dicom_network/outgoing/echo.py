"""The echo test: whether a node answers at its host and port, and to our AE title."""

from typing import Final
from uuid import UUID

from pynetdicom.presentation import build_context
from sqlalchemy.orm import Session

from portal.access import Actor
from portal.dicom_network import association, classes, nodes
from portal.dicom_network.outgoing import calling
from portal.exchange.outbound import NotAllowed
from portal.languages import lazy
from portal.settings import Settings
from xray_files import kinds

_SECONDS: Final = 5.0
# The result of a test, and whether it is a good one.
RESULTS: Final = {
    "answers": lazy("It answers."),
    "no_place": lazy("The node has no host and port."),
    "not_allowed": lazy(
        "The node’s host and port are not in PLEURA_OUTGOING_HOSTS, or its address is not one that "
        "may be called."
    ),
    "no_association": lazy(
        "It does not answer, refuses the association, or does not show its TLS certificate."
    ),
    "no_echo": lazy("It associates, but does not answer the echo."),
}


def test(session: Session, actor: Actor | None, settings: Settings, node_id: UUID) -> str:
    """Call a node and echo; a key of `RESULTS`. Denied where there is no such node."""
    node = nodes.node(session, actor, node_id)
    if node.host is None:
        return "no_place"
    association.silence()
    contexts = [build_context(classes.VERIFICATION, [kinds.EXPLICIT, kinds.IMPLICIT])]
    try:
        found = calling.associate(
            settings, calling.own_title(settings), node, contexts, seconds=_SECONDS
        )
    except NotAllowed:
        return "not_allowed"
    except OSError:
        return "no_association"
    if found is None:
        return "no_association"
    try:
        status = found.send_c_echo()
        return "answers" if "Status" in status and status.Status == 0 else "no_echo"
    finally:
        if found.is_established:
            found.release()
