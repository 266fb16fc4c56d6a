"""Nothing is added, changed, removed or replaced in an append-only table without being found.

Each attack is tried as a program with the portal's own rights on the database would: the triggers
refuse it. Then it is tried without triggers, as by somebody who owns the database: the check of the
log names the record or the row.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Table, and_, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from portal.audit import bindings, first_bindings, verification
from portal.cohorts import freezing
from portal.cohorts.selection import Filters
from portal.critical import communications
from portal.critical.communications import Stated
from portal.governance import legal_holds, purges
from portal.models import (
    AuditEvent,
    Base,
    Finding,
    Hold,
    HoldReason,
    ModelVersion,
    OperatingPoint,
    ProofMethod,
    PurgeReason,
    Review,
    ReviewSeen,
    Stratum,
)
from portal.reading import case, reviews, signing, worklist
from portal.reading.second_reads import requests as second_reads
from tests.portal.intake.test_arrival import LATERAL, add_rule
from tests.portal.reading.viewing.test_annotations import RULER, save
from tests.portal.reading.viewing.test_screen_checks import check as check_screen
from tests.portal.reports.test_requests import ask, do
from tests.support.audit_log import check, link
from tests.support.clinic import Clinic, after
from tests.support.core import NOW, Core
from tests.support.outlines.pages import Page, drawn, measured

# What an attack changes of a row. That a hold is lifted or a model gets another operating point is
# no change that a trigger could refuse: the check alone finds it.
CHANGES: dict[str, dict[str, Any]] = {
    "audit_events": {"event": "other"},
    "audit_links": {"mac": "ff" * 32},
    "audit_subjects": {"study_id": UUID(int=7)},
    "reviews": {"finding": Finding.BOTH},
    "review_seen": {"prediction_id": None},
    "signatures": {"proof": ProofMethod.SSO_CODE},
    "addenda": {"sealed_text": b"other"},
    "outlines": {"pixels": 1},
    "outline_measurements": {"measurements": {}},
    "reports": {"with_ai": False},
    "report_files": {"sha256": "cd" * 32},
    "cohorts": {"manifest_sha256": "cd" * 32},
    "purges": {"reference": "x1"},
    "predictions": {"probability": 0.01},
    "holds": {"reference": "x1"},
    "model_versions": {"sha256": "cd" * 32},
    "critical_findings": {"finding": Finding.BOTH},
    "communications": {"informed_at": after(hours=1)},
    "review_annotations": {"sealed_annotations": b"other"},
    "screen_checks": {"lines": False},
    "second_reads": {"stratum": Stratum.NO_RESULT},
    "arrival_rules": {"is_on": False},
    "arrival_rules_versions": {"rule_name": "other"},
}
UNREFUSED: dict[str, dict[str, Any]] = {
    "holds": {"lifted_at": NOW, "lift_reference": "x1"},
    "model_versions": {"operating_point": OperatingPoint.HIGH_PRECISION},
    "critical_findings": {"ended_at": after(hours=1)},
    "second_reads": {"outline_dice": 0.5},
}


@pytest.fixture
def used(clinic: Clinic, tmp_path: Path) -> Clinic:
    """A clinic with a row in every table, all of the log's rows linked."""
    use(clinic, tmp_path)
    link(clinic.core)
    return clinic


