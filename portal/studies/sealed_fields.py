"""Sealing and opening of patient data, facts and comments, each bound to its row and column."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal
from uuid import UUID

from portal.models import (
    Addendum,
    Arrival,
    BreakGlass,
    Communication,
    DicomRefusal,
    DicomSentObject,
    HospitalOrder,
    HospitalReport,
    Instance,
    OutlineDraft,
    ReportSend,
    Review,
    ReviewAnnotations,
    ReviewDraft,
    Study,
)
from portal.vault import NotReadable, Vault
from worker.contract import facts as contract
from xray_files import dates

# Before the name of a corrected value: that of the header.
HEADER: Final = "header_"
# Where the rows and columns of a picture run in the patient, by how its side marker stands.
_ROWS_RUN: Final = {"usual": ["L", "F"], "mirrored": ["R", "F"]}


@dataclass(frozen=True, slots=True)
class Patient:
    """The patient's data as texts for display; empty where the header has none."""

    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    birth_date: str = field(default="", repr=False)
    sex: str = field(default="", repr=False)
    age: str = field(default="", repr=False)
    study_date: str = field(default="", repr=False)
    study_time: str = field(default="", repr=False)
    accession: str = field(default="", repr=False)
    description: str = field(default="", repr=False)
    filename: str = field(default="", repr=False)
    # Which of them the sender typed, as names with commas between; and how the side marker stands.
    typed: str = ""
    side_marker: str = ""
    # The day on which a message of the hospital's changed them; empty: they are the header's.
    corrected: str = ""

    @classmethod
    def of(cls, phi: dict[str, str]) -> "Patient":
        """The fields that pages show, out of everything that was sealed."""
        return cls(**{f.name: phi[f.name] for f in fields(cls) if f.name in phi})

    @classmethod
    def of_header(cls, phi: dict[str, str]) -> "Patient":
        """The same as the header had them, before a message of the hospital's changed them."""
        named = {f.name: phi.get(f"{HEADER}{f.name}", phi.get(f.name, "")) for f in fields(cls)}
        return cls(**named | {"corrected": ""})

    def is_another(self, other: "Patient") -> bool:
        """Whether two headers name different people; what one leaves out is no difference."""
        both = (
            (getattr(self, name), getattr(other, name))
            for name in ("patient_name", "patient_id", "birth_date", "sex")
        )
        return any(one and other and one != other for one, other in both)


@dataclass(frozen=True, slots=True)
class Annotation:
    """A ruler, or an arrow that points at the end of its line: from x, y to x, y in pixels of the
    source. Only an arrow has a text, "" for none.
    """

    kind: Literal["ruler", "arrow"]
    line: tuple[float, float, float, float]
    text: str = field(default="", repr=False)


def key_of(vault: Vault, study: Study) -> bytes:
    """The study's data key; NotReadable once it was destroyed."""
    return vault.data_key(study.id, study.wrapped_key, study.key_id)


def instance_key_of(vault: Vault, instance: Instance) -> bytes:
    """The data key of a picture; NotReadable once it was destroyed."""
    return vault.data_key(instance.study_id, instance.wrapped_key, instance.key_id, instance.id)


def open_picture_phi(vault: Vault, data_key: bytes, instance: Instance) -> dict[str, str]:
    """Everything that was sealed of a picture's header."""
    if instance.sealed_phi is None:
        raise NotReadable("the study was purged")
    aad = f"instances:{instance.id}:phi"
    phi: dict[str, str] = json.loads(vault.open_(data_key, aad, instance.sealed_phi))
    return phi


def seal_phi(vault: Vault, data_key: bytes, study_id: UUID, phi: dict[str, str]) -> bytes:
    """The patient's data, for `studies.sealed_phi`."""
    return vault.seal(data_key, f"studies:{study_id}:phi", json.dumps(phi).encode())


def open_patient(vault: Vault, data_key: bytes, study: Study) -> Patient:
    """The patient's data of a study, as the header of its first picture had them."""
    return Patient.of(open_phi(vault, data_key, study))


