"""Every table is append-only, and drilled as such, or it is named here with the reason why not."""

import pytest
from sqlalchemy import inspect, text

from portal.audit import bindings
from portal.models import Base
from tests.portal.audit.test_bindings import CHANGES, UNREFUSED
from tests.support.core import Core

# Their rows are the log itself: the MACs of the chain stand for them, not digests in it.
OF_THE_LOG = {"audit_events", "audit_links", "audit_subjects"}
# Tables of which rows change or go, and why that is right.
CHANGEABLE = {
    "announced_purges": "an announcement is withdrawn, and ends with its purge, which has a proof",
    "api_tokens": "a token is used and revoked; the log has a row for making and for revoking",
    "arrivals": "someone may have a picture analysed in spite of its rule, with a row of the log",
    "audit_head": "the sealed end of the chain, which each link moves",
    "audit_writers": "the sealed ends of the log's writers, which each row moves",
    "blobs": "which file of a picture is the current one changes, and files go with a purge",
    "break_glass": "emergency access ends; the log has a row for its beginning and its end",
    "clock_states": "how the clock stands now",
    "dicom_asked_objects": "what is asked for just now; goes when its retrieval has ended",
    "dicom_backfills": "how far a back-fill is; the log has a row for each of its steps",
    "dicom_destinations": "what a node gets is a setting, each change with a row of the log",
    "dicom_nodes": "a node is a setting, each change with a row of the log",
    "dicom_objects": "an object goes with its exam's purge; its file is sealed under that exam",
    "dicom_refusals": "kept for thirty days; the log has a row for each",
    "dicom_retrievals": "how far a retrieval is; the log has a row for its end",
    "dicom_sends": "how far a send is; the log has a row for its end",
    "dicom_sent_objects": "how far an object of a send is; the log has a row for the send's end",
    "dicom_sources": "how a node is queried is a setting, each change with a row of the log",
    "drift_checks": "computed from predictions; goes after a time",
    "exam_link_keys": "a key ends; the log has a row for making and for ending it",
    "hl7_merges": "waits for exams, and goes when they came or after a time",
    "hl7_messages": "known digests, forgotten after a time",
    "hl7_nodes": "a node is a setting, each change with a row of the log",
    "hospital_orders": "what the hospital states last; goes where no exam comes, or with a purge",
    "hospital_reports": "goes where no exam comes for it; a purge destroys its key",
    "instances": "a picture moves when exams are joined, its key is wrapped anew, a purge ends it",
    "integrity_checks": "what the last check found",
    "invitations": "an invitation is used once; the log has a row for making and for using it",
    "jobs": "a job has states; its result is a prediction, a report's file, a measurement",
    "login_sessions": "a session is used and ends; the log has a row for both",
    "missing_models": "what workers miss now",
    "notifications": "a message waits, is sent, fails, and is forgotten after a time",
    "outline_drafts": "a drawing that is not saved yet; each save is an outline",
    "passkeys": "a sign-in raises its counter; the log has a row for adding and for removing",
    "patient_merges": "a merge is undone, or names another exam after a purge; both in the log",
    "performance_months": "computed from reviews and results, and computed again",
    "quarantined_files": "kept for thirty days; the log has a row for each that comes and goes",
    "reading_claims": "who has an exam open now",
    "recovery_codes": "a code is used once, with a row of the log",
    "refused_files": "of one session, and goes with it",
    "report_sends": "how far a report is on its way to a target; the log has a row for its end",
    "report_targets": "a target is a setting, each change with a row of the log",
    "review_drafts": "what is drawn and not stated yet; each review has its annotations",
    "rota_places": "the rota is a setting, each change with a row of the log",
    "scheduler_signs": "a sign of life",
    "sentence_templates": "a template is a setting, each change with a row of the log",
    "started_purges": "a purge that has begun; goes when its proof is written",
    "studies": "what a list shows of an exam changes with it, exams are joined, a purge ends one",
    "study_names": "digests of names to search by, which go with a purge",
    "team_choices": "settings of a team, each change with a row of the log",
    "teams": "a team's name is a setting, each change with a row of the log",
    "users": "roles and factors of a person change, each with a row of the log",
    "viewer_preferences": "how a person likes to see pictures",
    "worker_tokens": "a token is used and revoked; the log has a row for making and for revoking",
    "workers": "who works now",
}


def test_every_table_is_drilled_as_append_only_or_named_as_changeable() -> None:
    known = set(Base.metadata.tables)
    assert set(CHANGES) & set(CHANGEABLE) == set()
    assert set(CHANGES) | set(CHANGEABLE) == known
    assert all(CHANGEABLE.values())
    assert set(UNREFUSED) <= set(CHANGES)


def test_the_log_binds_every_append_only_table() -> None:
    assert {table.name for table in bindings.TABLES} == set(CHANGES) - OF_THE_LOG


def test_just_the_append_only_tables_have_triggers(core: Core) -> None:
    """So that one with triggers is drilled as well, and a migration that copies a table keeps its
    triggers.
    """
    query = (
        "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'"
        if core.engine.dialect.name == "sqlite"
        else "SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
    )
    with core.engine.connect() as connection:
        found = connection.scalars(text(query)).all()
        assert set(inspect(connection).get_table_names()) >= set(found)
    assert set(found) == set(CHANGES)
    assert all(found.count(name) >= 2 for name in CHANGES)


@pytest.mark.parametrize("table", sorted(set(CHANGES) - OF_THE_LOG))
def test_a_primary_key_of_a_bound_table_names_its_row(table: str) -> None:
    """Numbers and UUIDs: nothing that stands in a name can hold what parts it from the digest."""
    kinds = {column.type.python_type.__name__ for column in Base.metadata.tables[table].primary_key}
    assert kinds <= {"UUID", "int"}
