"""What changes in the worklists that are open, for all of them together.

One thread of the process looks once a second, as long as a list is open: one statement, however
many lists there are. Only where it finds a change does it read more: the changed exams once, and
what waits and the open critical findings in as many statements for each team, whatever the number
of its readers and its policy on the AI result. Each list gets what it shows and its person may see;
results that a login session was not shown before are written to the access log first, as
`case.states` does.
"""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import String, cast, literal, select, union_all
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor
from portal.critical import open_findings
from portal.critical.open_findings import OpenFindings
from portal.database import DatabaseTime
from portal.models import Job, JobState, LoginSession, ReadingClaim, Study
from portal.reading import worklist
from portal.reading.lists import counts as list_counts
from portal.reading.lists.live import LiveRow
from portal.reading.shown_results import Shown
from portal.reading.worklist_rows import Changing
from portal.studies import status
from portal.studies.second_reads import blindness
from portal.teams import ai_visibility

_log = logging.getLogger(__name__)

EVERY: Final = 1.0  # seconds between two looks
# A change is looked for so long: its transaction may take its time until it can be seen.
_LATE: Final = 15.0
_SEEN_MOST: Final = 20_000
# Whether the sessions of the open lists still last is looked up in so many looks.
_CHECK: Final = 10


@dataclass(frozen=True, slots=True)
class Update:
    """What a list is to show anew. `arrived`: exams that have come since it was made."""

    rows: dict[UUID, LiveRow]
    counts: worklist.Counts
    arrived: int
    critical: OpenFindings = open_findings.NONE


@dataclass(eq=False, slots=True)
class OpenList:
    """A list that a reader has open.

    `ids` are the exams on it; `known`: how many of those that arrived after `since` it counts as
    known. `send` is called by the feed's thread, with None where the login session has ended.
    """

    actor: Actor
    ids: frozenset[UUID]
    since: datetime
    known: int
    send: Callable[[Update | None], None]


