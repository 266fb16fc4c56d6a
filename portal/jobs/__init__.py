"""The job ledger: the database is the queue of record, Redis is only a bell.

A job is claimed by one conditional UPDATE, and the number of its attempts is the fence: only the
attempt that a claim has made can store, finish or fail. What a lost attempt has stored is never
seen and is removed. The one retry mechanism is the sweep. The functions commit their own
transaction, except `enqueue`. The rooms behind this door: ledger, outputs, outcome, sweeping,
board, bell, tickets, results.
"""

from portal.formats.json_checks import BadResult
from portal.jobs.attempts import Lost
from portal.jobs.overview import (Board, QueueView, StuckJob, WorkerView, board)
from portal.jobs.broker import Bell
from portal.jobs.claims import ATTEMPTS, Claim, claim, enqueue, heartbeat, hello, open_ticket, retry
from portal.jobs.files import Output, read_input, store_output
from portal.jobs.outcomes import fail, finish
from portal.jobs.sweeper import (SweepResult, ring, sweep, tidy)
from portal.jobs.tickets import BadTicket, Ticket

__all__ = [
    "ATTEMPTS",
    "BadResult",
    "BadTicket",
    "Bell",
    "Board",
    "Claim",
    "Lost",
    "Output",
    "QueueView",
    "StuckJob",
    "SweepResult",
    "Ticket",
    "WorkerView",
    "board",
    "claim",
    "enqueue",
    "fail",
    "finish",
    "heartbeat",
    "hello",
    "open_ticket",
    "read_input",
    "retry",
    "ring",
    "store_output",
    "sweep",
    "tidy",
]
