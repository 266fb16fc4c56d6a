"""Scripts, styles and pictures of the pages: in memory, compressed, at addresses of their version.

Comments of scripts, a quarter of what they weigh, are left out; lines keep their numbers.

An address that `url_for` makes holds a digest of all files, and what a module imports lies beside
it, so that a browser may keep both for good: another version has other addresses. A page that was
opened before an upgrade goes on asking for the old ones and gets the files of now, which it must
not keep. What holds a patient's data is never sent from here; the files are public, so compressing
them reveals nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

_ONE_YEAR = "public, max-age=31536000, immutable"
_VERSION = re.compile(r"v-[0-9a-f]{16}")
# `import … from "./x.js"`, `import "./x.js"`, `export … from "./x.js"`; not `import("./x.js")`,
# which a page may never come to.
_IMPORT = re.compile(r"""^(?:import|export)\b[^;"'(]*["'](\.{1,2}/[^"']+)["']""", re.MULTILINE)
_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass
class _File:
    data: bytes
    media_type: str
    digest: str

    @cached_property
    def compressed(self) -> bytes | None:
        """By gzip; None where that saves nothing."""
        made = gzip.compress(self.data, 9, mtime=0)
        return made if len(made) < len(self.data) else None


class StaticFiles:
    """All files of a folder, as they were at the start."""

    def __init__(self, folder: Path) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix in _MEDIA_TYPES
        }
        every = "".join(f"{name} {file.digest}\n" for name, file in self._files.items())
        self.version = f"v-{hashlib.sha256(every.encode()).hexdigest()[:16]}"
        self._imports: dict[str, list[str]] = {}

    def answer(self, name: str) -> Response:
        """A file by its path below the folder, with or without a version before it."""
        version, _, rest = name.partition("/")
        if _VERSION.fullmatch(version):
            name = rest
        found = self._files.get(name)
        if found is None:
            raise NotFound
        response = Response(found.data, mimetype=found.media_type)
        etag = found.digest
        if found.compressed is not None:
            response.vary.add("Accept-Encoding")
            if request.accept_encodings["gzip"] > 0:
                response.set_data(found.compressed)
                response.content_encoding, etag = "gzip", f"{etag}-gzip"
        response.set_etag(etag)
        kept = version == self.version
        response.headers["Cache-Control"] = _ONE_YEAR if kept else "no-cache"
        response.make_conditional(request)
        return response

    def imports_of(self, name: str) -> list[str]:
        """The modules that a script needs before it begins, itself not among them, by their paths.

        A page names them, so that a browser asks for all at once and not for each after the one
        that imports it.
        """
        if name not in self._imports:
            found = [name]
            for module in found:  # which grows meanwhile
                paths = _IMPORT.findall(self._files[module].data.decode())
                imported = dict.fromkeys(_beside(module, path) for path in paths)
                found += [one for one in imported if one not in found]
            self._imports[name] = found[1:]
        return self._imports[name]


def install(app: Flask, files: StaticFiles) -> None:
    """Let `url_for("static", …)` give versioned addresses, and templates call `imports_of`."""

    @app.url_defaults
    def add_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values["filename"] = f"{files.version}/{values['filename']}"

    app.jinja_env.globals["imports_of"] = files.imports_of


def without_comments(script: str) -> str:
    """A script with empty lines for those that hold nothing but a comment.

    Comments beside code stay, and lines of a text between backticks are never taken for one.
    """
    lines: list[str] = []
    is_inside = False
    backticks = 0
    for line in script.split("\n"):
        bare = line.strip()
        if not is_inside and backticks % 2 == 0 and bare.startswith("/*"):
            is_inside = True
        if is_inside:
            _, ended, code = line.partition("*/")
            is_inside = not ended
            # `/** @type {T} */ (value)` begins with a comment that TypeScript reads.
            line = line if bare.startswith("/*") and code.strip() else code
        elif backticks % 2 == 0 and bare.startswith("//"):
            line = ""
        backticks += line.count("`")
        lines.append(line)
    return "\n".join(lines)


def _read(path: Path) -> _File:
    data = path.read_bytes()
    if path.suffix == ".js":
        data = without_comments(data.decode()).encode()
    return _File(data, _MEDIA_TYPES[path.suffix], hashlib.sha256(data).hexdigest()[:32])


def _beside(module: str, path: str) -> str:
    parts = list(PurePosixPath(module).parent.parts)
    for part in PurePosixPath(path).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
