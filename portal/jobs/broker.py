"""Notification of workers over Redis: a Celery message with a job's id and nothing else.

Redis may be down, lose a message or deliver it twice; the database has the jobs. So nothing here
raises, and nothing waits for longer than a second or two.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from celery import Celery

from portal.models import JobKind
from worker.contract import job

TASKS: Final = dict(job.TASKS)
_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


class Broker:
    """Announces jobs over Redis. Without an address it sends nothing."""

    def __init__(
        self,
        redis_url: str,
        visibility_seconds: float = 360.0,
        tls: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing is connected before the first message. `tls`: `Settings.redis_tls`."""
        self._celery: Celery | None = None
        if redis_url:
            self._celery = Celery("pleura", broker=redis_url, set_as_current=False)
            self._celery.conf.update(
                task_serializer="json",
                accept_content=["json"],
                task_ignore_result=True,
                task_create_missing_queues=True,
                task_publish_retry=False,
                broker_connection_retry=False,
                broker_use_ssl=dict(tls or {}) or None,
                broker_connection_timeout=_SECONDS,
                broker_transport_options={
                    "socket_connect_timeout": _SECONDS,
                    "socket_timeout": _SECONDS,
                    "visibility_timeout": visibility_seconds,
                    "max_retries": 0,
                },
            )

    @property
    def has_address(self) -> bool:
        """Whether there is a Redis to announce anything over."""
        return self._celery is not None

    def notify(self, kind: JobKind, job_id: UUID) -> bool:
        """Send one message; False when Redis did not accept it."""
        if self._celery is None or kind not in TASKS:
            return False
        try:
            self._celery.send_task(
                TASKS[kind],
                args=[str(job_id)],
                queue=job.QUEUE_OF[kind].value,
                retry=False,
                ignore_result=True,
            )
        except Exception as error:  # kombu does not wrap its transport's errors
            _log.warning("the job could not be announced over Redis: %s", type(error).__name__)
            return False
        return True

    def waiting(self, kind: JobKind) -> int | None:
        """How many messages of this kind wait for a worker; None when Redis is down."""
        if self._celery is None:
            return None
        try:
            with self._celery.connection_for_write() as connection:
                return int(
                    connection.default_channel.client.llen(job.QUEUE_OF.get(kind, kind).value)
                )
        except Exception as error:
            _log.warning("the queue in Redis could not be read: %s", type(error).__name__)
            return None

    def close(self) -> None:
        """Close the connections."""
        if self._celery is not None:
            self._celery.close()
