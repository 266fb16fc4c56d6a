"""The portal that `photograph` looks at: cases of every kind, people with one, many or none."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import request
from sqlalchemy import select, update

from ml.images.picture import Spacing
from ml.preparation import phantom
from portal.accounts import sessions
from portal.dicom_network import nodes, refusals
from portal.governance import quarantine
from portal.models import (
    AiShown,
    ArrivalEnd,
    Job,
    JobKind,
    JobState,
    LoginSession,
    PerformanceMonth,
    Role,
    Study,
    TeamChoices,
    User,
)
from portal.performance import summaries
from portal.reading import reviews
from portal.teams.rules import changes
from portal.teams.rules.conditions import Conditions, Rule
from portal.web.security.errors import Problem
from tests.browser.conftest import Cases, draw, make_cases
from tests.browser.informing import hospital
from tests.support.browser_portal import BrowserPortal
from tests.support.dicom import some_retrievals
from tests.support.dicom.some_sends import add_some
from tests.support.drift.predictions import add_checks
from tests.support.jobs import Jobs
from tests.support.people import Person
from tests.support.portal_app import make_person, post, sign_in

LONG_NAME = "Wolfeschlegelsteinhausenbergerdorff^Hubert Blaine Maximilian Alexander"
_NAMES = (
    LONG_NAME,
    "山田^太郎",
    "محمد^عبد الرحمن",
    "O'Neil^Zoë",
    "Nguyễn^Thị Minh Khai",
    "X^Y",
    "",
)


@dataclass
class World:
    """The portal, its cases and further people."""

    site: BrowserPortal
    cases: Cases
    more: dict[str, UUID] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)


def make_world(site: BrowserPortal) -> World:
    """Cases of every kind, a team with many of them, one with none, a case open in an emergency."""
    world = World(site, make_cases(site))
    more = world.more
    effusion = {"name": "pleural-effusion", "threshold": 0.4, "side": "left", "area_mm2": 5200.0}
    box = [[[400.0, 480.0], [520.0, 480.0], [520.0, 600.0], [400.0, 600.0]]]
    found = {"probability": 0.72, "found": True, "area_px": 14000, "outlines": box}
    nodule = {"name": "nodule", "threshold": 0.5, "side": None, "area_mm2": None}
    none = {"probability": 0.04, "found": False, "area_px": 0, "outlines": []}
    two = [effusion | found, nodule | none]
    more["two_classes"] = _done(site, 101, patient_name="PHANTOM^TWO CLASSES", other_findings=two)
    more["long_name"] = _done(
        site, 102, patient_name=LONG_NAME, patient_id="HOSPITAL-0000-4711-0815-ABCDEFGHIJ"
    )
    more["right_to_left"] = _done(site, 103, patient_name=_NAMES[2])
    more["child"] = site.submit(phantom.dicom(draw(104), patient_age="009Y"))
    site.segment(more["child"], site.render(more["child"]), draw(104).mask, 0.9)
    young = {"verdict": "limited", "reasons": [{"code": "under_18", "message": "Under 18."}]}
    more["child_analysed"] = _done(site, 105, patient_name="PHANTOM^UNDER 18", quality=young)
    # As if the picture had been reduced after it was taken: a chest of 64 mm.
    reduced = dataclasses.replace(draw(106), spacing=Spacing(0.1, 0.1, "detector"))
    more["spacing_not_plausible"] = _complete(site, reduced, patient_name="PHANTOM^REDUCED")
    exam = {"study_uid": "1.2.3.4.5", "patient_name": "PHANTOM^SEVERAL", "patient_id": "SEVERAL"}
    more["several"] = _complete(site, draw(107), **exam)
    site.submit(phantom.dicom(draw(108, None), **exam | {"patient_name": "ANOTHER^PERSON"}))
    for seed, day in ((109, "20240211"), (110, "20250630"), (111, "20270105")):
        same = {"patient_name": "PHANTOM^PRIORS", "patient_id": "PRIORS", "study_date": day}
        more["priors"] = _complete(site, draw(seed, None if seed == 109 else "left"), **same)
    more["four"] = _four_pictures(site, young)
    more["uncertain"] = _done(site, 112, probability=0.5, patient_name="PHANTOM^UNCERTAIN")
    more["read"] = _read_often(world)
    more["late"] = site.submit(phantom.dicom(draw(114), patient_name="PHANTOM^LATE"))
    picture = site.render(more["late"])
    review(site, site.people[Role.READER], more["late"], "none")
    site.segment(more["late"], picture, draw(114).mask, 0.88)
    more["conflict"] = _done(site, 115, patient_name="PHANTOM^TWO READERS")
    more["damaged"] = _done(site, 116, patient_name="PHANTOM^DAMAGED")
    with site.core.sessions() as session:
        session.execute(
            update(Study).where(Study.id == more["damaged"]).values(sealed_phi=b"\1" * 60)
        )
        session.commit()
    _people(world)
    site.app.before_request_funcs.setdefault(None, []).append(_raise_what_is_asked)
    return world


def _nodes(world: World) -> None:
    """DICOM nodes: one that sends, one that is called by TLS, one that is off; one was refused."""
    site, now = world.site, datetime.now(UTC)
    team = {"team_id": site.team_of(site.people[Role.READER])}
    stated = (
        nodes.Described("Room 1", "CHEST_ROOM_1", networks="10.1.2.3 10.1.2.4", **team),
        nodes.Described(
            *("Archive of all hospitals of the region, with a long name", "REGIONAL_ARCHIVE"),
            receives=True,
            networks="10.1.0.0/16, fd00:1234:5678:9abc::/64",
            host="archive.radiology.example.org",
            port="11112",
            fingerprint="ab" * 32,
            objects=("sr", "seg", "sc", "pdf"),
            moments=("result", "signature"),
            queried="move",
            priors=True,
            at_once="2",
            **team,
        ),
        nodes.Described("Old room", "OLD_ROOM", networks="10.1.2.9", **team),
    )
    with site.core.sessions() as session:
        first, archive, old = (nodes.add(session, None, one, now) for one in stated)
        nodes.switch(session, None, old.id, now, on=False)
        actor = nodes.actor_of(first, "10.1.2.3")
        for code, status in (("header_too_large", 0xC000), ("unsupported_modality", 0xA900)):
            refusals.note(
                *(session, site.core.vault, actor, first),
                sop_uid="1.2.3",
                code=code,
                status=status,
                size=8_300_000,
                now=now,
            )
        for number, reason in enumerate(("not_single_frame", "damaged")):
            quarantine.keep(
                *(session, site.core.vault, actor, bytes([number]) * 8_300_000),
                quarantine.Reason(reason),
                now,
            )
        world.more["node"] = archive.id
        add_some(session, archive.id, world.more["uncertain"], now)
        some_retrievals.add_some(session, archive.id, world.more["uncertain"], now)


def _people(world: World) -> None:
    site, people = world.site, world.people
    people["colleague"] = site.second_reader()
    for name, role, team in (
        ("empty", Role.READER, "Empty"),
        ("busy", Role.READER, "Busy"),
        ("outsider", Role.READER, "Elsewhere"),
        ("stale", Role.READER, "Radiology"),
        ("coded", Role.READER, "Radiology"),
        ("leaving", Role.READER, "Radiology"),
        ("stale_admin", Role.ADMIN, "Radiology"),
    ):
        people[name] = make_person(site.app, role, team=team, name=f"Pat {name.title()}")
    for number in range(56):
        name = _NAMES[number % len(_NAMES)]
        data = phantom.dicom(
            phantom.draw(200 + number, None, rows=128, columns=112), patient_name=name
        )
        site.submit(data, people["busy"])
    _hide_the_ai(world)
    _read_twice(world)
    _nodes(world)
    world.more["hl7_node"] = hospital.add_nodes(site)
    world.more["hospital"] = hospital.add_case(site)
    hospital.add_targets(site, world.more["hospital"])
    _count(world)
    client = sign_in(site.app, people["outsider"])
    form = {"reason": "emergency", "explanation": "Called by the ward, their reader is away."}
    opened = post(client, "/emergency", form | {"case": world.cases.likely.hex[:6]})
    assert opened.status_code == 303, opened.text


def _hide_the_ai(world: World) -> None:
    """A team that reads first: three exams, one of which its reader has read, one a colleague."""
    site = world.site
    reader = make_person(site.app, Role.READER, team="Reads first", name="Pat First")
    world.people["first"] = reader
    with site.core.sessions() as session:
        session.add(TeamChoices(team_id=site.team_of(reader), ai_shown=AiShown.AFTER_VERDICT))
        session.commit()
    colleague = make_person(site.app, Role.READER, team="Reads first", name="Pat Colleague")
    for name, seed in (("hidden", 131), ("shown", 132), ("by_colleague", 133)):
        drawn = draw(seed)
        study = site.submit(phantom.dicom(drawn, patient_name="PHANTOM^READ FIRST"), reader)
        site.segment(study, site.render(study), drawn.mask, 0.9)
        world.more[name] = study
    review(site, reader, world.more["shown"], "right")
    review(site, colleague, world.more["by_colleague"], "right", comment="Apical.")


def _read_twice(world: World) -> None:
    """A team that has all exams read twice: some wait for a second reader, one for a third."""
    site = world.site
    team = {"team": "Reads twice"}
    first, second, third = (
        make_person(site.app, Role.READER, name=f"Pat {name}", **team)
        for name in ("Primus", "Secunda", "Tertia")
    )
    world.people |= {"secunda": second, "tertia": third}
    with site.core.sessions() as session:
        team_id = site.team_of(first)
        session.add(TeamChoices(team_id=team_id, second_read_percent=100, names_on_board=True))
        session.commit()
    for name, seed in (("disagreed", 141), ("agreed", 142), ("blind", 143), ("more", 144)):
        drawn = draw(seed)
        study = site.submit(phantom.dicom(drawn, patient_name=_NAMES[seed % 5]), first)
        site.segment(study, site.render(study), drawn.mask, 0.9)
        world.more[name] = study
        review(site, first, study, "right", size="10_to_30", comment="Apical, no shift.")
    review(site, second, world.more["disagreed"], "none", comment="A skin fold: it goes on below.")
    review(site, second, world.more["agreed"], "right", size="below_10")


def _count(world: World) -> None:
    """Make the boards, with second reads and readers as after some months."""
    site, now = world.site, datetime.now(UTC)
    people = [*world.people.values(), *site.people.values()]
    with site.core.sessions() as session:
        while summaries.refresh(session, now):
            pass
        of_model = PerformanceMonth.model_id.is_not(None)
        model = session.scalars(select(PerformanceMonth.model_id).where(of_model)).first()
        row = session.scalars(
            select(PerformanceMonth)
            .where(PerformanceMonth.model_id.is_(None))
            .order_by(PerformanceMonth.month.desc())
        ).first()
        assert model is not None
        assert row is not None
        add_checks(session, model, 40, now)
        row.content = row.content | {
            "second_reads": {
                "strata": [
                    [model.hex, "likely", 61, 152.5, 381.2, 50, 125.0, 312.5],
                    [model.hex, "possible", 48, 96.0, 192.0, 17, 34.0, 68.0],
                    [model.hex, "none_found", 160, 1600.0, 16000.0, 2, 20.0, 200.0],
                    [model.hex, "no_result", 7, 35.0, 175.0, 0, 0.0, 0.0],
                ],
                "pairs": [
                    [True, "right", "right", 40, 80.0, 160.0],
                    [True, "none", "none", 120, 1200.0, 12000.0],
                    [True, "none", "right", 6, 30.0, 150.0],
                    [False, "left", "left", 30, 60.0, 120.0],
                    [False, "none", "none", 80, 800.0, 8000.0],
                ],
                "open": {"second": 12, "third": 3, "unsure": 4},
                "dice": [0.5 + at / 50 for at in range(22)],
            },
            "by_reader": [
                [
                    *(one.id.hex, [[20 + 37 * at, 15 * (at + 1)]]),
                    [[round(0.97 - 0.04 * at, 3), 9 + 4 * at]],
                ]
                for at, one in enumerate(people[:9])
            ],
        }
        session.commit()


def end_sessions(site: BrowserPortal, person: Person) -> None:
    """End all sessions of a person behind the portal's back."""
    with site.core.sessions() as session:
        mine = update(LoginSession).where(LoginSession.user_id == person.id)
        session.execute(mine.values(ended_at=datetime.now(UTC)))
        session.commit()


