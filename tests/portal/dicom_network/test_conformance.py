"""The conformance statement: its lists are those of the code."""

from __future__ import annotations

import re

import pytest
from pydicom.uid import UID

from portal.dicom_network import association, classes, reports, server, storing
from portal.dicom_network.outgoing import echo
from portal.dicom_network.retrieving import archive
from portal.dicom_network.sending import peer, transmission
from portal.sends import process as sends_process
from portal.settings.network.dicom import Dicom
from tests.support.paths import ROOT
from worker.contract.contents.object_content import ObjectKind

TEXT = (ROOT / "docs" / "dicom-conformance.md").read_text("utf-8")
OF_SENDER = {
    ObjectKind.STRUCTURED_REPORT: "1.2.840.10008.5.1.4.1.1.88.34",
    ObjectKind.SEGMENTATION: "1.2.840.10008.5.1.4.1.1.66.4",
    ObjectKind.CAPTURE: "1.2.840.10008.5.1.4.1.1.7",
    ObjectKind.PRESENTATION: "1.2.840.10008.5.1.4.1.1.11.1",
    ObjectKind.REPORT: "1.2.840.10008.5.1.4.1.1.104.1",
    ObjectKind.REJECTION: "1.2.840.10008.5.1.4.1.1.88.59",
}


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    part = TEXT.split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    table = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def plain(name: str) -> str:
    """A name as pydicom and the statement both have it."""
    short = re.sub(r"\((?:Retired|retired|Process.*)\)|Image Compression|:.*", "", name)
    return re.sub(r"[^a-z0-9]+", " ", short.lower().replace("high throughput", "ht")).strip()


def test_the_listener_takes_the_classes_of_the_statement() -> None:
    stated = {uid: fate for _name, uid, _role, fate in rows("SOP classes of the listener")}
    assert set(stated) == {str(one.abstract_syntax) for one in classes.contexts()}
    pictures = {uid for uid, fate in stated.items() if fate.startswith("picture")}
    assert pictures == classes.PICTURES
    assert {uid for uid, fate in stated.items() if fate == "filed"} == classes.OBJECTS


def test_it_takes_their_transfer_syntaxes_in_this_order() -> None:
    stated = rows("Transfer syntaxes of the listener")
    by_class = {
        str(one.abstract_syntax): [str(syntax) for syntax in one.transfer_syntax or []]
        for one in classes.contexts()
    }
    groups = (classes.PICTURES, classes.OBJECTS, {classes.VERIFICATION, classes.COMMITMENT})
    for column, group in enumerate(groups, 2):
        listed = [row[1] for row in stated if row[column] == "yes"]
        assert all(by_class[one] == listed for one in group)
    assert {row[column] for row in stated for column in (2, 3, 4)} == {"yes", "no"}


@pytest.mark.parametrize(
    "heading",
    [
        "SOP classes of the listener",
        "Transfer syntaxes of the listener",
        "SOP classes of the sender and the echo test",
    ],
)
def test_every_uid_has_its_own_name(heading: str) -> None:
    for name, uid, *_more in rows(heading):
        words = set(re.findall(r"[a-z0-9]{2,}", plain(name)))
        known = set(re.findall(r"[a-z0-9]{2,}", UID(uid).name.lower()))
        missing = words - known - {"ht", "high", "throughput", "retired", "lossless", "only"}
        missing -= {"near", "with", "options", "to", "processes", "non", "hierarchical"}
        assert missing == set(), (name, UID(uid).name)


def test_the_sender_offers_the_classes_of_the_statement() -> None:
    stated = {uid for _name, uid, *_more in rows("SOP classes of the sender and the echo test")}
    assert set(OF_SENDER) == set(ObjectKind)
    services = {classes.COMMITMENT, classes.VERIFICATION, peer.FIND, archive.MOVE, archive.GET}
    assert stated == {*OF_SENDER.values(), *services}


def test_who_we_are_and_the_limits_are_stated() -> None:
    assert classes.implementation_uid() in TEXT
    assert f"| {classes.IMPLEMENTATION_NAME} |" in TEXT
    fields = Dicom.model_fields
    assert f"{fields['max_associations'].default} (`PLEURA_DICOM_MAX_ASSOCIATIONS`)" in TEXT
    assert f"{fields['max_pdu'].default} bytes (`PLEURA_DICOM_MAX_PDU`)" in TEXT
    assert f"{fields['idle_seconds'].default} s (`PLEURA_DICOM_IDLE_SECONDS`)" in TEXT
    times = {row[0]: row[1:] for row in table_of_times()}
    assert times["TLS handshake"][0] == f"{server._HANDSHAKE_SECONDS:.0f} s"
    assert times["association request or answer"] == [
        f"{server._ASSOCIATE_SECONDS:.0f} s",
        f"{transmission.ANSWER_SECONDS:.0f} s",
        f"{echo._SECONDS:.0f} s",
    ]
    assert times["answer to a request of ours"][0] == f"{reports._ANSWER_SECONDS:.0f} s"
    whole = (
        f"{association._MESSAGE_SECONDS:.0f} s and 1 s for each {association._SLOWEST // 1024} KiB"
    )
    assert times["a message is whole"][0] == whole
    waits = times["report of storage commitment"][1]
    assert waits.startswith(f"{transmission.SAME_ASSOCIATION_SECONDS:.0f} s on the same")
    assert f"one to a node, {sends_process._MOST_RECEIVERS} nodes" in TEXT


def table_of_times() -> list[list[str]]:
    part = TEXT.split("| time | listener | sender | echo test |\n", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()[1:]]


def test_reports_are_repeated_as_stated() -> None:
    pauses = re.search(r"at once and after (\d+), (\d+) and (\d+) seconds", TEXT)
    assert pauses is not None
    assert (0.0, *(float(one) for one in pauses.groups())) == reports._PAUSES


@pytest.mark.parametrize(
    "status",
    [
        *("NO_RESOURCES", "MISMATCH", "NOT_UNDERSTOOD", "NO_EXAM", "PROCESSING_FAILURE"),
        *("BAD_INSTANCE", "NO_SUCH_CLASS", "NOT_AUTHORISED", "SUCCESS"),
    ],
)
def test_every_status_of_storing_is_stated(status: str) -> None:
    assert f"| 0x{getattr(storing, status):04X} |" in TEXT
