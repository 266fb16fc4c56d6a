"""Keys and links into exams: what is genuine, for how long, and what a link gives away."""

import base64
import hashlib
import hmac
import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.errors import Conflict
from portal.models import AuditEvent, ExamLinkKey
from portal.teams import exam_links
from portal.teams.exam_links import BadLink, Named
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.paths import ROOT

GUIDE = (ROOT / "docs" / "exam-links.md").read_text("utf-8")


def make_key(clinic: Clinic) -> str:
    with clinic.session as session:
        return exam_links.make_key(session, clinic.vault, clinic.admin, clinic.owner.team_id, NOW)


def signed(key: str, accession: bytes = b"A-77", seconds: float = 300, version: str = "1") -> str:
    key_id, secret = key.split(".")
    number = base64.urlsafe_b64encode(accession).decode().rstrip("=")
    message = f"{version}.{key_id}.{int(NOW.timestamp() + seconds)}.{number}"
    signature = hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()
    return f"{message}.{signature}"


def read(clinic: Clinic, link: str, later: float = 0) -> Named:
    with clinic.session as session:
        return exam_links.read(session, clinic.vault, link, NOW + timedelta(seconds=later))


def test_a_genuine_link_names_its_number_by_keyed_digests(clinic: Clinic) -> None:
    link = signed(make_key(clinic), b"q-77 ")
    named = read(clinic, link)
    assert named.team_id == clinic.owner.team_id
    assert clinic.vault.lookup("accession", "q-77") in named.digests
    assert "q-77" not in repr(named)  # no id has a q


def test_the_guides_example_makes_such_a_link(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.+?)```", GUIDE, re.DOTALL)
    known: dict[str, Any] = {}
    exec(code, known)  # our own guide
    monkeypatch.setattr(known["time"], "time", lambda: NOW.timestamp())
    link = known["exam_link"]("https://xray.example", make_key(clinic), "Ä-77/8")
    address, _, held = link.partition("#")
    assert address == "https://xray.example/open"
    assert clinic.vault.lookup("accession", "Ä-77/8") in read(clinic, held).digests
    for later, holds in ((299, True), (301, False)):
        if holds:
            read(clinic, held, later)
        else:
            with pytest.raises(BadLink):
                read(clinic, held, later)


@pytest.mark.parametrize(
    "changed",
    [
        {"seconds": -1},
        {"seconds": 24 * 3600 + 5},
        {"version": "2"},
        {"accession": b""},
        {"accession": b" "},
        {"accession": b"x" * 65},
        {"accession": b"\xff\xfe"},
    ],
)
def test_what_is_over_too_long_or_names_nothing_opens_nothing(
    clinic: Clinic, changed: dict[str, Any]
) -> None:
    link = signed(make_key(clinic), **changed)
    with pytest.raises(BadLink):
        read(clinic, link)


def test_no_letter_of_a_link_can_be_another(clinic: Clinic) -> None:
    link = signed(make_key(clinic))
    for at in range(len(link)):
        other = "0" if link[at] != "0" else "1"
        with pytest.raises(BadLink):
            read(clinic, link[:at] + other + link[at + 1 :])


@pytest.mark.parametrize("link", ["", "1", "x" * 10_000, "1.2.3.4.5", "\0", "1." + "9" * 400])
def test_what_is_no_link_is_refused(clinic: Clinic, link: str) -> None:
    with pytest.raises(BadLink):
        read(clinic, link)


def test_an_ended_key_and_one_of_another_place_open_nothing(clinic: Clinic) -> None:
    old, new = make_key(clinic), make_key(clinic)
    first, second = signed(old), signed(new)
    read(clinic, first)
    with clinic.session as session:
        _, keys = exam_links.keys(session, clinic.admin, clinic.owner.team_id)
        wanted = next(key.id for key in keys if key.id.hex == old.partition(".")[0])
        exam_links.end_key(session, clinic.admin, clinic.owner.team_id, wanted, NOW)
    with pytest.raises(BadLink):
        read(clinic, first)
    read(clinic, second)
    with clinic.session as session:  # a secret that was moved to another row does not open
        a, b = session.scalars(select(ExamLinkKey)).all()
        a.sealed_secret, b.sealed_secret = b.sealed_secret, a.sealed_secret
        session.commit()
    with pytest.raises(BadLink):
        read(clinic, second)


def test_a_key_is_sealed_audited_and_one_of_at_most_three(clinic: Clinic) -> None:
    made = [make_key(clinic) for _ in range(exam_links.MOST_KEYS)]
    with pytest.raises(Conflict):
        make_key(clinic)
    with clinic.session as session:
        rows = session.scalars(select(ExamLinkKey)).all()
        log = session.scalars(select(AuditEvent.detail)).all()
    for key in made:
        secret = key.partition(".")[2]
        assert not [row for row in rows if secret.encode() in row.sealed_secret]
        assert not [detail for detail in log if secret in detail]


def test_administrators_alone_make_and_end_keys(clinic: Clinic) -> None:
    key = make_key(clinic)
    team = clinic.owner.team_id
    with clinic.session as session:
        _, (view,) = exam_links.keys(session, clinic.admin, team)
        for actor in (clinic.owner, clinic.mate, clinic.auditor):
            with pytest.raises(Denied):
                exam_links.make_key(session, clinic.vault, actor, team, NOW)
            with pytest.raises(Denied):
                exam_links.end_key(session, actor, team, view.id, NOW)
            with pytest.raises(Denied):
                exam_links.keys(session, actor, team)
        with pytest.raises(Denied):
            exam_links.end_key(session, clinic.admin, clinic.outsider.team_id, view.id, NOW)
    read(clinic, signed(key))
