"""Reports as PDF: made in a confined process, from nothing but their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from tests.support.reports.contents import NAMES, content, drawn_page, reader_of, text_of
from tests.worker.client.test_portal_client import settings
from tests.worker.render.test_render import SETTINGS
from worker.client.portal_client import Attempt, PortalClient
from worker.contract.contents.report_content import MarkKind, MarkPart, Row, Section
from worker.contract.error_codes import ErrorCode
from worker.contract.job import Claim, InputFile, JobKind
from worker.errors import Permanent, Transient
from worker.report import parts_needed
from worker.report.maker import Reports

# In CI they run in any case: what a bare machine lacks is to be seen there.
pytestmark = pytest.mark.skipif(
    bool(parts_needed.missing()) and not os.environ.get("CI"), reason=parts_needed.missing()
)


@pytest.fixture(scope="module", autouse=True)
def as_a_command() -> Iterator[None]:
    """What the portal's commands make, and the workers that they start, is for its owner alone."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def reports(as_a_command: None) -> Iterator[Reports]:
    made = Reports(SETTINGS)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def pdf(reports: Reports) -> bytes:
    return reports.pdf_of(content())[1]


def test_each_layer_of_isolation_is_there(reports: Reports, pdf: bytes) -> None:
    assert reports._process is not None
    assert reports._process.missing == []


def test_a_report_holds_its_text_names_of_every_script_and_no_other(pdf: bytes) -> None:
    text = text_of(pdf)
    for part in ("Chest X-ray report", "Preliminary – not signed", "Probability 0.87"):
        assert part in text
    for name in ("山田太郎", "김철수", "Жуков", "Łukasz Müller", "Case 7F3A"):
        assert name in text
    # From right to left, as they are drawn or as they are read.
    for name in ("יוסי", "محمد"):
        assert name in text or name[::-1] in text
    assert "Research use only – not a medical device." in text
    assert "could not be printed" not in text


def test_its_fonts_are_embedded_and_its_title_language_and_tags_are_there(pdf: bytes) -> None:
    read = reader_of(pdf)
    root: Any = read.trailer["/Root"]
    assert (read.metadata or {}).get("/Title") == "Chest X-ray report"
    assert root["/Lang"] == "en"
    assert root["/MarkInfo"]["/Marked"]
    assert "pdfuaid:part" in root["/Metadata"].get_object().get_data().decode()
    fonts = [
        font.get_object()
        for page in read.pages
        for font in page["/Resources"]["/Font"].values()  # type: ignore[index]
    ]
    assert fonts
    for font in fonts:
        described = font["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
        assert {"/FontFile2", "/FontFile3"} & set(described)


def test_the_same_content_gives_the_same_bytes_in_another_process(pdf: bytes) -> None:
    other = Reports(SETTINGS)
    try:
        found, again = other.pdf_of(content())
    finally:
        other.stop()
    assert again == pdf
    assert found.sha256 == hashlib.sha256(pdf).hexdigest()
    assert found.pages == len(reader_of(pdf).pages)


def test_outlines_are_drawn_on_the_second_picture_alone(reports: Reports) -> None:
    plain = drawn_page(reports.pdf_of(content(outlined=False))[1])
    drawn = drawn_page(reports.pdf_of(content())[1]).astype(int)
    red, green, blue = drawn[..., 0], drawn[..., 1], drawn[..., 2]
    teal = (green > red + 60) & (blue > red + 50)
    amber = (red > blue + 90) & (green > blue + 40)
    rows, columns = np.nonzero(teal)
    assert len(rows) > 100
    on_films = columns[rows < rows.max() - 30]  # the legend stands below them
    assert len(on_films) > 100
    assert on_films.min() > 0.45 * drawn.shape[1]
    assert amber.sum() > 50
    assert not ((plain[..., 1].astype(int) - plain[..., 0]) > 60).any()


def test_what_no_font_has_is_named(reports: Reports) -> None:
    rows = [Row(label="Patient", text="\U0001f9e0 \U00012000")]
    assert "could not be printed" in text_of(reports.pdf_of(content(exam=rows))[1])


def test_a_text_is_text_and_fetches_nothing(reports: Reports) -> None:
    hostile = '<img src="file:///etc/passwd"><script>x</script></td></table> & &amp;'
    pdf = reports.pdf_of(content(exam=[Row(label="Patient", text=hostile)]))[1]
    assert hostile in text_of(pdf)


def test_a_long_report_goes_on_on_further_pages(reports: Reports) -> None:
    rows = [Row(label=f"Line {number}", text="A long comment. " * 12) for number in range(60)]
    found, pdf = reports.pdf_of(content(2, sections=[Section(title="Long", rows=rows)]))
    assert found.pages >= 4
    assert f"{found.pages} / {found.pages}" in text_of(pdf)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}\n",
        content()[:-1],
        content() + b"x",
        content().replace(b"\xff\xd8\xff", b"\x00\x00\x00", 1),
        content().replace(b"\x89PNG", b"\x00PNG"),
    ],
    ids=["nothing", "no content", "cut off", "too long", "no JPEG", "no PNG"],
)
def test_what_is_no_content_is_refused_for_good(reports: Reports, data: bytes) -> None:
    with pytest.raises(Permanent) as refused:
        reports.pdf_of(data)
    assert refused.value.code is ErrorCode.REPORT_REFUSED


