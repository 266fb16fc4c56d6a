"""`PLEURA_CA_FILE`: issuer, bucket and model hosts whose certificates an own authority signs."""

import functools
import hashlib
import ssl
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest

from portal.accounts import openid_connect
from portal.cli import ai_models
from portal.models import BlobKind
from portal.operations.context import Failed
from portal.settings import Settings, SettingsError
from portal.vault import NotReadable, StorageUnavailable, Vault
from tests.portal.cli.test_ai_models import model
from tests.support.servers.tls_front import Authority
from tests.support.sign_in.identity_provider import CLIENT, SECRET, serve


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ours"))


def settings(folder: Path, **environ: str) -> Settings:
    return Settings.from_env({"PLEURA_ENV": "test", "PLEURA_DATA_DIR": str(folder)} | environ)


@contextmanager
def https(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_the_issuer_may_have_a_certificate_of_an_own_authority(
    tmp_path: Path, ours: Authority
) -> None:
    with serve(context=ours.issue("localhost")) as provider:
        port = provider.url.rpartition(":")[2]
        provider.url = f"https://localhost:{port}"
        given = {
            "PLEURA_OIDC_ISSUER": provider.url,
            "PLEURA_OIDC_CLIENT_ID": CLIENT,
            "PLEURA_OIDC_CLIENT_SECRET": SECRET,
            "PLEURA_OIDC_ROLES": "xray=reader",
        }

        def begin(**more: str) -> str:
            sso = settings(tmp_path, **given, **more).sso
            assert sso is not None
            metadata = openid_connect.Provider()
            return openid_connect.begin(sso, metadata, "https://back", datetime.now(UTC)).url

        assert begin(PLEURA_CA_FILE=str(ours.file)).startswith(f"{provider.url}/authorize?")
        with pytest.raises(openid_connect.ProviderUnavailable):
            begin()


class _EmptyBucket(BaseHTTPRequestHandler):
    """Has no object."""

    def do_GET(self) -> None:
        body = b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Log nothing."""


def test_the_bucket_may_have_a_certificate_of_an_own_authority(
    tmp_path: Path, ours: Authority
) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed")
    with https(_EmptyBucket, ours.issue("localhost")) as port:
        given = {
            "PLEURA_BUCKET": "s3://pleura-test",
            "PLEURA_BUCKET_ENDPOINT": f"https://localhost:{port}",
            "PLEURA_BUCKET_KEY_ID": "key",
            "PLEURA_BUCKET_SECRET": "secret",
        }

        def read(**more: str) -> None:
            vault, blob_id = Vault(settings(tmp_path, **given, **more)), uuid4()
            key, name = bytes(range(32)), f"{blob_id.hex}-0"
            vault.get(key, blob_id=blob_id, kind=BlobKind.SOURCE, name=name)

        with pytest.raises(NotReadable, match="missing"):
            read(PLEURA_CA_FILE=str(ours.file))
        with pytest.raises(StorageUnavailable):
            read()


def test_a_model_host_may_have_a_certificate_of_an_own_authority(
    tmp_path: Path, ours: Authority
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    bundle, sha256 = model(tmp_path / "good")
    with zipfile.ZipFile(served / "model.zip", "w") as packed:
        for path in bundle.iterdir():
            packed.write(path, path.name)
    archive = hashlib.sha256((served / "model.zip").read_bytes()).hexdigest()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            """Log nothing."""

    handler = functools.partial(Quiet, directory=str(served))
    hosts = {"PLEURA_MODEL_HOSTS": "localhost"}
    with https(handler, ours.issue("localhost")) as port:  # type: ignore[arg-type]
        address = f"https://localhost:{port}/model.zip"
        with pytest.raises(Failed, match="can't be read"):
            ai_models.fetch_card(address, archive, settings(tmp_path, **hosts))
        own = settings(tmp_path, PLEURA_CA_FILE=str(ours.file), **hosts)
        assert ai_models.fetch_card(address, archive, own)["sha256"] == sha256


def test_a_file_that_holds_no_certificates_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.pem"
    with pytest.raises(SettingsError, match="PLEURA_CA_FILE can't be read"):
        settings(tmp_path, PLEURA_CA_FILE=str(file))
    file.write_text("no certificate")
    with pytest.raises(SettingsError, match="PLEURA_CA_FILE holds no certificates"):
        settings(tmp_path, PLEURA_CA_FILE=str(file))
