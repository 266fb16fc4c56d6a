"""The vault: what is sealed opens in its own place only, and files are all or nothing."""

import json
import resource
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.models import BlobKind
from portal.settings import Settings
from portal.settings.secret_files import new_ring_key
from portal.vault import Dropped, NotReadable, StorageFull, Vault, VaultError, WantedFile
from tests.support.hostile_files.damage import flipped

NOW = datetime(2026, 3, 4, 9, tzinfo=UTC)
STUDY = UUID(int=1)
SECRET = b"CANARY^ZEBRA" * 50


def vault_settings(folder: Path) -> Settings:
    return Settings.from_env({"PLEURA_ENV": "test", "PLEURA_DATA_DIR": str(folder)})


def open_vault(folder: Path) -> Vault:
    return Vault(vault_settings(folder))


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return open_vault(tmp_path)


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "blobs").rglob("*") if path.is_file()]


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size`: the kernel reports it like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


_shared: list[Vault] = []


@given(data=st.binary(max_size=200), aad=st.text(max_size=30))
def test_what_was_sealed_opens_again(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, aad: str
) -> None:
    if not _shared:
        _shared.append(open_vault(tmp_path_factory.mktemp("vault")))
    vault = _shared[0]
    key, _ = vault.new_data_key(STUDY)
    assert vault.open_(key, aad, vault.seal(key, aad, data)) == data


def test_a_value_in_another_place_does_not_open(vault: Vault) -> None:
    key, _ = vault.new_data_key(STUDY)
    sealed = vault.seal(key, "studies:1:phi", SECRET)
    with pytest.raises(NotReadable):
        vault.open_(key, "studies:2:phi", sealed)


def test_a_value_with_any_bit_flipped_does_not_open(vault: Vault) -> None:
    key, _ = vault.new_data_key(STUDY)
    sealed = vault.seal(key, "here", b"twelve bytes")
    for position in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(NotReadable):
            vault.open_(key, "here", bytes(damaged))
    for length in range(len(sealed)):
        with pytest.raises(NotReadable):
            vault.open_(key, "here", sealed[:length])


def test_a_wrapped_key_of_another_study_does_not_open(vault: Vault) -> None:
    _, wrapped = vault.new_data_key(STUDY)
    with pytest.raises(NotReadable):
        vault.data_key(UUID(int=2), wrapped.wrapped, wrapped.key_id)
    with pytest.raises(NotReadable, match="destroyed"):
        vault.data_key(STUDY, None, None)


def test_two_seals_of_the_same_differ(vault: Vault) -> None:
    key, _ = vault.new_data_key(STUDY)
    assert vault.seal(key, "here", b"same") != vault.seal(key, "here", b"same")


def test_a_file_comes_back_and_shows_nothing_on_disk(vault: Vault, tmp_path: Path) -> None:
    key, _ = vault.new_data_key(STUDY)
    blob = uuid4()
    name = vault.put(key, blob_id=blob, kind=BlobKind.SOURCE, attempt=3, data=SECRET)
    assert name.endswith("-3")
    assert vault.get(key, blob_id=blob, kind=BlobKind.SOURCE, name=name) == SECRET
    (path,) = files(tmp_path)
    assert b"CANARY" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    vault.destroy(name)
    vault.destroy(name)
    assert files(tmp_path) == []
    with pytest.raises(NotReadable):
        vault.get(key, blob_id=blob, kind=BlobKind.SOURCE, name=name)


def test_two_files_swapped_do_not_open(vault: Vault, tmp_path: Path) -> None:
    key, _ = vault.new_data_key(STUDY)
    one, two = uuid4(), uuid4()
    first = vault.put(key, blob_id=one, kind=BlobKind.PIXELS, attempt=1, data=b"one")
    second = vault.put(key, blob_id=two, kind=BlobKind.PIXELS, attempt=1, data=b"two")
    paths = {path.name: path for path in files(tmp_path)}
    held = paths[first].read_bytes()
    paths[first].write_bytes(paths[second].read_bytes())
    paths[second].write_bytes(held)
    for blob, name in ((one, first), (two, second)):
        with pytest.raises(NotReadable):
            vault.get(key, blob_id=blob, kind=BlobKind.PIXELS, name=name)


def test_several_files_are_read_at_once_and_one_bad_one_spoils_no_other(
    vault: Vault, tmp_path: Path
) -> None:
    wanted = [a_file(vault, bytes([number]) * 50) for number in range(5)]
    gone, damaged, *_ = wanted
    vault.destroy(gone.name)
    path = next(path for path in files(tmp_path) if path.name == damaged.name)
    path.write_bytes(path.read_bytes()[:-1])
    wanted.append(WantedFile(bytes(32), wanted[4].blob_id, BlobKind.THUMB, wanted[4].name))
    wanted.append(WantedFile(bytes(32), uuid4(), BlobKind.THUMB, "../key_ring.json"))
    assert vault.get_many(wanted) == [None, None, b"\2" * 50, b"\3" * 50, b"\4" * 50, None, None]
    assert vault.get_many([]) == []


def a_file(vault: Vault, data: bytes) -> WantedFile:
    """A file of this vault, under a key of its own."""
    blob_id = uuid4()
    data_key, _ = vault.new_data_key(uuid4())
    name = vault.put(data_key, blob_id=blob_id, kind=BlobKind.THUMB, attempt=1, data=data)
    return WantedFile(data_key, blob_id, BlobKind.THUMB, name)


def test_a_file_does_not_open_as_another_kind(vault: Vault) -> None:
    key, _ = vault.new_data_key(STUDY)
    blob = uuid4()
    name = vault.put(key, blob_id=blob, kind=BlobKind.MASK, attempt=1, data=b"mask")
    with pytest.raises(NotReadable):
        vault.get(key, blob_id=blob, kind=BlobKind.OVERLAY, name=name)


def test_a_flipped_bit_in_a_file_fails_closed(vault: Vault, tmp_path: Path) -> None:
    key, _ = vault.new_data_key(STUDY)
    blob = uuid4()
    name = vault.put(key, blob_id=blob, kind=BlobKind.PIXELS, attempt=1, data=b"pixels")
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(flipped(whole, position))
        with pytest.raises(NotReadable):
            vault.get(key, blob_id=blob, kind=BlobKind.PIXELS, name=name)


@pytest.mark.parametrize("name", ["../keys/secret_key", "/etc/passwd", "", "x" * 32, "..", "a-1"])
def test_a_name_that_the_vault_has_not_made_leads_nowhere(vault: Vault, name: str) -> None:
    key, _ = vault.new_data_key(STUDY)
    with pytest.raises(NotReadable):
        vault.get(key, blob_id=uuid4(), kind=BlobKind.PIXELS, name=name)
    with pytest.raises(NotReadable):
        vault.destroy(name)


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_behind(
    vault: Vault, tmp_path: Path
) -> None:
    key, _ = vault.new_data_key(STUDY)
    with file_limit(4096), pytest.raises(StorageFull):
        vault.put(key, blob_id=uuid4(), kind=BlobKind.SOURCE, attempt=0, data=bytes(100_000))
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_a_clear_error(vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("not a folder")
    key, _ = vault.new_data_key(STUDY)
    with pytest.raises(VaultError, match="errno"):
        vault.put(key, blob_id=uuid4(), kind=BlobKind.SOURCE, attempt=0, data=b"x")


def test_what_a_killed_process_left_half_written_is_removed_later(
    vault: Vault, tmp_path: Path
) -> None:
    key, _ = vault.new_data_key(STUDY)
    vault.put(key, blob_id=uuid4(), kind=BlobKind.SOURCE, attempt=0, data=b"x")
    half = tmp_path / "blobs" / "incoming" / "half.1234"
    half.write_bytes(b"half")
    now = datetime.now(UTC)
    assert vault.remove_stale(now - timedelta(hours=1)) == 0
    assert vault.remove_stale(now + timedelta(hours=1)) == 1
    assert len(files(tmp_path)) == 1


def test_rotation_keeps_everything_readable_for_a_process_that_knows_only_the_old_ring(
    tmp_path: Path,
) -> None:
    old = open_vault(tmp_path)
    data_key, wrapped = old.new_data_key(STUDY)
    new = open_vault(tmp_path)
    key_id = new.add_key(NOW)
    moved = new.rewrap(STUDY, wrapped.wrapped, wrapped.key_id)
    assert moved.key_id == key_id != wrapped.key_id
    assert old.data_key(STUDY, moved.wrapped, moved.key_id) == data_key
    assert old.new_data_key(UUID(int=9))[1].key_id == key_id


def test_a_key_that_left_the_ring_opens_nothing_any_more(tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    _, wrapped = vault.new_data_key(STUDY)
    vault.add_key(NOW)
    later = NOW + timedelta(hours=2)
    assert vault.drop_keys({wrapped.key_id}, later) == Dropped([], [])
    assert vault.drop_keys(set(), later) == Dropped([wrapped.key_id], [])
    with pytest.raises(NotReadable):
        open_vault(tmp_path).data_key(STUDY, wrapped.wrapped, wrapped.key_id)


def test_a_key_stays_for_an_hour_after_it_was_retired(tmp_path: Path) -> None:
    """An upload may have wrapped its key just before, and not have committed yet."""
    vault = open_vault(tmp_path)
    data_key, wrapped = vault.new_data_key(STUDY)
    second = vault.add_key(NOW)
    third = vault.add_key(NOW + timedelta(minutes=50))
    soon, later = NOW + timedelta(minutes=59), NOW + timedelta(minutes=61)
    assert vault.drop_keys(set(), soon) == Dropped([], sorted([wrapped.key_id, second]))
    assert open_vault(tmp_path).data_key(STUDY, wrapped.wrapped, wrapped.key_id) == data_key
    assert vault.drop_keys(set(), later) == Dropped([wrapped.key_id], [second])
    ring = json.loads(vault_settings(tmp_path).read_key_ring())
    assert set(ring["keys"]) == {second, third}
    assert set(ring["retired_at"]) == {second}


def test_a_ring_of_an_older_version_still_opens_and_its_keys_get_their_hour(tmp_path: Path) -> None:
    settings = vault_settings(tmp_path)
    ring = json.loads(settings.read_key_ring())
    ring["keys"]["old"] = new_ring_key()[1]
    assert "retired_at" not in ring
    settings.change_key_ring(lambda _text: json.dumps(ring))
    vault = open_vault(tmp_path)
    assert vault.drop_keys(set(), NOW) == Dropped([], ["old"])
    assert vault.drop_keys(set(), NOW + timedelta(hours=2)) == Dropped(["old"], [])


def test_two_rotations_at_once_lose_no_key(tmp_path: Path) -> None:
    open_vault(tmp_path)

    def rotate(_number: int) -> list[str]:
        vault = open_vault(tmp_path)
        return [vault.add_key(NOW) for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        added = {key for keys in pool.map(rotate, range(8)) for key in keys}
    ring = json.loads(vault_settings(tmp_path).read_key_ring())
    assert added <= set(ring["keys"])
    assert len(ring["keys"]) == 81


def test_lookups_show_equal_values_and_nothing_else(tmp_path: Path) -> None:
    one, other = open_vault(tmp_path / "one"), open_vault(tmp_path / "other")
    assert one.lookup("patient_id", "P1") == one.lookup("patient_id", "P1")
    assert one.lookup("patient_id", "P1") != one.lookup("patient_id", "P2")
    assert one.lookup("patient_id", "P1") != one.lookup("accession", "P1")
    assert one.lookup("patient_id", "P1") != other.lookup("patient_id", "P1")
    before = one.lookup("patient_id", "P1"), one.audit_key()
    one.add_key(NOW)
    assert (one.lookup("patient_id", "P1"), one.audit_key()) == before


def test_a_second_factor_opens_for_its_own_person_only(vault: Vault) -> None:
    me, you = uuid4(), uuid4()
    sealed = vault.seal_totp(me, "JBSWY3DPEHPK3PXP")
    assert b"JBSWY3" not in sealed
    assert vault.open_totp(me, sealed) == "JBSWY3DPEHPK3PXP"
    with pytest.raises(NotReadable):
        vault.open_totp(you, sealed)


@pytest.mark.parametrize("ring", ["", "{}", "[]", '{"active":"a","keys":{"a":"AAAA"},"index":""}'])
def test_a_broken_key_ring_stops_the_start(tmp_path: Path, ring: str) -> None:
    vault_settings(tmp_path).change_key_ring(lambda _text: ring or "nothing")
    with pytest.raises(VaultError):
        open_vault(tmp_path)


@pytest.mark.parametrize(
    "retired_at",
    [[], None, {"unknown": "2026-03-04T09:00:00+00:00"}, {"KEY": "2026-03-04"}, {"KEY": 7}],
)
def test_a_ring_whose_times_are_none_stops_the_start(tmp_path: Path, retired_at: Any) -> None:
    settings = vault_settings(tmp_path)
    ring = json.loads(settings.read_key_ring())
    if isinstance(retired_at, dict):
        retired_at = {k.replace("KEY", ring["active"]): at for k, at in retired_at.items()}
    settings.change_key_ring(lambda _text: json.dumps(ring | {"retired_at": retired_at}))
    with pytest.raises(VaultError):
        open_vault(tmp_path)


def test_a_change_that_would_break_the_ring_is_not_written(vault: Vault, tmp_path: Path) -> None:
    settings = vault_settings(tmp_path)
    settings.change_key_ring(lambda _text: "nothing")
    with pytest.raises(VaultError):
        vault.add_key(NOW)
    assert settings.read_key_ring() == "nothing"
