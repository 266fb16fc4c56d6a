"""Emergency access: who has it, for which case, for how long, and what the log holds of it."""

import json
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from portal.access import Actor, Denied, Permission, permissions_of
from portal.accounts import break_glass, people
from portal.accounts.throttle import Throttle, Throttled
from portal.audit import alarms, verification
from portal.errors import Invalid
from portal.governance import purges
from portal.models import AuditEvent, BreakGlass, PurgeReason, Role, Study, Team, User
from portal.reading import reviews, worklist
from portal.reading.case import open_study, read_blob, study_state
from tests.support.clinic import Clinic
from tests.support.core import NOW

HOUR = timedelta(minutes=60)
LATER = NOW + HOUR
EXPLANATION = "Called by the ward, their reader is away."


def stranger(clinic: Clinic) -> Actor:
    """A technologist of the other team."""
    with clinic.session as session:
        team = session.scalars(select(Team).where(Team.name == "There")).one()
        user = User(
            id=uuid4(),
            name="Test stranger",
            email="stranger@example.org",
            role=Role.TECHNOLOGIST,
            team_id=team.id,
            created=NOW,
        )
        session.add(user)
        session.commit()
    return Actor(user.id, team.id, user.role, permissions_of(user.role), uuid4())


def open_case(
    clinic: Clinic, actor: Actor, study_id: UUID, now: datetime = NOW, **changes: str
) -> UUID:
    asked = {"case": str(study_id), "reason": "emergency", "explanation": EXPLANATION} | changes
    with clinic.session as session:
        return break_glass.open_case(
            session, clinic.vault, Throttle(), actor, **asked, now=now, lifetime=HOUR
        )


def looks(clinic: Clinic, actor: Actor, study_id: UUID, now: datetime) -> bool:
    """Whether the person sees the case, its state and its picture: all of these or none."""
    with clinic.session as session:
        here = break_glass.under(session, actor, study_id, now)
        seen = []
        for look in (
            lambda: open_study(session, clinic.vault, here, study_id, now),
            lambda: study_state(session, here, study_id),
            lambda: read_blob(session, clinic.vault, here, study_id, "preview", now),
        ):
            try:
                look()
                seen.append(True)
            except Denied:
                session.rollback()
                seen.append(False)
    assert len(set(seen)) == 1
    return seen[0]


# Whose the case is to the person; may they break the glass; do they see it without, with a grant,
# and when the grant has run out.
TABLE = {
    "owner": ("own", False, True, True, True),
    "colleague": ("team", False, False, False, False),
    "stranger": ("other", False, False, False, False),
    "mate": ("team", True, True, True, True),
    "outsider": ("other", True, False, True, False),
    "admin": ("other", True, False, True, False),
    "auditor": ("other", False, False, False, False),
}


@pytest.mark.parametrize("who", list(TABLE))
def test_role_by_whose_case_by_granted_or_expired(clinic: Clinic, who: str) -> None:
    _, may, without, granted, expired = TABLE[who]
    study_id = clinic.done()
    actor = stranger(clinic) if who == "stranger" else getattr(clinic, who)
    assert looks(clinic, actor, study_id, NOW) is without
    try:
        assert open_case(clinic, actor, study_id) == study_id
        allowed = True
    except Denied:
        allowed = False
    assert allowed is may
    assert looks(clinic, actor, study_id, LATER - timedelta(seconds=1)) is granted
    assert looks(clinic, actor, study_id, LATER) is expired


@pytest.mark.parametrize("who", ["outsider", "admin"])
def test_a_grant_opens_one_case_for_reading_and_nothing_else(clinic: Clinic, who: str) -> None:
    actor: Actor = getattr(clinic, who)
    study_id, other = clinic.done(), clinic.done(NOW + timedelta(minutes=1))
    open_case(clinic, actor, study_id)
    assert not looks(clinic, actor, other, NOW)
    with clinic.session as session:
        here = break_glass.under(session, actor, study_id, NOW)
        view = open_study(session, clinic.vault, here, study_id, NOW)
        assert view.priors == []
        held = {p for p in Permission if here.may(p)}
        assert held == {Permission.STUDY_READ, Permission.SELF}
        with pytest.raises(Denied):
            reviews.add_review(session, clinic.vault, here, study_id, finding="right", now=NOW)
        with pytest.raises(Denied):
            worklist.worklist(session, clinic.vault, here, now=NOW)
        # Not even a right that is held by mistake goes further than the look.
        with pytest.raises(Denied):
            purges.purge(session, clinic.vault, here, study_id, NOW, reason=PurgeReason.OTHER)