def test_the_job_stores_the_pdf_and_states_its_digest(reports: Reports) -> None:
    data = content()
    claim = Claim(
        job=uuid4(),
        kind=JobKind.REPORT,
        attempt=1,
        ticket="",
        lease_seconds=1.0,
        soft_seconds=1.0,
        inputs={"report_content": InputFile(bytes=len(data), media_type="a/b")},
    )
    portal = PortalClient(settings("http://127.0.0.1:9"), JobKind.RENDER)
    attempt = Attempt(portal, claim, {"report_content": data})
    result = reports.make(attempt)
    (output,) = attempt._outputs
    assert (output.kind, output.media_type) == ("report", "application/pdf")
    assert result.report.sha256 == hashlib.sha256(output.data).hexdigest()
    assert NAMES.split(" · ")[0] in text_of(output.data)


def test_a_machine_without_pango_names_it_and_lets_another_worker_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts_needed, "_LIBRARIES", {"Pango": ("libnot-there.so.0",)})
    sentence = parts_needed.missing()
    assert "Pango is missing" in sentence
    assert "apt install libpango" in sentence
    with pytest.raises(Transient) as lacking:
        Reports(SETTINGS).pdf_of(content())
    assert lacking.value.code is ErrorCode.REPORT_UNAVAILABLE


def test_a_process_that_does_not_start_fails_the_report_alone() -> None:
    with pytest.raises(Transient) as lacking:
        Reports(SETTINGS, "worker.report.not_there").pdf_of(content())
    assert lacking.value.code is ErrorCode.REPORT_UNAVAILABLE


def test_rulers_and_arrows_are_drawn_and_stand_in_the_legend_by_their_numbers(
    reports: Reports,
) -> None:
    plain = drawn_page(reports.pdf_of(content(outlined=False))[1]).astype(int)
    marks = [
        MarkPart(kind=MarkKind.ARROW, line=(40.0, 300.0, 140.0, 200.0), label="arrow: apex"),
        MarkPart(kind=MarkKind.RULER, line=(60.0, 60.0, 260.0, 60.0), label="ruler: 34.1 mm"),
    ]
    made = reports.pdf_of(content(outlined=False, marks=marks))[1]
    text = text_of(made)
    assert "1 arrow: apex" in text
    assert "2 ruler: 34.1 mm" in text
    drawn = drawn_page(made).astype(int)
    assert (drawn != plain[: len(drawn)]).any()
    # All else on the page is grey: amber is what has far more red than blue.
    coloured = [(one[..., 0] - one[..., 2] > 60).sum() for one in (plain, drawn)]
    assert coloured[0] == 0
    assert coloured[1] > 300
