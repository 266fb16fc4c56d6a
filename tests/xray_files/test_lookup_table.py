"""Lookup tables in the ways that writers store them."""

import struct

import pytest
from pydicom.dataset import Dataset

from xray_files import lookup_table


def item(descriptor: object, data: object) -> Dataset:
    dataset = Dataset()
    dataset.add_new("LUTDescriptor", "OB" if isinstance(descriptor, bytes) else "US", descriptor)
    dataset.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return dataset


@pytest.mark.parametrize("count", [256, 255, 4])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_entries_of_eight_bits_may_stand_one_in_a_byte(count: int, as_bytes: bool) -> None:
    entries = bytes(range(count))
    packed = entries + b"\0" * (count % 2)
    words = list(struct.unpack(f"<{len(packed) // 2}H", packed))
    table = lookup_table.read(item([count, 0, 8], packed if as_bytes else words), "LUT", 0, 4095)
    assert table is not None
    assert table.entries == tuple(entries)
    in_words = lookup_table.read(item([count, 0, 8], list(entries)), "LUT", 0, 4095)
    assert in_words == table


def test_in_big_endian_words_the_lower_byte_is_the_earlier_entry() -> None:
    packed = b"\x01\x00\x03\x02"
    table = lookup_table.read(item([4, 0, 8], packed), "LUT", 0, 255, little=False)
    assert table is not None
    assert table.entries == (0, 1, 2, 3)


@pytest.mark.parametrize("first", [-1024, 64512])
def test_the_first_value_is_taken_as_the_inputs_need_it(first: int) -> None:
    table = lookup_table.read(item([4096, first, 12], list(range(4096))), "LUT", -1024, 3071)
    assert table is not None
    assert table.first == -1024
    unsigned = lookup_table.read(item([1000, first, 12], list(range(1000))), "LUT", 0, 65535)
    assert unsigned is not None
    assert unsigned.first == 64512


def test_a_descriptor_whose_vr_the_file_does_not_name_is_read() -> None:
    raw = struct.pack("<3H", 4, 64512, 12)
    table = lookup_table.read(item(raw, [1, 2, 3, 4]), "LUT", -1024, 3071)
    assert table is not None
    assert (table.first, table.bits, table.entries) == (-1024, 12, (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("descriptor", "data"), [([4, 0], [1]), ([4, 0, 0], [1]), ([4, 0, 40], [1]), ([4, 0, 8], [])]
)
def test_what_is_no_table_is_none(descriptor: list[int], data: list[int]) -> None:
    assert lookup_table.read(item(descriptor, data), "LUT", 0, 255) is None


def test_empty_items_of_a_sequence_are_passed_over() -> None:
    dataset = Dataset()
    dataset.VOILUTSequence = [Dataset(), item([2, 0, 8], [1, 2])]
    dataset.set_original_encoding(False, True, "utf8")
    assert len(lookup_table.tables(dataset, "VOILUTSequence", 0, 255)) == 1
