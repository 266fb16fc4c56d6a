"""Export of a study without its patient: a ZIP with pictures, outlines, results, what was done.

Where a study has several pictures, their files are numbered in the order of their arrival.

For readers, with a reason to be careful: text burned into the pixels can't be removed by rule, so
where it is possible the reader has to check first and confirm it. There is no export with the
patient.

No picture is read in this process (see `deidentify_process`), and one after the other is packed, in
memory: nothing of it lies on a disk. One export at a time is made, within limits of time.

No transaction is open while it is waited for and made (see `export_records`): whether the case may
be exported is looked at before the wait, with what is read of it, and with the audit row.
"""

import hashlib
import io
import string
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.exchange import (
    deidentify_process,
    export_records,
    export_texts,
    exported_outlines,
    run_lengths,
)
from portal.exchange.deidentify import Identity
from portal.exchange.export_records import CaseRecord, PictureRecord
from portal.formats import mask_png
from portal.formats.header_pool import Shape, Work
from portal.formats.limited_work import Ask, LimitedWork
from portal.formats.refusals import Refused
from portal.languages import _
from portal.models import Instance, Study
from portal.reading.case import load
from portal.studies import stored_files
from portal.teams import ai_visibility
from portal.vault import NotReadable, Vault
from xray_files.bad_file import BadFile
from xray_files.streams import png

_DICOM: Final = "application/dicom"
_PNG_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
# What has to be looked at by a person before it leaves.
LOOK: Final = frozenset(
    {"burned_in_yes", "burned_in_unknown", "secondary_capture", "overlay_in_pixels"}
)
MOST_PICTURES: Final = 50
MOST_BYTES: Final = 256 * 2**20
"""Of the pictures of an export, before they are packed: eight uncompressed chest films."""
MOST_SECONDS: Final = 15.0
"""Processor time for all pictures of an export, but for the last one begun: 50 films of 10 MB take
3 s (`benchmarks/portal/export.py`). Not by the clock, so that list and export are the same."""
MODULE: Final = "portal.exchange.deidentify_process"
_work: Final = LimitedWork(MODULE, deidentify_process.SECONDS)
_UIDS: Final = ("study", "series", "instance")
_LETTERS: Final = string.ascii_lowercase
_Warning = Literal[
    "burned_in_yes",
    "burned_in_unknown",
    "secondary_capture",
    "overlay_in_pixels",
    "table_left_out",
    "spacing_left_out",
]
_NO_DATE: Final = (1980, 1, 1, 0, 0, 0)


class _Uids(Shape):
    study: str
    series: str
    instance: str


