"""The sender's rounds: nothing is looked for or sent by a clock that is wrong."""

from datetime import timedelta

from sqlalchemy import select

from portal.governance import clock
from portal.models import DicomDestination, SendState
from tests.support.clinic import Clinic
from tests.support.core import NOW, Clock
from tests.support.dicom.pacs import Pacs
from tests.support.dicom.sending import receiver, sending, sends
from tests.support.wait import until

# A host's name: nothing is called here.
ADDRESS = "archive.example.org"


def looked_until(clinic: Clinic) -> timedelta:
    with clinic.session as session:
        return session.scalars(select(DicomDestination.looked_until)).one() - NOW


def test_by_a_clock_years_ahead_nothing_is_looked_for_and_nothing_is_sent(clinic: Clinic) -> None:
    """Else what comes once it is right would count as looked for."""
    time, pacs = Clock(), Pacs(port=104)
    with sending(clinic, ADDRESS, pacs, clock=time) as sender:
        receiver(clinic, pacs, ADDRESS, networks="127.0.0.1")
        clinic.done()
        before = looked_until(clinic)
        time.forward(days=4000)
        assert sender.look() == 0
        assert (sends(clinic), looked_until(clinic)) == ([], before)
        time.forward(days=-4000)
        assert sender.look() > 0
        time.forward(days=4000)
        sender.serve_due()
        assert {(one.state, one.claimed_until) for one in sends(clinic)} == {
            (SendState.PREPARING, None)
        }
        with clinic.session as session:
            clock.confirm(session, clinic.admin, time())
        sender.serve_due()
        assert until(lambda: all(one.report_id is not None for one in sends(clinic)))
        sender.stopping.set()
