"""Headers are walked by lengths: what a hostile one may cost, and what is read of it.

Cost is counted in calls and in bytes of memory, which a busy machine does not change.
"""

import itertools
import random
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from portal.formats import dicom, header_pool
from portal.formats.refusals import REASONS, Limits, Refused
from tests.support.hostile_files.headers import (
    CHARACTER_SETS,
    FRAMES,
    NAME,
    VRS,
    bombs,
    element,
    header,
    odd_headers,
)
from tests.support.pictures import dicom as picture
from xray_files.header import walk
from xray_files.listed_elements import Bound

LIMITS = Limits(64 * 2**20)
MEGABYTE = 2**20
MOST_CALLS = 200_000  # some 50 ms; the files below took up to 80 million
MOST_MEMORY = 50 * MEGABYTE


def cost(read: Callable[[], Any]) -> tuple[str, int, int]:
    """The reason (or "read"), how many functions were called and how much memory was taken."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")
        if calls > 10 * MOST_CALLS:
            raise InterruptedError  # long enough to know

    outcome = "read"
    tracemalloc.start()
    sys.setprofile(count)
    try:
        read()
    except Refused as refused:
        outcome = refused.code
    except InterruptedError:
        outcome = "stopped"
    finally:
        sys.setprofile(None)
        _, memory = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return outcome, calls, memory


@pytest.mark.parametrize("name", bombs(1000))
def test_a_header_that_costs_much_to_convert_costs_little(name: str) -> None:
    data = bombs(MEGABYTE - 2000)[name]
    assert len(data) <= MEGABYTE
    outcome, calls, memory = cost(lambda: dicom.read(data, LIMITS))
    assert outcome == ("too_many_elements" if name == "many elements" else outcome)
    assert calls < MOST_CALLS
    assert memory < MOST_MEMORY


def test_no_header_of_a_megabyte_reaches_the_limits_of_its_process() -> None:
    """Every VR and many kinds of values, in every element that is read: 0.4 s and 48 MiB.

    The kernel counts. A file that needs more is refused as `header_limit`, and none is.
    """
    chance = random.Random(5)
    tags = [*dicom.INTAKE, *dicom.EXPORT, 0x00081110, 0x00091001, 0x00400555]
    files = odd_headers(chance, tags, MEGABYTE // 2)
    outcomes: dict[str, str] = {}
    for name, data in itertools.islice(files, 4 * len(VRS)):
        try:
            header_pool.shared().read("x", data, LIMITS)
            outcomes[name] = "read"
        except Refused as refused:
            outcomes[name] = refused.code
    assert not {name: c for name, c in outcomes.items() if c in ("header_limit", "unreadable")}
    assert len(set(outcomes.values())) > 2


def test_what_is_not_listed_is_passed_over_unread() -> None:
    """A table of a megabyte that nobody reads is not even copied."""
    data = header((0x00091001, b"OB", bytes(8 * MEGABYTE)))
    outcome, _, memory = cost(lambda: dicom.read(data, LIMITS))
    assert outcome == "read"
    assert memory < MEGABYTE


@pytest.mark.parametrize("vr", VRS, ids=repr)
def test_a_wrong_vr_in_any_element_is_no_error(vr: bytes) -> None:
    """Also in the last element before the end, and in the transfer syntax."""
    for tag in (CHARACTER_SETS, NAME, FRAMES, 0x00280010, 0x00283010, 0x00281201, 0x00091001):
        for value in (b"", b"A", b"12345678"):
            whole = header((tag, vr, value))
            cut = whole[: whole.index(b"\xe0\x7f\x10\x00OW")]
            last = cut + element(0x7FE00001, vr, value)
            for data in (whole, cut, last, whole.replace(b"\x02\0\x10\0UI", b"\x02\0\x10\0" + vr)):
                try:
                    dicom.read(data, LIMITS)
                except Refused as refused:
                    assert refused.code in REASONS  # noqa: PT017 some are read


def test_the_first_values_of_many_are_read() -> None:
    data = header(
        (CHARACTER_SETS, b"CS", b"ISO_IR 192\\" + b"ISO 2022 IR 6\\" * 1000),
        (NAME, b"PN", "Müller^Änne\\Other^Name".encode() + b"\\X" * 10_000),
        (FRAMES, b"IS", b"1" + b"\\1" * 10_000),
    )
    phi, _, _ = dicom.read(data, LIMITS)
    assert phi["patient_name"] == "Müller, Änne"
    listed = {FRAMES: Bound(64, values=3)}
    assert walk(data, listed, MEGABYTE).dataset(listed)[FRAMES].VM == 3


@pytest.mark.parametrize("frames", [b"2", b"3\\1", b" 12 "])
def test_several_frames_are_seen_however_they_are_written(frames: bytes) -> None:
    with pytest.raises(Refused) as refused:
        dicom.read(header((FRAMES, b"IS", frames)), LIMITS)
    assert refused.value.code == "not_single_frame"


@pytest.mark.parametrize("vr", [b"\0\0", b"??", b"a1"])
@pytest.mark.parametrize("written", ["short", "long", "implicit"])
def test_a_private_element_of_an_odd_vr_is_passed_over(vr: bytes, written: str) -> None:
    value = b"anything"
    lengths = {
        "short": vr + struct.pack("<H", len(value)),
        "long": vr + b"\0\0" + struct.pack("<I", len(value)),
        "implicit": struct.pack("<I", len(value)),
    }
    whole = picture()
    at = whole.index(b"\x10\x00\x10\x00PN")
    odd = b"\x09\x00\x01\x10" + lengths[written] + value
    phi, _, _ = dicom.read(whole[:at] + odd + whole[at:], LIMITS)
    assert phi["patient_name"] == "PHANTOM, ONE"


def test_a_header_is_read_as_it_is_written_whatever_its_transfer_syntax_states() -> None:
    explicit, implicit = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"
    for data, swapped in (
        (header((NAME, b"PN", b"A^B")), (explicit, implicit)),
        (
            header((NAME, b"PN", b"A^B"), implicit=True),
            (b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2\0"),
        ),
    ):
        phi, _, found = dicom.read(data.replace(*swapped), LIMITS)
        assert phi["patient_name"] == "A, B"
        assert (found["rows"], found["columns"]) == (8, 6)


def test_a_large_header_is_read_up_to_the_setting_and_named_beyond_it() -> None:
    data = header((0x00091001, b"OB", bytes(5 * MEGABYTE)))
    assert dicom.read(data, LIMITS)[2]["rows"] == 8
    with pytest.raises(Refused) as refused:
        dicom.read(data, Limits(64 * MEGABYTE, max_header_bytes=4 * MEGABYTE))
    assert refused.value.code == "header_too_large"
    assert "4 MB" in refused.value.message


def test_sequences_without_lengths_are_walked_through_however_deep() -> None:
    def nested(depth: int) -> bytes:
        opening = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
        whole = picture()
        at = whole.index(b"\x10\x00\x10\x00PN")
        return whole[:at] + opening * depth + closing * depth + whole[at:]

    assert dicom.read(nested(30), LIMITS)[0]["patient_name"] == "PHANTOM, ONE"
    outcome, calls, _ = cost(lambda: dicom.read(nested(40_000), LIMITS))
    assert outcome == "too_many_elements"
    assert calls < 10_000


@pytest.mark.parametrize(
    ("rows", "noise", "outcome"),
    [
        (3900, 400_000, "read"),
        (4300, 400_000, "unfolds_too_large"),
        (3900, 200_000, "unfolds_too_far"),
        (400, 0, "unfolds_too_far"),
    ],
)
def test_a_deflated_file_is_inflated_within_limits(rows: int, noise: int, outcome: str) -> None:
    """32 MiB, and a hundred times the file: an X-ray has noise, which does not repeat."""
    data = picture(
        rows=rows,
        columns=4096,
        pixels=random.Random(1).randbytes(noise).ljust(rows * 4096 * 2, b"\0"),
        TransferSyntaxUID=DeflatedExplicitVRLittleEndian,
    )
    assert len(data) < MEGABYTE
    began = time.process_time()
    found, calls, memory = cost(lambda: dicom.read(data, LIMITS))
    assert (found, calls < MOST_CALLS, memory < MOST_MEMORY) == (outcome, True, True)
    assert time.process_time() - began < 2
