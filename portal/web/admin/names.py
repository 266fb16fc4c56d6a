"""What states and kinds are called on the pages of administrators."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from portal.formats.refusals import REASONS
from portal.hl7.sending import probe
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
    "other_patient": lazy("It is of another patient than the one that was asked about."),
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

_SEND_STATES: Final = {
    "preparing": lazy("being prepared"),
    "waiting": lazy("waiting"),
    "taken": lazy("taken, proof awaited"),
    "proving": lazy("proof awaited"),
    "proven": lazy("stored, with proof"),
    "unproven": lazy("sent, unproven"),
    "failed": lazy("failed"),
    "dropped": lazy("not sent"),
}
_SEND_MOMENTS: Final = {
    "result": lazy("result"),
    "verdict": lazy("verdict"),
    "signature": lazy("signature"),
}
_SEND_PROOFS: Final = {
    "commitment": lazy("storage commitment"),
    "found": lazy("found by C-FIND"),
}
# Why a send waits, failed or was dropped; and what is wrong with one of its objects.
_SEND_REASONS: Final = {
    "again": lazy("It is tried again."),
    "being_made": lazy("Its objects are being made."),
    "changed": lazy("The case has changed: new objects are made."),
    "not_ready": lazy("The picture is still being prepared."),
    "not_analysed_yet": lazy("The analysis is not finished."),
    "verdict_first": lazy("The team sees AI results only after a verdict."),
    "second_read": lazy("The case waits for a second reader."),
    "no_association": lazy("The node is away, or refuses the association."),
    "not_allowed": lazy("The node’s host and port are not in PLEURA_OUTGOING_HOSTS."),
    "no_answer": lazy("The node did not answer in time."),
    "ended": lazy("The node ended the association."),
    "put_off": lazy("The node can’t take it now."),
    "refused": lazy("The node refuses the object."),
    "context_refused": lazy("The node does not take this class or transfer syntax."),
    "not_committed": lazy("The node has taken it, but states that it is not stored."),
    "not_found": lazy("The node has taken it, but C-FIND does not find it."),
    "not_now": lazy("Database, store or Redis did not answer."),
    "portal_failed": lazy("The portal failed; its log has the kind of error."),
    "damaged": lazy("A file of the case is damaged."),
    "report_failed": lazy("The report could not be made."),
    "objects_failed": lazy("The objects could not be made."),
    "some_not_made": lazy("The objects of a picture could not be made; the others are stored."),
    "purged": lazy("The case was purged."),
    "retracted": lazy("The AI result was retracted."),
    "superseded": lazy("Something newer of the case is sent instead."),
    "not_wanted": lazy("The node gets nothing any more."),
    "other_team": lazy("The node belongs to another team now."),
    "ai_hidden": lazy("The team hides AI results."),
    "no_ai_result": lazy("There is no AI result that may be shown."),
    "no_dicom": lazy("No picture came as DICOM with a UID of its own."),
    "nothing_to_send": lazy("None of the chosen objects exists for this case."),
}

_RETRIEVAL_STATES: Final = {
    "waiting": lazy("waiting"),
    "done": lazy("done"),
    "failed": lazy("failed"),
    "dropped": lazy("not looked for"),
}
_BACKFILL_STATES: Final = {
    "running": lazy("goes on"),
    "paused": lazy("paused"),
    "ended": lazy("ended"),
    "done": lazy("done"),
}
# Why a retrieval waits, failed or was dropped.
_RETRIEVAL_REASONS: Final = {
    "no_association": _SEND_REASONS["no_association"],
    "not_allowed": _SEND_REASONS["not_allowed"],
    "no_answer": lazy("The node did not answer in time, or ended the association."),
    "not_now": _SEND_REASONS["not_now"],
    "portal_failed": _SEND_REASONS["portal_failed"],
    "damaged": lazy("The case can’t be read."),
    "purged": _SEND_REASONS["purged"],
    "other_team": _SEND_REASONS["other_team"],
    "paused": lazy("The back-fill is paused."),
    "ended_by_admin": lazy("The back-fill was ended."),
    "off_peak": lazy("It goes on in the off-peak hours."),
    "goes_on": lazy("It goes on in a moment."),
    "not_queried": lazy("The node may not be queried any more."),
    "context_refused": lazy("The node does not offer searches, or this way of retrieving."),
    "query_refused": lazy("The node refuses the search."),
    "too_many_answers": lazy("The node gives more answers than can be true."),
    "id_not_searchable": lazy("The patient ID has characters that match other IDs, too."),
    "not_sent": lazy("The node states that it has sent a picture that did not come."),
    "put_off": lazy("The node can’t send it now."),
    "destination_unknown": lazy("The node does not know this portal’s AE title."),
    "sub_operation_failed": lazy("The node could not send a picture, or it was not taken."),
    "node_failed": lazy("The node failed to send a picture."),
    "failed": _DICOM_REASONS["failed"],
    "too_large": lazy("A picture is too large."),
    "disk_nearly_full": lazy("The disk is nearly full."),
    "disk_full": lazy("The disk is full."),
    "quota": lazy("The node’s quota of uploads is reached."),
}

_REPORT_STATES: Final = {
    "waiting": lazy("waiting"),
    "proven": lazy("accepted"),
    "failed": lazy("failed"),
    "dropped": lazy("not sent"),
}
_REPORT_MOMENTS: Final = {
    "signature": lazy("signature"),
    "addendum": lazy("addendum"),
    "retraction": lazy("retraction of the model"),
}
# Why a report waits, failed or was dropped.
_REPORT_REASONS: Final = {
    **probe.RESULTS,
    "again": lazy("It is tried again."),
    "answered_error": lazy("It answers that it can’t take the report now (AE)."),
    "answered_refused": lazy("It refuses the report (AR)."),
    "charset_lacks": lazy("The target’s character set lacks a character of the report."),
    "clock": lazy("This machine’s clock is wrong."),
    "too_long": lazy("The report is too long for a message."),
    "second_read": lazy("The case waits for a second reader."),
    "not_now": lazy("Database, store or Redis did not answer."),
    "portal_failed": lazy("The portal failed; its log has the kind of error."),
    "damaged": lazy("A file of the case is damaged."),
    "purged": lazy("The case was purged."),
    "superseded": lazy("Something newer of the case is sent instead."),
    "unchanged": lazy("The target has accepted the same already."),
    "not_signed": lazy("The case is not signed."),
    "no_patient_id": lazy("The case has no patient ID."),
    "no_accession": lazy("The case has no accession number."),
    "other_team": lazy("The case belongs to another team now."),
    "target_ended": lazy("The target has ended."),
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
        "send_state": _SEND_STATES,
        "send_moment": _SEND_MOMENTS,
        "send_proof": _SEND_PROOFS,
        "send_reason": _SEND_REASONS,
        "retrieval_state": _RETRIEVAL_STATES,
        "retrieval_reason": _RETRIEVAL_REASONS,
        "backfill_state": _BACKFILL_STATES,
        "report_state": _REPORT_STATES,
        "report_moment": _REPORT_MOMENTS,
        "report_reason": _REPORT_REASONS,
    }
)
"""By the name of the filter that templates use."""


def named(table: Mapping[str, str], code: str) -> str:
    """The text of a code; the code itself where a later version has stored another one."""
    return str(table.get(code, str(code).replace("_", " ")))