@dataclass
class Feed:
    """The open lists of this process, and the thread that looks for them."""

    sessions: Callable[[], Session]
    shown: Shown
    clock: Callable[[], datetime]
    idle: timedelta
    _lists: set[OpenList] = field(default_factory=set)
    _seen: dict[tuple[str, str], None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _looks: int = 0

    def join(self, opened: OpenList) -> None:
        """Look for this list too, from now on."""
        with self._lock:
            self._lists.add(opened)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
                self._thread.start()

    def leave(self, opened: OpenList) -> None:
        """Look for this list no longer."""
        with self._lock:
            self._lists.discard(opened)

    def look(self) -> None:
        """Look once and send each list what has changed."""
        opened = self._opened()
        self._looks += 1
        with self.sessions() as session:
            # Only read: on SQLite it is not to wait for the lock of who writes.
            session.connection(execution_options={"pleura_snapshot": True})
            changed = self._changed(session)
            if changed or self._looks % _CHECK == 0:
                opened = self._live(session, opened)
            updates = self._updates(session, opened, changed) if changed and opened else []
            session.commit()
        self._send(updates)

    def _opened(self) -> list[OpenList]:
        with self._lock:
            return list(self._lists)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                if not self._lists:
                    self._thread = None
                    self._seen.clear()
                    return
            try:
                self.look()
            except Exception as error:  # the database is away: the pages ask by themselves
                _log.error("looking for changes failed: %s", type(error).__name__)
            pause.wait(EVERY)

    def _changed(self, session: Session) -> set[UUID]:
        """The exams that have changed since the last look; the first one knows everything."""
        rows = [tuple(row) for row in session.execute(_CHANGES)]
        is_first = not self._seen
        fresh = {UUID(str(study)) for study, mark in rows if (str(study), mark) not in self._seen}
        for study, mark in rows:
            self._seen.setdefault((str(study), mark))
        self._seen.setdefault(("", ""))
        if len(self._seen) > _SEEN_MOST:
            self._seen = dict.fromkeys([("", ""), *((str(study), mark) for study, mark in rows)])
        return set() if is_first else fresh

    def _live(self, session: Session, opened: list[OpenList]) -> list[OpenList]:
        """The lists whose login session still lasts; the others are ended and left out."""
        now = self.clock()
        wanted = {one.actor.session_id for one in opened}
        lasting = set(
            session.scalars(
                select(LoginSession.id).where(
                    LoginSession.id.in_(wanted),
                    LoginSession.ended_at.is_(None),
                    LoginSession.expires > now,
                    LoginSession.last_seen > now - self.idle,
                )
            )
        )
        for one in opened:
            if one.actor.session_id not in lasting:
                self.leave(one)
                one.send(None)
        return [one for one in opened if one.actor.session_id in lasting]

    def _updates(
        self, session: Session, opened: list[OpenList], changed: Collection[UUID]
    ) -> list[tuple[OpenList, Update]]:
        now = self.clock()
        shown_somewhere = frozenset[UUID]().union(*(one.ids for one in opened)) & set(changed)
        teams = {one.actor.team_id: one.actor for one in opened}
        team_of = dict(
            session.execute(
                select(Study.id, Study.team_id).where(Study.id.in_(shown_somewhere), *_THERE)
            ).all()
        )
        rows, _ = database.read_readable(
            session, list(team_of), lambda some: _rows(session, some, now)
        )
        # Read once for each team; whom one is hidden from follows without a statement.
        critical = {team: open_findings.of_team(session, team) for team in teams}
        # Where the AI result is not seen at once, each reader of a team sees another part.
        visible = {
            team: ai_visibility.visible_in_lists(session, actor) for team, actor in teams.items()
        }
        # A list's numbers are those of the team, but for who is blind to some of its exams.
        seconds = self._second_readers(session, opened)
        shared = {
            team: worklist.waiting_for_all(session, actor)
            for team, actor in teams.items()
            if visible[team] is None
        }
        apart = {team: [one.actor for one in opened if one.actor.team_id == team] for team in teams}
        own_counts = dict[UUID, worklist.Counts]()
        for team in teams.keys() - shared.keys():
            own_counts |= list_counts.of_each(session, apart[team])
        of_apart = [i for i in rows if team_of[i] not in shared]
        hidden = ai_visibility.hidden_results(session, of_apart)
        earliest = min(one.since for one in opened)
        arrivals = {
            team: worklist.arrivals(session, actor, earliest) for team, actor in teams.items()
        }
        updates = []
        for one in opened:
            team = one.actor.team_id
            own = {
                i: LiveRow(*parts.seen(one.actor, i))
                for i, parts in rows.items()
                if i in one.ids and team_of[i] == team
            }
            waits = shared.get(team)
            if waits is not None and one.actor.user_id in seconds:
                waits = worklist.waiting(session, one.actor, None)
            if waits is None:
                waits = own_counts[one.actor.user_id]
                own = _without_ai(own, hidden.of(one.actor, own))
            arrived = sum(created > one.since for created in arrivals[team]) - one.known
            updates.append(
                (one, Update(own, waits, max(0, arrived), critical[team].seen_by(one.actor)))
            )
        return updates

    def _second_readers(self, session: Session, opened: list[OpenList]) -> set[UUID]:
        """Who of these may become the second reader of an exam; none is asked where none waits."""
        if not session.scalar(select(blindness.any_waits())):
            return set()
        people = {one.actor.user_id: one.actor for one in opened}
        return {
            who for who, actor in people.items() if blindness.second_of(session, actor) is not None
        }

    def _send(self, updates: list[tuple[OpenList, Update]]) -> None:
        """Send them, once the log has a row for each list that is shown a result anew."""
        fresh = {one: self._unseen(one, update) for one, update in updates}
        if any(fresh.values()):
            with self.sessions() as session:
                for one, ids in fresh.items():
                    if ids:
                        detail = {"studies": [study_id.hex for study_id in ids]}
                        audit.append(
                            session,
                            "results_read",
                            actor=one.actor,
                            now=self.clock(),
                            detail=detail,
                        )
                session.commit()
        for one, update in updates:
            self.shown.add(one.actor.session_id, fresh[one])
            one.send(update)

    def _unseen(self, one: OpenList, update: Update) -> list[UUID]:
        telling = [i for i, row in update.rows.items() if row.state.result or row.state.reviewed]
        return self.shown.unseen(one.actor.session_id, telling)


def _note(session: Session, actor: Actor, ids: list[UUID], now: datetime) -> None:
    detail = {"studies": [study_id.hex for study_id in ids]}
    audit.append(session, "results_read", actor=actor, now=now, detail=detail)


def _rows(session: Session, ids: Sequence[UUID], now: datetime) -> dict[UUID, Changing]:
    # Of a row that can't be read nothing is sent: the page shows it as damaged.
    session.execute(select(Study.case_number).where(Study.id.in_(ids))).all()
    found = Changing.of(session, ids, now)
    return dict.fromkeys(found.states, found)


def _without_ai(rows: dict[UUID, LiveRow], hidden: Collection[UUID]) -> dict[UUID, LiveRow]:
    return {
        i: replace(row, state=status.without_ai(row.state)) if i in hidden else row
        for i, row in rows.items()
    }


def _mark(name: str, column: Any) -> Any:
    return (literal(name) + cast(column, String)).label("mark")


_THERE: Final = (Study.purged_at.is_(None), Study.joined_into.is_(None))
# Exams that have changed, whose mark of a reader has lapsed, or of which an attempt has begun.
_CHANGES: Final = union_all(
    select(Study.id, _mark("changed ", Study.changed)).where(Study.changed > DatabaseTime(-_LATE)),
    select(ReadingClaim.study_id, _mark("until ", ReadingClaim.until)).where(
        ReadingClaim.until.between(DatabaseTime(-_LATE), DatabaseTime())
    ),
    select(Job.study_id, _mark("attempt ", Job.id) + cast(Job.attempts, String)).where(
        Job.state == JobState.RUNNING, Job.study_id.is_not(None)
    ),
)
