"""ZIP files: each member for itself, nothing followed, nothing unpacked beyond the limits."""

import io
import random
import stat
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import DataError, OperationalError

from portal.access import Denied
from portal.formats.refusals import ARCHIVE_REASONS
from portal.formats.zip_archive import ArchiveLimits, looks_like, members
from portal.intake import zip_submission
from portal.intake.check import Refused
from tests.portal.intake.test_submission import NOTHING, rows_of
from tests.portal.vault.test_vault import file_limit, files
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.hostile_files.headers import bombs, element, header
from tests.support.pictures import dicom, png

LIMITS = ArchiveLimits(8 * 2**20, 2 * 2**20, max_files=50)


def pack(
    *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """A ZIP of these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data, compress_type=method)
    return stream.getvalue()


def entry(name: str, mode: int = 0, **attributes: Any) -> zipfile.ZipInfo:
    """A member of a special kind."""
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


def locked() -> bytes:
    """A ZIP whose member is marked as encrypted."""
    packed = bytearray(pack(("x.dcm", dicom())))
    packed[6] |= 1
    packed[packed.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


def lying(field: int, value: int) -> bytes:
    """A ZIP whose directory gives its member another size or sum than it has."""
    packed = bytearray(pack(("x.dcm", dicom())))
    struct.pack_into("<I", packed, packed.rindex(b"PK\x01\x02") + field, value)
    return bytes(packed)


def overlapping() -> bytes:
    """Many members that are all the same few bytes: what D. Fifield's bombs are made of."""
    packed = pack(("x", bytes(1_900_000)))
    at, end = packed.rindex(b"PK\x01\x02"), packed.rindex(b"PK\x05\x06")
    head, record = packed[:at], packed[at:end]
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 40, 40, 40 * len(record), at, 0)
    return head + record * 40 + tail


def nameless(*entries: tuple[str, bytes]) -> bytes:
    """A ZIP whose first member has no name."""
    whole = pack(("n", entries[0][1]), *entries[1:])
    at, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    # One byte less before each later member, and one less in the directory.
    first = whole[:26] + b"\0\0" + whole[28:30] + whole[31:at]
    entry_ = whole[at : at + 28] + b"\0\0" + whole[at + 30 : at + 46] + whole[at + 47 : end]
    directory, position = bytearray(entry_), entry_.find(b"PK\x01\x02", 4)
    while position >= 0:
        offset = struct.unpack_from("<I", directory, position + 42)[0]
        struct.pack_into("<I", directory, position + 42, offset - 1)
        position = entry_.find(b"PK\x01\x02", position + 4)
    tail = bytearray(whole[end:])
    struct.pack_into("<II", tail, 12, len(directory), len(first))
    return first + bytes(directory) + bytes(tail)


WHOLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "larger than allowed": (lambda: b"PK\x03\x04" + bytes(LIMITS.max_bytes), "archive_too_large"),
    "of fifty-one files": (
        lambda: pack(*((f"{n}.txt", b"") for n in range(51))),
        "archive_too_many_files",
    ),
    "cut off": (lambda: pack(("x.dcm", dicom()))[:-30], "archive_damaged"),
    "cut off behind another ZIP": (
        lambda: pack(("y.zip", pack(("x.dcm", dicom()))), ("z", b""), method=0)[:-120],
        "archive_damaged",
    ),
    "whose file lies outside": (lambda: lying(42, 900_000), "archive_damaged"),
    "a beginning alone": (lambda: b"PK\x03\x04" + bytes(500), "archive_damaged"),
    "empty": (lambda: pack(), "archive_empty"),
    "of folders alone": (lambda: pack(("a/", b""), ("a/b/", b"")), "archive_empty"),
    "of overlapping members": (overlapping, "archive_bomb"),
    "of members that unfold to 40 MB": (
        lambda: pack(*((f"{n}", bytes(1_900_000)) for n in range(20))),
        "archive_bomb",
    ),
}
MEMBERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a link": (lambda: pack((entry("x.dcm", stat.S_IFLNK), b"/etc/passwd")), "member_no_file"),
    "a device": (lambda: pack((entry("x.dcm", stat.S_IFCHR | 0o666), b"")), "member_no_file"),
    "a file with a password": (locked, "member_locked"),
    "packed by bzip2": (lambda: pack(("x", b"B"), method=zipfile.ZIP_BZIP2), "member_unsupported"),
    "packed by LZMA": (lambda: pack(("x", dicom()), method=zipfile.ZIP_LZMA), "member_unsupported"),
    "a file that is too large": (lambda: pack(("x", bytes(range(256)) * 9000)), "too_large"),
    "a kilobyte that unfolds a hundred times": (
        lambda: pack(("x", dicom() + b"A\\" * 60_000)),
        "member_bomb",
    ),
    "a folder with something in it": (
        lambda: pack((entry("a/", stat.S_IFDIR), dicom())),
        "member_no_file",
    ),
    "two megabytes of nothing": (lambda: pack(("x", bytes(2_000_000))), "member_bomb"),
    "another ZIP": (lambda: pack(("x.dcm", pack(("y.dcm", dicom())))), "member_archive"),
    "a wrong sum": (lambda: lying(16, 7), "damaged"),
    "a size that is too small": (lambda: lying(24, 100), "damaged"),
    "a size that is too large": (lambda: lying(24, 20_000), "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_zip_that_cannot_be_taken_is_refused_with_a_reason(name: str) -> None:
    make, code = WHOLE[name]
    with pytest.raises(Refused) as refused:
        members(make(), LIMITS)
    assert refused.value.code == code
    assert refused.value.message.endswith(".")
    assert "{" not in refused.value.message


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_cannot_be_taken_has_a_reason_and_the_next_one_is_taken(name: str) -> None:
    make, code = MEMBERS[name]
    (member,) = members(make(), LIMITS)
    assert member.data is None
    assert member.refused is not None
    assert member.refused.code == code


def test_every_reason_is_tried_above() -> None:
    tried = {code for _, code in (*WHOLE.values(), *MEMBERS.values())}
    later = {"no_room", "archive_work", "unfit", "not_stored", "not_tried", "quota"}  # below
    assert set(ARCHIVE_REASONS) <= tried | later


def test_a_bomb_takes_neither_time_nor_memory() -> None:
    bombs = [make() for make, code in (*WHOLE.values(), *MEMBERS.values()) if code.endswith("bomb")]
    tracemalloc.start()
    began = time.process_time()
    for bomb in bombs:
        try:
            list(members(bomb, LIMITS))
        except Refused as refused:
            assert refused.code == "archive_bomb"  # noqa: PT017 one of them is a member's
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(bombs) == 4
    assert time.process_time() - began < 15
    assert most < 2 * 2**20


def test_one_member_at_a_time_is_unpacked() -> None:
    piece = random.Random(1).randbytes(32_000)
    data = pack(*((f"{n}", piece * 32) for n in range(20)))
    tracemalloc.start()
    sizes = [len(member.data or b"") for member in members(data, LIMITS)]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sizes == [1_024_000] * 20
    assert most < 5 * 2**20


@pytest.mark.parametrize(
    "name",
    [
        "DICOMDIR",
        "disc/DICOMDIR",
        "__MACOSX/a/._x.dcm",
        "a/.hidden/x.dcm",
        ".DS_Store",
        "Thumbs.db",
    ],
)
def test_what_is_no_picture_is_left_out_and_named(name: str) -> None:
    (member,) = members(pack((name, dicom())), LIMITS)
    assert (member.name, member.data, member.refused) == (name, None, None)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\u202e", "file 1"),
        ("../../etc/cron.d/x", "../../etc/cron.d/x"),
        ("/etc/passwd", "/etc/passwd"),
        ("..\\boot.ini", "../boot.ini"),
        ("a\x1b[2J\u202eb", "a[2Jb"),
        ("x" * 3000, "x" * 200),
    ],
)
def test_a_members_name_is_a_text(name: str, shown: str) -> None:
    (member,) = members(pack((name, dicom())), LIMITS)
    assert member.name.replace("\\", "/") == shown
    assert member.data is not None


def test_a_zip_is_recognised_by_its_bytes() -> None:
    assert looks_like(pack(("x", b"")))
    assert looks_like(pack())
    assert not looks_like(dicom())
    assert not looks_like(pack(("x", b""))[:128].ljust(128, b"\0") + dicom()[128:])


def test_a_member_without_a_name_is_read_and_named_by_its_number() -> None:
    data = nameless(("", dicom()), ("second.dcm", dicom()))
    found = list(members(data, LIMITS))
    assert [(member.name, member.refused) for member in found] == [
        ("file 1", None),
        ("second.dcm", None),
    ]
    assert all(member.data is not None for member in found)


def send(
    clinic: Clinic,
    data: bytes,
    limits: ArchiveLimits = LIMITS,
    admit: zip_submission.Admit = lambda: None,
) -> list[zip_submission.Arrival]:
    with clinic.session as session:
        sent = zip_submission.submit_archive(
            session, clinic.vault, clinic.owner, data, NOW, limits=limits, admit=admit
        )
        return list(sent)


class Refusing:
    """Lets every file in but those of these numbers, which meet an error."""

    def __init__(self, error: Exception, *numbers: int) -> None:
        self.error, self.numbers, self.count = error, numbers, 0

    def __call__(self) -> None:
        self.count += 1
        if self.count in self.numbers:
            raise self.error


BROKEN = header()[: header().index(b"\xe0\x7f\x10\x00OW")] + element(0x7FE00001, b"ZZ", b"")


