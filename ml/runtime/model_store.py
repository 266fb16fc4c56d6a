"""Folders of models: finding a model by its sha256, and fetching one.

    python -m ml fetch SOURCE --sha256 SUM --into FOLDER

SOURCE is a model's folder, a ZIP file of one, file://…, https://… or gdrive:ID (a file shared on
Google Drive, by the address behind its download button). A download is accepted only if the
archive has the requested checksum and every file in it the checksum on the model's card; only
listed hosts are contacted. Standard library alone: the portal's machine has no other packages.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import re
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ml.errors import BadInput

CARD = "card.json"
# The files of a model's folder; other files of an archive are not unpacked.
KNOWN = (CARD, "model.xml", "model.bin", "model.safetensors", "model.onnx")
MAX_BYTES = 2 * 1024**3
# `confirm=t`: of large files, too, the file and not a page that it was not searched for viruses.
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_SHA256 = re.compile("[0-9a-f]{64}")
_PART = 1024 * 1024
_SECONDS = 60


class NotFetched(BadInput):
    """The model could not be fetched; the text is the reason."""


class Tampered(NotFetched):
    """A file does not have the expected checksum."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("source", help="folder, ZIP file, file://, https:// or gdrive:ID")
    parser.add_argument(
        "--sha256", default="", help="of the ZIP file; of a folder's model where SOURCE is one"
    )
    parser.add_argument("--into", type=Path, required=True, help="folder of models")
    parser.add_argument(
        "--host",
        action="append",
        help="a host that may be contacted, also by a redirect; repeatable (default: that of "
        "SOURCE)",
    )


def run(args: argparse.Namespace) -> int:
    """Fetch one model and print its card."""
    hosts = args.host if args.host is not None else [host_of(args.source)]
    folder = fetch(args.source, args.sha256.lower(), args.into, hosts)
    print((folder / CARD).read_text(encoding="utf-8"), end="")
    return 0


def find(folders: Iterable[Path], sha256: str) -> Path | None:
    """The first model's folder, in these or right below them, whose card has this sha256."""
    for models in folders:
        if not models.is_dir():
            continue
        for folder in (models, *sorted(filter(_is_model, models.iterdir()))):
            card = read_card(folder)
            if card is not None and card.get("sha256") == sha256:
                return folder
    return None


def _is_model(path: Path) -> bool:
    """Whether it may be a model's folder: a hidden one is not completely written."""
    return path.is_dir() and not path.name.startswith(".")


