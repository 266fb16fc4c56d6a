"""The code that travels in a bundle: this package, and packages that a machine may lack."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import ml
from ml.errors import BadInput

# Of what training imports, a Python with torch, timm and OpenCV lacks this alone: its own needs
# (timm, torch, torchvision, numpy, pillow, safetensors, tqdm, huggingface_hub) are torch's and
# timm's, too.
DISTRIBUTIONS = ("segmentation-models-pytorch",)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content makes the same file
_NOT_IN_A_WHEEL = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def own_modules() -> Iterator[tuple[str, bytes]]:
    """The modules of this package: names below the repository's root, and contents."""
    root = Path(ml.__file__).parent
    for path in sorted(root.rglob("*.py")):
        yield path.relative_to(root.parent).as_posix(), path.read_bytes()


def wheel(distribution: str) -> tuple[str, bytes]:
    """An installed package as a wheel again: its file's name and content.

    BadInput where it is not installed, or is not of Python alone: it would not run elsewhere.
    """
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise BadInput(
            f"a bundle needs {distribution}: install it with `pip install .[train]`"
        ) from error
    name = f"{distribution.replace('-', '_')}-{found.version}"
    files: dict[str, bytes] = {}
    for entry in found.files or ():
        path = entry.as_posix()
        info = path.startswith(f"{name}.dist-info/")
        if entry.suffix == ".pyc" or (info and entry.name in _NOT_IN_A_WHEEL):
            continue
        if not info and entry.suffix not in (".py", ".typed"):
            raise BadInput(f"{distribution} is not of Python alone: {path}")
        files[path] = Path(str(entry.locate())).read_bytes()
    record = f"{name}.dist-info/RECORD"
    lines = [f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items()]
    files[record] = "".join([*lines, f"{record},,\n"]).encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, data in files.items():
            add(archive, path, data, compress=True)
    return f"{name}-py3-none-any.whl", content.getvalue()


def add(archive: zipfile.ZipFile, name: str, data: bytes, *, compress: bool = False) -> None:
    """Add a file to an archive, without a date of its own."""
    how = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, how, 9 if compress else None)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