def use(clinic: Clinic, folder: Path, before: Callable[[str], object] = str) -> None:
    """Write rows into every append-only table; `before` is called with the names of the tables that
    the next step writes to.
    """
    before("predictions model_versions audit_events")
    first, second, third = (clinic.done() for _ in range(3))
    clinic.submit()
    before("screen_checks")
    check_screen(clinic)
    before("arrival_rules arrival_rules_versions")
    for shown in (0, 1):
        add_rule(clinic, LATERAL, shown)
    save(clinic, first, [RULER])
    before("reviews review_seen review_annotations critical_findings")
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, first, finding="right", now=NOW)
    before("communications")
    informed = Stated("The ward", "phone", "yes")
    with clinic.session as session:
        communications.record(session, clinic.vault, clinic.mate, first, informed, NOW)
    before("outlines outline_measurements")
    page = Page(clinic, first, clinic.mate)
    for runs in ((0, 4), (2, 6)):
        page.begin()
        page.save(drawn(runs))
        if runs == (0, 4):
            page.measure(measured(4))
    before("signatures addenda")
    sign(clinic, first)
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, second, finding="right", now=NOW)
    before("reports report_files")
    asked = ask(clinic, first)
    do(clinic, asked)
    ask(clinic, second)
    before("cohorts")
    with clinic.session as session:
        team = Filters(clinic.mate.team_id)
        freezing.freeze(session, clinic.vault, "all", folder / "all", team, NOW)
    before("holds")
    with clinic.session as session:
        legal_holds.hold(session, clinic.admin, second, reason=HoldReason.INCIDENT, now=NOW)
    before("second_reads")
    with clinic.session as session:
        second_reads.ask(session, clinic.mate, second, NOW)
    before("purges")
    with clinic.session as session:
        reason = PurgeReason.OTHER
        purges.purge(session, clinic.vault, clinic.admin, third, NOW, reason=reason)
    before("audit_subjects")
    with clinic.session as session:
        worklist.worklist(session, clinic.vault, clinic.mate, now=NOW)
    before("audit_links")
    link(clinic.core)


def sign(clinic: Clinic, study_id: UUID) -> None:
    proof = signing.Proof(ProofMethod.PASSWORD_CODE, NOW)
    case_of = (clinic.vault, clinic.mate, study_id)
    with clinic.session as session:
        view = case.open_study(session, *case_of, NOW)
    shown = {"shown": view.shown, "after": view.reviews[-1].review_id.hex}
    with clinic.session as session:
        signing.sign(session, *case_of, finding="left", **shown, proof=proof, now=NOW)
    with clinic.session as session:
        signing.add_addendum(session, *case_of, "word", proof=proof, now=NOW)


def tables() -> list[Table]:
    return [Base.metadata.tables[name] for name in CHANGES]


def row_of(connection: Connection, table: Table) -> dict[str, Any]:
    query = select(table).order_by(*table.primary_key.columns.values()[::-1]).limit(1)
    return dict(connection.execute(query).mappings().one())


def same(table: Table, row: dict[str, Any]) -> Any:
    return and_(*(column == row[column.name] for column in table.primary_key.columns))


