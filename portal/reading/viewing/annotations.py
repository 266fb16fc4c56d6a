"""What a reader draws on pictures, rulers and arrows with a short text, as a review keeps it.

A review takes along what its reader's drafts hold then (`drafts`), and no later change reaches it.
It is sealed under the picture's key, because an arrow's text may name the patient, and a purge
destroys it.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import Instance, Review, ReviewAnnotations, ReviewDraft
from portal.studies import sealed_fields
from portal.studies.sealed_fields import Annotation
from portal.vault import NotReadable, Vault


def for_review(
    session: Session, vault: Vault, review: Review, pictures: Sequence[Instance]
) -> list[ReviewAnnotations]:
    """The rows that keep the reader's drafts of these pictures with a review that is added."""
    drafts = session.scalars(
        select(ReviewDraft)
        .where(
            ReviewDraft.reader_id == review.reader_id,
            ReviewDraft.instance_id.in_([row.id for row in pictures]),
        )
        .execution_options(populate_existing=True)
    )
    by_id = {row.id: row for row in pictures}
    found = []
    for draft in drafts:
        try:
            data_key = sealed_fields.instance_key_of(vault, by_id[draft.instance_id])
            drawn = sealed_fields.open_annotations(vault, data_key, draft)
        except NotReadable:  # damaged; the page did not show it either
            continue
        found.append(
            ReviewAnnotations(
                review_id=review.id,
                instance_id=draft.instance_id,
                sealed_annotations=sealed_fields.seal_review_annotations(
                    vault, data_key, review.id, draft.instance_id, drawn
                ),
            )
        )
    return found


def of_reviews(
    session: Session, vault: Vault, reviews: Sequence[UUID], pictures: Sequence[Instance]
) -> dict[UUID, dict[UUID, list[Annotation]]]:
    """What each of these reviews keeps, by picture; the caller has checked that it may be seen.

    What does not open is left out: a damaged value hides no review.
    """
    if not reviews or not pictures:
        return {}
    by_id = {row.id: row for row in pictures}
    found: dict[UUID, dict[UUID, list[Annotation]]] = {}
    for row in session.scalars(
        select(ReviewAnnotations).where(
            ReviewAnnotations.review_id.in_(reviews), ReviewAnnotations.instance_id.in_(by_id)
        )
    ):
        try:
            data_key = sealed_fields.instance_key_of(vault, by_id[row.instance_id])
            drawn = sealed_fields.open_review_annotations(vault, data_key, row)
        except NotReadable:
            continue
        found.setdefault(row.review_id, {})[row.instance_id] = drawn
    return found


def are_same(
    session: Session,
    vault: Vault,
    review_id: UUID,
    rows: Sequence[ReviewAnnotations],
    pictures: Sequence[Instance],
) -> bool:
    """Whether a review keeps the same as these rows, which are not stored yet, would."""
    by_id = {row.id: row for row in pictures}
    new = {
        row.instance_id: sealed_fields.open_review_annotations(
            vault, sealed_fields.instance_key_of(vault, by_id[row.instance_id]), row
        )
        for row in rows
    }
    return of_reviews(session, vault, [review_id], pictures).get(review_id, {}) == new
