"""Tables of the DICOM network: who may associate, what came back to us, what was refused."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base


class DicomNode(Base):
    """A system on the DICOM network, by its AE title. What it sends belongs to its team.

    `user_id`: the account in whose name it sends, which nobody can sign in with. `networks`: the
    addresses that it may call from. `host` and `port`: where it is called. `fingerprint`: SHA-256
    of its TLS certificate, in hexadecimal digits; None: it speaks without TLS.
    """

    __tablename__ = "dicom_nodes"
    __table_args__ = (
        CheckConstraint("(host IS NULL) = (port IS NULL)", name="host_and_port"),
        CheckConstraint("port BETWEEN 1 AND 65535", name="port"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), unique=True)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    ae_title: Mapped[str] = mapped_column(String(16), unique=True)
    sends: Mapped[bool]
    receives: Mapped[bool]
    networks: Mapped[list[str]]
    host: Mapped[str | None] = mapped_column(String(253))
    port: Mapped[int | None]
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    created: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class DicomObject(Base):
    """An object that is no picture and was filed to an exam: a report, an outline, a document.

    Its encrypted file is `blob_id`, under the key of the picture `instance_id`. `made_here`: it is
    one of Pleura's own that came back. Without a node it came by DICOMweb.
    """

    __tablename__ = "dicom_objects"
    __table_args__ = (
        UniqueConstraint("team_id", "sop_key"),
        Index("ix_dicom_objects_instance", "instance_id", "created"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"))
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    node_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("dicom_nodes.id"))
    blob_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    sop_key: Mapped[str] = mapped_column(String(64))
    sop_class: Mapped[str] = mapped_column(String(64))
    made_here: Mapped[bool]
    created: Mapped[datetime]


class DicomRefusal(Base):
    """A data set that was refused: which it was is sealed, the reason is a code. Nothing of the
    data set itself is kept here; it is still where it came from.

    It came from a node, or by DICOMweb with a token of `sender_id`.
    """

    __tablename__ = "dicom_refusals"
    __table_args__ = (
        CheckConstraint("(node_id IS NULL) <> (sender_id IS NULL)", name="one_sender"),
        Index("ix_dicom_refusals_created", "created"),
        Index("ix_dicom_refusals_node", "node_id", "created"),
        Index("ix_dicom_refusals_sender", "sender_id", "created"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    node_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("dicom_nodes.id"))
    sender_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    code: Mapped[str] = mapped_column(String(40))
    status: Mapped[int]
    size: Mapped[int] = mapped_column(BigInteger)
    sealed_sop_uid: Mapped[bytes]
    created: Mapped[datetime]