def forged(connection: Connection, table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """A row like that one, under a key that nothing has."""
    changes: dict[str, Any] = {"id": uuid4()} if "id" in row else {}
    unread = "SELECT id FROM instances WHERE id NOT IN (SELECT instance_id FROM predictions)"
    other = UUID(str(connection.scalar(text(unread))))
    unmeasured = "SELECT id FROM outlines WHERE id NOT IN "
    unmeasured += "(SELECT outline_id FROM outline_measurements)"
    outline = UUID(str(connection.scalar(text(unmeasured))))
    unsigned = "SELECT id FROM reviews WHERE id NOT IN (SELECT review_id FROM signatures)"
    review = UUID(str(connection.scalar(text(unsigned))))
    unmade = "SELECT id FROM reports WHERE id NOT IN (SELECT report_id FROM report_files)"
    report = UUID(str(connection.scalar(text(unmade))))
    last = connection.scalar(select(func.max(AuditEvent.seq))) or 0
    changes |= {
        "audit_events": {"seq": last + 1, "writer_seq": last + 1000},
        "audit_links": {"position": last + 1, "seq": last + 1},
        "audit_subjects": {"study_id": UUID(int=7)},
        "review_seen": {"instance_id": other},
        "review_annotations": {"instance_id": other},
        "second_reads": {"study_id": uuid4()},
        "arrival_rules": {"position": 99},
        "arrival_rules_versions": {"version": 99},
        "report_files": {"report_id": report},
        "cohorts": {"name": "other"},
        "predictions": {"instance_id": other},
        "signatures": {"review_id": review},
        "outline_measurements": {"outline_id": outline},
        "purges": {"study_id": connection.scalar(select(Review.study_id))},
        "holds": {"lifted_at": NOW},
        "model_versions": {"sha256": "ef" * 32},
    }.get(table.name, {})
    return row | changes


Attack = Callable[[Connection, Table, dict[str, Any]], object]


def insert(connection: Connection, table: Table, row: dict[str, Any]) -> object:
    return connection.execute(table.insert(), forged(connection, table, row))


def update(connection: Connection, table: Table, row: dict[str, Any]) -> object:
    return connection.execute(table.update().where(same(table, row)).values(CHANGES[table.name]))


def legal_update(connection: Connection, table: Table, row: dict[str, Any]) -> object:
    return connection.execute(table.update().where(same(table, row)).values(UNREFUSED[table.name]))


def delete(connection: Connection, table: Table, row: dict[str, Any]) -> object:
    return connection.execute(table.delete().where(same(table, row)))


def replace(connection: Connection, table: Table, row: dict[str, Any]) -> object:
    changed = row | CHANGES[table.name]
    return connection.execute(table.insert().prefix_with("OR REPLACE"), changed)


@contextmanager
def attacking(core: Core, *, armed: bool) -> Iterator[Connection]:
    """A transaction that ends in nothing; SQLite's settings are those of any other program."""
    is_sqlite = core.engine.dialect.name == "sqlite"
    with core.engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        if is_sqlite:
            raw.execute("PRAGMA recursive_triggers = OFF")
            raw.execute("PRAGMA foreign_keys = OFF")
        with connection.begin() as transaction:
            if not armed and is_sqlite:
                names = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
                for name in connection.scalars(text(names)).all():
                    connection.execute(text(f"DROP TRIGGER {name}"))
            elif not armed:
                connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield connection
            transaction.rollback()
        connection.invalidate()


def attempt(core: Core, table: Table, attack: Attack, *, armed: bool) -> str:
    """What comes of an attack: `refused`, or what the check of the log finds."""
    with attacking(core, armed=armed) as connection:
        row = row_of(connection, table)
        try:
            with connection.begin_nested():
                attack(connection, table, row)
        except DBAPIError as error:
            return "refused" if "append-only" in str(error.orig) else f"failed: {error.orig}"
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            return "; ".join(verification.verify(session).findings)


def named(table: Table, row: dict[str, Any]) -> str:
    """How a finding names the record, or the number of the log's row."""
    return bindings.record(table, row) if table in bindings.TABLES else "row "


def test_the_drill_every_table_and_every_attack(used: Clinic) -> None:
    core = used.core
    assert check(core).findings == []
    wrong = list[str]()
    attacks: list[Attack] = [insert, update, delete]
    if core.engine.dialect.name == "sqlite":
        attacks.append(replace)
    for table in tables():
        with attacking(core, armed=True) as connection:
            row = row_of(connection, table)
        for attack in [*attacks, *([legal_update] if table.name in UNREFUSED else [])]:
            what = f"{attack.__name__} {table.name}"
            is_new = attack is insert or (attack is replace and table.name == "audit_subjects")
            if not is_new and attack is not legal_update:
                refused = attempt(core, table, attack, armed=True)
                if refused != "refused":
                    wrong.append(f"{what} with triggers: {refused or 'not found'}")
            found = attempt(core, table, attack, armed=False)
            name = "" if is_new else named(table, row)
            if not found or name not in found or found.startswith("failed"):
                wrong.append(f"{what} without triggers: {found or 'not found'}")
    assert wrong == []
    assert check(core).findings == []


@pytest.mark.parametrize("key", ["rowid", "unique"])
def test_a_row_is_not_replaced_by_another_key_of_it(used: Clinic, key: str) -> None:
    """By SQLite's own number of the row, or by what else is unique of it."""
    core = used.core
    if core.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL has no REPLACE")
    others = {
        "reviews": {"id": uuid4().hex},
        "reports": {"id": uuid4().hex},
        "cohorts": {"id": uuid4().hex},
        "outlines": {"id": uuid4().hex},
        "signatures": {"id": uuid4().hex},
        "addenda": {"id": uuid4().hex},
        "communications": {"id": uuid4().hex},
        "critical_findings": {"id": uuid4().hex},
        "predictions": {"id": uuid4().hex},
        "holds": {"id": uuid4().hex},
        "model_versions": {"id": uuid4().hex},
        "purges": {"study_id": uuid4().hex},
        "screen_checks": {"id": uuid4().hex},
        "second_reads": {"id": uuid4().hex},
        "arrival_rules": {"id": uuid4().hex},
    }
    for name, changes in others.items():
        if key == "unique" and name in (
            *("reviews", "reports", "outlines", "addenda", "purges"),
            *("communications", "critical_findings", "screen_checks"),
        ):
            continue  # nothing else of them is
        with attacking(core, armed=True) as connection:
            query = text(f"SELECT rowid, * FROM {name} ORDER BY rowid LIMIT 1")
            row = dict(connection.execute(query).mappings().one()) | changes
            if key == "unique":
                del row["rowid"]
            columns, values = ", ".join(row), ", ".join(f":{column}" for column in row)
            statement = text(f"INSERT OR REPLACE INTO {name} ({columns}) VALUES ({values})")
            with pytest.raises(IntegrityError, match="append-only"):
                connection.execute(statement, row)


def test_a_lifted_hold_is_not_put_in_force_again_and_a_model_is_not_made_active_instead_of_another(
    used: Clinic,
) -> None:
    with used.session as session:
        study_id = session.scalars(select(Hold.study_id)).one()
        legal_holds.lift(session, used.admin, study_id, now=NOW)
    assert check(used.core).findings == []
    with attacking(used.core, armed=True) as connection:
        again = text("UPDATE holds SET lifted_at = NULL, lift_reference = ''")
        with pytest.raises(DBAPIError, match="append-only"):
            connection.execute(again)
    if used.core.engine.dialect.name == "sqlite":
        with attacking(used.core, armed=True) as connection:
            connection.execute(text("UPDATE model_versions SET state = 'active'"))
            connection.execute(
                text(
                    "INSERT INTO model_versions (id, name, version, sha256, state, "
                    "operating_point, source, created) VALUES ('aa', 'n', '1', 'ab', 'candidate', "
                    "'balanced', '', '2026-03-04 09:00:00')"
                )
            )
            with pytest.raises(DBAPIError, match="append-only"):
                connection.execute(
                    text("UPDATE OR REPLACE model_versions SET state = 'active' WHERE id = 'aa'")
                )


def test_records_of_a_version_before_are_bound_as_they_are_found_once(used: Clinic) -> None:
    core = used.core
    other = {"created": NOW, "version": "2", "sha256": "12" * 32}
    with core.sessions() as session:
        session.add(ModelVersion(id=uuid4(), name="old", **other))
        session.commit()
    (finding,) = check(core).findings
    assert finding.startswith("model_versions/")
    with core.sessions() as session:
        assert first_bindings.bind(session, NOW) == 1
        events = session.scalars(select(AuditEvent.event).order_by(AuditEvent.seq)).all()
        assert events[-2:] == ["records_bound_as_found", "records_bound"]
    assert check(core).findings == []
    with core.sessions() as session:  # what comes from outside later is not bound by an upgrade
        session.add(ModelVersion(id=uuid4(), name="forged", **other))
        session.commit()
        assert first_bindings.bind(session, NOW) == 0
    assert len(check(core).findings) == 1


def test_every_column_of_a_record_counts_and_an_empty_one_does_not() -> None:
    row: dict[str, Any] = {"review_id": UUID(int=1), "instance_id": UUID(int=2)}
    table = ReviewSeen.__table__
    plain = bindings.entry(table, row)
    assert bindings.entry(table, row | {"later": None}) == plain
    assert bindings.entry(table, row | {"prediction_id": UUID(int=3)}) != plain
    assert bindings.entry(table, row | {"prediction_id": NOW}) != bindings.entry(
        table, row | {"prediction_id": NOW + timedelta(microseconds=1)}
    )


def test_writers_go_on_while_records_are_compared(used: Clinic) -> None:
    """What is written after the check has begun is of another moment and no finding."""
    compare = bindings.compare

    def late(session: Session, bound: bindings.Bound) -> bindings.Compared:
        used.done(now=after(minutes=1))
        return compare(session, bound)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bindings, "compare", late)
        found = check(used.core)
    assert found.findings == []
    assert found.records < check(used.core).records
