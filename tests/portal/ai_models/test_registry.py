"""The registry: what may be promoted, what a job gets, and that old results never change."""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.ai_models import cards, comparison, known_models, registry
from portal.audit import verification
from portal.errors import Conflict, Invalid
from portal.jobs import claims, tickets
from portal.jobs.errors import BadResult
from portal.models import AuditEvent, Instance, ModelState, ModelVersion, OperatingPoint, Prediction
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.jobs import SHA256, prediction_of, segmented
from tests.support.wait import only_on_postgresql, stopped_once, until_it_waits

OTHER = "cd" * 32


def card(sha256: str = SHA256, **changes: Any) -> dict[str, Any]:
    """A card that may be promoted."""
    image = {"high_sensitivity": 0.05, "balanced": 0.2, "high_precision": 0.7}
    return {
        "name": "net",
        "version": "1",
        "sha256": sha256,
        "thresholds": {"mask": 0.3, "area_px_min": 40, "image": image},
        "calibration": {"temperature": 1.4, "bias": 0.0, "ece": 0.04},
        "metrics": {"auc": {"value": 0.9, "low": 0.85, "high": 0.94, "n": 300}},
        "limits": ["A limit."],
        "files": {"model.xml": "ef" * 32},
        **changes,
    }


def add(clinic: Clinic, *args: Any, **changes: Any) -> UUID:
    with clinic.session as session:
        return registry.add(session, card(*args, **changes), source="folder", now=NOW).id


def promote(clinic: Clinic, model_id: UUID, point: str = "balanced") -> None:
    with clinic.session as session:
        registry.promote(session, clinic.admin, model_id, NOW, point=OperatingPoint(point))


def states(clinic: Clinic) -> dict[str, str]:
    with clinic.session as session:
        return {row.sha256[:2]: row.state.value for row in session.scalars(select(ModelVersion))}


def claimed(clinic: Clinic, job_id: UUID) -> dict[str, Any]:
    with clinic.session as session:
        found = claims.claim(session, clinic.core.settings, clinic.vault, job_id, "w", NOW)
    assert found is not None
    return found.claim.as_json()


def ticket(clinic: Clinic, claim: dict[str, Any], job_id: UUID) -> tickets.Ticket:
    return claims.open_ticket(clinic.core.settings, claim["ticket"], job_id)


def test_without_an_active_model_a_worker_chooses(clinic: Clinic) -> None:
    job_id = clinic.render(clinic.submit().study_id)
    assert claimed(clinic, job_id)["model"] is None


def test_a_segment_job_gets_model_and_operating_point_a_render_job_none(clinic: Clinic) -> None:
    promote(clinic, add(clinic), "high_precision")
    study_id = clinic.submit().study_id
    assert claimed(clinic, clinic.job(study_id).id)["model"] is None
    model = claimed(clinic, clinic.render(clinic.submit(PatientID="2").study_id))["model"]
    assert model == {
        "name": "net",
        "version": "1",
        "sha256": SHA256,
        "operating_point": "high_precision",
        "source": "folder",
        "archive_sha256": "",
        "files": {"model.xml": "ef" * 32},
    }


@pytest.mark.parametrize(
    "answer",
    [
        {"model": {"name": "net", "version": "1", "sha256": OTHER}},
        {"operating_point": "high_sensitivity"},
    ],
)
def test_a_result_of_another_model_or_point_is_refused(
    clinic: Clinic, answer: dict[str, Any]
) -> None:
    promote(clinic, add(clinic))
    job_id = clinic.render(clinic.submit().study_id)
    attempt = ticket(clinic, claimed(clinic, job_id), job_id)
    clinic.store(attempt, **segmented())
    reported = {"operating_point": "balanced", **answer}
    with pytest.raises(BadResult, match="another model"):
        clinic.finish(attempt, {"prediction": prediction_of(**reported)})
    clinic.finish(attempt, {"prediction": prediction_of(operating_point="balanced")})


@pytest.mark.parametrize(
    ("probability", "band"),
    [
        (0.99, "none_found"),
        (0.99, "possible"),
        (0.3, "likely"),
        (0.3, "none_found"),
        (0.1, "likely"),
    ],
)
def test_a_band_that_does_not_follow_from_the_probability_is_refused(
    clinic: Clinic, probability: float, band: str
) -> None:
    promote(clinic, add(clinic))
    job_id = clinic.render(clinic.submit().study_id)
    attempt = ticket(clinic, claimed(clinic, job_id), job_id)
    clinic.store(attempt, **segmented())
    with pytest.raises(BadResult, match="the band"):
        clinic.finish(attempt, {"prediction": prediction_of(probability=probability, band=band)})


