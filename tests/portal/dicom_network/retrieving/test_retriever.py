"""The retriever's rounds: nothing is looked for or retrieved by a clock that is wrong."""

from sqlalchemy import select

from portal.governance import clock
from portal.models import DicomRetrieval, RetrievalState
from tests.portal.dicom_network.retrieving.test_attempt import exam
from tests.support.clinic import Clinic
from tests.support.core import Clock
from tests.support.dicom.archive import retrieving, source
from tests.support.wait import until

# A host's name: nothing is called here.
ADDRESS = "archive.example.org"


def attempts(clinic: Clinic) -> list[tuple[RetrievalState, int]]:
    with clinic.session as session:
        rows = session.scalars(select(DicomRetrieval)).all()
        return [(row.state, row.attempts) for row in rows]


def test_by_a_clock_years_ahead_nothing_is_looked_for_and_nothing_is_retrieved(
    clinic: Clinic,
) -> None:
    time = Clock()
    with retrieving(clinic, ADDRESS, 104, clock=time) as retriever:
        source(clinic, 104, ADDRESS, networks="127.0.0.1")
        exam(clinic)
        time.forward(days=4000)
        assert (retriever.look(), attempts(clinic)) == (0, [])
        time.forward(days=-4000)
        assert retriever.look() == 1
        time.forward(days=4000)
        retriever.serve_due()
        assert attempts(clinic) == [(RetrievalState.WAITING, 0)]
        with clinic.session as session:
            clock.confirm(session, clinic.admin, time())
        retriever.serve_due()
        assert until(lambda: attempts(clinic)[0][1] == 1)
        retriever.stopping.set()
