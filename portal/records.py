"""The door: everything that shows or changes a patient's data passes here.

Each function checks the right, opens only what it returns, and writes its audit row in the same
transaction. The rooms behind it: submission, worklist, casefile, reviewing, purging.
"""

from portal.casefile import (
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
from portal.conflict import Conflict
from portal.purging import purge
from portal.reviewing import BadReview, add_review
from portal.sealing import Patient
from portal.status import Result, State, StudyState
from portal.submission import Submitted, submit
from portal.worklist import (
    Counts,
    Page,
    WorklistRow,
    address_of,
    counts,
    history,
    next_study,
    worklist,
)

__all__ = [
    "BadReview",
    "BlobData",
    "BlobInfo",
    "Conflict",
    "Counts",
    "Page",
    "Patient",
    "PredictionView",
    "Prior",
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
    "history",
    "next_study",
    "open_study",
    "purge",
    "read_blob",
    "states",
    "study_state",
    "submit",
    "worklist",
]