@pytest.mark.parametrize(
    ("probability", "point", "bands"),
    [
        (0.91, "balanced", {"likely"}),
        (0.3, "balanced", {"possible"}),
        (0.1, "balanced", {"none_found"}),
        (0.1, "high_sensitivity", {"possible"}),
        (0.3, "high_precision", {"none_found"}),
        (0.2, "balanced", {"none_found", "possible"}),  # rounded: it may have been 0.19996
        (0.3, "another", None),
    ],
)
def test_the_card_decides_the_band_of_a_probability(
    clinic: Clinic, probability: float, point: str, bands: set[str] | None
) -> None:
    add(clinic)
    with clinic.session as session:
        assert cards.bands_of(session, SHA256, point, probability) == bands
        assert cards.bands_of(session, OTHER, point, probability) is None


def test_a_promotion_in_the_middle_of_a_job_does_not_lose_it(clinic: Clinic) -> None:
    promote(clinic, add(clinic))
    job_id = clinic.render(clinic.submit().study_id)
    attempt = ticket(clinic, claimed(clinic, job_id), job_id)
    promote(clinic, add(clinic, OTHER, version="2"))
    clinic.store(attempt, **segmented())
    clinic.finish(attempt, {"prediction": prediction_of(operating_point="balanced")})
    with clinic.session as session:
        assert session.scalars(select(Prediction)).one().model.sha256 == SHA256


def test_one_model_is_active_at_a_time_and_rolling_back_restores_the_last_one(
    clinic: Clinic,
) -> None:
    first, second = add(clinic), add(clinic, OTHER, version="2")
    promote(clinic, first, "high_sensitivity")
    assert states(clinic) == {"ab": "active", "cd": "candidate"}
    promote(clinic, second)
    assert states(clinic) == {"ab": "retired", "cd": "active"}
    with clinic.session as session:
        back = registry.roll_back(session, clinic.admin, NOW)
        assert back.id == first
        assert back.operating_point is OperatingPoint.HIGH_SENSITIVITY
    assert states(clinic) == {"ab": "active", "cd": "retired"}


def test_there_is_nothing_to_roll_back_to_at_first(clinic: Clinic) -> None:
    promote(clinic, add(clinic))
    with clinic.session as session, pytest.raises(Conflict, match=r"^no_previous:"):
        registry.roll_back(session, clinic.admin, NOW)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"thresholds": {"mask": 0.3, "image": {"balanced": 0.2}}}, "thresholds"),
        ({"thresholds": {}}, "thresholds"),
        ({"calibration": {"temperature": 1.0, "bias": 0.0}}, "calibration"),
        ({"calibration": None}, "calibration"),
        (
            {
                "thresholds": {
                    "mask": 0.3,
                    "image": {"high_sensitivity": 0.5, "balanced": 0.2, "high_precision": 0.7},
                }
            },
            "order",
        ),
    ],
)
def test_a_model_without_thresholds_and_calibration_of_its_own_is_not_promoted(
    clinic: Clinic, changes: dict[str, Any], sentence: str
) -> None:
    model_id = add(clinic, **changes)
    with clinic.session as session:
        with pytest.raises(Conflict) as refused:
            registry.promote(session, clinic.admin, model_id, NOW)
        assert sentence in refused.value.message
    assert states(clinic) == {"ab": "candidate"}


def test_a_model_that_has_spoken_here_has_no_card_and_gets_it_by_adding(clinic: Clinic) -> None:
    clinic.done(model={"name": "net", "version": "1", "sha256": SHA256})
    with clinic.session as session:
        (view,) = known_models.models(session, clinic.admin)
    assert view.predictions == 1
    assert view.card is None
    assert view.problems == ["Its card is not known here."]
    model_id = add(clinic)
    assert model_id == view.model_id
    promote(clinic, model_id)


def test_another_card_of_the_same_model_is_refused(clinic: Clinic) -> None:
    add(clinic)
    add(clinic)  # the same once more changes nothing
    with clinic.session as session, pytest.raises(Invalid, match="own version"):
        registry.add(session, card(limits=["Another."]), source="folder", now=NOW)


@pytest.mark.parametrize("bad", [[], {"name": "x"}, card(sha256="no"), card(name="")])
def test_a_card_that_names_no_model_is_refused(clinic: Clinic, bad: Any) -> None:
    with clinic.session as session, pytest.raises(Invalid):
        registry.add(session, bad, source="folder", now=NOW)