@pytest.mark.parametrize(
    "bad", [BROKEN, dicom()[:300], b"", dicom(Modality="CT")], ids=["VR", "cut", "empty", "CT"]
)
def test_good_bad_good_the_third_is_received(clinic: Clinic, bad: bytes) -> None:
    arrivals = send(clinic, pack(("1", dicom()), ("2", bad), ("3", dicom())))
    assert [arrival.name for arrival in arrivals] == ["1", "2", "3"]
    assert [arrivals[0].outcome, arrivals[2].outcome] == ["received", "received"]
    assert rows_of(clinic)["studies"] == 2 + (arrivals[1].outcome == "received")
    assert bool(arrivals[1].code) == (arrivals[1].outcome == "refused")
    assert arrivals[1].code != "not_stored", "a reason of its own, not that something broke"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("a fault of ours: CANARY^ZEBRA"), "not_stored"),
        (DataError("CANARY^ZEBRA", None, Exception()), "unfit"),
    ],
    ids=["fault", "unfit"],
)
def test_a_file_by_which_something_breaks_costs_no_other(
    clinic: Clinic, error: Exception, code: str
) -> None:
    three = pack(("1", dicom()), ("2", dicom()), ("3", dicom()))
    arrivals = send(clinic, three, admit=Refusing(error, 2))
    assert [(a.outcome, a.code) for a in arrivals] == [
        ("received", ""),
        ("refused", code),
        ("received", ""),
    ]
    assert "CANARY" not in str([a.message for a in arrivals])
    assert rows_of(clinic)["studies"] == 2
    assert [a.outcome for a in send(clinic, three)] == ["duplicate", "received", "duplicate"]


def test_where_the_portal_can_store_nothing_more_the_others_are_named(clinic: Clinic) -> None:
    three = pack(("1", dicom()), ("2", dicom()), ("3", dicom()))
    away = OperationalError("", None, Exception())
    arrivals = send(clinic, three, admit=Refusing(away, 2))
    assert [a.code for a in arrivals] == ["", "not_stored", "not_tried"]
    assert rows_of(clinic)["studies"] == 1
    with pytest.raises(OperationalError):  # nothing was stored: the request can be repeated
        send(clinic, three, admit=Refusing(away, 1))


def test_a_zip_that_takes_too_long_is_read_in_part_and_the_rest_named(clinic: Clinic) -> None:
    hungry = ArchiveLimits(8 * 2**20, 2 * 2**20, seconds=-1.0)
    arrivals = send(clinic, pack(("1", dicom()), ("DICOMDIR", b""), ("2", dicom())), hungry)
    assert [(a.outcome, a.code) for a in arrivals] == [
        ("refused", "archive_work"),
        ("skipped", ""),
        ("refused", "archive_work"),
    ]
    assert rows_of(clinic) == NOTHING


def test_a_small_zip_unfolds_to_no_more_than_a_hundred_times_itself() -> None:
    """A ZIP of 2.4 KB held four headers of a quarter of a megabyte each."""
    four = pack(*((f"{n}", bombs(250_000)["a name of many values"]) for n in range(4)))
    assert len(four) < 4000
    assert {member.refused and member.refused.code for member in members(four, LIMITS)} == {
        "member_bomb"
    }


def test_each_file_of_a_zip_has_its_own_fate(clinic: Clinic) -> None:
    first, known = dicom(), dicom()
    clinic.submit(known)
    theirs = dicom()
    clinic.submit(theirs, actor=clinic.colleague)
    arrivals = send(
        clinic,
        pack(
            ("CD/DICOMDIR", b"a directory"),
            ("CD/IM1", first),
            ("CD/IM2", known),
            ("CD/IM1 again", first),
            ("CD/IM3", theirs),
            ("CD/CT", dicom(Modality="CT")),
            ("CD/view.exe", b"MZ" + bytes(200)),
            ("CD/small.png", png()),
        ),
    )
    assert [(arrival.outcome, arrival.code) for arrival in arrivals] == [
        ("skipped", ""),
        ("received", ""),
        ("duplicate", ""),
        ("duplicate", ""),
        ("refused", "already_sent"),
        ("refused", "unsupported_modality"),
        ("refused", "not_an_image"),
        ("received", ""),
    ]
    assert rows_of(clinic)["studies"] == 4
    assert len(files(clinic.core.data_dir)) == 4
    assert all(arrival.message for arrival in arrivals if arrival.code)


def test_a_refused_zip_leaves_nothing_behind(clinic: Clinic) -> None:
    for make, _ in WHOLE.values():
        with pytest.raises(Refused):
            send(clinic, make())
    for make, _ in MEMBERS.values():
        assert [arrival.outcome for arrival in send(clinic, make())] == ["refused"]
    assert rows_of(clinic) == NOTHING
    assert files(clinic.core.data_dir) == []


def test_a_full_disk_is_reported_for_the_files_that_found_no_room(clinic: Clinic) -> None:
    large = png() + random.Random(1).randbytes(200_000)
    with file_limit(100_000):
        arrivals = send(clinic, pack(("large.png", large)))
    assert [(a.outcome, a.code) for a in arrivals] == [("refused", "no_room")]
    assert rows_of(clinic) == NOTHING


def test_who_may_not_submit_unpacks_nothing(clinic: Clinic) -> None:
    with pytest.raises(Denied), clinic.session as session:
        zip_submission.submit_archive(
            session, clinic.vault, clinic.admin, pack(("x", dicom())), NOW, limits=LIMITS
        )
