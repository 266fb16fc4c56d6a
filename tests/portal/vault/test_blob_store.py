"""The vault's files in a bucket: a real S3 protocol server, and what happens when it fails."""

import json
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from portal.models import BlobKind
from portal.settings import Settings, SettingsError
from portal.standalone.up import NOT_FOR_WORKERS
from portal.vault import NotReadable, StorageUnavailable, Vault, WantedFile
from portal.vault.blob_store import BucketStorage

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
pytest.importorskip("moto.server", reason="moto's server is not installed")

LATER = datetime.now(UTC) + timedelta(days=1)


def client(address: str) -> Any:
    """The server seen without the vault."""
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server on loopback with one empty bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client(address).create_bucket(Bucket="pleura-test")
    yield address
    server.stop()


def settings(folder: Path, endpoint: str, **more: str) -> Settings:
    environ = {
        "PLEURA_ENV": "test",
        "PLEURA_DATA_DIR": str(folder),
        "PLEURA_BUCKET": "s3://pleura-test/blobs",
        "PLEURA_BUCKET_ENDPOINT": endpoint,
        "PLEURA_BUCKET_KEY_ID": "key",
        "PLEURA_BUCKET_SECRET": "secret",
    }
    return Settings.from_env(environ | more)


def test_a_file_in_a_bucket_comes_back_and_is_sealed_there(tmp_path: Path, endpoint: str) -> None:
    made = settings(tmp_path, endpoint)
    vault, blob_id = Vault(made), uuid4()
    data_key, _ = vault.new_data_key(uuid4())
    data = b"DICM CANARY^ZEBRA" * 1000
    name = vault.put(data_key, blob_id=blob_id, kind=BlobKind.SOURCE, attempt=0, data=data)
    assert vault.get(data_key, blob_id=blob_id, kind=BlobKind.SOURCE, name=name) == data
    assert not (tmp_path / "blobs").exists()
    stored = client(endpoint).get_object(Bucket="pleura-test", Key=f"blobs/{name}")["Body"].read()
    assert b"CANARY" not in stored
    assert b"DICM" not in stored


def test_many_files_of_a_bucket_are_read_at_once_in_their_order(
    tmp_path: Path, endpoint: str
) -> None:
    vault, data_key, wanted = Vault(settings(tmp_path, endpoint)), bytes(32), []
    for number in range(50):
        blob_id = uuid4()
        name = vault.put(
            data_key, blob_id=blob_id, kind=BlobKind.THUMB, attempt=1, data=bytes([number])
        )
        wanted.append(WantedFile(data_key, blob_id, BlobKind.THUMB, name))
    vault.destroy(wanted[7].name)
    found = vault.get_many(wanted)
    assert found[7] is None
    assert found[:7] + found[8:] == [bytes([number]) for number in range(50) if number != 7]
    away = Vault(settings(tmp_path, "http://127.0.0.1:9"))
    with pytest.raises(StorageUnavailable):
        away.get_many(wanted)


def test_two_requests_to_a_bucket_are_under_way_together(tmp_path: Path, endpoint: str) -> None:
    """Each read waits until the other has begun: one after the other they would never end."""
    vault, together = Vault(settings(tmp_path, endpoint)), threading.Barrier(2, timeout=20)
    names = [
        vault.put(bytes(32), blob_id=uuid4(), kind=BlobKind.THUMB, attempt=1, data=b"x")
        for _ in range(2)
    ]
    store = vault._storage
    assert isinstance(store, BucketStorage)

    def wait(**_request: Any) -> None:
        together.wait()

    store._client.meta.events.register("before-send.s3", wait)
    read = store.read_many(names)
    assert None not in read


def test_names_are_listed_by_their_first_byte_and_age(tmp_path: Path, endpoint: str) -> None:
    vault, blob_id = Vault(settings(tmp_path, endpoint)), uuid4()
    name = vault.put(bytes(32), blob_id=blob_id, kind=BlobKind.PIXELS, attempt=2, data=b"x")
    shard = int(name[:2], 16)
    assert name in list(vault.names(shard, LATER))
    assert name not in list(vault.names(shard, LATER - timedelta(days=2)))
    assert name not in list(vault.names((shard + 1) % 256, LATER))


def test_a_destroyed_file_is_gone_and_gone_twice_is_no_error(tmp_path: Path, endpoint: str) -> None:
    vault, blob_id = Vault(settings(tmp_path, endpoint)), uuid4()
    name = vault.put(bytes(32), blob_id=blob_id, kind=BlobKind.MASK, attempt=0, data=b"x")
    vault.destroy(name)
    vault.destroy(name)
    with pytest.raises(NotReadable, match="missing"):
        vault.get(bytes(32), blob_id=blob_id, kind=BlobKind.MASK, name=name)


