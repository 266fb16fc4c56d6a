"""Signing an exam: a reader's verdict with what lay before them, after a fresh proof of identity.

A signature is a row of its own and never changes; another one amends it. `state_of` is the verdict
that stands. Addenda are texts on a signed exam, which they leave as it is.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.audit import bindings
from portal.errors import Conflict, Invalid
from portal.formats.display_text import clean_lines
from portal.languages import _, lazy
from portal.models import (
    Addendum,
    Base,
    Blob,
    BlobKind,
    Instance,
    Outline,
    Prediction,
    ProofMethod,
    Review,
    Signature,
    Study,
    User,
)
from portal.reading import reviews
from portal.reading.case import load
from portal.reading.reviews import Saved
from portal.reading.served_files import OF_AI
from portal.reading.signatures import beside_then, records, view
from portal.studies import exams, reader_outlines, sealed_fields, status, verdicts, worklist_order
from portal.studies.second_reads import progress
from portal.studies.verdicts import Standing
from portal.teams import ai_visibility
from portal.teams.settings import settings_of
from portal.vault import Vault

ADDENDUM_LENGTH: Final = 2000
_SIGNED_FILES: Final = (BlobKind.PIXELS, BlobKind.MASK, BlobKind.PROBABILITY)
_CHANGED: Final = {
    "picture": lazy("a picture was added"),
    "result": lazy("the AI result has changed"),
    "outline": lazy("an outline was saved"),
    "review": lazy("another version of the reading was saved"),
}
_OWN_FIRST: Final = lazy(
    "A colleague has signed this case. State your own finding first, with its key: then you see "
    "theirs, and can sign."
)


@dataclass(frozen=True, slots=True)
class Proof:
    """How and when a person last showed who they are."""

    method: ProofMethod
    at: datetime


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature with its review. `is_new` is false where both were there already."""

    signature: Signature
    saved: Saved
    is_new: bool


class NotProved(Exception):
    """The signature needs a fresh proof of identity first."""


class Changed(Conflict):
    """The exam is not as it was shown: `parts` have changed, of `records.PARTS` and `review`."""

    def __init__(self, parts: list[str], newest: str = "") -> None:
        texts = [str(_CHANGED[part]) for part in parts]
        if newest and "review" in parts:
            texts[-1] = _("another version of the reading was saved by %(reader)s", reader=newest)
        *before, found = texts
        if before:
            found = _("%(first)s and %(last)s", first=", ".join(before), last=found)
        super().__init__(
            "changed",
            _(
                "Not signed: since you opened this case, %(changes)s. Look at it, then sign again; "
                "what you wrote is still here.",
                changes=found,
            ),
        )
        self.parts = parts


def is_proved(session: Session, actor: Actor, proof: Proof | None, now: datetime) -> bool:
    """Whether the actor may sign without another proof of identity."""
    lasts = timedelta(minutes=settings_of(session, actor.team_id).signing_minutes)
    return proof is not None and timedelta() <= now - proof.at < lasts


def state_of(session: Session, study_id: UUID) -> Standing:
    """The verdict that stands on an exam: AI only, preliminary, final or amended, with its author
    and time. The caller has checked that the exam may be seen.
    """
    return verdicts.standings(session, [study_id]).get(study_id, verdicts.NOT_READ)


