"""The test of a target: it is called and sent a query about its clock (NMQ^N01), which names no
patient. Many a system does not know this message; that it answers at all is what is looked for.
"""

import secrets
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from portal.access import Actor
from portal.hl7.sending import acks, mllp, oru, targets
from portal.hl7.sending.acks import BadAnswer
from portal.hl7.sending.mllp import NoAnswer
from portal.languages import lazy
from portal.settings import Settings

_SECONDS: Final = 5.0
_KIND: Final = "NMQ^N01^NMQ_N01"
# Why no report can be sent, or a target can't be tested; also the result of a test.
RESULTS: Final = {
    "answers": lazy("It answers."),
    "not_set_up": lazy("PLEURA_HL7_PORT is not set: name and TLS files are the listener’s."),
    "plain_not_allowed": lazy(
        "It has no certificate stated, and without TLS it is called only with PLEURA_HL7_PLAIN=yes."
    ),
    "no_certificate": lazy(
        "The TLS files of the listener (PLEURA_HL7_CERTIFICATE_FILE …) are not set."
    ),
    "not_allowed": lazy(
        "The target’s host and port are not in PLEURA_OUTGOING_HOSTS, or its address is not one "
        "that may be called."
    ),
    "no_connection": lazy("It can’t be reached, or TLS fails."),
    "other_certificate": lazy("It shows another certificate than the one that is stated."),
    "no_answer": lazy("It did not answer in time."),
    "ended": lazy("It ended the connection without an answer."),
    "torn_answer": lazy("Its answer is not in a whole frame."),
    "no_answer_message": lazy("Its answer is no HL7 answer."),
    "answer_charset": lazy("Its answer is not in the character set that it names."),
    "other_control_id": lazy("Its answer is about another message."),
}


def test(
    session: Session, actor: Actor | None, settings: Settings, target_id: UUID, now: datetime
) -> str:
    """Call a target and ask; a key of `RESULTS`. See `targets.one`."""
    target = targets.one(session, actor, target_id)
    session.commit()  # nothing is held open while it is called
    control_id = secrets.token_hex(10).upper()
    try:
        with mllp.called(settings, target, _SECONDS) as called:
            targets.note_certificate(session, target.id, called.certificate_ends)
            assert settings.hl7 is not None
            first = oru.header(settings.hl7, target, _KIND, control_id, now)
            raw = called.send(first + f"NCK|{now:%Y%m%d%H%M%S}+0000\r".encode("ascii"))
        acks.read(raw, control_id, target.charset)
    except (NoAnswer, BadAnswer) as why:
        return why.code
    return "answers"