def test_what_is_not_there_and_what_may_not_be_opened_look_the_same(clinic: Clinic) -> None:
    purged = clinic.done()
    with clinic.session as session:
        purges.purge(session, clinic.vault, clinic.admin, purged, NOW, reason=PurgeReason.OTHER)
    refusals = set()
    for case in (str(purged), str(uuid4()), purged.hex[:6], "#000000"):
        with pytest.raises(Invalid) as refused:
            open_case(clinic, clinic.outsider, purged, case=case)
        refusals.add((refused.value.code, refused.value.message))
    assert len(refusals) == 1


def test_a_case_is_found_by_its_number_in_any_spelling(clinic: Clinic) -> None:
    study_id = clinic.done()
    number = study_id.hex[:6]
    for typed in (number, number.upper(), f" #{number} ", str(study_id), study_id.hex):
        assert open_case(clinic, clinic.admin, study_id, case=typed) == study_id


def test_a_number_that_two_cases_have_asks_for_the_id(clinic: Clinic) -> None:
    one, two = clinic.done(), clinic.done(NOW + timedelta(minutes=1))
    with clinic.session as session:
        number = session.get_one(Study, one).case_number
        session.get_one(Study, two).case_number = number
        session.commit()
    with pytest.raises(Invalid, match="whole id"):
        open_case(clinic, clinic.admin, one, case=number)
    assert not looks(clinic, clinic.admin, one, NOW)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("explanation", {"explanation": "because"}),
        ("explanation", {"explanation": "x" * 501}),
        ("explanation", {"explanation": " \n\x00 "}),
        ("reason", {"reason": "curious"}),
        ("case", {"case": "7F3A"}),
        ("case", {"case": "%' OR 1=1"}),
        ("case", {"case": ""}),
    ],
)
def test_what_is_missing_or_wrong_opens_nothing(
    clinic: Clinic, field: str, changes: dict[str, str]
) -> None:
    study_id = clinic.done()
    with pytest.raises(Invalid) as refused:
        open_case(clinic, clinic.admin, study_id, **changes)
    assert refused.value.code == field
    with clinic.session as session:
        assert session.scalars(select(BreakGlass)).all() == []


def test_nobody_opens_case_after_case(clinic: Clinic) -> None:
    throttle, study_id = Throttle(), clinic.done()
    asked = {"case": str(study_id), "reason": "emergency", "explanation": EXPLANATION}
    with clinic.session as session:
        for _ in range(5):
            break_glass.open_case(
                session, clinic.vault, throttle, clinic.admin, **asked, now=NOW, lifetime=HOUR
            )
        with pytest.raises(Throttled):
            break_glass.open_case(
                session, clinic.vault, throttle, clinic.admin, **asked, now=NOW, lifetime=HOUR
            )


def rows_of(clinic: Clinic, study_id: UUID) -> list[AuditEvent]:
    with clinic.session as session:
        found = session.scalars(select(AuditEvent).order_by(AuditEvent.seq)).all()
    return [row for row in found if row.study_id == study_id]


def test_the_log_holds_the_alarm_and_names_the_grant_at_every_access(clinic: Clinic) -> None:
    study_id = clinic.done()
    open_case(clinic, clinic.admin, study_id)
    looks(clinic, clinic.admin, study_id, NOW)
    looks(clinic, clinic.mate, study_id, NOW)
    with clinic.session as session:
        grant = session.scalars(select(BreakGlass)).one()
        break_glass.end(session, clinic.admin, grant.id, NOW)
        assert verification.verify(session).is_whole
    rows = {(row.event, row.actor_id): json.loads(row.detail) for row in rows_of(clinic, study_id)}
    admin = clinic.admin.user_id
    assert rows["glass_broken", admin] == {
        "reason": "emergency",
        "severity": "alarm",
        "until": LATER.isoformat(),
    }
    assert rows["study_opened", admin] == {"grant": str(grant.id)}
    assert rows["picture_read", admin] == {"grant": str(grant.id), "kind": "preview"}
    assert ("glass_ended", admin) in rows
    assert "grant" not in rows["study_opened", clinic.mate.user_id]
    assert EXPLANATION not in str(rows)


def test_the_reason_is_sealed_and_read_by_auditors_and_the_person_alone(clinic: Clinic) -> None:
    study_id = clinic.done()
    open_case(clinic, clinic.outsider, study_id)
    with clinic.session as session:
        stored = session.execute(text("SELECT sealed_words FROM break_glass")).scalar_one()
        assert EXPLANATION.encode() not in bytes(stored)
        read = {
            who: [
                g.explanation
                for g in break_glass.grants(session, clinic.vault, getattr(clinic, who), NOW)
            ]
            for who in ("outsider", "auditor", "admin", "mate", "owner")
        }
    assert read == {
        "outsider": [EXPLANATION],
        "auditor": [EXPLANATION],
        "admin": [""],
        "mate": [],
        "owner": [],
    }


