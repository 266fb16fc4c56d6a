"""An association on which a node is searched and asked for objects: Study Root C-FIND, C-GET and
C-MOVE. What it answers is bounded in number, size and time.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import build_role, evt
from pynetdicom.presentation import PresentationContext, build_context

from portal.dicom_network import association, classes
from portal.dicom_network.memory import LARGEST_AT_ONCE, DataSets, Held
from portal.dicom_network.outgoing import calling
from portal.dicom_network.sending.peer import FIND, NoAnswer
from portal.exchange.outbound import NotAllowed
from portal.models import DicomNode, RetrieveKind
from portal.settings import Settings
from xray_files import kinds

MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"  # Study Root Query/Retrieve Information Model
GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
_PENDING: Final = (0xFF00, 0xFF01)
_LOW_PRIORITY: Final = 2
# In how many seconds a search must be over, and an object here.
SEARCH_SECONDS: Final = 120.0
OBJECT_SECONDS: Final = 300.0
# Of a value, or of several with what parts them: UIDs have 64 characters, names the most.
_LONGEST: Final = 1024
# Status of C-GET and C-MOVE (PS3.4 C.4.2.1.5, C.4.3.1.4): ranges and what they mean here.
_STATUSES: Final = (
    (0x0000, 0x0000, "not_sent"),
    (0xA701, 0xA702, "put_off"),
    (0xA801, 0xA801, "destination_unknown"),
    (0xB000, 0xB000, "sub_operation_failed"),
)


class NotAnswerable(Exception):
    """A search that a node can't answer as it must, now or later. `code`: why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Named:
    """An object by its UIDs."""

    study_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    sop_uid: str = field(repr=False)


@dataclass(slots=True)
class _Taking:
    """Until when the node may send what it was asked for, by the monotonic clock."""

    ends: float = 0.0


class Archive:
    """A node that is associated with. `is_taken`: whether it takes the objects' classes itself."""

    def __init__(
        self,
        associated: Any,
        kind: RetrieveKind,
        title: str,
        search_seconds: float,
        before_search: Callable[[], None],
        taking: "_Taking",
    ) -> None:
        self._associated, self._kind, self._title = associated, kind, title
        self._search_seconds, self._before_search = search_seconds, before_search
        self._taking = taking
        self._classes = {str(one.abstract_syntax) for one in associated.accepted_contexts}

    def require(self) -> None:
        """NotAnswerable where the node does not offer what is needed."""
        needed = {FIND, MOVE if self._kind is RetrieveKind.MOVE else GET}
        if not needed <= self._classes:
            raise NotAnswerable("context_refused")
        if self._kind is RetrieveKind.GET and not self._classes & classes.PICTURES:
            raise NotAnswerable("context_refused")

    def find(self, level: str, most: int, **elements: str) -> list[Dataset]:
        """What matches the elements that have a value, with the others of it. NotAnswerable
        `too_many_answers` beyond `most`; NoAnswer where the node is lost.
        """
        self._before_search()
        query = Dataset()
        query.QueryRetrieveLevel = level
        if not all(value.isascii() for value in elements.values()):
            query.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in elements.items():
            setattr(query, keyword, value)
        found, ends = list[Dataset](), time.monotonic() + self._search_seconds
        for status, match in self._answers(self._associated.send_c_find, query, FIND):
            if status not in _PENDING:
                if status != 0:
                    raise NotAnswerable("query_refused")
                return found
            if len(found) >= most or time.monotonic() > ends:
                self._associated.abort()
                is_endless = len(found) >= most
                raise NotAnswerable("too_many_answers") if is_endless else NoAnswer("no_answer")
            found.append(asked_for(match, elements))
        raise NoAnswer("no_answer")

    def retrieve(self, named: Named) -> str:
        """Ask for one object, and wait until the node has sent it or failed to. Returns why it may
        not have come, a code that counts where it has not. NoAnswer where the node is lost.
        """
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        query.StudyInstanceUID, query.SeriesInstanceUID = named.study_uid, named.series_uid
        query.SOPInstanceUID = named.sop_uid
        asked: tuple[Any, ...]
        if self._kind is RetrieveKind.MOVE:
            asking, asked = self._associated.send_c_move, (query, self._title, MOVE)
        else:
            asking, asked = self._associated.send_c_get, (query, GET)
        ends = self._taking.ends = time.monotonic() + OBJECT_SECONDS
        for status, _failed in self._answers(asking, *asked, priority=_LOW_PRIORITY):
            if status not in _PENDING:
                return _meaning(status)
            if time.monotonic() > ends:
                self._associated.abort()
                break
        raise NoAnswer("no_answer")

    def _answers(
        self, asking: Callable[..., Any], *asked: Any, **options: Any
    ) -> Iterator[tuple[int, Any]]:
        """Ask; status and data set of each response. NoAnswer where none comes, as after the node
        has ended the association, or one can't be read.
        """
        try:
            for status, data_set in asking(*asked, **options):
                if "Status" not in status:
                    raise NoAnswer("no_answer")
                yield int(status.Status), data_set
        except (RuntimeError, ValueError, AttributeError, TypeError):
            raise NoAnswer("no_answer") from None


