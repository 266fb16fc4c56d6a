"""HL7 nodes, report targets, and a case of which the hospital has stated much, for pictures."""

import io
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pydicom

from ml.preparation import phantom
from portal.hl7 import nodes
from portal.hl7.sending import targets
from portal.models import ReportMoment, ReportSend, Role, SendState
from tests.support.browser_portal import BrowserPortal
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import give

_REPORT = (
    "Chest X-ray in two planes of today.\n"
    "Left apical pneumothorax of 2 cm, no shift of the mediastinum.\n"
    "Informed: ward 3B, 09:12."
)


def add_nodes(site: BrowserPortal) -> UUID:
    """Three nodes: one by TLS with a long name, one that is off; returns the long one's id."""
    now = datetime.now(UTC)
    team = site.team_of(site.people[Role.READER])
    stated = (
        nodes.Described("Information system", "RIS", "HOSP", team, "127.0.0.1"),
        nodes.Described(
            *("Communication server of all hospitals of the region", "REGIONAL_ENGINE", "REGION"),
            team,
            "10.1.0.0/16, fd00:1234:5678:9abc::/64",
            fingerprint="ab" * 32,
            authority="REGION",
        ),
        nodes.Described("Old system", "OLD", "", team, "10.1.2.9"),
    )
    with site.core.sessions() as session:
        _first, region, old = (nodes.add(session, None, one, now) for one in stated)
        nodes.switch(session, None, old.id, now, on=False)
        return region.id


def add_targets(site: BrowserPortal, study: UUID) -> None:
    """Two report targets, one whose certificate ends soon and one that is off, and four sends."""
    now = datetime.now(UTC)
    team = site.team_of(site.people[Role.READER])
    region = ("Communication server of all hospitals of the region", team)
    stated = (
        targets.Described(
            *(*region, "engine.region.hospital.example", "2576", "REGIONAL_ENGINE", "REGION"),
            fingerprint="ab" * 32,
        ),
        targets.Described("Old system", team, "old.hospital.example", "2575", "OLD"),
    )
    sends = (
        (SendState.WAITING, ReportMoment.SIGNATURE, "no_connection", "", 3),
        (SendState.FAILED, ReportMoment.ADDENDUM, "answered_refused", "AR 204 OBR-3", 1),
        (SendState.DROPPED, ReportMoment.RETRACTION, "unchanged", "", 0),
        (SendState.PROVEN, ReportMoment.SIGNATURE, "", "AA", 1),
    )
    with site.core.sessions() as session:
        first, old = (targets.add(session, None, one, now) for one in stated)
        targets.switch(session, None, old.id, now, on=False)
        targets.note_certificate(session, first.id, now + timedelta(days=12))
        for state, moment, reason, answer, attempts in sends:
            session.add(
                ReportSend(
                    id=uuid4(),
                    target_id=first.id,
                    study_id=study,
                    moment=moment,
                    trigger_id=uuid4(),
                    state=state,
                    reason=reason,
                    answer=answer,
                    attempts=attempts,
                    next_at=now + timedelta(hours=2),
                    created=now,
                    finished_at=None if state is SendState.WAITING else now,
                )
            )
        session.commit()


def add_case(site: BrowserPortal) -> UUID:
    """A case with an order, two reports, a corrected name, and something of another patient."""
    drawn = phantom.draw(171)
    dataset = pydicom.dcmread(io.BytesIO(phantom.dicom(drawn, patient_id="HOSP-1")))
    dataset.AccessionNumber = "A-2026-171"
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    stranger = made.pid(number="STRANGER")
    usual = {"accession": "A-2026-171", "patient": made.pid("CORRECTED^NAME", number="HOSP-1")}
    early = give(
        site.core, made.oru("Another patient's.", accession="A-2026-171", patient=stranger)
    )
    study = site.submit(stream.getvalue())
    site.segment(study, site.render(study), drawn.mask, 0.9)
    late = give(
        site.core,
        made.orm("S", place="Emergency department^Resuscitation 2^A", **usual),
        made.oru("Left apical pneumothorax.", **usual),
        made.oru(_REPORT, state="C", **usual),
        made.adt(patient=usual["patient"]),
    )
    assert {ack.code for ack in (*early, *late)} == {"AA"}
    return study