@pytest.mark.parametrize(
    ("who", "ends"),
    [("outsider", True), ("admin", True), ("auditor", True), ("mate", False), ("owner", False)],
)
def test_the_person_an_admin_and_an_auditor_end_it(clinic: Clinic, who: str, ends: bool) -> None:
    study_id = clinic.done()
    open_case(clinic, clinic.outsider, study_id)
    with clinic.session as session:
        grant = session.scalars(select(BreakGlass)).one()
        if ends:
            break_glass.end(session, getattr(clinic, who), grant.id, NOW)
        else:
            with pytest.raises(Denied):
                break_glass.end(session, getattr(clinic, who), grant.id, NOW)
    assert looks(clinic, clinic.outsider, study_id, NOW) is not ends


@pytest.mark.parametrize("change", ["role", "disable"])
def test_a_grant_ends_with_the_role_and_the_account(clinic: Clinic, change: str) -> None:
    study_id = clinic.done()
    open_case(clinic, clinic.outsider, study_id)
    with clinic.session as session:
        if change == "role":
            people.set_role(session, clinic.admin, clinic.outsider.user_id, Role.ADMIN, NOW)
        else:
            people.disable(session, clinic.admin, clinic.outsider.user_id, NOW)
        assert session.scalars(select(BreakGlass)).one().ended_at == NOW
    assert not looks(clinic, clinic.outsider, study_id, NOW)


def test_opening_again_begins_anew_with_another_alarm(clinic: Clinic) -> None:
    study_id = clinic.done()
    open_case(clinic, clinic.admin, study_id)
    open_case(clinic, clinic.admin, study_id, NOW + timedelta(minutes=30))
    with clinic.session as session:
        stands = [
            g.stands for g in break_glass.grants(session, clinic.vault, clinic.auditor, NOW + HOUR)
        ]
    assert stands == [True]
    events = [row.event for row in rows_of(clinic, study_id)]
    assert events.count("glass_broken") == 2
    assert looks(clinic, clinic.admin, study_id, NOW + timedelta(minutes=89))
    assert not looks(clinic, clinic.admin, study_id, NOW + timedelta(minutes=90))


def test_a_program_gets_no_emergency_access(clinic: Clinic) -> None:
    from dataclasses import replace

    study_id = clinic.done()
    program = replace(clinic.outsider, via="token")
    with pytest.raises(Invalid):
        open_case(clinic, program, study_id)
    open_case(clinic, clinic.outsider, study_id)
    assert not looks(clinic, program, study_id, NOW)


def test_alarms_wait_until_an_auditor_has_seen_them(clinic: Clinic) -> None:
    study_id = clinic.done()
    open_case(clinic, clinic.admin, study_id)
    with clinic.session as session:
        waiting, total = alarms.unseen(session, clinic.auditor)
        assert [(a.event, a.person, a.study_id) for a in waiting] == [
            ("glass_broken", "Test admin", study_id)
        ]
        assert total == 1
        with pytest.raises(Denied):
            alarms.unseen(session, clinic.admin)
        with pytest.raises(Denied):
            alarms.mark_seen(session, clinic.admin, waiting[0].seq, NOW)
        alarms.mark_seen(session, clinic.auditor, waiting[0].seq, NOW)
        assert alarms.unseen(session, clinic.auditor) == ([], 0)
    open_case(clinic, clinic.outsider, study_id)
    with clinic.session as session:
        assert [a.person for a in alarms.unseen(session, clinic.auditor)[0]] == ["Test outsider"]


def test_nobody_marks_alarms_as_seen_that_have_not_come_yet(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        alarms.mark_seen(session, clinic.auditor, 10**9, NOW)
    open_case(clinic, clinic.admin, study_id)
    with clinic.session as session:
        alarms.mark_seen(session, clinic.auditor, 1, NOW)
        assert alarms.unseen(session, clinic.auditor)[1] == 1


def test_what_was_not_shown_is_not_marked_as_seen(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "_SHOWN", 2)
    opened = [clinic.done() for _ in range(3)]
    for study_id in opened:
        open_case(clinic, clinic.admin, study_id)
    with clinic.session as session:
        shown, total = alarms.unseen(session, clinic.auditor)
        assert ([a.study_id for a in shown], total) == ([opened[1], opened[0]], 3)
        alarms.mark_seen(session, clinic.auditor, shown[0].seq, NOW)
        (last,), total = alarms.unseen(session, clinic.auditor)
        assert (last.study_id, total) == (opened[2], 1)
