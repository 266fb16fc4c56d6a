"""Signing: what a signature names, what it needs, and what leaves it as it was."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from portal.access import Denied
from portal.accounts.sessions import actor_of
from portal.audit import verification
from portal.errors import Conflict, Invalid
from portal.governance import purges
from portal.models import (
    Addendum,
    AuditEvent,
    ProofMethod,
    PurgeReason,
    Review,
    Role,
    Signature,
    Study,
    VerdictState,
)
from portal.operations import integrity
from portal.reading import case, reviews, signing
from portal.reading.case_records import StudyView
from portal.reading.signatures import records
from portal.reading.signing import Proof, Signed
from portal.studies import status
from portal.studies.verdicts import Standing
from portal.vault import NotReadable
from tests.support.audit_log import link
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.hostile_files.damage import flipped
from tests.support.outlines.pages import Page, drawn
from tests.support.people import add_person
from tests.support.second_reads.readers import ask, second_read

PROOF = Proof(ProofMethod.PASSWORD_CODE, NOW)
UID = {"StudyInstanceUID": "1.2.3.9"}


def opened(clinic: Clinic, study_id: UUID) -> StudyView:
    with clinic.session as session:
        return case.open_study(session, clinic.vault, clinic.mate, study_id, NOW)


def page(clinic: Clinic, study_id: UUID) -> dict[str, str]:
    """What an opened page names as shown."""
    view = opened(clinic, study_id)
    return {"shown": view.shown, "after": view.reviews[-1].review_id.hex if view.reviews else ""}


def sign(clinic: Clinic, study_id: UUID, actor: Any = None, **values: Any) -> Signed:
    values = {"finding": "right", "proof": PROOF, "now": after(minutes=1)} | values
    if "shown" not in values:
        values |= page(clinic, study_id)
    with clinic.session as session:
        return signing.sign(session, clinic.vault, actor or clinic.mate, study_id, **values)


def add(clinic: Clinic, study_id: UUID, text: str, **values: Any) -> Addendum:
    values = {"proof": PROOF, "now": after(minutes=2)} | values
    with clinic.session as session:
        return signing.add_addendum(
            session, clinic.vault, values.pop("actor", clinic.mate), study_id, text, **values
        )


def state_of(clinic: Clinic, study_id: UUID) -> Standing:
    with clinic.session as session:
        return signing.state_of(session, study_id)


def count(clinic: Clinic, table: Any) -> int:
    with clinic.session as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def another_reader(clinic: Clinic) -> Any:
    with clinic.session as session:
        user = add_person(session, Role.READER, "other@example.org", name="Test other", team="Here")
        session.commit()
        return actor_of(user, uuid4())


def test_the_states_follow_each_other_each_with_author_and_time(clinic: Clinic) -> None:
    study_id = clinic.done()
    assert state_of(clinic, study_id) == Standing()
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, study_id, finding="none", now=NOW)
    found = state_of(clinic, study_id)
    assert (found.state, found.author, found.at) == ("preliminary", "Test mate", NOW)
    first = sign(clinic, study_id)
    found = state_of(clinic, study_id)
    assert (found.state, found.at, found.finding) == ("final", after(minutes=1), "right")
    assert found.signature_id == first.signature.id
    other = another_reader(clinic)
    second = sign(clinic, study_id, other, finding="left", now=after(minutes=3))
    assert second.signature.before_id == first.signature.id
    found = state_of(clinic, study_id)
    assert (found.state, found.author, found.finding) == ("amended", "Test other", "left")
    assert count(clinic, Review) == 3


def test_a_later_review_without_a_signature_leaves_the_signed_verdict(clinic: Clinic) -> None:
    study_id = clinic.done()
    sign(clinic, study_id)
    with clinic.session as session:
        reviews.add_review(
            *(session, clinic.vault, clinic.mate, study_id), finding="none", now=after(minutes=5)
        )
    found = state_of(clinic, study_id)
    assert (found.state, found.finding, found.is_newest) == ("final", "right", False)
    with clinic.session as session:
        state = status.of_studies(session, [study_id])[study_id]
    assert (state.finding, state.standing) == ("right", found)


def test_a_signature_names_what_lay_before_the_reader(clinic: Clinic) -> None:
    study_id = clinic.done()
    editor = Page(clinic, study_id, clinic.mate)
    editor.begin()
    outline = editor.save(drawn((0, 4))).outline
    assert outline is not None
    signed = sign(clinic, study_id, comment="seen")
    named = signed.signature.hashes
    picture = editor.picture.hex
    assert {name.split("/")[0] for name in named} == {
        *("reviews", "predictions", "outlines", "pixels", "mask", "probability")
    }
    assert f"reviews/{signed.saved.review.id.hex}" in named
    assert f"outlines/{outline.id.hex}" in named
    assert f"pixels/{picture}" in named
    assert all(len(value) == 64 for value in named.values())
    assert (signed.signature.proof, signed.signature.proved_at) == ("password_code", NOW)


def test_a_review_that_is_there_is_signed_and_no_second_one_made(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        saved = reviews.add_review(
            *(session, clinic.vault, clinic.mate, study_id), finding="right", now=NOW
        )
    signed = sign(clinic, study_id)
    assert signed.signature.review_id == saved.review.id
    assert count(clinic, Review) == 1
    with clinic.session as session:
        events = session.scalars(select(AuditEvent.event)).all()
    assert (events.count("review_added"), events.count("exam_signed")) == (1, 1)


def test_nobody_signs_the_review_of_another_reader(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, study_id, finding="right", now=NOW)
    signed = sign(clinic, study_id, another_reader(clinic))
    assert signed.saved.is_new
    assert signed.saved.review.reader_id == signed.signature.signer_id != clinic.mate.user_id


@pytest.mark.parametrize(
    ("proof", "is_signed"),
    [
        (None, False),
        (Proof(ProofMethod.PASSWORD_CODE, NOW - timedelta(minutes=60)), False),
        (Proof(ProofMethod.PASSWORD_CODE, NOW + timedelta(minutes=2)), False),  # a clock put back
        (Proof(ProofMethod.PASSWORD_PASSKEY, NOW - timedelta(minutes=58)), True),
    ],
)
def test_a_signature_needs_a_fresh_proof_of_identity(
    clinic: Clinic, proof: Proof | None, is_signed: bool
) -> None:
    study_id = clinic.done()
    if is_signed:
        assert sign(clinic, study_id, proof=proof).is_new
    else:
        with pytest.raises(signing.NotProved):
            sign(clinic, study_id, proof=proof)
    assert count(clinic, Signature) == count(clinic, Review) == is_signed


@pytest.mark.parametrize("person", ["owner", "outsider", "colleague", "admin", "auditor"])
def test_only_a_reader_of_the_team_signs(clinic: Clinic, person: str) -> None:
    study_id = clinic.done()
    with pytest.raises(Denied):
        sign(clinic, study_id, getattr(clinic, person))
    with pytest.raises(Denied):
        add(clinic, study_id, "text", actor=getattr(clinic, person))
    assert count(clinic, Signature) == 0


def test_a_program_signs_nothing(clinic: Clinic) -> None:
    study_id = clinic.done()
    with pytest.raises(Denied):
        sign(clinic, study_id, replace(clinic.mate, via="token"))


def test_a_signature_that_is_sent_again_signs_once(clinic: Clinic) -> None:
    study_id, own = clinic.done(), uuid4()
    shown = page(clinic, study_id)
    first = sign(clinic, study_id, **shown, signature_id=own)
    again = sign(clinic, study_id, **shown, signature_id=own, proof=None)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.signature.id == first.signature.id == own
    assert sign(clinic, study_id).is_new is False  # the same once more, from another page
    assert count(clinic, Signature) == 1
    with pytest.raises(Denied):
        sign(clinic, clinic.done(), signature_id=own)


def test_what_has_changed_is_named_and_nothing_is_signed(clinic: Clinic) -> None:
    study_id = clinic.submit(**UID, SOPInstanceUID="1.2.3.9.1").study_id
    segment = clinic.render(study_id)
    shown = page(clinic, study_id)

    def refused() -> tuple[list[str], str]:
        with pytest.raises(signing.Changed) as changed:
            sign(clinic, study_id, **shown)
        shown.update(page(clinic, study_id))
        return changed.value.parts, changed.value.message

    clinic.segment(segment)
    assert refused()[0] == ["result"]
    editor = Page(clinic, study_id, clinic.mate)
    editor.begin()
    editor.save(drawn((0, 4)))
    assert refused()[0] == ["outline"]
    with clinic.session as session:
        other = another_reader(clinic)
        reviews.add_review(session, clinic.vault, other, study_id, finding="left", now=NOW)
    parts, message = refused()
    assert parts == ["review"]
    assert "another version of the reading was saved by Test other" in message
    clinic.submit(**UID, SOPInstanceUID="1.2.3.9.2")
    parts, message = refused()
    assert parts == ["picture"]
    assert "since you opened this case, a picture was added. Look at it" in message
    assert sign(clinic, study_id, **shown).is_new
    with pytest.raises(signing.Changed):
        sign(clinic, study_id, shown="anything", after="", finding="left")
    assert count(clinic, Signature) == 1


def test_a_late_picture_opens_the_exam_again_and_leaves_the_verdict(clinic: Clinic) -> None:
    study_id = clinic.submit(**UID, SOPInstanceUID="1.2.3.9.1").study_id
    clinic.segment(clinic.render(study_id))
    sign(clinic, study_id)
    before = state_of(clinic, study_id)
    clinic.submit(**UID, SOPInstanceUID="1.2.3.9.2", now=after(minutes=9))
    with clinic.session as session:
        assert not session.get_one(Study, study_id).is_read
        state = status.of_studies(session, [study_id])[study_id]
    assert (state.new_pictures, state.standing) == (1, before)
    sign(clinic, study_id, now=after(minutes=10))
    with clinic.session as session:
        assert session.get_one(Study, study_id).is_read
        state = status.of_studies(session, [study_id])[study_id]
    assert (state.new_pictures, state.standing.state) == (0, VerdictState.AMENDED)


def test_where_two_readers_differ_neither_amends_what_the_other_has_signed(clinic: Clinic) -> None:
    """Else two keys of habit would end a pneumothorax that the second reader has not looked at."""
    second, study_id = another_reader(clinic), clinic.done()
    with clinic.session as session:
        user = add_person(session, Role.READER, "third@example.org", name="Third", team="Here")
        session.commit()
        third = actor_of(user, uuid4())
    sign(clinic, study_id)
    ask(clinic, clinic.mate, study_id)

    def shown(actor: Any) -> dict[str, str]:
        with clinic.session as session:
            view = case.open_study(session, clinic.vault, actor, study_id, NOW)
        newest = view.reviews[-1].review_id.hex if view.reviews else ""
        return {"shown": view.shown, "after": newest}

    for minute in (5, 6):  # blind, and with both findings before them
        given = {"finding": "none", "now": after(minutes=minute)} | shown(second)
        with pytest.raises(Conflict, match="Test mate has signed") as refused:
            sign(clinic, study_id, second, **given)
        assert refused.value.code == "third_decides"
    row = second_read(clinic, study_id)
    assert (row.second_review_id is not None, row.ended) == (True, None)
    assert count(clinic, Review) == 2
    standing = state_of(clinic, study_id)
    assert (standing.state, standing.finding) == (VerdictState.FINAL, "right")
    sign(clinic, study_id, comment="Looked again.", now=after(minutes=7))  # one's own
    sign(clinic, study_id, third, finding="none", now=after(minutes=8), **shown(third))
    standing = state_of(clinic, study_id)
    assert (standing.state, standing.finding) == (VerdictState.AMENDED, "none")
    sign(clinic, study_id, second, finding="right", now=after(minutes=9), **shown(second))
    assert state_of(clinic, study_id).finding == "right"  # it was decided: as any reader's
    with clinic.session as session:
        assert verification.verify(session).is_whole


def test_addenda_leave_what_was_signed(clinic: Clinic) -> None:
    study_id, own = clinic.done(), uuid4()
    with pytest.raises(Conflict) as conflict:
        add(clinic, study_id, "early")
    assert conflict.value.code == "not_signed"
    signed = sign(clinic, study_id, comment="first").signature
    before = state_of(clinic, study_id)
    with pytest.raises(signing.NotProved):
        add(clinic, study_id, "one", proof=None)
    for _ in range(2):  # sent twice
        row = add(clinic, study_id, "told\r\nby phone", addendum_id=own)
    assert row.signature_id == signed.id
    assert b"phone" not in row.sealed_text
    for bad in ("", " \n", "x" * 2001):
        with pytest.raises(Invalid):
            add(clinic, study_id, bad)
    assert state_of(clinic, study_id) == before
    view = opened(clinic, study_id)
    assert [(one.text, one.author) for one in view.addenda] == [("told\nby phone", "Test mate")]
    assert [one.signature_id for one in view.signatures] == [signed.id]


def test_the_id_of_an_addendum_is_of_one_exam_and_one_author(clinic: Clinic) -> None:
    one, other = clinic.done(), clinic.done()
    for study_id in (one, other):
        sign(clinic, study_id)
    named = uuid4()
    assert add(clinic, one, "Once.", addendum_id=named).id == named
    assert add(clinic, one, "Once.", addendum_id=named).id == named
    for study_id, actor in ((other, clinic.mate), (one, another_reader(clinic))):
        with pytest.raises(Denied):
            add(clinic, study_id, "Elsewhere.", addendum_id=named, actor=actor)
    assert count(clinic, Addendum) == 1


def test_signatures_and_addenda_are_bound_and_only_added(clinic: Clinic) -> None:
    study_id = clinic.done()
    sign(clinic, study_id)
    add(clinic, study_id, "one")
    link(clinic.core)
    with clinic.session as session:
        assert verification.verify(session).findings == []
        assert integrity.sample(session, clinic.vault, 9).findings == []
    for statement in (
        "UPDATE signatures SET proof = 'sso_code'",
        "DELETE FROM signatures",
        "UPDATE addenda SET author_id = author_id",
        "DELETE FROM addenda",
    ):
        with clinic.session as session, pytest.raises(DBAPIError, match="append-only"):
            session.execute(text(statement))


def test_a_damaged_addendum_is_found(clinic: Clinic) -> None:
    study_id = clinic.done()
    sign(clinic, study_id)
    add(clinic, study_id, "one")
    with clinic.session as session:
        if clinic.core.engine.dialect.name == "sqlite":
            session.execute(text("DROP TRIGGER addenda_update"))
        else:
            session.execute(text("ALTER TABLE addenda DISABLE TRIGGER USER"))
        row = session.scalars(select(Addendum)).one()
        row.sealed_text = flipped(row.sealed_text)
        session.commit()
    with clinic.session as session:
        found = integrity.sample(session, clinic.vault, 9).findings
    assert [(one.problem, one.what) for one in found] == [("damaged", "addenda.sealed_text")]


def test_a_purge_leaves_the_signature_and_no_word(clinic: Clinic) -> None:
    study_id = clinic.done()
    sign(clinic, study_id, comment="word")
    add(clinic, study_id, "word")
    with clinic.session as session:
        purges.purge(
            *(session, clinic.vault, clinic.admin, study_id, NOW), reason=PurgeReason.TEST_DATA
        )
    with clinic.session as session:
        assert session.scalars(select(Signature)).one().study_id == study_id
        with pytest.raises(NotReadable):
            records.addenda_of(session, clinic.vault, study_id)
    with pytest.raises(Denied):
        sign(clinic, study_id, shown="", after="")
