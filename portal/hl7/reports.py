"""Reports of the hospital's systems (ORU R01): the text of a final one, or of one that corrects it,
by accession number. It is kept whether the exam is here or not.
"""

from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select

from portal.hl7 import context as context_module
from portal.hl7.context import Context, Taken
from portal.hl7.messages import Message, NotTaken, Segment
from portal.models import HospitalReport, HospitalReportState
from portal.studies import header_columns, sealed_fields

_STATES: Final = {"F": HospitalReportState.FINAL, "C": HospitalReportState.CORRECTED}
# Types of values that are a text (HL7 table 0125).
_TEXTS: Final = frozenset({"TX", "FT", "ST"})
_LONGEST: Final = 32_000  # characters of one report
_MOST_REPORTS: Final = 20  # of one message, and under one accession number


def take(context: Context, message: Message) -> Taken:
    """Keep the reports of a message. NotTaken for one that is not final, has no text or no
    accession number, or is of an exam here that is another patient's.
    """
    pid = message.segment("PID")
    patient = context_module.patient_id(context.node, pid, 3).number_key(context.vault)
    groups = list[tuple[Segment, list[Segment]]]()
    for segment in message.segments("OBR", "OBX"):
        if segment.name == "OBR":
            groups.append((segment, []))
        elif groups:
            groups[-1][1].append(segment)
    if not 0 < len(groups) <= _MOST_REPORTS:
        raise NotTaken("AE", "no_report", 100, "OBR-1")
    here, is_stored = list[UUID](), False
    for request, observations in groups:
        exams, is_new = _keep(context, request, observations, patient)
        here += exams
        is_stored = is_stored or is_new
    return Taken(tuple(dict.fromkeys(here)), is_stored)


def _keep(
    context: Context, request: Segment, observations: list[Segment], patient: str
) -> tuple[list[UUID], bool]:
    state = _STATES.get(request.text(25, longest=8).upper())
    if state is None:
        raise NotTaken("AE", "not_final", 103, "OBR-25")
    number = context_module.accession(context.node, request)
    text = "\n".join(
        one.lines(5, _LONGEST) for one in observations if one.text(2, longest=3) in _TEXTS
    ).strip()
    if not text:
        raise NotTaken("AE", "no_text", 101, "OBX-5")
    if len(text) > _LONGEST:
        raise NotTaken("AE", "too_long", 207, "OBX-5")
    session, vault = context.session, context.vault
    key = header_columns.number_key(vault, "accession", number)
    exams = context_module.exams_of(session, context.node.team_id, key)
    if not all(context_module.is_patient_of(session, exam, patient) for exam in exams):
        raise NotTaken("AE", "another_patient", 204, "PID-3")
    before = session.scalars(
        select(HospitalReport)
        .where(HospitalReport.team_id == context.node.team_id, HospitalReport.accession_key == key)
        .order_by(HospitalReport.created.desc(), HospitalReport.id)
    ).all()
    if len(before) >= _MOST_REPORTS:
        raise NotTaken("AE", "too_many_reports", 207, "OBR-25")
    if before and _is_same(context, before[0], patient, state, text):
        return [], False
    row = HospitalReport(
        id=uuid4(),
        team_id=context.node.team_id,
        node_id=context.node.id,
        accession_key=key,
        patient_id_key=patient,
        state=state,
        created=context.now,
    )
    data_key, wrapped = vault.new_data_key(row.id)
    row.wrapped_key, row.key_id = wrapped.wrapped, wrapped.key_id
    row.sealed_text = sealed_fields.seal_hospital_report(vault, data_key, row.id, text)
    session.add(row)
    session.flush()
    return [exam.id for exam in exams], True


def _is_same(
    context: Context, row: HospitalReport, patient: str, state: HospitalReportState, text: str
) -> bool:
    """Whether the newest report has come once more, under another control ID."""
    if (row.patient_id_key, row.state) != (patient, state):
        return False
    return sealed_fields.open_hospital_report(context.vault, row) == text
