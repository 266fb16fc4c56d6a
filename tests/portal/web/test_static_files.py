"""Static files: addresses of a version, kept for good; compressed; what a script imports."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from flask import Flask, url_for
from flask.testing import FlaskClient
from werkzeug.exceptions import NotFound

from portal.web.static_files import StaticFiles, without_comments
from tests.support.paths import ROOT

STATIC = ROOT / "static"
KEPT = "public, max-age=31536000, immutable"
GZIP = {"Accept-Encoding": "gzip, br"}


def address(app: Flask, name: str) -> str:
    with app.test_request_context():
        return url_for("static", filename=name)


def test_a_page_names_files_by_their_version_and_they_are_kept(
    app: Flask, client: FlaskClient
) -> None:
    page = client.get("/sign-in").text
    named = set(re.findall(r'(?:href|src)="(/static/[^"#]+)', page))
    assert len(named) > 5
    for path in named:
        assert re.match(r"/static/v-[0-9a-f]{16}/(css|js|img)/", path), path
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["Cache-Control"] == KEPT, path


@pytest.mark.parametrize("path", ["v-0123456789abcdef/js/base.js", "js/base.js"])
def test_another_version_gets_what_there_is_now_and_does_not_keep_it(
    client: FlaskClient, path: str
) -> None:
    answer = client.get(f"/static/{path}")
    assert answer.text == without_comments((STATIC / "js/base.js").read_text())
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("js/base.js", "text/javascript; charset=utf-8"),
        ("css/case.css", "text/css; charset=utf-8"),
        ("img/icons.svg", "image/svg+xml; charset=utf-8"),
    ],
)
def test_a_file_is_compressed_for_whoever_takes_that(
    app: Flask, client: FlaskClient, name: str, media_type: str
) -> None:
    text = (STATIC / name).read_text()
    content = (without_comments(text) if name.endswith(".js") else text).encode()
    packed = client.get(address(app, name), headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Type"] == media_type
    assert gzip.decompress(packed.data) == content
    assert len(packed.data) < 0.6 * len(content)
    for headers in ({}, {"Accept-Encoding": "br"}, {"Accept-Encoding": "gzip;q=0"}):
        plain = client.get(address(app, name), headers=headers)
        assert "Content-Encoding" not in plain.headers
        assert plain.data == content
    for answer in (packed, plain):
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert packed.headers["ETag"] != plain.headers["ETag"]


def test_a_file_that_is_still_the_same_is_not_sent_again(app: Flask, client: FlaskClient) -> None:
    first = client.get(address(app, "js/base.js"), headers=GZIP)
    known = GZIP | {"If-None-Match": first.headers["ETag"]}
    again = client.get(address(app, "js/base.js"), headers=known)
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Cache-Control"] == KEPT
    other = client.get(address(app, "js/case.js"), headers=known)
    assert other.status_code == 200


@pytest.mark.parametrize(
    "path", ["nothing.css", "js", "../portal/access.py", "..%2fportal%2faccess.py", "js//base.js"]
)
def test_nothing_but_these_files_is_sent(app: Flask, client: FlaskClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code in (404, 308)
    files = StaticFiles(STATIC)
    for name in (path, f"{files.version}/{path}"):
        with app.test_request_context(), pytest.raises(NotFound):
            files.answer(name)


def test_another_content_has_another_version(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    first = StaticFiles(tmp_path).version
    assert StaticFiles(tmp_path).version == first
    (tmp_path / "a.js").write_text("2")
    assert StaticFiles(tmp_path).version != first
    (tmp_path / "a.js").rename(tmp_path / "b.js")
    assert StaticFiles(tmp_path).version not in (first, StaticFiles(STATIC).version)


def test_imports_are_followed_in_order_and_once(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    texts = {
        "start.js": 'import "./part/one.js";\nimport {\n  two,\n} from "./part/two.js";\n'
        '// import "./comment.js";\n/** @type {import("./type.js").T} */\n'
        'const later = () => import("./later.js");\n',
        "part/one.js": 'export { two } from "./two.js";\nimport { up } from "../up.js";\n',
        "part/two.js": 'import { start } from "../start.js";\n',
        "up.js": "export const up = 1;\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = StaticFiles(tmp_path)
    assert files.imports_of("start.js") == ["part/one.js", "part/two.js", "up.js"]
    assert files.imports_of("up.js") == []


def test_every_script_imports_files_that_exist() -> None:
    files = StaticFiles(STATIC)
    scripts = [path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js")]
    assert len(files.imports_of("js/case.js")) > 30
    for script in scripts:
        for module in files.imports_of(script):
            assert (STATIC / module).is_file(), (script, module)


def test_comments_are_left_out_and_lines_keep_their_numbers() -> None:
    script = """// what it is
import { a } from "./a.js"; // stays
/** @param {string} x
    @returns {string} */
export const f = (x) => `// ${x}
// no comment
/* nor this */`;
/* one */
/** @type {any} */ (window).b = "/* text */";
/* of two
   lines */ const c = 1;
  // indented
"""
    assert (
        without_comments(script)
        == """
import { a } from "./a.js"; // stays


export const f = (x) => `// ${x}
// no comment
/* nor this */`;

/** @type {any} */ (window).b = "/* text */";

 const c = 1;

"""
    )


# Comments, and what may look like one without being one.
_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`""", re.DOTALL
)


def test_no_code_is_left_out() -> None:
    def code_of(script: str) -> list[str]:
        return _TOKEN.sub(lambda m: "" if m[0].startswith(("//", "/*")) else m[0], script).split()

    scripts = sorted(STATIC.rglob("*.js"))
    assert len(scripts) > 50
    for path in scripts:
        written = path.read_text()
        sent = without_comments(written)
        assert code_of(sent) == code_of(written), path
        assert sent.count("\n") == written.count("\n"), path
