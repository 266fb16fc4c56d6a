"""Where a reader's own finding comes first, exams in which a colleague found something and those in
which they found nothing can't be told apart before it.
"""

import pytest

from portal.models import AiShown, Role
from tests.portal.web.test_signing import known_of, sent
from tests.support.hidden.hospital import Answer, Opened, assert_same, told
from tests.support.people import Person
from tests.support.portal_app import csrf_of, make_person, sign_in

FINDINGS = ("right", "none", "unsure")


def read_by_a_colleague(opened: Opened, finding: str, *, signed: bool) -> list[Answer]:
    """All that a reader gets of exams of which a colleague has read the middle one."""
    hospital = opened("likely", AiShown.AFTER_VERDICT)
    colleague: Person = make_person(hospital.app, Role.READER, name="Test colleague")
    client = sign_in(hospital.app, colleague)
    study = hospital.middle
    if signed:
        number = {"right": 1, "none": 2, "unsure": 3}[finding]
        body = {"id": f"{number:032x}", "finding": finding, "comment": f"seen: {finding}"}
        answer = sent(client, study, **body | known_of(client, study))
    else:
        headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
        body = {"finding": finding, "comment": f"seen: {finding}"}
        answer = client.post(f"/studies/{study}/reviews", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return told(hospital)


@pytest.mark.parametrize("signed", [False, True])
def test_before_ones_own_finding_nothing_tells_exams_apart(opened: Opened, signed: bool) -> None:
    first, *others = (read_by_a_colleague(opened, one, signed=signed) for one in FINDINGS)
    for other in others:
        assert_same(first, other)
    assert not [path for path, status, _, _ in first if status >= 500]
    pages = {path: body for path, _, _, body in first}
    assert "shown after yours" in pages["/worklist?state=all"]
    assert "read by Test colleague, shown after yours" in pages["/studies/EXAM-1"]
    assert "Test colleague" in pages["/api/v1/studies/EXAM-1"]
