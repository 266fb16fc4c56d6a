"""A shelf of models: what is fetched, from where, and what is refused with which words."""

from __future__ import annotations

import datetime
import functools
import hashlib
import http.server
import io
import json
import shutil
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.runtime import model_store, session


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose files are a few bytes."""
    made = tmp_path / "made"
    made.mkdir()
    files = {"model.xml": b"<graph/>", "model.bin": b"weights"}
    for name, data in files.items():
        (made / name).write_bytes(data)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    card = {"name": "net", "version": "1", "files": sums, "sha256": sums["model.bin"]}
    (made / "card.json").write_text(json.dumps(card))
    return made


def packed(folder: Path, above: str = "", **more: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, above + path.name)
        for name, data in more.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def zipped(folder: Path, place: Path, above: str = "", **more: bytes) -> tuple[Path, str]:
    data = packed(folder, above, **more)
    file = place / "model.zip"
    file.write_bytes(data)
    return file, hashlib.sha256(data).hexdigest()


def test_a_folder_is_copied_and_found_again_by_its_sha256(folder: Path, tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("not a model's file")
    placed = model_store.fetch(str(folder), "", tmp_path / "shelf")
    assert sorted(path.name for path in placed.iterdir()) == ["card.json", "model.bin", "model.xml"]
    sha256 = json.loads((folder / "card.json").read_text())["sha256"]
    assert placed.name == f"net-{sha256[:12]}"
    assert model_store.find([tmp_path / "nowhere", tmp_path / "shelf"], sha256) == placed
    assert model_store.find([placed], sha256) == placed
    assert model_store.find([tmp_path / "shelf"], "00" * 32) is None


def test_a_model_that_another_process_brought_meanwhile_is_left_alone(
    folder: Path, tmp_path: Path
) -> None:
    placed = model_store.fetch(str(folder), "", tmp_path / "shelf")
    in_use = (placed / "model.bin").open("rb")
    before = placed.stat().st_ino
    assert model_store.fetch(str(folder), "", tmp_path / "shelf") == placed
    assert placed.stat().st_ino == before
    in_use.close()
    (placed / "model.bin").write_bytes(b"broken")  # but what is not whole is replaced
    assert model_store.fetch(str(folder), "", tmp_path / "shelf") == placed
    assert (placed / "model.bin").read_bytes() == b"weights"


def test_what_is_half_written_is_not_found(folder: Path, tmp_path: Path) -> None:
    placed = model_store.fetch(str(folder), "", tmp_path / "shelf")
    placed.rename(placed.with_name(".net.new"))
    sha256 = json.loads((folder / "card.json").read_text())["sha256"]
    assert model_store.find([tmp_path / "shelf"], sha256) is None


@pytest.mark.parametrize("above", ["", "net/"])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_zip_file_is_unpacked(folder: Path, tmp_path: Path, above: str, scheme: str) -> None:
    file, sha256 = zipped(folder, tmp_path, above)
    placed = model_store.fetch(f"{scheme}{file}", sha256, tmp_path / "shelf")
    assert (placed / "model.bin").read_bytes() == b"weights"
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == [placed.name]


def test_nothing_in_an_archive_leaves_the_models_folder(folder: Path, tmp_path: Path) -> None:
    file, sha256 = zipped(folder, tmp_path, "", **{"../../evil": b"x", "/abs": b"x", "sub/x": b"x"})
    placed = model_store.fetch(str(file), sha256, tmp_path / "shelf")
    assert sorted(path.name for path in placed.iterdir()) == ["card.json", "model.bin", "model.xml"]
    assert not (tmp_path / "evil").exists()


def test_another_checksum_is_refused_and_nothing_stays(folder: Path, tmp_path: Path) -> None:
    file, _ = zipped(folder, tmp_path)
    with pytest.raises(model_store.Tampered, match="another sha256"):
        model_store.fetch(str(file), "00" * 32, tmp_path / "shelf")
    with pytest.raises(model_store.Tampered, match="another sha256"):
        model_store.fetch(str(folder), "00" * 32, tmp_path / "shelf")
    assert list((tmp_path / "shelf").iterdir()) == []


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_file_that_is_not_the_cards_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).write_bytes(b"other")
    with pytest.raises(model_store.Tampered, match=name):
        model_store.fetch(str(folder), "", tmp_path / "shelf")
    file, sha256 = zipped(folder, tmp_path)
    with pytest.raises(model_store.Tampered, match=name):
        model_store.fetch(str(file), sha256, tmp_path / "shelf")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": {}}, "no card"),
        ({"files": {"../../x": "00"}}, "no model has"),
        ({"files": {"model.onnx": "00"}, "sha256": "00"}, "missing"),
        ({"name": ""}, "lacks name"),
        ({"sha256": "ab" * 32}, "none of its files"),
    ],
)
def test_a_card_that_makes_no_model_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | change))
    with pytest.raises(model_store.NotFetched, match=words):
        model_store.fetch(str(folder), "", tmp_path / "shelf")


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"name":' * 200_000, "no JSON", "[]"], ids=range(4)
)
def test_a_card_that_cannot_be_read_is_none(folder: Path, tmp_path: Path, text: str) -> None:
    (folder / "card.json").write_text(text)
    assert model_store.read_card(folder) is None
    with pytest.raises(session.ModelMissing):
        session.read_card(folder)
    for source, sha256 in ((folder, ""), zipped(folder, tmp_path)):
        with pytest.raises(model_store.NotFetched, match="no card"):
            model_store.fetch(str(source), sha256, tmp_path / "shelf")


def test_what_is_too_large_is_refused_packed_and_unpacked(folder: Path, tmp_path: Path) -> None:
    (folder / "model.bin").write_bytes(bytes(200_000))  # a few hundred bytes when packed
    file, sha256 = zipped(folder, tmp_path)
    with pytest.raises(model_store.NotFetched, match="larger than 100"):
        model_store.fetch(str(file), sha256, tmp_path / "shelf", max_bytes=100)
    with pytest.raises(model_store.NotFetched, match="larger than 100000"):
        model_store.fetch(str(file), sha256, tmp_path / "shelf", max_bytes=100_000)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("http://127.0.0.1:9/model.zip", "use https"),
        ("ftp://127.0.0.1/model.zip", "use https"),
        ("https://127.0.0.1:9/model.zip", "can't be read"),
        ("nothing-is-here.zip", "can't be read"),
    ],
)
def test_a_source_that_does_not_answer_is_reported(tmp_path: Path, source: str, words: str) -> None:
    with pytest.raises(model_store.NotFetched, match=words):
        model_store.fetch(source, "00" * 32, tmp_path / "shelf", ["127.0.0.1"])


def test_a_file_needs_a_checksum_and_must_be_an_archive(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no archive")
    with pytest.raises(model_store.NotFetched, match="--sha256"):
        model_store.fetch(str(tmp_path / "x.zip"), "", tmp_path / "shelf")
    sha256 = hashlib.sha256(b"no archive").hexdigest()
    with pytest.raises(model_store.NotFetched, match="no ZIP file"):
        model_store.fetch(str(tmp_path / "x.zip"), sha256, tmp_path / "shelf")


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A server of this machine whose certificate is trusted here: its address and its folder."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    served = tmp_path / "served"
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(served))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            scheme = {"/away": "http", "/elsewhere": "https"}.get(self.path)
            if scheme is not None:
                self.send_response(302)
                self.send_header("Location", f"{scheme}://127.0.0.1:9/model.zip")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}", served
    server.shutdown()
    thread.join()


def test_https_brings_a_model_and_leads_nowhere_else(
    https: tuple[str, Path], folder: Path, tmp_path: Path
) -> None:
    address, served = https
    file, sha256 = zipped(folder, served)
    fetch = functools.partial(model_store.fetch, hosts=["localhost"])
    placed = fetch(f"{address}/{file.name}", sha256, tmp_path / "shelf")
    assert (placed / "model.xml").read_bytes() == b"<graph/>"
    with pytest.raises(model_store.NotFetched, match="answers 404"):
        fetch(f"{address}/other.zip", sha256, tmp_path / "shelf")
    with pytest.raises(model_store.NotFetched, match="away from https"):
        fetch(f"{address}/away", sha256, tmp_path / "shelf")


def test_a_host_that_is_not_listed_is_not_called(
    https: tuple[str, Path], folder: Path, tmp_path: Path
) -> None:
    address, served = https
    file, sha256 = zipped(folder, served)
    for hosts in ((), ("example.org",), ("localhost.example.org",)):
        with pytest.raises(model_store.NotFetched, match="localhost is not listed"):
            model_store.fetch(f"{address}/{file.name}", sha256, tmp_path / "shelf", hosts)
    with pytest.raises(model_store.NotFetched, match=r"127\.0\.0\.1 is not listed"):
        model_store.fetch(f"{address}/elsewhere", sha256, tmp_path / "shelf", ["localhost"])
    with pytest.raises(model_store.NotFetched, match="drive"):
        model_store.fetch("gdrive:no-such-file", sha256, tmp_path / "shelf", ["localhost"])


@pytest.mark.parametrize("sha256", ["zz", "0" * 63, "g" * 64])
def test_what_is_no_sha256_is_found_before_any_host_is_called(sha256: str, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    with pytest.raises(model_store.NotFetched, match="64 hexadecimal digits"):
        model_store.fetch("https://localhost:9/model.zip", sha256, shelf, ["localhost"])
    assert not shelf.exists()


def test_an_unknown_certificate_is_not_believed(
    https: tuple[str, Path], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, served = https
    file, sha256 = zipped(folder, served)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(model_store.NotFetched, match="can't be read"):
        model_store.fetch(f"{address}/{file.name}", sha256, tmp_path / "shelf", ["localhost"])


def test_a_file_on_google_drive_comes_by_its_address_from_a_listed_host(
    https: tuple[str, Path], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, served = https
    file, sha256 = zipped(folder, served)
    (served / "page.html").write_text("<title>Quota exceeded</title>")
    assert model_store.host_of("gdrive:1aB_-") == "drive.usercontent.google.com"
    # A server of this test in its place: the id is what is left of the address.
    monkeypatch.setattr(model_store, "DRIVE", f"{address}/")
    fetch = functools.partial(model_store.fetch, sha256=sha256, into=tmp_path / "shelf")
    placed = fetch(f"gdrive:{file.name}", hosts=["localhost"])
    assert (placed / "model.xml").read_bytes() == b"<graph/>"
    with pytest.raises(model_store.NotFetched, match="shared with everybody"):
        fetch("gdrive:page.html", hosts=["localhost"])
    with pytest.raises(model_store.NotFetched, match="larger than 9 bytes"):
        fetch(f"gdrive:{file.name}", hosts=["localhost"], max_bytes=9)
    with pytest.raises(model_store.NotFetched, match="localhost is not listed"):
        fetch(f"gdrive:{file.name}", hosts=["drive.google.com"])
    with pytest.raises(model_store.NotFetched, match="answers 404"):
        fetch("gdrive:../away", hosts=["localhost"])


def test_the_command_prints_the_card_and_needs_no_package(folder: Path, tmp_path: Path) -> None:
    """With -S no installed package can be imported: the portal's machine has none of ml's."""
    command = [
        sys.executable,
        "-S",
        "-m",
        "ml",
        "fetch",
        str(folder),
        "--into",
        str(tmp_path / "s"),
    ]
    root = Path(model_store.__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((folder / "card.json").read_text())
    shutil.rmtree(folder)
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
