"""The verdict on the case page: how firmly it stands, what is signed, and what was added to it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from portal.access import Actor, Permission
from portal.languages import _, lazy, ngettext
from portal.models import BlobKind, VerdictState
from portal.reading.case_records import StudyView
from portal.reading.signatures.records import SignatureView
from portal.studies.verdicts import Standing

STATES: Final = {
    VerdictState.AI_ONLY: lazy("AI only"),
    VerdictState.PRELIMINARY: lazy("Preliminary"),
    VerdictState.FINAL: lazy("Final"),
    VerdictState.AMENDED: lazy("Amended"),
}
STATES_WITHIN: Final = {
    VerdictState.AI_ONLY: lazy("AI only"),
    VerdictState.PRELIMINARY: lazy("preliminary"),
    VerdictState.FINAL: lazy("final"),
    VerdictState.AMENDED: lazy("amended"),
}
NOT_READ: Final = lazy("Not read")
_PROOFS: Final = {
    "password_code": lazy("password and code"),  # pragma: allowlist secret
    "password_passkey": lazy("password and passkey"),  # pragma: allowlist secret
    "sso_code": lazy("hospital sign-in and code"),
    "sso_passkey": lazy("hospital sign-in and passkey"),
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
class Stands:
    """How firmly a verdict stands: `state` in words, by whom and since when."""

    state: str
    is_signed: bool
    author: str
    when: datetime | None


@dataclass(frozen=True)
class SignPanel(Stands):
    """The same, and what belongs to it; `notes`: what has come in since. `known` is read by
    static/js/case/sign.js.
    """

    notes: list[str]
    signatures: list[SignatureLine]  # the newest first
    addenda: list[AddendumLine]
    may_sign: bool
    may_add: bool  # to a signed case whose finding the person sees
    known: dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """The signature whose moment a page shows again. `not_shown`: which of its pictures were not
    drawn in full on the signer's screen before, in a sentence; "" where all were or none is known.
    """

    id: UUID
    signer: str
    when: datetime
    has_view: bool
    is_superseded: bool
    not_shown: str


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
        not_shown=_not_shown(view, signature),
    )


def _not_shown(view: StudyView, signature: SignatureView) -> str:
    if signature.shown is None:
        return ""
    numbers = [
        str(number)
        for number, one in enumerate(view.pictures, 1)
        if one.instance_id not in signature.shown
    ]
    if not numbers:
        return ""
    return ngettext(
        "Picture %(numbers)s was not shown in full on the signer’s screen before.",
        "Pictures %(numbers)s were not shown in full on the signer’s screen before.",
        len(numbers),
        numbers=", ".join(numbers),
    )


def view_then(view: StudyView, signature: SignatureView) -> dict[str, Any] | None:
    """How this picture was shown then, for static/js/viewer; None where that is not known.
    `beside`: how the one was that lay beside it.
    """
    views = [{**one, "picture": str(UUID(one["picture"]))} for one in _views(signature)]
    for number, one in enumerate(views):
        if one["picture"] == str(view.picture.instance_id):
            return {**one, "beside": views[1] if number == 0 and len(views) > 1 else None}
    return None


def beside_url(view: StudyView, signature: SignatureView) -> str | None:
    """Where the picture that lay beside this one is got; None where none lay there."""
    then = view_then(view, signature)
    if then is None or then["beside"] is None:
        return None
    return f"/studies/{view.study_id}/beside?seen={signature.signature_id.hex}"


def _views(signature: SignatureView) -> list[dict[str, Any]]:
    return list((signature.view or {}).get("pictures", ()))


def state_text(standing: Standing, *, has_result: bool) -> str:
    """'AI only', 'Preliminary', 'Final', 'Amended'; 'Not read' where the AI has no result, too."""
    if standing.state is VerdictState.AI_ONLY and not has_result:
        return str(NOT_READ)
    return str(STATES[standing.state])


def stands(standing: Standing, *, has_result: bool) -> Stands:
    """The state of a verdict for the page."""
    return Stands(
        state_text(standing, has_result=has_result),
        standing.is_signed,
        standing.author,
        standing.at,
    )


def new_pictures(count: int) -> str:
    """'new picture', '2 new pictures', "" for none."""
    if count < 2:
        return _("new picture") if count else ""
    return ngettext("%(num)s new picture", "%(num)s new pictures", count)


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
        may_add=standing.is_signed and not standing.is_hidden,
        known={"sign": f"{base}/signatures", "add": f"{base}/addenda"},
    )


def _notes(view: StudyView) -> list[str]:
    state = view.state
    notes = list[str]()
    if state.new_pictures:
        notes.append(_since(state.new_pictures, is_signed=state.standing.is_signed))
    if state.standing.is_signed and not state.standing.is_newest:
        notes.append(_("A later version is not signed: the signed one stands."))
    return notes


def _since(count: int, *, is_signed: bool) -> str:
    if count == 1 and is_signed:
        return _(
            "New picture since it was signed: the signed verdict stays. Look again, state a "
            "finding."
        )
    if count == 1:
        return _("New picture since it was read. Look again, state a finding.")
    if is_signed:
        return ngettext(
            "%(num)s new picture since it was signed: the signed verdict stays. Look again, state "
            "a finding.",
            "%(num)s new pictures since it was signed: the signed verdict stays. Look again, "
            "state a finding.",
            count,
        )
    return ngettext(
        "%(num)s new picture since it was read. Look again, state a finding.",
        "%(num)s new pictures since it was read. Look again, state a finding.",
        count,
    )


def signature_lines(view: StudyView) -> list[SignatureLine]:
    """The signatures of a case, the newest first."""
    lines = [
        SignatureLine(
            one.signature_id,
            number,
            one.signer,
            str(_PROOFS[one.proof.value]),
            one.created,
            has_view=one.view is not None,
        )
        for number, one in enumerate(view.signatures, 1)
    ]
    return lines[::-1]
