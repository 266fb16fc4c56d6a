"""The door: everything that shows or changes a patient's data passes here.

Each function checks the right, opens only what it returns, and writes its audit row in the same
transaction. The rooms behind it: submission, arrivals, worklist, casefile, reviewing, exporting,
custody, purging.
"""

from portal.errors import Conflict
from portal.exchange.deidentified_export import Exported, Plan, export, plan
from portal.governance.legal_holds import Case, find_cases, hold, holds, lift
from portal.governance.purges import (Remains, is_genuine, proof_of, proofs, purge, remains)
from portal.intake.submission import Submitted, submit
from portal.intake.zip_submission import Arrival, submit_archive
from portal.reading.case import (
    BlobData,
    BlobInfo,
    PredictionView,
    Prior,
    ReviewView,
    StudyView,
    open_study,
    read_blob,
    states,
    study_state,
)
from portal.reading.reviews import BadReview, add_review
from portal.reading.worklist import (
    Counts,
    Page,
    WorklistRow,
    address_of,
    counts,
    history,
    next_study,
    worklist,
)
from portal.studies.sealed_fields import Patient
from portal.studies.status import Result, State, StudyState

__all__ = [
    "Arrival",
    "BadReview",
    "BlobData",
    "BlobInfo",
    "Case",
    "Conflict",
    "Counts",
    "Exported",
    "Page",
    "Patient",
    "Plan",
    "PredictionView",
    "Prior",
    "Remains",
    "Result",
    "ReviewView",
    "State",
    "StudyState",
    "StudyView",
    "Submitted",
    "WorklistRow",
    "add_review",
    "address_of",
    "counts",
    "export",
    "find_cases",
    "history",
    "hold",
    "holds",
    "is_genuine",
    "lift",
    "next_study",
    "open_study",
    "plan",
    "proof_of",
    "proofs",
    "purge",
    "read_blob",
    "remains",
    "states",
    "study_state",
    "submit",
    "submit_archive",
    "worklist",
]