def test_a_restore_s_files_move_into_the_bucket_all_of_them(tmp_path: Path, endpoint: str) -> None:
    vault = Vault(settings(tmp_path, endpoint, PLEURA_BUCKET="s3://pleura-test/restored"))
    names = [f"{uuid4().hex}-0" for _ in range(3)]
    assert vault.is_empty()
    for name in names:
        vault.stage(name, name.encode())
    vault.adopt()
    assert [vault.sealed_file(name) for name in names] == [name.encode() for name in names]
    assert vault.has(names[0])
    assert not vault.has(f"{uuid4().hex}-0")
    assert not (tmp_path / "restoring").exists()
    vault.give_up_adopted()
    assert vault.is_empty()


def test_a_bucket_that_is_not_there_is_a_clear_error(tmp_path: Path, endpoint: str) -> None:
    vault = Vault(settings(tmp_path, endpoint, PLEURA_BUCKET="s3://nobody-made-it"))
    with pytest.raises(StorageUnavailable, match=r"refused a request \(NoSuchBucket\)"):
        vault.put(bytes(32), blob_id=uuid4(), kind=BlobKind.MASK, attempt=0, data=b"x")


def test_a_server_that_does_not_answer_is_no_missing_file(tmp_path: Path) -> None:
    vault = Vault(settings(tmp_path, "http://127.0.0.1:9"))
    blob_id = uuid4()
    with pytest.raises(StorageUnavailable, match="can't be reached"):
        vault.get(bytes(32), blob_id=blob_id, kind=BlobKind.MASK, name=f"{blob_id.hex}-0")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"PLEURA_BUCKET": "https://elsewhere/x"}, "s3://name"),
        ({"PLEURA_BUCKET": "s3://UPPER"}, "s3://name"),
        ({"PLEURA_BUCKET_SECRET": ""}, "PLEURA_BUCKET_SECRET"),
        ({"PLEURA_BUCKET_KEY_ID": ""}, "PLEURA_BUCKET_KEY_ID"),
        ({"PLEURA_BUCKET_ENDPOINT": "s3.example.org"}, "https://"),
    ],
)
def test_a_bucket_that_cannot_be_meant_stops_the_start(
    tmp_path: Path, change: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        settings(tmp_path, "http://127.0.0.1:9", **change)


def kept_elsewhere(tmp_path: Path) -> dict[str, str]:
    """The ring in a file that only two commands know: a key service in small."""
    from portal.settings.secret_files import new_key_ring

    (tmp_path / "service").write_text(new_key_ring())
    keep = f"import sys; open({str(tmp_path / 'service')!r}, 'w').write(sys.stdin.read())"
    return {
        "PLEURA_ENV": "test",
        "PLEURA_DATA_DIR": str(tmp_path / "data"),
        "PLEURA_KEY_RING_COMMAND": f"cat {tmp_path / 'service'}",
        "PLEURA_KEY_RING_STORE_COMMAND": f'{sys.executable} -c "{keep}"',
    }


def test_a_key_ring_may_be_stored_by_a_command_and_rotates_there(tmp_path: Path) -> None:
    environ = kept_elsewhere(tmp_path)
    vault, other = Vault(Settings.from_env(environ)), Vault(Settings.from_env(environ))
    study_id = uuid4()
    added = vault.add_key(datetime.now(UTC))
    data_key, wrapped = vault.new_data_key(study_id)
    assert wrapped.key_id == added == json.loads((tmp_path / "service").read_text())["active"]
    # A process with only the old ring meets the new key and asks anew.
    assert other.data_key(study_id, wrapped.wrapped, wrapped.key_id) == data_key
    assert not (tmp_path / "data" / "keys" / "key_ring.json").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"PLEURA_KEY_RING_COMMAND": "/no/such/program"}, "can't be run"),
        ({"PLEURA_KEY_RING_COMMAND": "false"}, "ended with code 1"),
        ({"PLEURA_KEY_RING_COMMAND": "'"}, "closing quotation"),
        ({"PLEURA_KEY_RING_COMMAND": ""}, "needs PLEURA_KEY_RING_COMMAND"),
        ({"PLEURA_KEY_RING": "{}"}, "not both"),
    ],
)
def test_a_command_that_gives_no_ring_stops_the_start(
    tmp_path: Path, change: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        Settings.from_env(kept_elsewhere(tmp_path) | change)


def test_without_a_command_to_store_it_a_ring_is_not_rotated(tmp_path: Path) -> None:
    environ = kept_elsewhere(tmp_path) | {"PLEURA_KEY_RING_STORE_COMMAND": ""}
    before = (tmp_path / "service").read_text()
    with pytest.raises(SettingsError, match="STORE_COMMAND"):
        Vault(Settings.from_env(environ)).add_key(datetime.now(UTC))
    assert (tmp_path / "service").read_text() == before


def test_no_worker_gets_the_secrets_of_bucket_and_key_service() -> None:
    secret = {
        variable.name
        for variable in Settings.describe()
        if variable.secret or "COMMAND" in variable.name or variable.name.endswith("_KEY_ID")
    }
    assert len(secret) >= 7
    assert secret - {"PLEURA_WORKER_TOKEN", "REDIS_URL"} <= set(NOT_FOR_WORKERS)