@pytest.mark.parametrize("number", [10**400, -(10**15), 1e300, math.inf, math.nan])
def test_a_card_with_a_number_of_hundreds_of_digits_is_refused_with_the_reason(
    clinic: Clinic, number: float
) -> None:
    for odd in (
        {"metrics": {"auc": {"value": 0.9, "n": number}}},
        {"trained": {"begun_with": [{"pictures": number}]}},
    ):
        with clinic.session as session, pytest.raises(Invalid, match="more than 15 digits"):
            registry.add(session, card(**odd), source="folder", now=NOW)
    assert states(clinic) == {}


def test_a_card_of_lists_in_lists_is_refused(clinic: Clinic) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with clinic.session as session, pytest.raises(Invalid, match="512 KB"):
        registry.add(session, card(limits=deep), source="folder", now=NOW)


def test_numbers_of_a_card_from_before_that_cannot_be_used_are_none(clinic: Clinic) -> None:
    model_id = add(clinic)
    with clinic.session as session:
        row = session.get_one(ModelVersion, model_id)
        row.card = card(calibration={"temperature": 10**400, "ece": 0.04})
        assert list(cards.problems_of(row.card)) == [
            "Its card lacks a calibration that was measured."
        ]
        huge = {"auc": {"value": 10**400, "low": 10**400, "high": 1}}
        assert comparison.worse(card(), card(metrics=huge)) == []


def test_old_predictions_keep_their_model_and_point(clinic: Clinic) -> None:
    promote(clinic, add(clinic))
    study_id = clinic.done(operating_point="balanced")
    with clinic.session as session:
        before = vars(session.scalars(select(Prediction)).one()).copy()
        assert session.get_one(Instance, before["instance_id"]).study_id == study_id
    second = add(clinic, OTHER, version="2")
    promote(clinic, second, "high_sensitivity")
    with clinic.session as session:
        registry.choose_point(session, clinic.admin, second, OperatingPoint.HIGH_PRECISION, NOW)
        after = vars(session.scalars(select(Prediction)).one())
    unchanged = ("instance_id", "model_id", "operating_point", "threshold", "probability", "band")
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}


def test_only_the_active_model_has_a_point_to_choose(clinic: Clinic) -> None:
    model_id = add(clinic)
    with clinic.session as session, pytest.raises(Conflict, match=r"^not_active:"):
        registry.choose_point(session, clinic.admin, model_id, OperatingPoint.BALANCED, NOW)


def test_nobody_but_an_admin_may(clinic: Clinic) -> None:
    model_id = add(clinic)
    for actor in (clinic.owner, clinic.mate, clinic.auditor):
        with clinic.session as session:
            for act in (
                lambda session=session, a=actor: known_models.models(session, a),
                lambda session=session, a=actor: registry.promote(session, a, model_id, NOW),
                lambda session=session, a=actor: registry.roll_back(session, a, NOW),
            ):
                with pytest.raises(Denied):
                    act()
    assert states(clinic) == {"ab": ModelState.CANDIDATE.value}


def test_every_change_is_in_the_access_log(clinic: Clinic) -> None:
    first, second = add(clinic), add(clinic, OTHER, version="2")
    promote(clinic, first)
    promote(clinic, second)
    with clinic.session as session:
        registry.roll_back(session, clinic.admin, NOW)
        registry.choose_point(session, clinic.admin, first, OperatingPoint.HIGH_PRECISION, NOW)
        events = session.execute(
            select(AuditEvent.event, AuditEvent.actor_id)
            .where(AuditEvent.subject_id.in_([first, second]))
            .order_by(AuditEvent.seq)
        ).all()
    admin = clinic.admin.user_id
    assert [tuple(event) for event in events] == [
        ("model_added", None),
        ("model_added", None),
        ("model_promoted", admin),
        ("model_promoted", admin),
        ("model_rolled_back", admin),
        ("operating_point_chosen", admin),
    ]


# Several at once


def act_beside(
    clinic: Clinic, words: str, first: Callable[[], Any], other: Callable[[], Any]
) -> Any:
    """Do the other after a statement of the first; returns what became of the other."""
    only_on_postgresql(clinic.core.engine)
    running = list[Future[Any]]()
    with ThreadPoolExecutor(1) as pool:

        def begin() -> None:
            running.append(pool.submit(other))
            until_it_waits(clinic.core.engine, running[0])

        with stopped_once(clinic.core.engine, words, begin):
            first()
        return running[0].result(60)


READ_ACTIVE = "model_versions.state = "


