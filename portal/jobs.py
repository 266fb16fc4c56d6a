"""The job ledger: the database is the queue of record, Redis is only a bell.

A job is claimed by one conditional UPDATE, and the number of its attempts is the fence: only the
attempt that a claim has made can store, finish or fail. What a lost attempt has stored is never
seen and is removed. The one retry mechanism is the sweep. The functions commit their own
transaction, except `enqueue`. The rooms behind this door: ledger, outputs, outcome, sweeping,
board, bell, tickets, results.
"""

from portal.attempts import Lost
from portal.bell import Bell
from portal.board import Board, QueueView, StuckJob, WorkerView, board
from portal.ledger import ATTEMPTS, Claim, claim, enqueue, heartbeat, hello, open_ticket, retry
from portal.outcome import fail, finish
from portal.outputs import Output, read_input, store_output
from portal.shapes import BadResult
from portal.sweeping import SweepResult, ring, sweep, tidy
from portal.tickets import BadTicket, Ticket

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
