"""The files of a picture that people and programs get, and the overlay that is drawn from them."""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from threading import Lock
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.formats.limited_work import LimitedWork
from portal.formats.refusals import Refused
from portal.models import Blob, BlobKind, Instance
from portal.reading.case_records import BlobData
from portal.studies import sealed_fields, stored_files
from portal.vault import NotReadable, Vault
from xray_files.streams import png

# Not what names the patient: the source file's header, and reports, which `portal.reports` reads.
# Nor what readers have drawn: who may see which version of it, and when, is decided where versions
# are read (`portal/outlines/versions.py`).
SERVED: Final = frozenset(BlobKind) - {
    BlobKind.SOURCE,
    BlobKind.REPORT_CONTENT,
    BlobKind.REPORT,
    BlobKind.REVIEW_MASK,
    BlobKind.FILED_OBJECT,
}
# What the overlay is drawn from where it is not stored.
# What the model has made.
OF_AI: Final = frozenset({BlobKind.PROBABILITY, BlobKind.MASK, BlobKind.OVERLAY})
_OF_AN_OVERLAY: Final = frozenset({BlobKind.PIXELS, BlobKind.MASK})

MODULE: Final = "portal.reading.drawn_overlay"
_drawing: Final = LimitedWork(MODULE)
_MOST_REMEMBERED: Final = 16 * 2**20


class _Drawn:
    """The overlays that were drawn last, by their mask's and pixels' files, in this process alone.

    Who asks has opened the picture's key before: what is purged is not served from here.
    """

    def __init__(self) -> None:
        self._by_files: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, files: tuple[str, str]) -> bytes | None:
        with self._lock:
            if files in self._by_files:
                self._by_files.move_to_end(files)
            return self._by_files.get(files)

    def put(self, files: tuple[str, str], drawn: bytes) -> None:
        with self._lock:
            self._by_files[files] = drawn
            while sum(map(len, self._by_files.values())) > _MOST_REMEMBERED:
                self._by_files.popitem(last=False)


_drawn: Final = _Drawn()


def of(session: Session, instance: Instance) -> dict[BlobKind, Blob]:
    """The stored files of a picture that are served."""
    rows = session.scalars(
        select(Blob)
        .where(Blob.instance_id == instance.id, Blob.kind.in_(SERVED), Blob.current)
        .order_by(Blob.created)
    )
    return {row.kind: row for row in rows}


def available(stored: Collection[BlobKind]) -> frozenset[BlobKind]:
    """The kinds that `read` returns where these are stored."""
    kinds = frozenset(stored)
    return kinds | {BlobKind.OVERLAY} if kinds >= _OF_AN_OVERLAY else kinds


def read(
    vault: Vault, instance: Instance, stored: Mapping[BlobKind, Blob], kind: BlobKind
) -> BlobData:
    """One of the `available` files; NotReadable where what it needs was damaged.

    Busy where it is to be drawn and others wait for theirs.
    """
    data_key = sealed_fields.instance_key_of(vault, instance)
    if kind in stored:
        blob = stored[kind]
        return BlobData(stored_files.read(vault, data_key, blob), blob.media_type)
    # Workers of a version before have stored it.
    files = (stored[BlobKind.PIXELS].name, stored[BlobKind.MASK].name)
    drawn = _drawn.get(files)
    if drawn is None:
        drawn = _draw(vault, data_key, instance, stored)
        _drawn.put(files, drawn)
    return BlobData(drawn, "image/png")


def _draw(
    vault: Vault, data_key: bytes, instance: Instance, stored: Mapping[BlobKind, Blob]
) -> bytes:
    facts = sealed_fields.open_facts(vault, data_key, instance)
    if facts is None:
        raise NotReadable("a picture has files and no facts")
    whole = 2 ** facts["bits"]
    centre, width, _ = (*facts["windows"], (whole / 2, whole, ""))[0]
    asked = {
        "rows": facts["rows"],
        "columns": facts["columns"],
        "centre": centre,
        "width": width,
    }
    with _drawing.turn() as ask:  # the files are read in turn, too
        pixels = stored_files.read(vault, data_key, stored[BlobKind.PIXELS])
        mask = stored_files.read(vault, data_key, stored[BlobKind.MASK])
        try:
            answer = ask(asked | {"mask": len(pixels)}, pixels + mask)
        except Refused:
            raise NotReadable("pixels and mask do not fit each other") from None
    drawn: bytes = answer["body"]
    if not drawn.startswith(png.MARK):
        raise NotReadable("the process that draws was taken over")
    return drawn
