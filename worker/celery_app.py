"""The Celery application ``pleura``: its queues, and how messages are taken from Redis.

Messages are JSON and carry one job id. There is no result backend: the portal's database has how a
job ended. A task only hands the id over, so Celery's pool is the main thread; jobs are done in
processes of their own, which go on when Redis does not.
"""

from __future__ import annotations

import logging

from celery import Celery
from kombu.entity import Exchange, Queue

from worker.contract.job import QUEUES
from worker.contract.tls import redis_options
from worker.settings import Settings, load

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0


def make_app(settings: Settings) -> Celery:
    """An application for one worker."""
    app = Celery("pleura", broker=settings.redis_url, include=["worker.tasks"], set_as_current=True)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        result_backend=None,
        enable_utc=True,
        task_queues=[_queue(queue.value) for queue in QUEUES],
        task_create_missing_queues=False,
        # A message is acknowledged when a thread of the worker has room for its job.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_pool="solo",
        worker_concurrency=1,
        broker_transport_options={
            "visibility_timeout": settings.visibility_seconds,
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_keepalive": True,
        },
        # While Redis is down the worker asks the portal, and Celery tries to connect again. Where
        # it does not consume afterwards, `worker.life` ends the worker.
        broker_connection_retry_on_startup=True,
        broker_use_ssl=redis_options(settings.redis_url, settings.tls_ca_file) or None,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # Workers take no commands through Redis: who can write to Redis can start jobs, no more.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
    )
    return app


def _queue(name: str) -> Queue:
    exchange = Exchange(name, type="direct")  # type: ignore[no-untyped-call]
    return Queue(name, exchange, routing_key=name)  # type: ignore[no-untyped-call]


app = make_app(load())


def messages_waiting(queue: str) -> int:
    """How many messages wait in Redis for a worker of the queue; 0 where Redis is down."""
    try:
        with app.connection_for_read() as connection:
            return int(connection.default_channel.client.llen(queue))
    except Exception as error:  # kombu does not wrap its transport's errors
        log.debug("the queue in Redis could not be read: %s", type(error).__name__)
        return 0
