"""The listener's process: connections in, each in a thread of its own, until it is stopped.

It opens vault and database as the portal does, gives a sign of life while it listens, merges
patient IDs whose exams have come, and removes what is old. Nothing of what is sent is logged.
"""

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from sqlalchemy import Engine

from portal import database
from portal.governance import clock, scheduler_signs
from portal.hl7 import admission, patients, taking, upkeep
from portal.hl7.admission import Caller
from portal.hl7.framing import BrokenFrame, Frames, TooLarge, framed
from portal.listeners import accepting, nodes, peers, process
from portal.listeners.places import Known, Places
from portal.models import Hl7Node
from portal.services import Services
from portal.settings.network.hl7 import Hl7

_log = logging.getLogger(__name__)

_MERGE_EVERY: Final = 6  # signs: a minute
_TIDY_EVERY: Final = 360  # an hour
_HANDSHAKE_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 10.0
_BACKLOG: Final = 64


class Listener:
    """The listening socket and the connections that it has accepted."""

    def __init__(self, services: Services, engine: Engine, settings: Hl7) -> None:
        self._services, self._settings = services, settings
        self._sessions = database.sessions(engine)
        self._refusals = admission.Refusals()
        self.counted = self._refusals.counted
        files = settings.tls_files
        self._tls = peers.tls_context(files) if files else None
        self._known = Known(self._networks)
        self.places = Places(settings.max_connections)
        self._stopping = threading.Event()
        self._threads = set[threading.Thread]()
        self._lock = threading.Lock()
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self._socket = socket.create_server(
            (settings.host, settings.port), family=family, backlog=_BACKLOG
        )
        self._socket.settimeout(0.5)
        self.accepts: threading.Thread | None = None  # in which `serve` runs

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def serve(self) -> None:
        """Accept connections until `stop`; to be called in a thread. TLS begins in a connection's
        own thread: who is silent there keeps nobody waiting. Deaf where nothing could be accepted
        for a minute.
        """
        failures = accepting.Failures()
        while not self._stopping.is_set():
            try:
                connected, address = self._socket.accept()
            except (TimeoutError, ConnectionError):
                failures.over()
                continue
            except OSError as error:  # no file or memory left, or the end of `stop`
                if not self._stopping.is_set():
                    failures.wait(error, self._stopping)
                continue
            failures.over()
            self._begin(connected, str(address[0]))

    def _networks(self) -> list[str]:
        with self._sessions() as session:
            return nodes.networks(session, Hl7Node)

    def _begin(self, connected: socket.socket, address: str) -> None:
        if not self._known.has(address):
            self._note(address, "connection")
            _close(connected)
            return
        if not self.places.take(address):
            self._note(address, "too_many")
            _close(connected)
            return
        thread = threading.Thread(target=self._connection, args=(connected, address), daemon=True)
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no thread left
            _log.error("a connection got no thread")
            with self._lock:
                self._threads.discard(thread)
            _close(connected)
            self.places.leave(address)

    def _connection(self, connected: socket.socket, address: str) -> None:
        try:
            connected.settimeout(_HANDSHAKE_SECONDS)
            certificate = None
            if self._tls is not None:
                secured = self._tls.wrap_socket(connected, server_side=True)
                connected, certificate = secured, secured.getpeercert(binary_form=True)
            self._serve(connected, Caller(address, certificate))
        except ssl.SSLError:
            self._note(address, "tls")
        except TimeoutError:
            self._note(address, "too_slow")
        except BrokenFrame as broken:
            self._note(address, broken.code)
        except OSError as error:
            _log.info("a connection ended: %s", type(error).__name__)
        except Exception as error:  # its text may quote what was sent
            _log.error("a connection failed: %s", type(error).__name__)
        finally:
            _close(connected)
            with self._lock:
                self._threads.discard(threading.current_thread())
            self.places.leave(address)

    def _serve(self, connected: socket.socket, caller: Caller) -> None:
        with self._sessions() as session:
            if not admission.may_connect(session, caller):
                self._note(caller.address, "connection")
                return
        frames = Frames(
            connected,
            lambda: not self._stopping.is_set(),
            most_bytes=self._settings.max_message_bytes,
            frame_seconds=self._settings.frame_seconds,
            idle_seconds=self._settings.idle_seconds,
        )
        while True:
            try:
                raw = frames.next()
            except TooLarge as large:
                self._note(caller.address, "too_large")
                answer = taking.refuse_large(self._settings, self._services, large.head)
                _send(connected, answer)
                return  # where the next message begins is not looked for
            if raw is None:
                return
            answer = taking.take(
                self._services, self._sessions, self._settings, self._refusals, caller, raw
            )
            _send(connected, answer)

    def _note(self, address: str, reason: str) -> None:
        try:
            with self._sessions() as session:
                self._refusals.note(session, address, reason, self._services.clock())
        except Exception as error:  # the accepting thread goes on
            _log.warning("a refusal could not be noted: %s", type(error).__name__)

    def stop(self) -> None:
        """Take nothing new; wait for what is being taken and answered."""
        self._stopping.set()
        self._socket.close()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(process.GRACE_SECONDS)


def _send(connected: socket.socket, answer: bytes) -> None:
    connected.settimeout(_ANSWER_SECONDS)
    connected.sendall(framed(answer))


def _close(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_WR)
    with suppress(OSError):
        connected.close()


@contextmanager
def listening(services: Services, engine: Engine, settings: Hl7) -> Iterator[Listener]:
    """A listener that takes connections until the end of the block."""
    listener = Listener(services, engine, settings)
    with process.accepting_in_thread(listener, listener.serve):
        yield listener


def run(services: Services, engine: Engine, settings: Hl7) -> None:
    """Listen until SIGTERM or SIGINT, with signs of life in between; Deaf where no connection can
    be accepted any more.
    """
    stop = threading.Event()
    process.begin(services.settings.log_level, stop)
    with listening(services, engine, settings) as listener:
        _log.info("%s listens for HL7 at port %d", settings.application, listener.port)
        give_signs(listener, services, engine, settings, stop)
        _log.info("stopping")


def give_signs(
    listener: Listener, services: Services, engine: Engine, settings: Hl7, stop: threading.Event
) -> None:
    """Give signs of life, and merge and tidy now and then, until `stop` is set; Deaf as `run`."""
    process.give_signs(listener.accepts, partial(sign, services, engine, settings), stop)


def sign(services: Services, engine: Engine, settings: Hl7, rounds: int) -> None:
    """Give one, after so many before."""
    with database.sessions(engine)() as session:
        scheduler_signs.give(session, scheduler_signs.HL7)
        if rounds % _MERGE_EVERY == 0:
            patients.merge_waiting(session, services.vault, services.clock())
        if rounds % _TIDY_EVERY == 0 and clock.is_right(session, services.clock()):
            upkeep.forget_old(session, services.clock(), settings.keep_days)