def open_phi(vault: Vault, data_key: bytes, study: Study) -> dict[str, str]:
    """Everything that was sealed of the study's patient."""
    if study.sealed_phi is None:
        raise NotReadable("the study was purged")
    phi: dict[str, str] = json.loads(
        vault.open_(data_key, f"studies:{study.id}:phi", study.sealed_phi)
    )
    return phi


def seal_picture_phi(
    vault: Vault, data_key: bytes, instance_id: UUID, phi: dict[str, str]
) -> bytes:
    """The patient's data as one picture's own header has them, for `instances.sealed_phi`."""
    return vault.seal(data_key, f"instances:{instance_id}:phi", json.dumps(phi).encode())


def open_picture_patient(vault: Vault, data_key: bytes, instance: Instance) -> Patient:
    """The patient's data as the picture's own header has them."""
    return Patient.of(open_picture_phi(vault, data_key, instance))


def open_picture_uids(
    vault: Vault, data_key: bytes, instance: Instance
) -> tuple[str, str, str] | None:
    """The UIDs of study, series and picture in its own header; None where one is missing."""
    phi = open_picture_phi(vault, data_key, instance)
    study, series, sop = (phi.get(f"{name}_uid", "") for name in ("study", "series", "sop"))
    return (study, series, sop) if study and series and sop else None


def seal_facts(vault: Vault, data_key: bytes, instance_id: UUID, facts: dict[str, Any]) -> bytes:
    """What the render job found, for `instances.sealed_facts`."""
    data = json.dumps(facts, allow_nan=False).encode()
    return vault.seal(data_key, f"instances:{instance_id}:facts", data)


def seal_arrival(vault: Vault, data_key: bytes, instance_id: UUID, facts: dict[str, Any]) -> bytes:
    """By what the team's rules judged a picture when it arrived, for `arrivals.sealed_facts`."""
    data = json.dumps(facts, allow_nan=False).encode()
    return vault.seal(data_key, f"arrivals:{instance_id}:facts", data)


def open_arrival(vault: Vault, data_key: bytes, arrival: Arrival) -> dict[str, Any]:
    """By what the team's rules judged a picture when it arrived."""
    aad = f"arrivals:{arrival.instance_id}:facts"
    facts: dict[str, Any] = json.loads(vault.open_(data_key, aad, arrival.sealed_facts))
    return facts


def open_facts(vault: Vault, data_key: bytes, instance: Instance) -> dict[str, Any] | None:
    """What the render job found; None before it is done."""
    if instance.sealed_facts is None:
        return None
    aad = f"instances:{instance.id}:facts"
    facts: dict[str, Any] = json.loads(vault.open_(data_key, aad, instance.sealed_facts))
    return _with_plausible_spacing(facts)


def open_stated_facts(vault: Vault, data_key: bytes, instance: Instance) -> dict[str, Any] | None:
    """The facts for a job and for the viewer: of a file without a header, the age and the side are
    those of what its sender typed. A mirrored picture has the patient's left at its left edge, so
    that the model's side, and the letter beside the film, is the patient's.
    """
    facts = open_facts(vault, data_key, instance)
    if facts is None or instance.sealed_phi is None:
        return facts
    stated = open_picture_patient(vault, data_key, instance)
    found = dict[str, Any]()
    if facts.get("patient_age_years") is None and (age := dates.age(stated.age)) is not None:
        found["patient_age_years"] = dates.in_years(age)
    if not facts.get("orientation") and stated.side_marker in _ROWS_RUN:
        found["orientation"] = _ROWS_RUN[stated.side_marker]
    return facts | found