def _four_pictures(site: BrowserPortal, young: dict[str, Any]) -> UUID:
    """An exam of four pictures, one of them with the under-18 mark, and two priors with it."""
    patient = {"patient_name": LONG_NAME, "patient_id": "HOSPITAL-0000-4711-0815"}
    patient |= {"patient_sex": "F"}
    for seed, day in ((121, "20240211"), (122, "20250630")):
        _done(site, seed, study_date=day, quality=young, **patient)
    exam = {"study_uid": "1.2.3.4.6", "study_date": "20270105", **patient}
    study = _done(site, 123, quality=young, **exam)
    for seed, view in ((124, "AP"), (125, "PA"), (126, "LL")):
        site.submit(phantom.dicom(draw(seed), view=view, **exam))
    return study


def _read_often(world: World) -> UUID:
    site = world.site
    study = _done(site, 113, patient_name="PHANTOM^READ OFTEN")
    reader, other = site.people[Role.READER], site.second_reader()
    review(site, reader, study, "none", reason="skin_fold", comment="A fold, I think. " * 20)
    review(site, other, study, "right", size="10_to_30")
    review(site, reader, study, "right", size="below_10", comment="Seen again: <b>right</b>.")
    return study


def review(site: BrowserPortal, who: Person, study: UUID, finding: str, **more: Any) -> None:
    with site.core.sessions() as session:
        actor = sessions.actor_of(session.get_one(User, who.id))
        now = datetime.now(UTC)
        reviews.add_review(session, site.core.vault, actor, study, finding=finding, now=now, **more)


