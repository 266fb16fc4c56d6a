"""Tables of people and of how they sign in."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    false,
)
from sqlalchemy.orm import Mapped, foreign, mapped_column, relationship

from portal.models.base import Base, checked
from portal.models.vocabulary import (
    AiShown,
    BreakGlassReason,
    InvitationPurpose,
    Language,
    ProofMethod,
    Role,
)


class Team(Base):
    """A group of people who share a worklist."""

    __tablename__ = "teams"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    # From which age on, in years, pictures of under-18s are analysed; None: not at all.
    age_min: Mapped[int | None] = mapped_column(SmallInteger)
    created: Mapped[datetime]


class TeamChoices(Base):
    """What a team's admins have chosen, see `teams.settings`; None: the default."""

    __tablename__ = "team_choices"
    __table_args__ = (
        CheckConstraint("second_read_percent BETWEEN 0 AND 100", name="second_read_percent"),
        CheckConstraint("signing_minutes BETWEEN 1 AND 600", name="signing_minutes"),
        CheckConstraint("old_exam_hours BETWEEN 1 AND 1000000", name="old_exam_hours"),
        CheckConstraint("escalation_minutes BETWEEN 1 AND 1440", name="escalation_minutes"),
        CheckConstraint("off_peak_from BETWEEN 0 AND 23", name="off_peak_from"),
        CheckConstraint("off_peak_until BETWEEN 0 AND 23", name="off_peak_until"),
        CheckConstraint("priors_most BETWEEN 1 AND 20", name="priors_most"),
    )
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"), primary_key=True)
    ai_shown: Mapped[AiShown | None] = mapped_column(checked(AiShown, "ai_shown"))
    second_read_percent: Mapped[int | None] = mapped_column(SmallInteger)
    signing_minutes: Mapped[int | None] = mapped_column(SmallInteger)
    old_exam_hours: Mapped[int | None]
    escalates: Mapped[bool | None]
    escalation_minutes: Mapped[int | None] = mapped_column(SmallInteger)
    language: Mapped[Language | None] = mapped_column(checked(Language, "language"))
    names_on_board: Mapped[bool | None]
    off_peak_from: Mapped[int | None] = mapped_column(SmallInteger)
    off_peak_until: Mapped[int | None] = mapped_column(SmallInteger)
    priors_most: Mapped[int | None] = mapped_column(SmallInteger)


class User(Base):
    """A person. The address is stored in lower case; the TOTP secret is sealed."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("email = lower(email)", name="email_lower"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(254), unique=True)
    role: Mapped[Role] = mapped_column(checked(Role, "role"))
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"), index=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    sealed_totp: Mapped[bytes | None]
    sealed_totp_pending: Mapped[bytes | None]  # counts only once a code made with it was shown
    last_totp_step: Mapped[int | None] = mapped_column(BigInteger)
    sso_key: Mapped[str | None] = mapped_column(String(64), index=True, unique=True)
    # Made by the command line: may sign in by password even where others need single sign-on.
    local_sign_in: Mapped[bool] = mapped_column(default=False, server_default=false())
    disabled_at: Mapped[datetime | None]
    enrolled_at: Mapped[datetime | None]
    # Counts up whenever device cookies from before are to end.
    device_generation: Mapped[int] = mapped_column(default=0, server_default="0")
    # The worklist's filters that were set last, without what was searched for.
    list_filters: Mapped[dict[str, Any] | None]
    # The person's own language; None: that of the team.
    language: Mapped[Language | None] = mapped_column(checked(Language, "own_language"))
    created: Mapped[datetime]
    team: Mapped[Team] = relationship()
    team_choices: Mapped[TeamChoices | None] = relationship(
        primaryjoin=lambda: foreign(TeamChoices.team_id) == User.team_id, viewonly=True
    )


class Invitation(Base):
    """A one-time link: for a newcomer, or for a person whose factor was reset."""

    __tablename__ = "invitations"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    purpose: Mapped[InvitationPurpose] = mapped_column(checked(InvitationPurpose, "purpose"))
    email: Mapped[str] = mapped_column(String(254), index=True)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[Role] = mapped_column(checked(Role, "role"))
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    invited_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    created: Mapped[datetime]
    expires: Mapped[datetime]
    used_at: Mapped[datetime | None]

    @property
    def for_single_sign_on(self) -> bool:
        """Whether the account signs in by single sign-on where it is set up: an invited one.
        Accounts made at the command line can sign in with a password even if the issuer fails.
        """
        return self.purpose is InvitationPurpose.INVITE and self.invited_by is not None


class RecoveryCode(Base):
    """One of ten codes that stand in for a lost second factor, once each."""

    __tablename__ = "recovery_codes"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    code_hash: Mapped[str] = mapped_column(String(255))
    used_at: Mapped[datetime | None]


class Passkey(Base):
    """A WebAuthn credential that stands in for the code. `credential_key` is its id's SHA-256."""

    __tablename__ = "passkeys"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    credential_key: Mapped[str] = mapped_column(String(64), unique=True)
    credential_id: Mapped[bytes]
    public_key: Mapped[bytes]
    sign_count: Mapped[int] = mapped_column(BigInteger)
    transports: Mapped[list[str]]
    name: Mapped[str] = mapped_column(String(100))
    created: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class LoginSession(Base):
    """A signed-in browser, so that it can be listed and ended."""

    __tablename__ = "login_sessions"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    created: Mapped[datetime]
    last_seen: Mapped[datetime]
    expires: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    address: Mapped[str] = mapped_column(String(64), default="")
    agent: Mapped[str] = mapped_column(String(300), default="")
    step_up_at: Mapped[datetime | None]
    step_up_method: Mapped[ProofMethod | None] = mapped_column(checked(ProofMethod, "proof"))
    challenge: Mapped[str | None] = mapped_column(String(120))  # what a passkey has to sign, once
    challenge_at: Mapped[datetime | None]
    user: Mapped[User] = relationship()


class ApiToken(Base):
    """A key for a program: hashed, scoped, expiring."""

    __tablename__ = "api_tokens"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    scopes: Mapped[list[str]]
    created: Mapped[datetime]
    expires: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    user: Mapped[User] = relationship()


class BreakGlass(Base):
    """Emergency access to one case for a limited time. The reason is sealed under its key."""

    __tablename__ = "break_glass"
    __table_args__ = (Index("ix_break_glass_person", "user_id", "study_id", "expires"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"), index=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    reason: Mapped[BreakGlassReason] = mapped_column(checked(BreakGlassReason, "glass_reason"))
    sealed_words: Mapped[bytes]
    created: Mapped[datetime]
    expires: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