def _with_plausible_spacing(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts as a render job of today would find them: older ones may hold any spacing."""
    spacing = facts.get("spacing")
    if not spacing or contract.is_plausible(
        spacing["row_mm"], spacing["column_mm"], facts["rows"], facts["columns"]
    ):
        return facts
    notes = [*(facts.get("notes") or ()), contract.NOT_PLAUSIBLE]
    return facts | {"spacing": None, "notes": notes}


def seal_comment(vault: Vault, data_key: bytes, review_id: UUID, comment: str) -> bytes:
    """A reader's comment, for `reviews.sealed_comment`."""
    return vault.seal(data_key, f"reviews:{review_id}:comment", comment.encode())


def open_comment(vault: Vault, data_key: bytes, review: Review) -> str:
    """A reader's comment; empty where there is none."""
    if review.sealed_comment is None:
        return ""
    return vault.open_(data_key, f"reviews:{review.id}:comment", review.sealed_comment).decode()


def seal_addendum(vault: Vault, data_key: bytes, addendum_id: UUID, text: str) -> bytes:
    """A text on a signed exam, for `addenda.sealed_text`."""
    return vault.seal(data_key, f"addenda:{addendum_id}:text", text.encode())


def open_addendum(vault: Vault, data_key: bytes, addendum: Addendum) -> str:
    """A text on a signed exam."""
    return vault.open_(data_key, f"addenda:{addendum.id}:text", addendum.sealed_text).decode()


def seal_annotations(
    vault: Vault,
    data_key: bytes,
    instance_id: UUID,
    reader_id: UUID,
    annotations: Sequence[Annotation],
) -> bytes:
    """A reader's draft of a picture, for `review_drafts.sealed_rulers`."""
    aad = f"review_drafts:{instance_id}:{reader_id}:rulers"
    return vault.seal(data_key, aad, _annotations_as_json(annotations))


def open_annotations(vault: Vault, data_key: bytes, draft: ReviewDraft) -> list[Annotation]:
    """What a draft holds, also one of a version before, which knew rulers alone."""
    aad = f"review_drafts:{draft.instance_id}:{draft.reader_id}:rulers"
    return _annotations_of(vault.open_(data_key, aad, draft.sealed_rulers))


def seal_review_annotations(
    vault: Vault,
    data_key: bytes,
    review_id: UUID,
    instance_id: UUID,
    annotations: Sequence[Annotation],
) -> bytes:
    """What a review keeps of a picture, for `review_annotations.sealed_annotations`."""
    aad = f"review_annotations:{review_id}:{instance_id}"
    return vault.seal(data_key, aad, _annotations_as_json(annotations))


def open_review_annotations(
    vault: Vault, data_key: bytes, row: ReviewAnnotations
) -> list[Annotation]:
    """What a review keeps of a picture."""
    aad = f"review_annotations:{row.review_id}:{row.instance_id}"
    return _annotations_of(vault.open_(data_key, aad, row.sealed_annotations))


def _annotations_as_json(annotations: Sequence[Annotation]) -> bytes:
    return json.dumps([asdict(one) for one in annotations], allow_nan=False).encode()


def _annotations_of(data: bytes) -> list[Annotation]:
    found = []
    for one in json.loads(data):
        is_old = isinstance(one, list)
        x0, y0, x1, y1 = one if is_old else one["line"]
        is_arrow = not is_old and one["kind"] == "arrow"
        text = "" if is_old else one["text"]
        found.append(Annotation("arrow" if is_arrow else "ruler", (x0, y0, x1, y1), text))
    return found


def seal_outline(
    vault: Vault, data_key: bytes, instance_id: UUID, lock: UUID, runs: bytes
) -> bytes:
    """An outline that is being edited, for `outline_drafts.sealed_runs`."""
    return vault.seal(data_key, f"outline_drafts:{instance_id}:{lock}:runs", runs)


def open_outline(vault: Vault, data_key: bytes, draft: OutlineDraft) -> bytes | None:
    """The runs of an outline that is being edited; None where nothing was drawn yet."""
    if draft.sealed_runs is None:
        return None
    aad = f"outline_drafts:{draft.instance_id}:{draft.lock}:runs"
    return vault.open_(data_key, aad, draft.sealed_runs)


def seal_informed(vault: Vault, data_key: bytes, communication_id: UUID, person: str) -> bytes:
    """Who was informed of a critical finding, for `communications.sealed_person`."""
    return vault.seal(data_key, f"communications:{communication_id}:person", person.encode())


def open_informed(vault: Vault, data_key: bytes, row: Communication) -> str:
    """Who was informed of a critical finding."""
    return vault.open_(data_key, f"communications:{row.id}:person", row.sealed_person).decode()


def seal_answer(vault: Vault, data_key: bytes, row: DicomSentObject, comment: str) -> bytes:
    """What a node remarked on an object, for `dicom_sent_objects.sealed_comment`."""
    return vault.seal(data_key, _aad_of_answer(row), comment.encode())


def open_answer(vault: Vault, data_key: bytes, row: DicomSentObject) -> str:
    """What a node remarked on an object; empty where it did not."""
    if row.sealed_comment is None:
        return ""
    return vault.open_(data_key, _aad_of_answer(row), row.sealed_comment).decode()


def _aad_of_answer(row: DicomSentObject) -> str:
    return f"dicom_sent_objects:{row.send_id}:{row.sop_key}:comment"


def seal_remark(vault: Vault, data_key: bytes, send_id: UUID, remark: str) -> bytes:
    """What a target remarked on a report, for `report_sends.sealed_remark`."""
    return vault.seal(data_key, f"report_sends:{send_id}:remark", remark.encode())


def open_remark(vault: Vault, data_key: bytes, row: ReportSend) -> str:
    """What a target remarked on a report; empty where it did not."""
    if row.sealed_remark is None:
        return ""
    return vault.open_(data_key, f"report_sends:{row.id}:remark", row.sealed_remark).decode()


def seal_explanation(vault: Vault, data_key: bytes, grant_id: UUID, words: str) -> bytes:
    """The explanation of an emergency access, for `break_glass.sealed_words`."""
    return vault.seal(data_key, f"break_glass:{grant_id}:words", words.encode())


def open_explanation(vault: Vault, data_key: bytes, grant: BreakGlass) -> str:
    """The explanation of an emergency access."""
    return vault.open_(data_key, f"break_glass:{grant.id}:words", grant.sealed_words).decode()


def seal_location(vault: Vault, data_key: bytes, order_id: UUID, location: str) -> bytes:
    """Where the patient of an order is, for `hospital_orders.sealed_location`."""
    return vault.seal(data_key, f"hospital_orders:{order_id}:location", location.encode())


def open_location(vault: Vault, order: HospitalOrder) -> str:
    """Where the patient of an order is; NotReadable where its key is another's or destroyed."""
    data_key = vault.data_key(order.id, order.wrapped_key, order.key_id)
    aad = f"hospital_orders:{order.id}:location"
    return vault.open_(data_key, aad, order.sealed_location).decode()


def seal_hospital_report(vault: Vault, data_key: bytes, report_id: UUID, text: str) -> bytes:
    """The text of a report of the hospital's, for `hospital_reports.sealed_text`."""
    return vault.seal(data_key, f"hospital_reports:{report_id}:text", text.encode())


def open_hospital_report(vault: Vault, report: HospitalReport) -> str:
    """The text of a report of the hospital's; NotReadable as for an order."""
    data_key = vault.data_key(report.id, report.wrapped_key, report.key_id)
    aad = f"hospital_reports:{report.id}:text"
    return vault.open_(data_key, aad, report.sealed_text).decode()


def seal_refused_uid(vault: Vault, row: DicomRefusal, sop_uid: str) -> bytes:
    """Which object was refused, for `dicom_refusals.sealed_sop_uid`."""
    return vault.seal(_key_of_refusals(vault), _aad_of_refusal(row), sop_uid.encode()[:128])


def open_refused_uid(vault: Vault, row: DicomRefusal) -> str:
    """Which object was refused."""
    return vault.open_(_key_of_refusals(vault), _aad_of_refusal(row), row.sealed_sop_uid).decode()


def _aad_of_refusal(row: DicomRefusal) -> str:
    return f"dicom_refusals:{row.id}:{row.node_id or row.sender_id}"


def _key_of_refusals(vault: Vault) -> bytes:
    """Derived, not kept: it belongs to no study."""
    return bytes.fromhex(vault.lookup("key", "dicom_refusals"))