def made_report(site: BrowserPortal, study: UUID) -> None:
    """Do the case's report job, if one waits, as a worker would."""
    jobs, pdf = Jobs(site.core), b"%PDF-1.7 made"
    jobs.time = None
    with site.core.sessions() as session:
        waiting = session.scalars(
            select(Job.id).where(
                Job.study_id == study, Job.kind == JobKind.REPORT, Job.state == JobState.QUEUED
            )
        ).all()
    for job_id in waiting:
        ticket = jobs.claim(job_id, datetime.now(UTC))
        assert ticket is not None
        jobs.store(ticket, datetime.now(UTC), report=pdf)
        digest = hashlib.sha256(pdf).hexdigest()
        jobs.finish(ticket, {"report": {"pages": 2, "sha256": digest}}, datetime.now(UTC))


def _done(site: BrowserPortal, seed: int, probability: float = 0.91, **given: Any) -> UUID:
    more = {name: given.pop(name) for name in ("other_findings", "quality") if name in given}
    tags = {"patient_id": f"P-{seed}"} | given
    return _complete(site, draw(seed), probability, more, **tags)


def _complete(
    site: BrowserPortal,
    drawn: phantom.Phantom,
    probability: float = 0.91,
    more: dict[str, Any] | None = None,
    **tags: Any,
) -> UUID:
    study = site.submit(phantom.dicom(drawn, **tags))
    site.segment(study, site.render(study), drawn.mask, probability, **(more or {}))
    return study