def sign(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    *,
    finding: str,
    size: str | None = None,
    reason: str | None = None,
    comment: str = "",
    shown: str,
    after: str,
    proof: Proof | None,
    seen_view: Any = None,
    signature_id: UUID | None = None,
    critical: bool | None = None,
    screen_check: UUID | None = None,
    now: datetime,
) -> Signed:
    """State a finding and sign it, in one transaction: a new review, unless the newest one is the
    actor's own and the same, and its signature. A signature that stood until then is amended.

    `shown`: what the page showed (`records.shown_of`), `after`: with the id of which newest review,
    "" for none; `seen_view`: how (`view.checked`); `proof`: the signer's last proof of identity.
    `signature_id`: the page's own id for it, so that a request that is sent again signs once.
    `screen_check`: the signer's last check of the screen in use.
    Raises NotProved, Changed with what has changed, Conflict where a colleague's signature is there
    that the actor does not see yet, and as `reviews.add_review`. What was signed already, and is
    the same, stays as it is. Where two readers differ, neither amends what the other has signed:
    their finding is stored, and Conflict `third_decides` is raised.
    """
    actor.require(Permission.REVIEW_WRITE)
    if actor.via != "session":
        raise Denied("signature")  # a program proves no person's identity
    study = load(session, actor, study_id)
    if (done := _known(session, vault, actor, study, signature_id)) is not None:
        return done
    if not is_proved(session, actor, proof, now):
        session.commit()
        raise NotProved
    assert proof is not None
    kept_view = view.checked(seen_view, [row.id for row in _pictures(session, study.id)])
    beside = beside_then.of_view(session, actor, study, kept_view)
    files = dict[UUID, str]()
    while True:
        # Files are read while nothing is locked.
        for blob in _files(session, actor, study, beside):
            if blob.id not in files:
                session.commit()
                files[blob.id] = hashlib.sha256(vault.sealed_file(blob.name)).hexdigest()
        study = reviews.load_to_review(session, actor, study_id)
        blobs = _files(session, actor, study, beside)
        if all(blob.id in files for blob in blobs):
            break
        session.rollback()
    _check_shown(session, actor, study, shown, after)
    saved = reviews.state_finding(
        *(session, vault, actor, study, (finding, size, reason), comment, now),
        critical=critical,
        screen_check=screen_check,
    )
    before = _newest(session, study.id)
    is_others = before is not None and before.signer_id != actor.user_id
    if before is not None and is_others and progress.differs(session, study.id, actor):
        if saved.is_new:
            reviews.log(session, actor, study.id, saved, now)
        signer = session.get_one(User, before.signer_id).name
        session.commit()
        raise Conflict(
            "third_decides",
            _(
                "Not signed: two readers differ, and a third one decides. Until then the verdict "
                "stands that %(signer)s has signed. Your finding is stored.",
                signer=signer,
            ),
        )
    if before is not None and before.review_id == saved.review.id:
        session.commit()
        return Signed(before, saved, is_new=False)
    named = {f"{blob.kind.value}/{blob.instance_id.hex}": files[blob.id] for blob in blobs}
    signature = Signature(
        id=signature_id or uuid4(),
        study_id=study.id,
        review_id=saved.review.id,
        signer_id=actor.user_id,
        before_id=before.id if before else None,
        proof=proof.method,
        proved_at=proof.at,
        hashes=_rows(session, saved, beside_then.records_of(session, actor, beside)) | named,
        view=kept_view,
        created=now,
    )
    session.add(signature)
    worklist_order.place(session, study.id)
    if saved.is_new:
        reviews.log(session, actor, study.id, saved, now)
    audit.append(
        session,
        "exam_signed",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=signature.id,
        detail={"proof": proof.method.value, "amends": before is not None},
        bound=[signature],
    )
    session.commit()
    return Signed(signature, saved, is_new=True)


def add_addendum(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    text: str,
    *,
    proof: Proof | None,
    addendum_id: UUID | None = None,
    now: datetime,
) -> Addendum:
    """Add a text to a signed exam. Sent again with the same id it is added once.

    Raises NotProved, Invalid without a text or with one that is too long, Conflict where the exam
    is not signed; Denied.
    """
    if actor.via != "session":
        raise Denied("addendum")
    study = reviews.load_to_review(session, actor, study_id)
    known = session.get(Addendum, addendum_id) if addendum_id else None
    if known is not None:
        here = exams.survivor_of(session, known.study_id) == study.id
        if not here or known.author_id != actor.user_id:
            raise Denied("addendum")
        session.commit()
        return known
    written = clean_lines(text, ADDENDUM_LENGTH + 1)
    if not written or len(written) > ADDENDUM_LENGTH:
        raise Invalid(
            "addendum", _("An addendum has 1 to %(most)s characters.", most=ADDENDUM_LENGTH)
        )
    signature = _newest(session, study.id)
    reads = ai_visibility.readings(session, [study.id])
    if signature is None or reads.is_blind(actor, study.id):
        raise Conflict(
            "not_signed", _("Only a signed case has addenda. Write a comment, then sign.")
        )
    if reads.hides_findings(actor, study.id):
        raise Conflict("own_finding_first", str(_OWN_FIRST))
    if not is_proved(session, actor, proof, now):
        session.rollback()
        raise NotProved
    addendum = Addendum(
        id=addendum_id or uuid4(),
        study_id=study.id,
        signature_id=signature.id,
        author_id=actor.user_id,
        created=now,
    )
    data_key = sealed_fields.key_of(vault, study)
    addendum.sealed_text = sealed_fields.seal_addendum(vault, data_key, addendum.id, written)
    session.add(addendum)
    worklist_order.place(session, study.id)
    audit.append(
        session,
        "addendum_added",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=addendum.id,
        bound=[addendum],
    )
    session.commit()
    return addendum


