"""A bucket's server that fails or lies: nothing wrong is believed and nothing half stored."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest

from portal.models import BlobKind
from portal.settings import Settings
from portal.vault import NotReadable, StorageUnavailable, Vault
from tests.support.hostile_files.damage import flipped

pytest.importorskip("boto3", reason="boto3 is not installed")

KEY = bytes(range(32))
EVER = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass
class Bucket:
    """Objects by key, and the faults of the server."""

    address: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    refusals: list[int] = field(default_factory=list)  # statuses of the next answers
    missing: bytes = b""  # how much of a body does not come
    lost_answers: int = 0  # of PUTs that have been carried out
    listing: list[str] | None = None
    next_token: str = ""
    pages: list[list[str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serve() as served:
        yield served


@contextmanager
def serve() -> Iterator[Bucket]:
    """Answers as S3 does, as far as the vault needs it."""
    bucket = Bucket()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if "list-type" in parts.query:
                query = parse_qs(parts.query)
                self.answer(200, self.list(query["prefix"][0]))
                return
            content = bucket.objects.get(parts.path)
            if content is None:
                self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            else:
                self.answer(200, content)

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if bucket.refusals:
                self.answer(200, b"")
                return
            bucket.objects[urlsplit(self.path).path] = content
            if bucket.lost_answers:
                bucket.lost_answers -= 1
                self.close_connection = True
                return
            self.answer(200, b"")

        def do_DELETE(self) -> None:
            if not bucket.refusals:
                bucket.objects.pop(urlsplit(self.path).path, None)
            self.answer(204, b"")

        def list(self, prefix: str) -> bytes:
            root = "/pleura-test/"
            keys = bucket.listing or [
                key.removeprefix(root) for key in bucket.objects if key.startswith(root + prefix)
            ]
            if bucket.pages:
                keys = bucket.pages.pop(0)
                bucket.next_token = f"page{3 - len(bucket.pages)}" if bucket.pages else ""
            token = f"<NextContinuationToken>{bucket.next_token}</NextContinuationToken>"
            entries = "".join(
                f"<Contents><Key>{key}</Key><LastModified>2026-03-04T09:00:00.000Z</LastModified>"
                "<Size>1</Size></Contents>"
                for key in keys
            )
            more = token if bucket.next_token else ""
            return f"<ListBucketResult>{more}{entries}</ListBucketResult>".encode()

        def answer(self, status: int, body: bytes) -> None:
            bucket.asked.append(f"{self.command} {self.path}")
            if bucket.refusals:
                status, body = bucket.refusals.pop(0), b""
            self.send_response(status)
            length = len(body) + (len(bucket.missing) if status == 200 else 0)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)
            if length != len(body):
                self.close_connection = True

        def log_message(self, *_words: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    bucket.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def vault(tmp_path: Path, bucket: Bucket) -> Vault:
    return Vault(
        Settings.from_env(
            {
                "PLEURA_ENV": "test",
                "PLEURA_DATA_DIR": str(tmp_path),
                "PLEURA_BUCKET": "s3://pleura-test/blobs",
                "PLEURA_BUCKET_ENDPOINT": bucket.address,
                "PLEURA_BUCKET_KEY_ID": "key",
                "PLEURA_BUCKET_SECRET": "secret",
            }
        )
    )


def put(vault: Vault, data: bytes = b"a picture", attempt: int = 0) -> tuple[UUID, str]:
    blob_id = uuid4()
    return blob_id, vault.put(
        KEY, blob_id=blob_id, kind=BlobKind.SOURCE, attempt=attempt, data=data
    )


def get(vault: Vault, file: tuple[UUID, str], kind: BlobKind = BlobKind.SOURCE) -> bytes:
    return vault.get(KEY, blob_id=file[0], kind=kind, name=file[1])


def test_a_body_that_breaks_off_is_no_damaged_file(vault: Vault, bucket: Bucket) -> None:
    file = put(vault)
    bucket.missing = b"x" * 100
    with pytest.raises(StorageUnavailable):
        get(vault, file)
    bucket.missing = b""
    assert get(vault, file) == b"a picture"


def test_other_bytes_under_a_name_do_not_open(vault: Vault, bucket: Bucket) -> None:
    first, second = put(vault), put(vault, b"another picture")
    earlier = (first[0], f"{first[0].hex}-1")  # the same file, from another attempt's place
    place = {name: f"/pleura-test/blobs/{name}" for _, name in (first, second, earlier)}
    bytes_of = dict(bucket.objects)
    for content in (
        bytes_of[place[second[1]]],
        bytes_of[place[first[1]]][:-1],
        bytes_of[place[first[1]]] + b"\0",
        flipped(bytes_of[place[first[1]]]),
        b"PLB1",
        b"",
    ):
        bucket.objects[place[first[1]]] = content
        with pytest.raises(NotReadable):
            get(vault, first)
    bucket.objects[place[first[1]]] = bytes_of[place[first[1]]]
    with pytest.raises(NotReadable):
        get(vault, first, BlobKind.MASK)


@pytest.mark.parametrize("refusals", [[503], [500, 503]])
def test_a_server_that_is_overloaded_is_asked_again(
    vault: Vault, bucket: Bucket, refusals: list[int]
) -> None:
    bucket.refusals = refusals
    assert get(vault, put(vault)) == b"a picture"


def test_an_answer_that_was_lost_does_no_harm(vault: Vault, bucket: Bucket) -> None:
    bucket.lost_answers = 1
    assert get(vault, put(vault)) == b"a picture"
    assert len(bucket.objects) == 1


def test_a_put_that_is_refused_leaves_nothing(vault: Vault, bucket: Bucket) -> None:
    bucket.refusals = [500] * 3  # all tries
    with pytest.raises(StorageUnavailable, match="refused a request"):
        put(vault)
    assert bucket.objects == {}
    assert bucket.asked[-1].startswith("DELETE")


@pytest.mark.parametrize("status", [404, 403, 410])
def test_only_the_servers_own_word_means_that_a_file_is_missing(
    vault: Vault, bucket: Bucket, status: int
) -> None:
    """Another server at its address, such as a proxy, also answers 404."""
    file = put(vault)
    bucket.refusals = [status]
    with pytest.raises(StorageUnavailable):
        get(vault, file)
    bucket.objects.clear()
    with pytest.raises(NotReadable, match="missing"):
        get(vault, file)


def test_names_that_lead_elsewhere_are_not_taken_from_a_listing(
    vault: Vault, bucket: Bucket
) -> None:
    good = f"{'0' * 32}-1"
    odd = ("../keys", f"../{good}", f"{good}/../x", f"{good}x", "", f"x{good}", good.upper() + "A")
    bucket.listing = [f"blobs/{name}" for name in (*odd, good)] + [good, "other/" + good]
    assert set(vault.names(0, EVER)) == {good}
    for name in odd:
        with pytest.raises(NotReadable):
            vault.destroy(name)


def test_a_listing_that_does_not_end_is_given_up(vault: Vault, bucket: Bucket) -> None:
    bucket.listing, bucket.next_token = [f"blobs/{'0' * 32}-1"], "again"
    with pytest.raises(StorageUnavailable, match="listing"):
        list(islice(vault.names(0, EVER), 10))


def test_pages_of_a_listing_are_followed_to_their_end(vault: Vault, bucket: Bucket) -> None:
    names = [f"{'0' * 32}-{number}" for number in range(3)]
    for name in names:
        bucket.pages.append([f"blobs/{name}"])
    assert list(vault.names(0, EVER)) == names
    assert [line.partition("continuation-token=")[2][:5] for line in bucket.asked] == [
        "",
        "page1",
        "page2",
    ]
