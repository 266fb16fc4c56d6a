"""Where a team hides what the AI found, exams with and without a finding can't be told apart.

Portals that differ in nothing but what the analysis of one exam came to are asked for everything
that a person can ask for, in the same order. Whatever they answer, bytes and headers, is the same.
"""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from portal.accounts import break_glass, sessions
from portal.models import READ, AiShown, Role, User, db
from tests.portal.web.test_signing import known_of, sent
from tests.support.hidden.hospital import (
    OUTCOMES,
    Answer,
    Hospital,
    Opened,
    assert_same,
    plain_of,
    told,
)
from tests.support.people import Person
from tests.support.portal_app import csrf_of, make_person, sign_in

HIDING = (AiShown.AFTER_VERDICT, AiShown.NEVER)


def test_with_the_picture_the_answers_differ_so_the_comparison_can_fail(opened: Opened) -> None:
    likely = told(opened("likely"))
    differ = {
        left[0]
        for outcome in ("none_found", "refused")
        for left, right in zip(likely, told(opened(outcome)), strict=True)
        if left != right
    }
    for path in (
        "/studies/EXAM-1",
        "/studies/EXAM-1/blobs/mask",
        "/worklist",
        "/worklist?result=positive",
        "/worklist?side=right",
        "/studies/EXAM-2/next?state=to_read",
        "/api/v1/studies",
        "/api/v1/studies/EXAM-1",
        "/api/v1/studies/EXAM-1/mask.png",
        "/studies/EXAM-1/outline/begin",
        "/studies/EXAM-1/export",
    ):
        assert any(one.startswith(path) for one in differ), path


@pytest.mark.parametrize("policy", HIDING)
def test_before_the_verdict_nothing_tells_exams_apart(opened: Opened, policy: AiShown) -> None:
    first, *others = (told(opened(outcome, policy)) for outcome in OUTCOMES)
    for other in others:
        assert_same(first, other)
    assert len(first) > 200
    assert not [path for path, status, _, _ in first if status >= 500]


@pytest.mark.parametrize("policy", HIDING)
def test_nor_for_technologists_and_who_comes_in_an_emergency(
    opened: Opened, policy: AiShown
) -> None:
    def asked(outcome: str) -> list[Answer]:
        hospital = opened(outcome, policy)
        found = told(hospital, hospital.staff[Role.TECHNOLOGIST], reads=False)
        for role in (Role.READER, Role.ADMIN):
            away = make_person(hospital.app, role, team="Elsewhere")
            for study in hospital.exams:
                _break_glass(hospital, away, study)
            found += told(hospital, away, reads=False, may_have_token=role is Role.READER)
        return found

    first, *others = (asked(outcome) for outcome in ("likely", "none_found", "refused"))
    for other in others:
        assert_same(first, other)


def _break_glass(hospital: Hospital, person: Person, study_id: UUID) -> None:
    services = hospital.app.extensions["pleura"]
    with hospital.app.app_context():
        session = db.session()
        break_glass.open_case(
            session,
            services.vault,
            services.throttle,
            sessions.actor_of(session.get_one(User, person.id)),
            case=str(study_id),
            reason="emergency",
            explanation="Asked by the ward.",
            now=services.clock(),
            lifetime=timedelta(hours=1),
        )


def _review(hospital: Hospital, study: UUID, finding: str = "none") -> dict[str, Any]:
    client = sign_in(hospital.app, hospital.staff[Role.READER])
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
    answer = client.post(f"/studies/{study}/reviews", json={"finding": finding}, headers=headers)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.get_json()
    return body


def test_after_the_verdict_the_reader_sees_that_exam_and_no_other(opened: Opened) -> None:
    hospital = opened("likely", AiShown.AFTER_VERDICT)
    client = sign_in(hospital.app, hospital.staff[Role.READER])
    assert client.get(f"/studies/{hospital.middle}/blobs/mask").status_code == 404
    body = _review(hospital, hospital.middle)
    assert body["reveals"] is True
    assert "disagreed" in body["label"].lower()
    page = client.get(f"/studies/{hospital.middle}").text
    assert "Pneumothorax likely" in page
    assert "Disagreed" in page or "disagreed" in page
    assert client.get(f"/studies/{hospital.middle}/blobs/mask").status_code == 200
    assert client.get(f"/studies/{hospital.exams[0]}/blobs/mask").status_code == 404
    listed = client.get("/worklist?state=all").text
    assert listed.count(">likely<") == 1
    assert listed.count(">not shown<") == 2
    mate = sign_in(hospital.app, make_person(hospital.app, Role.READER))
    assert "Pneumothorax likely" not in mate.get(f"/studies/{hospital.middle}").text
    sender = sign_in(hospital.app, hospital.staff[Role.TECHNOLOGIST])
    assert "Pneumothorax likely" in sender.get(f"/studies/{hospital.middle}").text
    assert sender.get("/history").text.count(">not shown<") == 2


def test_never_is_never_also_after_the_verdict(opened: Opened) -> None:
    def asked(outcome: str) -> list[Answer]:
        hospital = opened(outcome, AiShown.NEVER)
        body = _review(hospital, hospital.middle, "right")
        assert body["reveals"] is False
        assert "agreed" not in body["label"].lower()
        client = sign_in(hospital.app, hospital.staff[Role.READER])
        signature = {"id": str(uuid4()), "finding": "right"} | known_of(client, hospital.middle)
        signed = sent(client, hospital.middle, **signature)
        assert signed.status_code == 200
        path = f"/studies/{hospital.middle}?seen={signed.get_json()['signature']}"
        seen = plain_of(hospital)(path, client.get(path))
        assert seen[1] == 200
        return [("", 200, {}, body["label"]), seen, *told(hospital)]

    first, *others = (asked(outcome) for outcome in ("likely", "none_found", "failed"))
    for other in others:
        assert_same(first, other)


@pytest.mark.parametrize("policy", HIDING)
def test_lists_and_the_next_case_are_by_arrival(opened: Opened, policy: AiShown) -> None:
    hospital = opened("likely", policy)
    client = sign_in(hospital.app, hospital.staff[Role.READER])

    def order(path: str) -> list[UUID]:
        return [UUID(one) for one in re.findall(r'id="case-([0-9a-f-]+)"', client.get(path).text)]

    first, middle, last = hospital.exams
    assert order("/worklist") == [first, middle, last]
    assert order("/worklist?state=all") == [last, middle, first]
    # A place by arrival that no page names: a time before every calendar.
    assert order(f"/worklist?after={READ + 1}_-90000000000.0_{first.hex}") == order("/worklist")
    assert client.get(f"/studies/{first}/next").location == f"/studies/{middle}"
    assert client.get(f"/studies/{last}/next").location == f"/studies/{first}"
    counts = client.get("/worklist").text
    assert "AI positive" not in counts
    assert "<strong>3</strong> to read" in counts
    _review(hospital, first)
    assert order("/worklist") == [middle, last]
    assert order("/worklist?state=read") == [first]
    # As readers see it otherwise: the finding first.
    seen = sign_in(opened("likely").app, hospital.staff[Role.READER])
    assert "AI positive" in seen.get("/worklist").text