def _raise_what_is_asked() -> None:
    """An error as a page that a signed-in person sees, whatever would lead to it."""
    status = request.args.get("raise", type=int)
    if status:
        raise Problem(status, "asked", retry_after=30 if status in (429, 503) else None)


def add_rules(site: BrowserPortal) -> UUID:
    """Three rules of the reader's team; returns its id."""
    team_id, now = site.team(), datetime.now(UTC)
    rules = (
        Rule(
            "Lateral views",
            ArrivalEnd.KEEP,
            "The model reads frontal views",
            Conditions(views=("LL", "RL")),
        ),
        Rule(
            "Old exams in the evening",
            ArrivalEnd.OFF_PEAK,
            "",
            Conditions(hours_from=24, time_from=17 * 60, time_until=7 * 60),
        ),
        Rule("Hands and feet", ArrivalEnd.KEEP_OUT, "No chest", Conditions(body_parts=("HAND",))),
    )
    with site.core.sessions() as session:
        admin = sessions.actor_of(session.get_one(User, site.people[Role.ADMIN].id))
        for version, rule in enumerate(rules):
            found = changes.store(session, admin, team_id, rule, version, now)
        last = found.rules[-1].rule
        assert last is not None
        changes.switch(session, admin, team_id, last, len(rules), now, on=False)
    return team_id


def add_skipped(site: BrowserPortal) -> UUID:
    """A case of one picture that a rule keeps without analysis."""
    study_id = site.submit(phantom.dicom(draw(140), view="LL", patient_name="PHANTOM^LATERAL"))
    site.render(study_id)
    return study_id
