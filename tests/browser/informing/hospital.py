"""HL7 nodes, and a case of which the hospital's systems have stated much, for pictures of pages."""

import io
from datetime import UTC, datetime
from uuid import UUID

import pydicom

from ml.preparation import phantom
from portal.hl7 import nodes
from portal.models import Role
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
