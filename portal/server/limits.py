"""What the server bounds before anybody has signed in: time, connections, memory, threads.

A connection that waits, for a header, a body or a reader, takes no thread. All numbers are those of
one process. A *stranger* is whoever sends a request without a login, token or ticket that the
server knows as genuine (`portal.web.security.known_senders`).
"""

from __future__ import annotations

import resource
from typing import Final

# A header must be complete after this time.
HEADER_SECONDS: Final = 10.0
# A body gets this time, and a second more for so many bytes that came.
BODY_SECONDS: Final = 120.0
BYTES_PER_SECOND: Final = 16 * 1024
# So many bytes of an answer have to be taken within this time, also an event of a stream.
ANSWER_PART: Final = 64 * 1024
ANSWER_SECONDS: Final = 30.0
# What the system takes of an answer before its reader does. Left to itself, it takes 4 MB from each
# of many readers who read nothing, and the event loop is busy with nothing else meanwhile.
SEND_BUFFER: Final = 256 * 1024
# How long a body waits for memory that others hold.
MEMORY_SECONDS: Final = 30.0
# How long what is left of a refused body is read and dropped, so that the client gets the answer.
REST_SECONDS: Final = 5.0
# How long a closed connection may take to send what is left of its answer.
CLOSE_SECONDS: Final = 30.0
# An unused connection is closed after this.
KEEPALIVE_SECONDS: Final = 15
# What is read of a body before the portal has checked who sends it.
UNCHECKED_BYTES: Final = 64 * 1024

CONNECTIONS: Final = 2000
# So many of them are never taken by strangers: the portal works on none for them where the others
# are held by anybody, and where it waits for a stranger, that connection gives way to a new one.
RESERVED_CONNECTIONS: Final = 200
# The last so many of them are never held by people or programs either, and of those the last so
# many not even by workers: there a new connection always finds one that gives way to it, whoever
# else is known. The first share is for workers and health checks, the second for health checks.
WORKERS_CONNECTIONS: Final = 100
HEALTH_CONNECTIONS: Final = 50
# So many connections of one login or one program's token keep their places; those beyond give way
# like a stranger's. Browsers open six.
KNOWN_PER_SENDER: Final = 60
# A header may be so long before it is complete. Browsers send about 1 KB; gunicorn alone would
# hold 100 lines of 8 KB for each connection.
HEADER_BYTES: Final = 64 * 1024
# What strangers have sent, headers and bodies together, of requests that the portal waits for, and
# again of those that it works on: 16 KB for each connection, eight times what browsers need.
STRANGERS_BYTES: Final = 32 * 1024 * 1024
# How long a login or token is remembered as genuine after it was last checked in the database, and
# how many of each are.
KNOWN_SECONDS: Final = 600.0
KNOWN_SENDERS: Final = 5000

# Threads that run views: for browsers with a known login, for others and for programs, for workers,
# for health checks (of which there are two kinds, each made once for all who ask).
PEOPLE_THREADS: Final = 8
OTHER_THREADS: Final = 4
WORKER_THREADS: Final = 4
HEALTH_THREADS: Final = 2
# So long a request waits for one of the threads of others at most. Where so many wait, whoever has
# sent fewer requests within a time goes first, and those that have waited longer than another come
# last.
TURN_SECONDS: Final = 30.0
CROWD: Final = 100
TURNS_COUNTED_SECONDS: Final = 60.0
LATE_SECONDS: Final = 5.0
# The answer to a health check serves all who ask within this time.
HEALTH_SECONDS: Final = 1.0
# A probe asks every few seconds; so many at one address are no probes.
HEALTH_CHECKS_PER_SECOND: Final = 100
# So many bodies of the largest size may be in memory, of people and of workers; a body counts as
# far as it has arrived, in these steps.
LARGEST_BODIES: Final = 4
BODY_STEP: Final = 1024 * 1024
# So many answers of the largest size may wait for their readers. Whoever reads an answer more
# slowly than this is behind by the difference. Who is behind most, and by more than a second, gives
# way first; then the largest answer does.
LARGEST_ANSWERS: Final = 2
READ_BYTES_PER_SECOND: Final = 256 * 1024
BEHIND_SECONDS: Final = 1.0
# Who was cut off for not reading waits so long for the next answer: without a pause 200 of them
# came again hundreds of times a second, and the event loop did little else.
CUT_OFF_SECONDS: Final = 5.0


def allow_enough_files() -> None:
    """Let the process open as many files as the connections need, if the system permits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 500
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
