"""What messages state of orders (ORM O01, OMI O23): how urgent one is and where the patient is, by
accession number. It is kept whether the exam is here or not, and found when the case is opened.
"""

from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select

from portal.hl7 import context as context_module
from portal.hl7.context import Context, Taken
from portal.hl7.messages import NULL, Message, NotTaken, Segment
from portal.models import HospitalOrder, OrderPriority
from portal.studies import header_columns, sealed_fields

# Order control codes (HL7 table 0119) by which an order is cancelled or discontinued.
_CANCELLED: Final = frozenset({"CA", "OC", "CR", "DC", "OD", "DR"})
_PRIORITIES: Final = {
    "S": OrderPriority.STAT,
    "STAT": OrderPriority.STAT,
    "A": OrderPriority.ASAP,
    "ASAP": OrderPriority.ASAP,
}
_MOST_ORDERS: Final = 100  # of one message


@dataclass
class _Group:
    """The segments of one order."""

    control: Segment
    request: Segment
    timing: Segment
    procedure: Segment


@dataclass(frozen=True, slots=True)
class _Stated:
    accession: str = field(repr=False)
    priority: OrderPriority | None
    location: str = field(repr=False)
    is_cancelled: bool


def take(context: Context, message: Message) -> Taken:
    """Keep what the message states of each of its orders; what it leaves out stays. NotTaken for an
    order without accession number, or of an exam here that is another patient's.
    """
    pid = message.segment("PID")
    patient = context_module.patient_id(context.node, pid, 3).number_key(context.vault)
    location = _location(message.segment("PV1"))
    groups = _groups(message)
    if not 0 < len(groups) <= _MOST_ORDERS:
        raise NotTaken("AE", "no_order", 100, "OBR-1")
    here = []
    for group in groups:
        stated = _Stated(
            context_module.accession(context.node, group.request, group.procedure),
            _priority(group),
            location,
            group.control.text(1, longest=2) in _CANCELLED,
        )
        here += _keep(context, stated, patient, message.header.stated_at)
    return Taken(tuple(dict.fromkeys(here)), is_stored=True)


def _keep(context: Context, stated: _Stated, patient: str, stated_at: str) -> list[UUID]:
    session, vault = context.session, context.vault
    key = header_columns.number_key(vault, "accession", stated.accession)
    exams = context_module.exams_of(session, context.node.team_id, key)
    if not all(context_module.is_patient_of(session, exam, patient) for exam in exams):
        raise NotTaken("AE", "another_patient", 204, "PID-3")
    row = session.scalars(
        select(HospitalOrder)
        .where(HospitalOrder.team_id == context.node.team_id, HospitalOrder.accession_key == key)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is not None and stated_at < row.stated_at:
        return []
    location, priority = stated.location, stated.priority
    if row is None:
        row = HospitalOrder(
            id=uuid4(),
            team_id=context.node.team_id,
            accession_key=key,
            priority=priority,
            created=context.now,
        )
        data_key, wrapped = vault.new_data_key(row.id)
        row.wrapped_key, row.key_id = wrapped.wrapped, wrapped.key_id
        session.add(row)
    else:
        if row.patient_id_key != patient:
            row.priority = None  # of another patient, whose exam never came
        elif not location:
            location = sealed_fields.open_location(vault, row)
        data_key = vault.data_key(row.id, row.wrapped_key, row.key_id)
        row.priority = priority or row.priority
    row.node_id, row.patient_id_key = context.node.id, patient
    row.is_cancelled = stated.is_cancelled
    row.sealed_location = sealed_fields.seal_location(
        vault, data_key, row.id, "" if location == NULL else location
    )
    row.stated_at, row.changed = stated_at, context.now
    session.flush()
    return [exam.id for exam in exams]


def _groups(message: Message) -> list[_Group]:
    """The orders of a message: each begins with ORC, or with OBR where that has none before it."""
    nothing = message.segment("")
    found = list[_Group]()
    for segment in message.segments("ORC", "OBR", "TQ1", "IPC"):
        last = found[-1] if found else None
        if segment.name == "ORC" or (segment.name == "OBR" and (last is None or last.request)):
            last = _Group(nothing, nothing, nothing, nothing)
            found.append(last)
        if last is None:
            raise NotTaken("AE", "no_order", 100, "ORC-1")
        if segment.name == "ORC":
            last.control = segment
        elif segment.name == "OBR":
            last.request = segment
        elif segment.name == "TQ1":
            last.timing = last.timing or segment
        else:
            last.procedure = last.procedure or segment
    return found


def _priority(group: _Group) -> OrderPriority | None:
    """TQ1-9, else the older fields for the same: ORC-7.6, OBR-27.6, OBR-5."""
    written = (
        group.timing.text(9),
        group.control.text(7, 6),
        group.request.text(27, 6),
        group.request.text(5),
    )
    found = next((one for one in written if one and one != NULL), "")
    return _PRIORITIES.get(found.upper(), OrderPriority.ROUTINE) if found else None


def _location(visit: Segment) -> str:
    """PV1-3 for people: point of care, room, bed, floor, building, facility. Empty where it is left
    out, NULL where it is to be deleted.
    """
    parts = [visit.text(3, component, longest=60) for component in (1, 2, 3, 8, 7, 4)]
    if parts[0] == NULL:
        return NULL
    return ", ".join(part for part in parts if part and part != NULL)
