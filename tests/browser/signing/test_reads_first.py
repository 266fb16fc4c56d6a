"""A team that reads first: nothing of the AI until the finding is saved, then all of it at once."""

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from playwright.sync_api import expect
from sqlalchemy import delete

from ml.preparation import phantom
from portal.models import AiShown, TeamChoices
from tests.browser.conftest import Cases, Visitor, draw

Choose = Callable[[AiShown], None]


@pytest.fixture
def hidden(visitor: Visitor, cases: Cases) -> UUID:
    site = visitor.site
    drawn = draw(141)
    study = site.submit(phantom.dicom(drawn, patient_name="PHANTOM^READ FIRST"))
    site.segment(study, site.render(study), drawn.mask, 0.9)
    return study


@pytest.fixture
def reads_first(visitor: Visitor, cases: Cases) -> Iterator[Choose]:
    def choose(policy: AiShown) -> None:
        with visitor.site.core.sessions() as session:
            session.merge(TeamChoices(team_id=cases.team, ai_shown=policy))
            session.commit()

    yield choose
    with visitor.site.core.sessions() as session:
        session.execute(delete(TeamChoices))
        session.commit()


def test_the_result_comes_with_the_saved_finding(
    visitor: Visitor, hidden: UUID, reads_first: Choose
) -> None:
    reads_first(AiShown.AFTER_VERDICT)
    page = visitor.open(f"/studies/{hidden}")
    panel = page.locator("#ai-panel")
    expect(panel).to_contain_text("once you have saved a finding")
    expect(page.locator("#case-result")).to_have_text("AI: not shown")
    page.wait_for_selector("#review[data-ready=yes]")
    page.keyboard.press("o")  # nothing to be laid over it
    page.keyboard.press("a")  # nor to agree with
    expect(page.locator("#review-status")).to_contain_text("without the AI")
    page.keyboard.press("r")
    expect(panel).to_contain_text("Pneumothorax likely")
    expect(page.locator("#review-current")).to_contain_text("Right")
    page.wait_for_selector("#film[data-overlay=ready]")


def test_never_is_stated_and_stays(visitor: Visitor, hidden: UUID, reads_first: Choose) -> None:
    reads_first(AiShown.NEVER)
    page = visitor.open(f"/studies/{hidden}")
    expect(page.locator("#ai-panel")).to_contain_text("reads without the AI")
    page.wait_for_selector("#review[data-ready=yes]")
    page.keyboard.press("0")
    expect(page.locator("#review-status")).to_contain_text("Saved")
    page.reload()
    expect(page.locator("#ai-panel")).to_contain_text("reads without the AI")
    listed = visitor.open("/worklist?state=all")
    expect(listed.locator(f"#case-{hidden}")).to_contain_text("not shown")
    expect(listed.locator("#counts")).not_to_contain_text("AI positive")
    expect(listed.locator("[name=result]")).to_have_count(0)
