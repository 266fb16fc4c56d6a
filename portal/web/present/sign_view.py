"""The verdict on the case page: how firmly it stands, what is signed, and what was added to it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from portal.access import Actor, Permission
from portal.models import BlobKind
from portal.reading.case_records import StudyView
from portal.reading.signatures.records import SignatureView
from portal.studies.verdicts import Standing, VerdictState

STATES: Final = {
    VerdictState.AI_ONLY: "AI only",
    VerdictState.PRELIMINARY: "Preliminary",
    VerdictState.FINAL: "Final",
    VerdictState.AMENDED: "Amended",
}
NOT_READ: Final = "Not read"
NEW_PICTURE: Final = "new picture"
_PROOFS: Final = {
    "password_code": "password and code",  # pragma: allowlist secret
    "password_passkey": "password and passkey",  # pragma: allowlist secret
    "sso_code": "hospital sign-in and code",
    "sso_passkey": "hospital sign-in and passkey",
}


@dataclass(frozen=True)
class SignatureLine:
    """One signature; `number` counts from the first one of the case."""

    id: UUID
    number: int
    signer: str
    proof: str
    when: datetime
    has_view: bool


@dataclass(frozen=True)
class AddendumLine:
    """One text that was added after a signature."""

    text: str
    author: str
    when: datetime


@dataclass(frozen=True)
class SignPanel:
    """`state` in words, by whom and when; `notes`: what has come in since. `known` is read by
    static/js/case/sign.js.
    """

    state: str
    is_signed: bool
    author: str
    when: datetime | None
    notes: list[str]
    signatures: list[SignatureLine]  # the newest first
    addenda: list[AddendumLine]
    may_sign: bool
    known: dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """The signature whose moment a page shows again."""

    id: UUID
    signer: str
    when: datetime
    has_view: bool
    is_superseded: bool


def seen(view: StudyView, signature: SignatureView) -> Seen:
    """What the page states of it. A result without its files is one that a later one replaced."""
    prediction = view.picture.prediction
    return Seen(
        signature.signature_id,
        signature.signer,
        signature.created,
        has_view=signature.view is not None,
        is_superseded=prediction is not None
        and prediction.map_rows is not None
        and BlobKind.PROBABILITY not in view.picture.blobs,
    )


def view_then(view: StudyView, signature: SignatureView) -> dict[str, Any] | None:
    """How this picture was shown then, for static/js/viewer; None where that is not known."""
    for one in (signature.view or {}).get("pictures", ()):
        if UUID(one["picture"]) == view.picture.instance_id:
            return {**one, "picture": str(view.picture.instance_id)}
    return None


def state_text(standing: Standing, *, has_result: bool) -> str:
    """'AI only', 'Preliminary', 'Final', 'Amended'; 'Not read' where the AI has no result, too."""
    if standing.state is VerdictState.AI_ONLY and not has_result:
        return NOT_READ
    return STATES[standing.state]


def new_pictures(count: int) -> str:
    """'new picture', '2 new pictures', "" for none."""
    return "" if not count else NEW_PICTURE if count == 1 else f"{count} {NEW_PICTURE}s"


def panel(view: StudyView, actor: Actor) -> SignPanel:
    """What stands on this case, for this person."""
    standing = view.state.standing
    base = f"/studies/{view.study_id}"
    return SignPanel(
        state=state_text(standing, has_result=view.state.result is not None),
        is_signed=standing.is_signed,
        author=standing.author,
        when=standing.at,
        notes=_notes(view),
        signatures=signature_lines(view),
        addenda=[AddendumLine(one.text, one.author, one.created) for one in view.addenda],
        may_sign=actor.may(Permission.REVIEW_WRITE),
        known={"sign": f"{base}/signatures", "add": f"{base}/addenda"},
    )


def _notes(view: StudyView) -> list[str]:
    state = view.state
    notes = list[str]()
    if state.new_pictures:
        new = new_pictures(state.new_pictures)
        since = (
            "it was signed: the signed verdict stays" if state.standing.is_signed else "it was read"
        )
        notes.append(f"{new[0].upper()}{new[1:]} since {since}. Look again, state a finding.")
    if state.standing.is_signed and not state.standing.is_newest:
        notes.append("A later version is not signed: the signed one stands.")
    return notes


def signature_lines(view: StudyView) -> list[SignatureLine]:
    """The signatures of a case, the newest first."""
    lines = [
        SignatureLine(
            one.signature_id,
            number,
            one.signer,
            _PROOFS[one.proof.value],
            one.created,
            has_view=one.view is not None,
        )
        for number, one in enumerate(view.signatures, 1)
    ]
    return lines[::-1]
