"""The systems of a hospital around an installation: a modality, an information system, an archive.

Modality and information system send one thing again and again until they get the answer that means
"taken", as such systems do. The archive forgets some of what it answers with a success.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from uuid import uuid4

from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from portal import audit, database
from portal.dicom_network import nodes as dicom_nodes
from portal.hl7 import nodes as hl7_nodes
from portal.models import (
    DicomSend,
    DicomSentObject,
    HospitalReport,
    Instance,
    SendState,
    SentState,
    Team,
)
from portal.settings import Settings
from portal.vault import Vault
from tests.faults.whole_installation import WholeInstallation
from tests.portal.dicom_network.sending.test_real_peers import free_port
from tests.portal.dicom_network.test_commitment import own_address
from tests.support.dicom import pacs
from tests.support.dicom.listening import OURS, TITLE
from tests.support.hl7 import messages
from tests.support.hl7.listening import Peer

_PATIENCE = 300.0
_PAUSE = 0.3
# One object in so many is taken by the archive and not stored, the first time that it comes.
_FORGETS_ONE_IN = 10


@dataclass
class Archive(pacs.Pacs):
    """An archive that answers with a success, now and then, for what it does not keep."""

    came: int = 0
    forgot: set[str] = field(default_factory=set)

    def store(self, event: Any) -> int | Dataset:
        """Keep an object, or only state so."""
        uid = str(event.request.AffectedSOPInstanceUID)
        self.came += 1
        self.forgets = self.came % _FORGETS_ONE_IN == 0 and uid not in self.forgot
        if self.forgets:
            self.forgot.add(uid)
        return super().store(event)


@dataclass(frozen=True)
class Sends:
    """The sends to the archive: how many have ended as proven, have not ended, have ended in
    another way; and how many objects count as proven that the archive does not have.
    """

    proven: int
    waiting: int
    other: int
    without_proof: int


class HospitalSystems:
    """The three systems, once the installation runs. `ports`: of its two listeners."""

    def __init__(self, running: WholeInstallation, archive: Archive, address: str) -> None:
        self._running, self._archive = running, archive
        self._vault = Vault(Settings.from_env(running.environment))
        self._sessions = database.sessions(running.engine)
        environment = running.environment
        self._dicom_port = int(environment["PLEURA_DICOM_PORT"])
        self._hl7_port = int(environment["PLEURA_HL7_PORT"])
        self._add_nodes(address)

    def _add_nodes(self, address: str) -> None:
        now = datetime.now(UTC)
        audit.bind(self._running.engine, self._vault.audit_key())
        with self._sessions() as session:
            team = session.scalars(select(Team.id).where(Team.name == "Test")).one()
            here = {"team_id": team, "networks": f"127.0.0.1 {address}"}
            modality = dicom_nodes.Described(name="Room 1", ae_title=TITLE, **here)
            archive = dicom_nodes.Described(
                name="Archive",
                ae_title=pacs.TITLE,
                sends=False,
                receives=True,
                host=address,
                port=str(self._archive.port),
                objects=("sr",),
                moments=("result",),
                **here,
            )
            for one in (modality, archive):
                dicom_nodes.add(session, None, one, now)
            system = hl7_nodes.Described(
                name="Information system", application="RIS", facility="HOSP", **here
            )
            hl7_nodes.add(session, None, system, now)

    def store(self, picture: bytes) -> str:
        """Send a picture by C-STORE until it is answered with 0x0000; its SOPInstanceUID."""
        uid = str(dcmread(BytesIO(picture), stop_before_pixels=True).SOPInstanceUID)
        end = time.monotonic() + _PATIENCE
        with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
            file.write(picture)
            file.flush()
            command = ["storescu", "-v", "-to", "10", "-ta", "60", "-td", "60"]
            command += ["-aet", TITLE, "-aec", OURS, "127.0.0.1", str(self._dicom_port), file.name]
            while True:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if "Received Store Response (Success)" in done.stdout + done.stderr:
                    return uid
                assert time.monotonic() < end, f"a picture was never taken: {done.stderr[-400:]}"
                time.sleep(_PAUSE)

    def report(self) -> None:
        """Send a report of an accession number of its own by HL7 until it is taken (AA)."""
        number = uuid4().hex[:16]
        message = messages.oru(accession=number, control=f"C{number}")
        end = time.monotonic() + _PATIENCE
        while True:
            with suppress(OSError, AssertionError), _connected(self._hl7_port) as peer:
                if peer.send(message).code == "AA":
                    return
            assert time.monotonic() < end, "a message was never taken"
            time.sleep(_PAUSE)

    def reports(self) -> int:
        """How many reports the installation has."""
        with self._sessions() as session:
            return session.scalar(select(func.count()).select_from(HospitalReport)) or 0

    def pictures(self, uids: list[str]) -> Counter[Any]:
        """The exam of each row of these pictures, by exam; not one for a picture that is lost."""
        keys = [self._vault.lookup("sop_uid", uid) for uid in uids]
        with self._sessions() as session:
            return Counter(
                session.scalars(select(Instance.study_id).where(Instance.sop_key.in_(keys)))
            )

    def sends(self) -> Sends:
        """How the sends stand."""
        # What the archive has is looked up afterwards: it may store meanwhile what is read here.
        with self._sessions() as session:
            states = Counter(session.scalars(select(DicomSend.state)))
            proven = set(
                session.scalars(
                    select(DicomSentObject.sop_key).where(DicomSentObject.state == SentState.PROVEN)
                )
            )
        there = {self._vault.lookup("sop_uid", uid) for uid in list(self._archive.stored)}
        ended = states[SendState.PROVEN]
        others = (SendState.UNPROVEN, SendState.FAILED, SendState.DROPPED)
        other = sum(states[one] for one in others)
        waiting = states.total() - ended - other
        return Sends(ended, waiting, other, len(proven - there))

    def all_sent(self, seconds: float) -> Sends:
        """How the sends stand once none waits, or after so many seconds."""
        end = time.monotonic() + seconds
        while True:
            with suppress(SQLAlchemyError):
                found = self.sends()
                if not found.waiting or time.monotonic() > end:
                    return found
            time.sleep(1)


@contextmanager
def around(running: WholeInstallation) -> Iterator[HospitalSystems]:
    """An installation with its two listeners, its sender and these systems, until the end."""
    address = own_address()
    with pacs.running(Archive(), address) as archive:
        assert isinstance(archive, Archive)
        running.environment |= {
            "PLEURA_DICOM_PORT": str(free_port()),
            "PLEURA_DICOM_FREE_MB": "0",
            "PLEURA_HL7_PORT": str(free_port()),
            "PLEURA_OUTGOING_HOSTS": f"private:{address}:{archive.port}",
        }
        with running, _started_again(running):
            yield HospitalSystems(running, archive, address)


@contextmanager
def _started_again(running: WholeInstallation) -> Iterator[None]:
    """The HL7 listener, which `up` does not start: started again whenever it has ended, as by
    Docker's `restart: unless-stopped`.
    """
    stop = threading.Event()
    log = (running.folder / "var" / "log" / "hl7.log").open("ab")
    command = [sys.executable, "-m", "portal", "hl7-listener"]

    def run() -> None:
        while not stop.is_set():
            process = subprocess.Popen(
                command, env=running.environment, stdout=log, stderr=log, start_new_session=True
            )
            running.others["hl7"] = process.pid
            while process.poll() is None and not stop.wait(0.1):
                pass
            del running.others["hl7"]
            if process.poll() is None:
                process.terminate()
                process.wait(60)
            stop.wait(1.0)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(90)
        log.close()


@contextmanager
def _connected(port: int) -> Iterator[Peer]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        yield Peer(plain)