class _Made(Shape):
    """`warnings`: those of `deidentify.burned_in`."""

    warnings: list[_Warning]
    size: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an export would hold, and why text may stand in the picture; nothing of the patient.

    `left_out`: the numbers of pictures of which no file is in it, and the code of the reason.
    """

    study_id: UUID
    case_number: str
    files: list[str]
    warnings: list[str]
    left_out: dict[int, str]
    pictures: int


@dataclass(frozen=True, slots=True)
class Exported:
    """The ZIP and what it is called."""

    name: str
    data: bytes = field(repr=False)


def plan(session: Session, vault: Vault, actor: Actor, study_id: UUID, now: datetime) -> Plan:
    """What would be exported, with one audit row. Denied where the actor may not see it.

    Conflict `export_too_large` where an export may not hold as much; Busy where others wait, or
    where it takes too long by the clock: the machine has too much to do.
    """
    _may_be_exported(session, actor, study_id)
    files = _Files(None)
    with _work.turn() as ask:
        found = _made(session, vault, actor, study_id, ask, files)
    study = _study(session, actor, study_id)
    detail = {"warnings": found.warnings}
    audit.append(session, "export_planned", actor=actor, now=now, study_id=study.id, detail=detail)
    session.commit()
    listed = [*files.listed, "manifest.json"]
    number = study.case_number
    return Plan(study.id, number, listed, found.warnings, found.left_out, found.pictures)


def export(
    session: Session, vault: Vault, actor: Actor, study_id: UUID, now: datetime, *, looked: bool
) -> Exported:
    """The export itself, with one audit row. `looked`: the reader has seen that no text is in it.

    Conflict `look_first` where text is possible and the reader has not looked; others as `plan`.
    """
    _may_be_exported(session, actor, study_id)
    stream = io.BytesIO()
    with _work.turn() as ask, zipfile.ZipFile(stream, "w") as archive:
        files = _Files(archive)
        found = _made(session, vault, actor, study_id, ask, files)
        if LOOK & set(found.warnings) and not looked:
            raise Conflict(
                "look_first",
                _("Check the picture for burned-in text first, and confirm that you did."),
            )
        manifest = export_texts.manifest(
            files.listed, found.warnings, found.left_out, found.pseudonym, looked
        )
        files.add("manifest.json", export_texts.as_json(manifest))
    data = stream.getvalue()
    study = _study(session, actor, study_id)
    audit.append(
        session,
        "study_exported",
        actor=actor,
        now=now,
        study_id=study.id,
        detail={
            "files": sorted(files.listed),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "warnings": found.warnings,
            # Not the pseudonym: it is the same for every picture of a patient, so a row would
            # reveal the patient of a purged case to anyone who exports a picture under a guessed
            # patient ID.
        },
    )
    session.commit()
    return Exported(f"pleura-{found.pseudonym}.zip", data)


class _Files:
    """The files of an export, each packed into `archive` as it comes; only listed where None."""

    def __init__(self, archive: zipfile.ZipFile | None) -> None:
        self.listed: dict[str, dict[str, Any]] = {}
        self.is_packed = archive is not None
        self._archive = archive
        self._bytes = 0

    def add(self, name: str, data: bytes, size: int | None = None) -> None:
        """`size`: of a file that is only listed, whose data is not there."""
        self._bytes += len(data) if size is None else size
        if self._bytes > MOST_BYTES:
            raise _too_large()
        self.listed[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if self._archive is not None:
            # Stored as they are: to deflate 256 MB would take this process 8 s, and saves a third
            # of native pixels alone.
            self._archive.writestr(zipfile.ZipInfo(name, _NO_DATE), data)


@dataclass(slots=True)
class _Found:
    """What there is beside the files: warnings as codes, and which pictures are left out."""

    pseudonym: str
    pictures: int
    warnings: list[str] = field(default_factory=list)
    left_out: dict[int, str] = field(default_factory=dict)
    # Lines of masks.csv: picture, whose, rows, columns, and run lengths as in the competition.
    masks: list[tuple[object, ...]] = field(default_factory=list)
    work: Work = field(default_factory=Work)

    def warn(self, *codes: str) -> None:
        self.warnings += [code for code in codes if code not in self.warnings]

    def leave_out(self, number: int, code: str) -> None:
        self.left_out[number] = code
        self.warn(code)


def _too_large() -> Conflict:
    return Conflict(
        "export_too_large",
        _(
            "An export holds at most %(most)s pictures and %(size)s MB. This case has more.",
            most=MOST_PICTURES,
            size=MOST_BYTES // 2**20,
        ),
    )


def _study(session: Session, actor: Actor, study_id: UUID) -> Study:
    actor.require(Permission.STUDY_EXPORT)
    return load(session, actor, study_id)


def _may_be_exported(session: Session, actor: Actor, study_id: UUID) -> None:
    """Denied before the wait: nobody takes a place for a case that is not theirs."""
    _study(session, actor, study_id)
    session.commit()


def _read(session: Session, vault: Vault, actor: Actor, study_id: UUID) -> CaseRecord:
    """What the database holds of the case; nothing is locked afterwards."""
    study = _study(session, actor, study_id)
    ai = ai_visibility.of_exam(session, actor, study)
    record = export_records.read(session, vault, actor, study, MOST_PICTURES, _too_large(), ai)
    session.commit()
    return record


def _made(
    session: Session, vault: Vault, actor: Actor, study_id: UUID, ask: Ask, files: _Files
) -> _Found:
    """Add the files; Denied where the case was purged meanwhile, NotReadable for a damaged file."""
    record = _read(session, vault, actor, study_id)
    try:
        return _collect(vault, record, ask, files)
    except NotReadable:
        _may_be_exported(session, actor, study_id)
        raise


def _collect(vault: Vault, record: CaseRecord, ask: Ask, files: _Files) -> _Found:
    """Add the files; what there is beside them. No query is made."""
    study = record.study

    def keyed(kind: str, old: str) -> str:
        """A keyed digest of the team's own: exports of two teams can't be joined by it."""
        return vault.lookup(f"export:{kind}", f"{study.team_id}:{old}")

    pseudonym = f"PLR{keyed('patient', record.patient_number)[:12].upper()}"
    found = _Found(pseudonym, len(record.pictures))
    results = list[dict[str, Any]]()
    for number_of, picture in enumerate(record.pictures, 1):

        def uid(kind: str, old: str, instance: Instance = picture.instance) -> str:
            """2.25 and 128 bits (DICOM PS3.5 B.2), the same for the same UID.

            A picture that came under another one's UID gets one of its own.
            """
            if kind == "instance" and (not old or instance.same_uid_as):
                old = f"{old}:{instance.id}"
            return f"2.25.{int(keyed(kind, old or f'{study.id}:{kind}')[:32], 16)}"

        before = set(files.listed)
        _picture(vault, picture, Identity(found.pseudonym, uid, number_of), ask, files, found)
        named = set(files.listed) - before
        results.append(
            {
                "files": sorted(named),
                "prediction": picture.prediction,
                "reader_outlines": picture.reader_outlines,
                "drawn_by_readers": picture.drawn_lines,
            }
        )
    result = record.result | {"pictures": results}
    files.add("result.json", export_texts.as_json(result))
    files.add("result.csv", export_texts.table(result))
    masks = [("picture", "by", "rows", "columns", "EncodedPixels"), *found.masks]
    files.add("masks.csv", export_texts.as_csv(masks))
    return found


def _picture(
    vault: Vault,
    picture: PictureRecord,
    identity: Identity,
    ask: Ask,
    files: _Files,
    found: _Found,
) -> None:
    """Add a picture's files, whose names end with its number where it is one of several."""
    end = f"-{identity.number}" if found.pictures > 1 else ""
    measured = (picture.prediction or {}).get("measurements") or {}
    is_wrong = measured.get("spacing_problem") == "not_plausible"
    data_key = picture.data_key
    if picture.source is None or picture.source.media_type != _DICOM:
        found.leave_out(identity.number, "no_dicom")
    elif picture.is_damaged:
        found.leave_out(identity.number, "damaged")
    elif found.work.seconds > MOST_SECONDS:
        found.leave_out(identity.number, "no_time")
    else:
        source = stored_files.read(vault, data_key, picture.source)
        try:
            old = ask({"what": "uids"}, source, found.work, shape=_Uids)
            asked = {
                "what": "export" if files.is_packed else "plan",
                "uids": {kind: identity.uid(kind, old[kind]) for kind in _UIDS},
                "pseudonym": identity.pseudonym,
                "number": identity.number,
                "spacing_is_wrong": is_wrong,
            }
            made = ask(asked, source, found.work, shape=_Made)
        except Refused as refused:
            is_costly = refused.code == "header_limit"
            found.leave_out(identity.number, "too_much_work" if is_costly else "not_cleanable")
        else:
            files.add(f"image{end}.dcm", made["body"], None if files.is_packed else made["size"])
            found.warn(*made["warnings"])
    if picture.drawn is not None:
        drawn = exported_outlines.mask(vault, data_key, picture.instance, picture.drawn)
        files.add(f"reader-mask{end}.png", drawn)
    for number, one in enumerate(picture.by_reader):
        data = exported_outlines.mask(vault, data_key, picture.instance, one)
        files.add(f"reader-mask-by-{letters(number)}{end}.png", data)
        found.masks.append(_run_lengths(identity.number, f"reader {letters(number)}", data))
    if picture.mask is not None:
        cleaned = _clean_png(stored_files.read(vault, data_key, picture.mask))
        if cleaned is None:
            found.warn("mask_left_out")
        else:
            files.add(f"mask{end}.png", cleaned)
            with suppress(BadFile):  # of a version before, in another form
                found.masks.append(_run_lengths(identity.number, "AI", cleaned))


def letters(number: int) -> str:
    """What a reader is called in an export, counted from 0 in the order in which the readers first
    outlined the picture: a to z, then aa, ab, … as the columns of a spreadsheet.
    """
    rest, last = divmod(number, len(_LETTERS))
    return (letters(rest - 1) if rest else "") + _LETTERS[last]


def _run_lengths(number: int, whose: str, data: bytes) -> tuple[object, ...]:
    """A line of masks.csv; BadFile for a PNG that is no mask of ours."""
    runs, rows, columns = mask_png.read(data)
    return number, whose, rows, columns, run_lengths.of_size(runs, (rows, columns))


def _clean_png(data: bytes) -> bytes | None:
    """A PNG's picture without its texts and times; None where it is no PNG."""
    if not data.startswith(png.MARK):
        return None
    try:
        chunks = [data[a:b] for kind, a, b in png.chunks(data) if kind in _PNG_CHUNKS]
    except BadFile:
        return None
    return png.MARK + b"".join(chunks)