def _known(
    session: Session, vault: Vault, actor: Actor, study: Study, signature_id: UUID | None
) -> Signed | None:
    """The signature that this request made when it was sent before."""
    found = session.get(Signature, signature_id) if signature_id else None
    if found is None:
        return None
    if found.signer_id != actor.user_id or exams.survivor_of(session, found.study_id) != study.id:
        raise Denied("signature")
    review = session.get_one(Review, found.review_id)
    comment = reviews.comment_of(session, vault, review)
    ai = ai_visibility.of_exam(session, actor, study)
    session.commit()
    return Signed(found, Saved(review, comment, is_new=False, ai=ai), is_new=False)


def _pictures(session: Session, study_id: UUID) -> list[Instance]:
    return exams.pictures(session, [study_id])[study_id]


def _files(
    session: Session, actor: Actor, study: Study, beside: Collection[Instance]
) -> list[Blob]:
    """The files that the actor looks at, of the exam's pictures and of those beside: pixels, and
    the model's map and outline if they may.
    """
    hidden = ai_visibility.hidden(session, actor, {study.id, *(row.study_id for row in beside)})
    rows = session.execute(
        select(Blob, Instance.study_id)
        .join(Instance, Instance.id == Blob.instance_id)
        .where(or_(Instance.study_id == study.id, Instance.id.in_([row.id for row in beside])))
        .where(Blob.current, Blob.kind.in_(_SIGNED_FILES))
        .order_by(Blob.id)
    )
    return [blob for blob, of in rows if blob.kind not in OF_AI or of not in hidden]


def _check_shown(session: Session, actor: Actor, study: Study, shown: str, after: str) -> None:
    """Changed unless the exam is as the page has shown it to the actor."""
    study_id, hidden = study.id, ai_visibility.hidden(session, actor, [study.id])
    reads = ai_visibility.readings(session, [study_id])
    hides = reads.hides_findings(actor, study_id)
    if hides and not reads.is_blind(actor, study_id) and _newest(session, study_id) is not None:
        session.rollback()
        raise Conflict("own_finding_first", str(_OWN_FIRST))
    newest = session.execute(
        select(Review.id, User.name)
        .join(User, User.id == Review.reader_id)
        .where(exams.within(Review.study_id, study_id))
        .order_by(Review.created.desc())
        .limit(1)
    ).first()
    if hides:
        newest = None  # as the page of who does not see it has it
    authors = reads.authors(actor, study_id)
    newest_outlines = reader_outlines.newest_of_study(session, study_id, authors)
    now = records.shown_of(
        status.of_studies(session, [study_id], hidden)[study_id],
        [row.id for row in exams.last_predictions(session, {study_id} - hidden).values()],
        [row.id for row in newest_outlines.values()],
    )
    parts = records.changes(shown, now)
    if after != (newest.id.hex if newest else ""):
        parts.append("review")
    if parts:
        session.rollback()
        raise Changed(parts, newest.name if newest else "")


def _newest(session: Session, study_id: UUID) -> Signature | None:
    """The signature that stands on an exam."""
    return session.scalars(
        select(Signature)
        .where(exams.within(Signature.study_id, study_id))
        .order_by(Signature.created.desc(), Signature.id)
        .limit(1)
    ).first()


def _rows(session: Session, saved: Saved, beside: Sequence[Base]) -> dict[str, str]:
    """SHA-256 of the review, of the predictions and outlines that it names, and of those of the
    pictures beside, by table and id.
    """
    found: list[Base] = [saved.review, *beside]
    for row in saved.seen:
        if row.prediction_id is not None:
            found.append(session.get_one(Prediction, row.prediction_id))
        if row.outline_id is not None:
            found.append(session.get_one(Outline, row.outline_id))
    named = (entry.rpartition("/") for entry in bindings.entries(session, found))
    return {name: digest for name, _, digest in named}
