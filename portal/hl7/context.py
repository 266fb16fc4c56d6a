"""What the parts that apply a message share: who sent it, in which transaction, and whose ID and
accession number it names.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Actor
from portal.hl7.messages import NULL, NotTaken, Segment
from portal.models import Hl7Node, Study
from portal.studies import header_columns, locks, patients
from portal.vault import Vault

_LONGEST_NUMBER: Final = 64  # as of a header's
# Types of patient IDs (HL7 table 0203) that may stand for the patient where no authority is stated.
_OF_PATIENTS: Final = frozenset({"", "MR", "PI", "PT", "PN"})


@dataclass(frozen=True, slots=True)
class Context:
    """Of one message: the transaction that applies it, its sender and the time."""

    session: Session
    vault: Vault
    node: Hl7Node
    actor: Actor
    now: datetime


@dataclass(frozen=True, slots=True)
class Taken:
    """What a message has changed: exams that are here, and whether anything was stored at all."""

    studies: tuple[UUID, ...] = ()
    is_stored: bool = False


@dataclass(frozen=True, slots=True)
class PatientId:
    """A patient ID and who has issued it, as the message has them."""

    number: str = field(repr=False)
    issuer: str

    def keys(self, vault: Vault) -> list[str]:
        """The digests by which exams have it: of headers that name the issuer, or none."""
        issuers = dict.fromkeys(("", self.issuer))
        return [header_columns.patient_key(vault, issuer, self.number) for issuer in issuers]

    def number_key(self, vault: Vault) -> str:
        """The digest of the ID alone."""
        return header_columns.number_key(vault, "patient_id", self.number)


def patient_id(node: Hl7Node, segment: Segment, number: int) -> PatientId:
    """The patient ID in a repeated field (PID-3, MRG-1): that of the node's authority, else the
    first one that is a patient's; NotTaken `no_patient_id`.
    """
    for repetition in range(1, segment.repetitions(number) + 1):

        def part(component: int, one: int = repetition) -> str:
            return segment.text(number, component, repetition=one, longest=_LONGEST_NUMBER)

        found, issuer, kind = part(1), part(4), part(5)
        fits = issuer == node.authority if node.authority else kind in _OF_PATIENTS
        if header_columns.folded(found) and found != NULL and fits:
            return PatientId(found, "" if issuer == NULL else issuer)
    raise NotTaken("AE", "no_patient_id", 101, f"{segment.name}-{number}")


def accession(node: Hl7Node, observed: Segment, procedure: Segment | None = None) -> str:
    """The accession number of an order or report: IPC-1 where the message has it, else the field
    that is stated of the node; NotTaken `no_accession`.
    """
    found = procedure.text(1, longest=_LONGEST_NUMBER) if procedure else ""
    number = int(node.accession_field.partition("-")[2])
    if not found or found == NULL:
        found = observed.text(number, longest=_LONGEST_NUMBER)
    if not header_columns.folded(found) or found == NULL:
        raise NotTaken("AE", "no_accession", 101, node.accession_field)
    return found


def exams_of(session: Session, team_id: UUID, accession_key: str) -> list[Study]:
    """The exams of the team with this accession number that are here, locked: what is stored about
    them is there before a purge looks for it. Of one that was joined into another, the other.
    """
    named = (Study.team_id == team_id, Study.accession_key == accession_key)
    return sorted(locks.lock_named(session, *named), key=lambda row: (row.created, row.id))


def is_patient_of(session: Session, study: Study, patient_id_key: str) -> bool:
    """Whether an exam is of the patient with this ID, or one that is merged with it. One without a
    patient ID is known by its accession number alone.
    """
    if study.patient_id_key is None or study.patient_key is None:
        return True
    if study.patient_id_key == patient_id_key:
        return True
    keys = patients.keys_of(session, study.team_id, study.patient_key)
    same = (Study.team_id == study.team_id, Study.patient_key.in_(keys))
    merged = select(Study.id).where(*same, Study.patient_id_key == patient_id_key).limit(1)
    return session.scalar(merged) is not None
