"""Workers that have reported, so that pages can show whether one is there. Rows are bounded."""

from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.database import DatabaseTime
from portal.formats.display_text import clean
from portal.jobs.attempts import changed
from portal.jobs.errors import BadResult
from portal.models import Worker, WorkerToken
from worker.contract.job import Hello

# A container has another name after each start: the longest silent ones of a token make place.
MOST_PER_TOKEN: Final = 100


def hello(session: Session, sent: Hello, token: WorkerToken | None = None) -> None:
    """Note that a worker runs. Name and queue identify it: a token opens one queue.

    A token (None: the shared one) has at most `MOST_PER_TOKEN` workers.
    """
    name, queue = clean(sent.name, 200), sent.queue
    if not name:
        raise BadResult("name must be a text")
    values = {
        "last_seen": DatabaseTime(),
        "slots": sent.slots,
        "engine": clean(sent.engine, 100),
        "model": clean(sent.model, 200),
        "token_id": token.id if token is not None else None,
    }
    of_token = Worker.token_id.is_(None) if token is None else Worker.token_id == token.id
    same = update(Worker).where(Worker.name == name, Worker.queue == queue)
    # One that reported by another token counts among this one's from now on.
    if not changed(session, same.where(of_token).values(**values)):
        known = same.values(**values)
        if not changed(session, known):
            try:
                with session.begin_nested():
                    session.execute(insert(Worker).values(name=name, queue=queue, **values))
            except IntegrityError:  # two reports of it at once
                changed(session, known)
        newest = (
            select(Worker.id)
            .where(of_token)
            .order_by(Worker.last_seen.desc(), Worker.id)
            .limit(MOST_PER_TOKEN)
        )
        session.execute(
            delete(Worker).where(of_token, Worker.id.not_in(newest)),
            execution_options={"synchronize_session": False},
        )
    session.commit()
