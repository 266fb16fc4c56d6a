"""A sender made with pynetdicom, which shows the status and comment that it gets."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import build_context

from portal.dicom_network import classes, listener
from tests.support.dicom.listening import OURS, TITLE
from xray_files import kinds

DX = "1.2.840.10008.5.1.4.1.1.1.1"


def associate(
    listens: listener.Listener,
    *,
    title: str = TITLE,
    to: str = OURS,
    tls: ssl.SSLContext | None = None,
    syntaxes: tuple[str, ...] = (kinds.EXPLICIT,),
    sop_classes: tuple[str, ...] = (DX,),
) -> Association:
    """Ask for an association; it may be refused."""
    entity = ApplicationEntity(title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    for one in (*sop_classes, classes.VERIFICATION):
        entity.add_requested_context(one, list(syntaxes))
    return entity.associate(
        "127.0.0.1", listens.port, ae_title=to, tls_args=(tls, "localhost") if tls else None
    )


def refusal(listens: listener.Listener, **options: Any) -> tuple[int, int, int]:
    """Result, source and reason of an association that is refused."""
    association = associate(listens, **options)
    assert association.is_rejected
    answer = association.acceptor.primitive
    assert answer is not None
    return answer.result, answer.result_source, answer.diagnostic


@contextmanager
def associated(listens: listener.Listener, **options: Any) -> Iterator[Association]:
    """An association that is accepted, released at the end."""
    association = associate(listens, **options)
    assert association.is_established
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def store(association: Association, data: bytes, **stated: str) -> Dataset:
    """Send a file's data set as it is encoded; `stated` overrides class and UID of the command."""
    file = dcmread(BytesIO(data), stop_before_pixels=True, force=True)
    sop_class = stated.get("sop_class") or str(file.SOPClassUID)
    encoded = data_set_of(data)
    context = next(
        number
        for number, one in association._accepted_cx.items()
        if one.abstract_syntax == stated.get("context", sop_class)
    )
    return send(association, context, sop_class, stated.get("uid") or file.SOPInstanceUID, encoded)


def send(
    association: Association, context: int, sop_class: str, uid: str, encoded: bytes
) -> Dataset:
    """One C-STORE with these bytes as its data set; the response's elements."""
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, uid
    request.Priority = 2
    request.DataSet = BytesIO(encoded)
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        pass
    try:
        association.dimse.send_msg(request, context)
        _, response = association.dimse.get_msg(block=True)
    finally:
        association._reactor_checkpoint.set()
    found = Dataset()
    if response is not None:
        found.Status = response.Status
        found.ErrorComment = response.ErrorComment or ""
    return found


def data_set_of(data: bytes) -> bytes:
    """What comes behind the file meta information."""
    stream = BytesIO(data)
    length = int.from_bytes(data[140:144], "little")
    stream.seek(144 + length)
    return stream.read()


def context_of(sop_class: str, syntax: str = kinds.EXPLICIT) -> Any:
    return build_context(sop_class, [syntax])
