"""Worklist, upload and history: live rows, outcomes of files, what was uploaded and read."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from playwright.sync_api import expect

from ml.preparation import phantom
from portal.models import AiShown, Role, TeamChoices
from tests.browser.conftest import Cases, Visitor, draw, intercept, wait_until
from tests.browser.world import review
from tests.support.browser_portal import open_browser_portal
from tests.support.portal_app import make_person

pytestmark = pytest.mark.browser

Write = Callable[[str, bytes], Path]


def test_a_row_changes_in_place_and_new_cases_are_announced(visitor: Visitor) -> None:
    site, drawn = visitor.site, draw(41)
    study = site.submit(phantom.dicom(drawn, patient_name="LIVE^ROW"))
    page = visitor.open("/worklist")
    page.evaluate("window.stayed = true")
    row = page.locator(f"#case-{study}")
    expect(row).to_contain_text("waiting")
    order = page.locator(".case").evaluate_all("rows => rows.map(row => row.id)")
    site.segment(study, site.render(study), drawn.mask, 0.88)
    expect(row).to_contain_text("likely")
    expect(row).to_contain_text("0.88")
    expect(row.locator(".thumb img")).to_be_visible()
    site.submit(phantom.dicom(draw(42), patient_name="NEWCOMER^ONE"))
    expect(page.locator("#new-cases")).to_contain_text("1 new case – show")
    assert page.locator(".case").evaluate_all("rows => rows.map(row => row.id)") == order
    assert page.evaluate("window.stayed") is True


@pytest.mark.parametrize("policy", [AiShown.WITH_PICTURE, AiShown.NEVER])
def test_an_exam_off_the_page_that_turns_positive_is_announced_and_moves_nothing(
    visitor: Visitor, policy: AiShown
) -> None:
    site = visitor.site
    mine = make_person(site.app, Role.READER, team=f"Positive {policy}", name="Pat Positive")
    team = site.team_of(mine)
    with site.core.sessions() as session:
        session.add(TeamChoices(team_id=team, ai_shown=policy))
        session.commit()
    shown, away = (
        site.submit(phantom.dicom(draw(seed), patient_id=str(seed)), mine) for seed in (48, 49)
    )
    pictures = site.render(shown), site.render(away)
    page = visitor.open(f"/worklist?q={shown.hex[:6]}&state=all", mine)
    row = page.locator(f"#case-{shown}")
    row.hover()
    place = row.bounding_box()
    expect(page.locator(".case")).to_have_count(1)
    announced = page.locator("#more-positive[role=status]")
    page.wait_for_timeout(4000)  # it asks once after the stream has begun
    site.segment(away, pictures[1], draw(49).mask, 0.9)
    if policy is AiShown.NEVER:
        site.submit(phantom.dicom(draw(50), patient_id="50"), mine)
        expect(page.locator("#new-cases")).to_contain_text("1 new case")  # both have been looked at
        expect(announced).to_have_text("")
        return
    expect(announced).to_have_text("1 more AI positive – show")
    assert row.bounding_box() == place
    site.segment(shown, pictures[0], draw(48).mask, 0.9)
    expect(row).to_contain_text("likely")  # what the page itself shows is not counted
    expect(page.locator("#counts")).to_contain_text("2 AI positive")
    expect(announced).to_have_text("1 more AI positive – show")
    announced.locator("a").click()
    expect(page.locator(f"#case-{away}")).to_be_visible()


def test_no_row_of_a_short_list_moves_under_the_pointer_when_a_critical_finding_comes_and_goes(
    visitor: Visitor,
) -> None:
    site = visitor.site
    mine, colleague = (
        make_person(site.app, Role.READER, team="Short list", name=f"Pat {name}")
        for name in ("Short", "Other")
    )
    first, second = (
        site.submit(phantom.dicom(draw(seed), patient_id=str(seed)), mine) for seed in (46, 47)
    )
    site.segment(second, site.render(second), draw(47).mask, 0.9)
    page = visitor.open("/worklist?state=all", mine)
    row = page.locator(f"#case-{first}")
    row.hover()

    def place() -> float:
        box = row.bounding_box()
        assert box is not None
        return box["y"]

    before = place()
    page.wait_for_timeout(4000)  # it asks once after the stream has begun
    for finding, shown in (("right", True), ("none", False), ("left", True), ("none", False)):
        review(site, colleague, second, finding)
        strip = page.locator("#critical .critical-strip")
        expect(strip).to_have_count(1 if shown else 0)
        if shown:
            expect(strip).to_be_in_viewport()
        assert abs(place() - before) < 1, finding
        hovered = page.evaluate("document.querySelector('.case:hover').id")
        assert hovered == f"case-{first}"
        if finding == "left":  # it goes while the list is at its beginning
            page.reload()
            row.hover()
            before = place()
            page.wait_for_timeout(4000)


def test_a_change_is_sent_and_without_the_stream_asked_for(visitor: Visitor) -> None:
    visitor.refusals_expected = True
    site, drawn = visitor.site, draw(44)
    study = site.submit(phantom.dicom(drawn, patient_name="SENT^ROW"))
    page = visitor.open("/worklist")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if "/worklist/state" in one.url else None)
    page.wait_for_timeout(4000)  # it asks once after the stream has begun
    before = len(asked)
    picture = site.render(study)
    site.segment(study, picture, drawn.mask, 0.88)
    row = page.locator(f"#case-{study}")
    expect(row).to_contain_text("likely")
    assert len(asked) == before, "what changes is sent"
    other = site.submit(phantom.dicom(draw(45), patient_name="ASKED^ROW"))
    alone = visitor.open("/history")
    alone.route("**/worklist/events**", lambda route: route.abort())
    alone.goto(f"{site.url}/worklist")
    site.segment(other, site.render(other), draw(45).mask, 0.88)
    expect(alone.locator(f"#case-{other}")).to_contain_text("likely")


def test_filters_and_search_lead_to_cases(visitor: Visitor, cases: Cases) -> None:
    page = visitor.open("/worklist?result=none_found")
    expect(page.locator(f"#case-{cases.none_found}")).to_have_count(1)
    expect(page.locator(f"#case-{cases.likely}")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type(cases.likely.hex[:6])
    page.keyboard.press("Enter")
    page.wait_for_url("**/worklist?**q=**")
    expect(page.locator(".empty")).to_contain_text("No matching cases")
    page.click("text=Show all cases")
    expect(page.locator("#list")).to_be_visible()


def test_a_patients_number_is_found_and_never_appears_in_an_address(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(
        draw(43), patient_name="FOUND^AGAIN", patient_id="MRN-4711-ZEBRA"
    )
    page = visitor.open("/worklist")
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.fill("#q", "MRN-4711-ZEBRA")
    page.keyboard.press("Enter")
    expect(page.locator(".case")).to_have_count(1)
    expect(page.locator(f"#case-{study}")).to_be_visible()

    def asked_live() -> bool:
        """What the page that was found asks for once its stream has begun."""
        found = next((at for at, url in enumerate(seen) if "/worklist?q=" in url), len(seen))
        return any("ids=" in url for url in seen[found:])

    wait_until(page, asked_live)
    assert not [url for url in seen if "ZEBRA" in url]
    assert "ZEBRA" not in page.url


def test_without_redis_pictures_are_accepted_and_the_page_shows_it(
    visitor: Visitor, files: Write, tmp_path: Path
) -> None:
    with open_browser_portal(tmp_path / "alone", "redis://127.0.0.1:1/0") as alone:
        visitor.site = alone
        page = visitor.open("/upload")
        page.set_input_files("#files", files("one.dcm", phantom.dicom(draw(56))))
        expect(page.locator("#files-list .file")).to_contain_text("results may be delayed")
        page.goto(f"{alone.url}/worklist")
        expect(page.locator("#notices")).to_contain_text("Redis) is not available")
        expect(page.locator(".case")).to_contain_text("queued")
        page.close()  # its stream would end with the portal


def test_a_result_is_shown_by_text_and_shape_not_by_colour_alone(
    visitor: Visitor, cases: Cases
) -> None:
    page = visitor.open("/worklist")
    likely = page.locator(f"#case-{cases.likely}")
    expect(likely).to_contain_text("likely")
    expect(likely).to_contain_text("right")
    expect(likely).to_contain_text("% of hemithorax")
    expect(page.locator(".worklist-page")).to_contain_text("image operating point in use")
    expect(page.locator(f"#case-{cases.none_found}")).to_contain_text("none found")
    expect(page.locator(f"#case-{cases.failed}")).to_contain_text("read unaided")


def test_three_files_have_three_outcomes(visitor: Visitor, cases: Cases, files: Write) -> None:
    visitor.refusals_expected = True
    data = phantom.dicom(draw(51), patient_name="UPLOAD^ONE")
    known = visitor.site.submit(data, Role.READER)
    page = visitor.open("/upload")
    page.set_input_files(
        "#files",
        [
            files("good.dcm", phantom.dicom(draw(52), patient_name="UPLOAD^TWO")),
            files("text.dcm", b"this is not a picture"),
            files("again.dcm", data),
        ],
    )
    rows = page.locator("#files-list .file")
    expect(rows.nth(0)).to_contain_text("waiting")
    expect(rows.nth(1)).to_contain_text("not a DICOM")
    expect(rows.nth(2)).to_contain_text("Already known")
    assert rows.nth(2).locator("a").get_attribute("href") == f"/studies/{known}"
    expect(page.locator("#sum-text")).to_contain_text("1 already known · 1 refused")


def test_a_zip_unfolds_into_a_row_for_each_file(visitor: Visitor, files: Write) -> None:
    visitor.refusals_expected = True
    drawn = draw(57)
    stream = BytesIO()
    with ZipFile(stream, "w") as archive:
        archive.writestr("DICOMDIR", b"a directory")
        archive.writestr("CD/IM1", phantom.dicom(drawn, patient_name="ZIP^ONE"))
        archive.writestr("CD/<b>letter</b>.txt", b"Dear colleague")
    page = visitor.open("/upload")
    page.set_input_files(
        "#files",
        [files("disc.zip", stream.getvalue()), files("after.dcm", phantom.dicom(draw(58)))],
    )
    rows = page.locator("#files-list .file")
    expect(rows).to_have_count(5)
    expect(rows.nth(0)).to_contain_text("ZIP with 3 files")
    expect(rows.nth(1)).to_contain_text("Skipped: not a picture")
    expect(rows.nth(3)).to_contain_text("<b>letter</b>.txt")
    expect(rows.nth(3)).to_contain_text("not a DICOM, PNG or JPEG")
    expect(rows.nth(4).locator("a")).to_have_text("Open")
    expect(page.locator("#sum-text")).to_contain_text("4 files")
    expect(page.locator("#sum-text")).to_contain_text("1 skipped")
    study = (rows.nth(2).locator("a").get_attribute("href") or "").removeprefix("/studies/")
    found = visitor.site.study_of(study)
    visitor.site.segment(found, visitor.site.render(found), drawn.mask, 0.9)
    expect(rows.nth(2)).to_contain_text("likely")


def test_a_folder_is_sent_with_the_folders_in_it(visitor: Visitor, tmp_path: Path) -> None:
    for name, seed in (("a/one.dcm", 59), ("a/b/two.dcm", 60)):
        (tmp_path / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "films" / name).write_bytes(phantom.dicom(draw(seed)))
    (tmp_path / "films" / ".hidden").write_bytes(b"not for you")
    page = visitor.open("/upload")
    page.set_input_files("#folder", tmp_path / "films")
    expect(page.locator("#files-list .file")).to_have_count(2)
    expect(page.locator("#files-list .file").nth(0)).to_contain_text("films/a/")
    for row in (0, 1):
        expect(page.locator("#files-list .file").nth(row).locator("a")).to_have_text("Open")


def test_an_uploaded_row_follows_its_case_to_the_result(visitor: Visitor, files: Write) -> None:
    drawn = draw(53)
    page = visitor.open("/upload", Role.TECHNOLOGIST)
    page.set_input_files("#files", files("one.dcm", phantom.dicom(drawn, patient_name="UP^LIVE")))
    link = page.locator("#files-list .file a")
    study = (link.get_attribute("href") or "").removeprefix("/studies/")
    found = visitor.site.study_of(study)
    visitor.site.segment(found, visitor.site.render(found), drawn.mask, 0.9)
    expect(page.locator("#files-list .file")).to_contain_text("likely")


def test_finished_rows_name_case_and_patient_and_survive_a_reload(
    visitor: Visitor, files: Write
) -> None:
    drawn = draw(62)
    page = visitor.open("/upload", Role.TECHNOLOGIST)
    page.set_input_files("#files", files("one.dcm", phantom.dicom(drawn, patient_name="UP^LASTS")))
    row = page.locator("#files-list .file")
    study = (row.locator("a").get_attribute("href") or "").removeprefix("/studies/")
    found = visitor.site.study_of(study)
    number = found.hex[:6].upper()
    expect(row).to_contain_text(f"{number} · UP, LASTS")
    page.reload()
    row = page.locator(f"#recent .file[data-id='{study}']")
    expect(row).to_contain_text("one.dcm")
    expect(row).to_contain_text(f"{number} · UP, LASTS")
    visitor.site.segment(found, visitor.site.render(found), drawn.mask, 0.9)
    expect(row).to_contain_text("likely")  # the list goes on following it
    expect(row).to_contain_text(f"{number} · UP, LASTS")


def test_whose_picture_is_typed_is_seen_with_the_fields_folded_away(visitor: Visitor) -> None:
    page = visitor.open("/upload", Role.TECHNOLOGIST)
    summary = page.locator("#stated summary")
    summary.click()
    page.fill("#f-patient_id", "P-0001")
    page.fill("#f-patient_name", "Müller, Anna")
    summary.click()
    expect(page.locator("#f-patient_id")).to_be_hidden()
    expect(page.locator("#stated-now")).to_have_text("P-0001 · Müller, Anna")
    expect(page.locator("#stated-now")).to_be_visible()
    summary.click()
    page.click("#clear-stated")
    expect(page.locator("#stated-now")).to_have_text("")


def test_too_large_a_file_is_refused_before_it_is_sent(visitor: Visitor, files: Write) -> None:
    page = visitor.open("/upload")
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if r.method == "POST" else None)
    page.evaluate("document.getElementById('upload').dataset.maxBytes = '10'")
    with page.expect_response("**/upload/turned-away"):
        page.set_input_files("#files", files("large.dcm", b"x" * 100))
    expect(page.locator("#files-list .file")).to_contain_text("larger than 64 MB")
    assert [url for url in sent if not url.endswith("/upload/turned-away")] == []
    page.reload()
    expect(page.locator("#refused .file")).to_contain_text("larger than 64 MB")


def test_refused_files_are_listed_after_a_reload_and_only_in_their_session(
    visitor: Visitor, cases: Cases, files: Write
) -> None:
    visitor.refusals_expected = True
    page = visitor.open("/upload", Role.TECHNOLOGIST)
    page.set_input_files("#files", files("NAME^OF A PATIENT.dcm", b"this is not a picture"))
    expect(page.locator("#files-list .file")).to_contain_text("not a DICOM")
    page.reload()
    expect(page.locator("#refused .file")).to_contain_text("NAME^OF A PATIENT.dcm")
    expect(page.locator("#refused .file")).to_contain_text("not a DICOM")
    kept = page.evaluate("[JSON.stringify(sessionStorage), JSON.stringify(localStorage)]")
    assert not any("PATIENT" in text for text in kept)
    other = visitor.open("/upload", Role.TECHNOLOGIST)
    assert other.locator("#refused").count() == 0


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (429, "quota", "More files were sent within an hour"),
        (413, "content_too_large", "larger than 64 MB"),
    ],
)
def test_a_file_that_is_turned_away_unread_is_listed_after_a_reload(
    visitor: Visitor, files: Write, status: int, code: str, text: str
) -> None:
    visitor.refusals_expected = True
    page = visitor.open("/upload", Role.TECHNOLOGIST)
    answer = json.dumps({"code": code, "detail": "Not now."})
    intercept(page, "**/studies", lambda route: route.fulfill(status=status, body=answer))
    page.clock.install()
    sent = page.locator("#files-list .file", has_text="Not now.")

    def is_answered_for_good() -> bool:
        page.clock.run_for(9000)  # each try waits longer than the one before it
        return sent.count() > 0

    with page.expect_response("**/upload/turned-away"):
        page.set_input_files("#files", files("one.dcm", phantom.dicom(draw(56))))
        wait_until(page, is_answered_for_good)
    page.reload()
    expect(page.locator("#refused .file")).to_contain_text("one.dcm")
    expect(page.locator("#refused .file")).to_contain_text(text)


def test_a_file_lost_on_the_way_can_be_sent_again(visitor: Visitor, files: Write) -> None:
    visitor.refusals_expected = True
    page = visitor.open("/upload")
    intercept(page, "**/studies", lambda route: route.abort())
    page.clock.install()
    page.set_input_files("#files", files("one.dcm", phantom.dicom(draw(54))))
    lost = page.locator("#files-list .file", has_text="cannot be reached")

    def is_lost_after_another_try() -> bool:
        page.clock.run_for(9000)  # each try waits longer than the one before it
        return lost.count() > 0

    wait_until(page, is_lost_after_another_try)
    expect(lost).to_be_visible()
    page.unroute("**/studies")
    page.click("text=Try again")
    expect(page.locator("#files-list .file a")).to_have_text("Open")


def test_upload_works_without_script(visitor: Visitor, cases: Cases, files: Write) -> None:
    cookie = visitor.site.cookie(Role.READER)
    context = visitor.browser.new_context(java_script_enabled=False)
    context.add_cookies([cookie])  # type: ignore[list-item]
    page = context.new_page()
    page.goto(f"{visitor.site.url}/upload")
    page.set_input_files(
        "#files",
        [files("good.dcm", phantom.dicom(draw(55))), files("text.dcm", b"no picture")],
    )
    page.click("#plain-send")
    # The click answers when the form is on its way, not when the next page is painted.
    expect(page.locator("#files-list .file").nth(0)).to_contain_text("received")
    expect(page.locator("#files-list .file").nth(1)).to_contain_text("not a DICOM")


def test_history_shows_what_was_read_and_the_verdict(visitor: Visitor, cases: Cases) -> None:
    study, _ = visitor.site.complete(draw(61), patient_name="HISTORY^ONE")
    page = visitor.open(f"/studies/{study}")
    page.wait_for_selector("#review[data-ready=yes]")
    page.keyboard.press("u")
    expect(page.locator("#review-current")).to_have_text("Unsure")
    page.goto(f"{visitor.site.url}/history")
    first = page.locator(".case").first
    expect(first).to_contain_text("HISTORY, ONE")
    expect(first).to_contain_text("unsure")
    page.goto(f"{visitor.site.url}/history?what=sent")
    expect(page.locator("main")).to_contain_text("Uploaded")


def test_admins_and_auditors_have_no_case_pages(visitor: Visitor, cases: Cases) -> None:
    visitor.refusals_expected = True
    for role in (Role.ADMIN, Role.AUDITOR):
        page = visitor.open(f"/studies/{cases.likely}", role)
        assert "CANARY" not in page.content()
        assert "Page not found" in page.inner_text("main")
