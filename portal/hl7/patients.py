"""What messages state of patients: corrected names, birth dates and sexes (ADT A08, A31), and IDs
that are one patient's (A40).

The header's own values stay beside corrected ones, sealed with them, and so do the files as they
were sent. A merge is a row of `governance.patient_merges` that a reader can undo.
"""

import logging
import re
from datetime import date, datetime
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal import audit, database, readable_rows
from portal.database import DatabaseTime
from portal.errors import Conflict
from portal.governance import patient_merges
from portal.hl7 import nodes
from portal.hl7.context import Context, PatientId, Taken, patient_id
from portal.hl7.messages import NULL, Message, NotTaken, Segment
from portal.models import Hl7Merge, Hl7Node, MergeReason, Sex, Study, StudyName
from portal.readable_rows import Readable
from portal.studies import header_columns, patient_names, sealed_fields
from portal.vault import NotReadable, Vault
from xray_files import dates

_log = logging.getLogger(__name__)
# More exams than these are not one patient's: an ID that stands for unknown patients.
_MOST_EXAMS: Final = 200
_MOST_MERGES: Final = 100  # of one message
# HL7 table 0001 as DICOM has it; what is not here (unknown) changes nothing.
_SEXES: Final = {"F": "F", "M": "M", "O": "O", "A": "O", "N": "O", NULL: ""}
_LESS_THAN_A_DAY: Final = re.compile(r"\d{4}(\d{2})?")


def correct(context: Context, message: Message) -> Taken:
    """Bring the exams of the patient to what the message states of name, birth date and sex; what
    it leaves out stays. One that is older than the last one about an exam changes nothing there.
    """
    pid = message.segment("PID")
    patient = patient_id(context.node, pid, 3)
    stated = _stated(pid)
    if not stated:
        return Taken()
    query = select(Study).where(
        Study.team_id == context.node.team_id,
        Study.patient_key.in_(patient.keys(context.vault)),
        Study.purged_at.is_(None),
    )
    studies = context.session.scalars(
        query.order_by(Study.id).limit(_MOST_EXAMS + 1).with_for_update(key_share=True),
        execution_options={"populate_existing": True},
    ).all()
    if len(studies) > _MOST_EXAMS:
        raise NotTaken("AE", "too_many_exams", 207, "PID-3")
    changed = [
        (study, fields)
        for study in studies
        if (fields := _correct(context, study, stated, message.header.stated_at))
    ]
    for study, fields in changed:
        audit.append(
            context.session,
            "patient_data_corrected",
            actor=context.actor,
            now=context.now,
            study_id=study.id,
            subject_id=context.node.id,
            detail={"fields": fields},
        )
    return Taken(tuple(study.id for study, _ in changed), is_stored=bool(changed))


def _correct(context: Context, study: Study, stated: dict[str, str], stated_at: str) -> list[str]:
    """Which values of an exam have changed."""
    vault = context.vault
    data_key = sealed_fields.key_of(vault, study)
    phi = sealed_fields.open_phi(vault, data_key, study)
    if stated_at < phi.get("stated_at", ""):
        return []
    changed = sorted(name for name, value in stated.items() if phi.get(name, "") != value)
    if not changed:
        return []
    for name in changed:
        _replace(phi, name, stated[name])
    if "birth_date" in changed:
        _replace(phi, "age", _age(phi))
    phi["typed"] = ",".join(one for one in phi.get("typed", "").split(",") if one not in changed)
    phi["corrected"], phi["stated_at"] = context.now.date().isoformat(), stated_at
    study.sealed_phi = sealed_fields.seal_phi(vault, data_key, study.id, phi)
    study.sex, study.age_band = Sex.of(phi.get("sex")), header_columns.age_band(phi)
    study.changed = DatabaseTime()
    if "patient_name" in changed:
        gone = delete(StudyName).where(StudyName.study_id == study.id)
        context.session.execute(gone)
        context.session.add_all(patient_names.rows(vault, study.id, phi["patient_name"]))
    return changed


def _replace(phi: dict[str, str], name: str, value: str) -> None:
    """Another value; the header's stays beside it."""
    phi.setdefault(f"{sealed_fields.HEADER}{name}", phi.get(name, ""))
    phi[name] = value


def _stated(pid: Segment) -> dict[str, str]:
    found = dict[str, str]()
    if name := _name(pid):
        found["patient_name"] = name
    written = pid.text(7, longest=26)
    if written == NULL:
        found["birth_date"] = ""
    elif born := dates.day(written[:8]):
        found["birth_date"] = born.isoformat()
    elif written and not _LESS_THAN_A_DAY.fullmatch(written):
        raise NotTaken("AE", "bad_birth_date", 102, "PID-7")
    sex = pid.text(8, longest=8)
    if sex in _SEXES:
        found["sex"] = _SEXES[sex]
    return found


def _name(pid: Segment) -> str:
    """The legal name, else the first, as pages show names: "Family, Given Middle"."""
    times = range(1, pid.repetitions(5) + 1)
    legal = (one for one in times if pid.text(5, 7, repetition=one) == "L")
    chosen = next(legal, 1)
    parts = [pid.text(5, component, repetition=chosen) for component in (1, 2, 3)]
    family, *given = ("" if part == NULL else part for part in parts)
    forenames = " ".join(part for part in given if part)
    return ", ".join(part for part in (family, forenames) if part)[:200]


