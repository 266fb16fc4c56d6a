"""The wording of a team: its own templates, else the defaults. Administrators change them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict
from portal.languages import _, speaking
from portal.models import Finding, Language, SentenceTemplate, SizeClass, Team
from portal.sentences import phrases, templates
from portal.sentences.phrases import Measured, Stated
from portal.sentences.templates import Kind
from portal.teams.settings import settings_of


@dataclass(frozen=True, slots=True)
class TemplateLine:
    """A template of a team, and examples of what it makes."""

    kind: Kind
    text: str
    is_own: bool
    placeholders: tuple[str, ...]
    examples: list[str]


@dataclass(frozen=True, slots=True)
class Wording:
    """The templates of a team in its language."""

    team_id: UUID
    team: str
    language: Language
    lines: list[TemplateLine]


def template_of(session: Session, team_id: UUID, kind: Kind) -> str:
    """The template in force for a team, in its language; within the caller's transaction."""
    language = settings_of(session, team_id).language
    own = session.get(SentenceTemplate, (team_id, language, kind.value), populate_existing=True)
    return own.text if own is not None else templates.default(language, kind)


def wording(session: Session, actor: Actor, team_id: UUID) -> Wording:
    """The templates of a team, for the administrator's page; Denied where there is no team."""
    actor.require(Permission.PEOPLE_MANAGE)
    team = session.get(Team, team_id)
    if team is None:
        session.rollback()
        raise Denied("team")
    language = settings_of(session, team_id).language
    rows = session.scalars(
        select(SentenceTemplate)
        .where(SentenceTemplate.team_id == team_id, SentenceTemplate.language == language)
        .execution_options(populate_existing=True)
    )
    own = {row.kind: row.text for row in rows}
    session.commit()
    lines = [
        TemplateLine(
            kind=kind,
            text=text,
            is_own=kind.value in own,
            placeholders=templates.PLACEHOLDERS[kind],
            examples=preview(kind, text, language),
        )
        for kind in Kind
        for text in [own.get(kind.value) or templates.default(language, kind)]
    ]
    return Wording(team_id, team.name, language, lines)


def preview(kind: Kind, text: str, language: Language) -> list[str]:
    """What a template makes of two findings: one with everything, one with nothing beside."""
    with speaking(language):
        return [templates.fill(text, phrases.phrases(stated)) for stated in _EXAMPLES[kind]]


class Changed(Conflict):
    """Another template is in force than the page had; `text` is that one."""

    def __init__(self, text: str) -> None:
        super().__init__(
            "changed",
            _(
                "Not stored: this sentence was changed since you opened the page. It is now: "
                "“%(text)s” Yours is still below; stored again, it takes the place of that one.",
                text=text,
            ),
        )
        self.text = text


def change(
    session: Session,
    actor: Actor,
    team_id: UUID,
    kind: str,
    text: str,
    now: datetime,
    *,
    shown: str | None = None,
) -> None:
    """Another template in the team's language, "" for the default; one audit row.

    `shown`: the template in force that the page had; None: it is not compared. Raises Changed where
    it is another one now, Invalid for what `templates.check` refuses, Denied.
    """
    actor.require(Permission.PEOPLE_MANAGE)
    team = session.get(Team, team_id, with_for_update=True, populate_existing=True)
    try:
        which = Kind(kind)
    except ValueError:
        which = None
    if team is None or which is None:
        session.rollback()
        raise Denied("sentence template")
    language = settings_of(session, team_id).language
    checked = templates.check(which, text) if text.strip() else ""
    default = templates.default(language, which)
    if checked == default:
        checked = ""
    key = (team_id, language, which.value)
    row = session.get(SentenceTemplate, key, with_for_update=True, populate_existing=True)
    if (row.text if row else "") == checked:
        session.commit()
        return
    in_force = row.text if row else default
    if shown is not None and shown.strip() != in_force:
        session.rollback()
        raise Changed(in_force)
    if row is None:
        row = SentenceTemplate(team_id=team_id, language=language, kind=which.value)
        session.add(row)
    row.text, row.changed = checked, now
    if not checked:
        session.delete(row)
    session.flush()
    audit.append(
        session,
        "sentence_template_changed",
        actor=actor,
        now=now,
        subject_id=team_id,
        detail={"kind": which.value, "language": language.value, "is_default": not checked},
    )
    session.commit()


_MEASURED = Measured(18.2, None, "detector", "reader", ("apical",))
_EXAMPLES = {
    Kind.ONE_SIDE: (
        Stated(
            *(Finding.RIGHT, SizeClass.FROM_10_TO_30),
            has_drain=True,
            is_poor=True,
            measured=_MEASURED,
        ),
        Stated(Finding.LEFT),
    ),
    Kind.BOTH_SIDES: (
        Stated(Finding.BOTH, SizeClass.BELOW_10, has_drain=True, is_poor=True, measured=_MEASURED),
        Stated(Finding.BOTH),
    ),
    Kind.NONE: (Stated(Finding.NONE, has_drain=True, is_poor=True), Stated(Finding.NONE)),
    Kind.UNSURE: (Stated(Finding.UNSURE, is_poor=True), Stated(Finding.UNSURE)),
}