def read_card(folder: Path) -> dict[str, Any] | None:
    """A folder's card; None where there is none or it can't be read."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return card if isinstance(card, dict) else None


def host_of(source: str) -> str:
    """The host of a source; empty for a local one."""
    return urllib.parse.urlsplit(_address(source)).hostname or ""


def _address(source: str) -> str:
    """The address of a source: that of a file on Google Drive follows from its id."""
    kind, _, identifier = source.partition(":")
    return DRIVE + urllib.parse.quote(identifier, safe="") if kind == "gdrive" else source


def fetch(
    source: str, sha256: str, into: Path, hosts: Collection[str] = (), max_bytes: int = MAX_BYTES
) -> Path:
    """Put a model into its own folder below `into`; returns that folder.

    hosts: the only ones that are contacted, by lower-case name.
    Raises Tampered where checksums differ, NotFetched where no model could be fetched.
    """
    if sha256 and not _SHA256.fullmatch(sha256):
        raise NotFetched("a sha256 has 64 hexadecimal digits, and this one has not")
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetched-", dir=into) as scratch:
        fresh = Path(scratch) / "model"
        fresh.mkdir()
        if (folder := _local(source)).is_dir():
            _copy(folder, fresh, max_bytes)
            card = _checked(fresh)
            if sha256 and card["sha256"] != sha256:
                raise Tampered(f"the model in {source} has another sha256 than was asked for")
        else:
            if not sha256:
                raise NotFetched("a model from a file or an address needs its --sha256")
            archive = Path(scratch) / "archive"
            _download(source, archive, max_bytes, hosts)
            if _sum(archive) != sha256:
                raise Tampered(f"what came from {source} has another sha256 than was asked for")
            _unpack(archive, fresh, max_bytes)
            card = _checked(fresh)
        place = into / _name(card)
        try:
            fresh.rename(place)
        except OSError:  # the folder exists
            with suppress(NotFetched, Tampered, OSError):
                if _checked(place) == card:  # another process has fetched it, and may be using it
                    return place
            shutil.rmtree(place, ignore_errors=True)
            fresh.rename(place)
    return place


def _name(card: Mapping[str, Any]) -> str:
    plain = "".join(c if c.isalnum() or c in "-_" else "-" for c in str(card["name"])).strip("-")
    return f"{plain[:60] or 'model'}-{card['sha256'][:12]}"


def _local(source: str) -> Path:
    """The path that a source may be."""
    parts = urllib.parse.urlsplit(source)
    if parts.scheme == "file":
        return Path(urllib.request.url2pathname(parts.path))
    return Path(source)


def _download(source: str, archive: Path, max_bytes: int, hosts: Collection[str]) -> None:
    parts = urllib.parse.urlsplit(source)
    if parts.scheme in ("https", "gdrive"):
        _must_be_listed(host_of(source), hosts)
    try:
        if parts.scheme in ("", "file"):
            with _local(source).open("rb") as stream:
                _write_limited(stream, archive, max_bytes, source)
        elif parts.scheme in ("https", "gdrive"):
            opener = urllib.request.build_opener(_ListedHosts(hosts))
            with opener.open(_address(source), timeout=_SECONDS) as stream:
                if parts.scheme == "gdrive" and stream.headers.get_content_type() == "text/html":
                    raise NotFetched(
                        f"{source}: Google Drive answers with a page; is the file shared with "
                        "everybody who has its link?"
                    )
                _write_limited(stream, archive, max_bytes, source)
        else:
            raise NotFetched(f"a model is not fetched by {parts.scheme}: use https")
    except urllib.error.HTTPError as error:
        raise NotFetched(f"{source} answers {error.code}") from None
    except http.client.HTTPException as error:
        raise NotFetched(f"{source} can't be read: {error}") from None
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise NotFetched(f"{source} can't be read: {reason}") from None


def _must_be_listed(host: str, hosts: Collection[str]) -> None:
    if host not in hosts:
        raise NotFetched(
            f"{host or 'a host without a name'} is not listed as a host that models come from: "
            "see PLEURA_MODEL_HOSTS (or --host)"
        )


class _ListedHosts(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https and to listed hosts only."""

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = hosts

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme != "https":
            raise NotFetched(f"{req.full_url} leads away from https")
        _must_be_listed(host_of(newurl), self._hosts)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _write_limited(stream: IO[bytes], file: Path, max_bytes: int, source: str) -> None:
    """Write a stream into a file; NotFetched where it is longer than the limit."""
    size = 0
    with file.open("wb") as out:
        while part := stream.read(_PART):
            size += len(part)
            if size > max_bytes:
                raise NotFetched(f"{source} is larger than {max_bytes} bytes")
            out.write(part)


def _unpack(archive: Path, fresh: Path, max_bytes: int) -> None:
    """The known files of a ZIP file, which may lie in one folder of it."""
    try:
        with zipfile.ZipFile(archive) as packed:
            cards = [name for name in packed.namelist() if Path(name).name == CARD]
            if len(cards) != 1:
                raise NotFetched("the ZIP file holds no model, or several")
            above = cards[0][: -len(CARD)]
            for name in KNOWN:
                if above + name in packed.namelist():
                    with packed.open(above + name) as stream:
                        _write_limited(stream, fresh / name, max_bytes, name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise NotFetched(f"the file is no ZIP file of a model: {error}") from None


def _copy(folder: Path, fresh: Path, max_bytes: int) -> None:
    for name in KNOWN:
        if (folder / name).is_file():
            with (folder / name).open("rb") as stream:
                _write_limited(stream, fresh / name, max_bytes, name)


def _checked(folder: Path) -> dict[str, Any]:
    """The card, once every file is the one that it names."""
    card = read_card(folder)
    files = card.get("files") if card else None
    if card is None or not isinstance(files, dict) or not files:
        raise NotFetched("the model has no card that names its files")
    if not all(
        isinstance(card.get(key), str) and card[key] for key in ("name", "version", "sha256")
    ):
        raise NotFetched("the model's card lacks name, version or sha256")
    for name, expected in files.items():
        if name not in KNOWN or name == CARD:
            raise NotFetched(f"the card names a file that no model has: {name!r}")
        if not (folder / name).is_file():
            raise NotFetched(f"{name} is missing")
        if _sum(folder / name) != expected:
            raise Tampered(f"{name} is not the file of its card")
    if card["sha256"] not in files.values():
        raise Tampered("the card's sha256 is that of none of its files")
    return card


def _sum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def inspect(folder: Path, files: Mapping[str, str] | None) -> None:
    """Tampered unless the folder's card lists exactly these files (None: any)."""
    card = read_card(folder)
    if card is None or (files and card.get("files") != dict(files)):
        raise Tampered(f"the model in {folder} has other files than the registry")
