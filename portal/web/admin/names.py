"""What states and kinds are called on the pages of administrators."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from portal.formats.refusals import REASONS
from portal.languages import lazy
from portal.web.admin.event_names import EVENTS, VIA

_QUEUES: Final = {
    "render": lazy("render"),
    "segment": lazy("segment"),
    "measure": lazy("measure"),
    "report": lazy("report"),
    "encode": lazy("DICOM objects"),
    "drift": lazy("drift"),
}
_MODEL_STATES: Final = {
    "active": lazy("active"),
    "candidate": lazy("candidate"),
    "retired": lazy("retired"),
}
_SENT_STATES: Final = {
    "waiting": lazy("waiting"),
    "sent": lazy("sent"),
    "failed": lazy("failed"),
    "dropped": lazy("dropped"),
}
_CASE_STATES: Final = {
    "received": lazy("received"),
    "preparing": lazy("preparing"),
    "ready": lazy("ready"),
    "analysing": lazy("analysing"),
    "done": lazy("done"),
    "no_result": lazy("no result"),
    "failed": lazy("failed"),
}
_FILE_KINDS: Final = {
    "source": lazy("source"),
    "pixels": lazy("pixels"),
    "preview": lazy("preview"),
    "thumb": lazy("thumbnail"),
    "probability": lazy("probability"),
    "mask": lazy("mask"),
    "overlay": lazy("overlay"),
    "review_mask": lazy("reader’s outline"),
    "report_content": lazy("content of a report"),
    "report": lazy("report"),
    "filed_object": lazy("filed DICOM object"),
}

# Why a data set that came by DICOM or DICOMweb was refused: the reasons of an upload, and those of
# the network.
_DICOM_REASONS: Final = {
    **{code: text for code, text in REASONS.items() if "%(" not in str(text)},
    "too_large": lazy("The file is too large."),
    "header_too_large": lazy("The file’s header is too large."),
    "unsupported_modality": lazy("It is no projection X-ray (CR, DX)."),
    "too_many_pixels": lazy("The picture has too many pixels."),
    "unfolds_too_large": lazy("The deflated file unfolds to too much."),
    "class_not_of_context": lazy("Its class is not the one that was agreed on."),
    "bad_instance_uid": lazy("Its SOPInstanceUID can be none."),
    "other_than_stated": lazy("Class or UID differ from those that the sender stated."),
    "class_not_taken": lazy("Objects of its class are not taken."),
    "other_study": lazy("It is of another study than the address names."),
    "not_dicom": lazy("It is no DICOM file."),
    "part_type": lazy("It was not sent as application/dicom."),
    "exam_not_here": lazy("The exam that the object belongs to is not here."),
    "not_authorised": lazy("The node was switched off."),
    "by_rule": lazy("A rule of the team keeps it out."),
    "quarantined": lazy("A rule of the team keeps it in quarantine."),
    "unfit": lazy("A value of its header can’t be stored."),
    "key_missing": lazy("The picture is here, but its key is missing."),
    "failed": lazy("The portal failed; its log has the kind of error."),
}

TABLES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "queue": _QUEUES,
        "model_state": _MODEL_STATES,
        "sent_state": _SENT_STATES,
        "case_state": _CASE_STATES,
        "file_kind": _FILE_KINDS,
        "event": EVENTS,
        "via": VIA,
        "dicom_reason": _DICOM_REASONS,
    }
)
"""By the name of the filter that templates use."""


def named(table: Mapping[str, str], code: str) -> str:
    """The text of a code; the code itself where a later version has stored another one."""
    return str(table.get(code, str(code).replace("_", " ")))
