"""Which nodes may be queried: none unless it is chosen, and only what can be done."""

import pytest

from portal.dicom_network.retrieving import sources
from portal.dicom_network.retrieving.sources import Queried
from portal.errors import Invalid
from portal.models import RetrieveKind
from tests.support.clinic import Clinic
from tests.support.dicom.archive import source
from tests.support.dicom.listening import add_node


@pytest.mark.parametrize(
    ("stated", "wrong"),
    [
        ({"queried": "ftp"}, "queried"),
        ({"host": "", "port": ""}, "host"),
        ({"queried": "move", "networks": ""}, "networks"),
        ({"at_once": "0"}, "at_once"),
        ({"at_once": "5"}, "at_once"),
        ({"at_once": "²"}, "at_once"),
        ({"at_once": "many"}, "at_once"),
    ],
)
def test_what_can_t_be_is_refused(clinic: Clinic, stated: dict[str, str], wrong: str) -> None:
    with pytest.raises(Invalid) as refused:
        source(clinic, 104, "10.1.2.3", **stated)
    assert refused.value.code == wrong


def test_no_node_is_queried_unless_it_is_chosen(clinic: Clinic) -> None:
    node = add_node(clinic)
    chosen = source(clinic, 104, "10.1.2.3", queried="move", at_once="")
    with clinic.session as session:
        assert sources.of(session, node) == sources.NOT_QUERIED
        assert sources.all_of(session) == {chosen.id: Queried(RetrieveKind.MOVE, True, 1)}
        assert (sources.are_moved_by(session, node), sources.are_moved_by(session, chosen)) == (
            False,
            True,
        )