def _age(phi: dict[str, str]) -> str:
    """The age at the exam by the corrected birth date, as headers write it; empty where one of the
    dates is not known.
    """
    try:
        born = date.fromisoformat(phi.get("birth_date", ""))
        taken = date.fromisoformat(phi.get("study_date", ""))
    except ValueError:
        return ""
    months = (taken.year - born.year) * 12 + taken.month - born.month - (taken.day < born.day)
    if months < 0:
        return ""
    return f"{months // 12}Y" if months >= 24 else f"{months}M"


def merge(context: Context, message: Message) -> Taken:
    """The ID of each MRG is the same patient's as that of the PID before it. Where one of the two
    has no exam here yet, it waits for one.
    """
    pairs = list[tuple[PatientId, PatientId]]()
    pid: Segment | None = None
    for segment in message.segments("PID", "MRG"):
        if segment.name == "PID":
            pid = segment
        elif pid is not None:
            pairs.append((patient_id(context.node, pid, 3), patient_id(context.node, segment, 1)))
    if not pairs:
        raise NotTaken("AE", "no_patient_id", 101, "MRG-1")
    if len(pairs) > _MOST_MERGES:
        raise NotTaken("AE", "too_many_merges", 207, "MRG-1")
    studies = []
    for one, other in pairs:
        if one.number == other.number:
            raise NotTaken("AE", "same_patient", 207, "MRG-1")
        keys, others = one.keys(context.vault), other.keys(context.vault)
        found = _exam(context.session, context.node.team_id, keys)
        gone = _exam(context.session, context.node.team_id, others)
        if found is None or gone is None:
            _remember(context, keys, others)
        elif _merged(context, found, gone):
            studies += [found.id, gone.id]
    return Taken(tuple(studies), is_stored=True)


def _exam(session: Session, team_id: UUID, keys: list[str]) -> Study | None:
    """The newest exam of the team with one of these keys."""
    return session.scalars(
        select(Study)
        .where(
            Study.team_id == team_id,
            Study.patient_key.in_(keys),
            Study.purged_at.is_(None),
            Study.joined_into.is_(None),
        )
        .order_by(Study.created.desc(), Study.id)
        .limit(1)
    ).first()


def _merged(context: Context, one: Study, other: Study) -> bool:
    try:
        patient_merges.add(
            context.session, context.actor, one, other, MergeReason.TWO_IDS, context.now
        )
    except Conflict:  # they are one already
        return False
    return True


def _remember(context: Context, keys: list[str], others: list[str]) -> None:
    """By each spelling of the issuer: which one the headers of coming exams have is not known."""
    pairs = [(one, other) for one in keys for other in others]
    for one, other in pairs:
        same = (
            Hl7Merge.team_id == context.node.team_id,
            Hl7Merge.one_key == one,
            Hl7Merge.other_key == other,
        )
        if context.session.scalar(select(Hl7Merge.id).where(*same)) is None:
            context.session.add(
                Hl7Merge(
                    team_id=context.node.team_id,
                    node_id=context.node.id,
                    one_key=one,
                    other_key=other,
                    created=context.now,
                )
            )


def merge_waiting(session: Session, vault: Vault, now: datetime) -> int:
    """Merge the IDs of which both have exams by now; returns how many. Each in a transaction: one
    that can't be read, or whose exams can't, waits on and keeps back no other.
    """
    done = 0
    for merge_id in _waiting(session):
        try:
            done += _merge_waiting(session, vault, merge_id, now)
        except (*database.UNREADABLE, NotReadable) as error:
            session.rollback()
            if not isinstance(error, NotReadable) and not database.is_damage(error):
                raise
            _log.error("HL7 merge %s waits: rows can't be read", merge_id)
    return done


def _waiting(session: Session) -> list[UUID]:
    """The merges of which both have exams; where rows are damaged, all that can be read."""
    order = (Hl7Merge.created, Hl7Merge.id)
    both = select(Hl7Merge.id).where(_is_here(Hl7Merge.one_key), _is_here(Hl7Merge.other_key))
    try:
        found = list(session.scalars(both.order_by(*order)))
    except database.UNREADABLE as error:
        session.rollback()
        if not database.is_damage(error):
            raise
        found, _ = readable_rows.around_damage(session, Hl7Merge, partial(_ids, session))
    session.commit()
    return found


def _ids(session: Session, readable: Readable) -> list[UUID]:
    with readable.parts(session) as parts:
        return [one for part in parts for one in session.scalars(select(Hl7Merge.id).where(part))]


def _merge_waiting(session: Session, vault: Vault, merge_id: UUID, now: datetime) -> bool:
    row = session.get(Hl7Merge, merge_id, populate_existing=True)
    one = _exam(session, row.team_id, [row.one_key]) if row is not None else None
    other = _exam(session, row.team_id, [row.other_key]) if row is not None else None
    if row is None or one is None or other is None:
        session.commit()
        return False
    node = session.get_one(Hl7Node, row.node_id)
    context = Context(session, vault, node, nodes.actor_of(node, ""), now)
    session.delete(row)
    is_new = _merged(context, one, other)
    session.commit()
    return is_new


def _is_here(key: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    return exists().where(
        Study.team_id == Hl7Merge.team_id,
        Study.patient_key == key,
        Study.purged_at.is_(None),
        Study.joined_into.is_(None),
    )