def asked_for(answer: Dataset | None, keywords: Iterable[str]) -> Dataset:
    """Of an answer the elements of these keywords. One that is longer than any of them may be, or
    can't be read, is left out: an answer may have a megabyte, and thousands are kept.
    """
    kept = Dataset()
    for tag in map(Tag, keywords):
        with suppress(Exception):  # of many kinds, by what stands in it
            if answer is not None and tag in answer and len(str(answer[tag].value)) <= _LONGEST:
                kept[tag] = answer[tag]
    return kept


def _meaning(status: int) -> str:
    return next((code for low, high, code in _STATUSES if low <= status <= high), "node_failed")


Take = Callable[[Any], int | Dataset]


@contextmanager
def called(
    settings: Settings,
    node: DicomNode,
    kind: RetrieveKind,
    take: Take,
    *,
    seconds: float,
    search_seconds: float = SEARCH_SECONDS,
    before_search: Callable[[], None],
) -> Iterator[Archive]:
    """A node that is associated with, until the end of the block; NoAnswer where it is not.

    `take`: stores what comes on the association by C-GET, and returns the status of the C-STORE.
    `seconds`: for each answer. `before_search`: called before each search.
    """
    association.silence()
    held = Held(DataSets(LARGEST_AT_ONCE * settings.max_upload_bytes))
    taking = _Taking()

    def taken(event: Any) -> int | Dataset:
        if time.monotonic() > taking.ends:  # it sends without end
            event.assoc.abort()
        try:
            return take(event)
        finally:
            held.answered()

    title = calling.own_title(settings)
    try:
        associated = calling.associate(
            settings,
            title,
            node,
            _contexts(kind),
            roles=_roles(kind),
            handlers=[(evt.EVT_C_STORE, taken)],
            seconds=seconds,
            takes=calling.Takes(settings.max_upload_bytes, held),
        )
    except NotAllowed:
        raise NoAnswer("not_allowed") from None
    except OSError:
        raise NoAnswer("no_association") from None
    if associated is None:
        raise NoAnswer("no_association")
    try:
        yield Archive(associated, kind, title, search_seconds, before_search, taking)
    finally:
        if associated.is_established:
            associated.release()
        if not associated.is_released and not associated.is_aborted:
            associated.abort()
        held.end()


def _contexts(kind: RetrieveKind) -> list[PresentationContext]:
    """Searching and asking; by C-GET also pictures, each compressed syntax in a context of its own,
    so that the node may choose the one in which it has a picture.
    """
    services = [kinds.EXPLICIT, kinds.IMPLICIT]
    if kind is RetrieveKind.MOVE:
        return [build_context(FIND, services), build_context(MOVE, services)]
    plain = [kinds.EXPLICIT, kinds.IMPLICIT, kinds.BIG_ENDIAN, kinds.DEFLATED]
    return [
        build_context(FIND, services),
        build_context(GET, services),
        *(build_context(one, plain) for one in sorted(classes.PICTURES)),
        *(
            build_context(one, [syntax])
            for one in sorted(classes.PICTURES)
            for syntax in sorted(kinds.ENCAPSULATED)
        ),
    ]


def _roles(kind: RetrieveKind) -> list[Any]:
    if kind is RetrieveKind.MOVE:
        return []
    return [build_role(one, scp_role=True) for one in sorted(classes.PICTURES)]