@pytest.mark.parametrize("with_an_active_one", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_promotions_at_once_the_later_retires_the_earlier(
    clinic: Clinic, with_an_active_one: bool, swapped: bool
) -> None:
    one, two = add(clinic), add(clinic, OTHER)
    if with_an_active_one:
        promote(clinic, add(clinic, "ef" * 32))
    one, two = (two, one) if swapped else (one, two)
    act_beside(clinic, READ_ACTIVE, lambda: promote(clinic, one), lambda: promote(clinic, two))
    with clinic.session as session:
        assert session.get_one(ModelVersion, two).state is ModelState.ACTIVE
        assert session.get_one(ModelVersion, one).state is ModelState.RETIRED
        assert verification.verify(session).first_bad is None


def test_a_point_chosen_during_a_promotion_does_not_break_the_log(clinic: Clinic) -> None:
    one, two = add(clinic), add(clinic, OTHER)
    promote(clinic, one)

    def choose() -> str:
        with clinic.session as session:
            point = OperatingPoint.HIGH_SENSITIVITY
            try:
                registry.choose_point(session, clinic.admin, one, point, NOW)
            except Conflict as conflict:
                return conflict.code
            return "chosen"

    found = act_beside(clinic, READ_ACTIVE, lambda: promote(clinic, two), choose)
    with clinic.session as session:
        assert verification.verify(session).problem == ""
    assert found == "not_active"


def test_a_model_that_is_added_twice_at_once_is_one(clinic: Clinic) -> None:
    looked = "model_versions.sha256 = "
    assert act_beside(clinic, looked, lambda: add(clinic), lambda: add(clinic)) is not None
    assert states(clinic) == {SHA256[:2]: "candidate"}


def test_of_two_cards_of_one_model_added_at_once_the_later_is_refused(clinic: Clinic) -> None:
    def add_other() -> str:
        try:
            add(clinic, limits=["Another limit."])
        except Invalid as bad:
            return bad.code
        return "added"

    with clinic.session as session:  # known from a prediction, without a card
        names = {key: card()[key] for key in ("name", "version", "sha256")}
        session.add(ModelVersion(id=uuid4(), created=NOW, **names))
        session.commit()
    looked = "model_versions.sha256 = "
    assert act_beside(clinic, looked, lambda: add(clinic), add_other) == "card"


def test_the_shipped_model_does_not_replace_one_that_was_chosen_meanwhile(clinic: Clinic) -> None:
    chosen, shipped = add(clinic), add(clinic, OTHER)
    promote(clinic, chosen)
    with clinic.session as session, pytest.raises(Conflict) as conflict:
        registry.promote(session, None, shipped, NOW, only_if=lambda before: before is None)
    assert conflict.value.code == "changed"
    assert states(clinic) == {SHA256[:2]: "active", OTHER[:2]: "candidate"}


WORSE = {"metrics": {"auc": {"value": 0.8, "low": 0.7, "high": 0.9}}}


def test_a_worse_model_is_promoted_only_with_a_reason_which_is_kept_and_bound(
    clinic: Clinic,
) -> None:
    first, worse = add(clinic), add(clinic, OTHER, **WORSE)
    promote(clinic, first)
    with clinic.session as session, pytest.raises(Conflict, match=r"0\.800 is below") as refused:
        registry.promote(session, clinic.admin, worse, NOW)
    assert refused.value.code == "worse_than_active"
    assert states(clinic) == {"ab": "active", "cd": "candidate"}
    for reason in ("short", "x" * 501):
        with clinic.session as session, pytest.raises(Invalid, match="override_reason"):
            registry.promote(session, clinic.admin, worse, NOW, override=reason)
    reason = "Measured on harder films, agreed on in the meeting."
    with clinic.session as session:
        registry.promote(session, clinic.admin, worse, NOW, override=f" {reason}\n")
    with clinic.session as session:
        shown = {view.sha256: view for view in known_models.models(session, clinic.admin)}
        assert shown[OTHER].override_reason == reason
        assert shown[OTHER].worse == []
        event = session.scalars(select(AuditEvent).order_by(AuditEvent.seq.desc())).first()
        assert event is not None
        assert '"worse_in":["auc"]' in event.detail
        assert reason not in event.detail
        assert verification.verify(session).problem == ""


def test_going_back_to_a_worse_model_needs_no_reason(clinic: Clinic) -> None:
    worse, better = add(clinic, OTHER, **WORSE), add(clinic)
    promote(clinic, worse)
    promote(clinic, better)
    with clinic.session as session:
        assert registry.roll_back(session, clinic.admin, NOW).id == worse
        assert verification.verify(session).problem == ""
    # The same model at another operating point is not compared with itself.
    promote(clinic, worse, "high_precision")
    with clinic.session as session:
        assert session.get_one(ModelVersion, worse).override_reason is None


def test_a_reason_that_is_not_needed_is_not_kept(clinic: Clinic) -> None:
    model_id = add(clinic)
    with clinic.session as session:
        registry.promote(session, clinic.admin, model_id, NOW, override="There is no other one.")
        assert session.get_one(ModelVersion, model_id).override_reason is None
