"""A table with damaged pages is read in parts: all of it but what lies on them."""

from uuid import uuid4

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from portal import database, readable_rows
from portal.models import Job, JobKind, JobState, User
from portal.readable_rows import EVERYTHING, Readable
from tests.support.core import NOW, Core
from tests.support.queries.damaged_pages import overwrite_page_of

ROWS = 400
MARK = "mark-of-the-damaged-page"


def fill(core: Core) -> None:
    done = {"kind": JobKind.DRIFT, "state": JobState.DONE, "created": NOW}
    rows = [
        done
        | {
            "id": uuid4(),
            "idempotency_key": f"drift:{number}",
            "error_code": MARK if number == ROWS // 2 else None,
        }
        for number in range(ROWS)
    ]
    with core.sessions() as session:
        session.execute(insert(Job), rows)
        session.execute(text("ANALYZE"))
        session.commit()


def keys(core: Core, readable: Readable) -> list[str]:
    with core.sessions() as session, readable.parts(session) as parts:
        # The keys alone stand in an index, which SQLite reads without the table.
        asked = select(Job.idempotency_key, Job.error_code)
        return [key for part in parts for key, _ in session.execute(asked.where(part)).all()]


def test_a_table_without_damage_is_read_as_a_whole(core: Core) -> None:
    fill(core)
    with core.sessions() as session:
        assert readable_rows.around_damage(session, Job, lambda found: found) == (EVERYTHING, 0)
        readable = readable_rows.of(session, "jobs")
    assert readable.unreadable == 0
    assert sorted(keys(core, readable)) == sorted(keys(core, EVERYTHING))


@pytest.mark.parametrize("keep", [False, True])
def test_all_rows_are_read_but_those_of_the_damaged_page(core: Core, *, keep: bool) -> None:
    fill(core)
    overwrite_page_of(core.engine, "jobs", f"error_code = '{MARK}'", MARK)
    with pytest.raises(DBAPIError) as raised:
        keys(core, EVERYTHING)
    assert database.is_damage(raised.value)

    def read(readable: Readable) -> Readable:
        with readable.parts(session) as parts:
            for part in parts:
                session.scalars(select(Job.error_code).where(part)).all()
        return readable

    with core.sessions() as session:
        readable, unreadable = readable_rows.around_damage(
            session, Job, read, keep_transaction=keep
        )
    assert unreadable == readable.unreadable >= 1
    found = keys(core, readable)
    assert len(found) == len(set(found))
    missing = sorted(
        {int(key.split(":")[1]) for key in {f"drift:{n}" for n in range(ROWS)} - set(found)}
    )
    assert ROWS // 2 in missing
    assert missing == list(range(missing[0], missing[-1] + 1)), "neighbours, of one page"
    assert len(missing) < 100


def test_damage_of_another_table_is_raised(core: Core) -> None:
    fill(core)
    overwrite_page_of(core.engine, "jobs", f"error_code = '{MARK}'", MARK)
    with core.sessions() as session, pytest.raises(DBAPIError):
        readable_rows.around_damage(
            session, User, lambda _: session.scalars(select(Job.error_code)).all()
        )
