"""The Celery application ``pleura``: its queues and limits.

Messages are JSON and carry one job id. There is no result backend: the portal's database knows how
a job ended. This module imports no model: that is loaded in the child process.
"""

from __future__ import annotations

from celery import Celery
from kombu.entity import Exchange, Queue

from worker.contract.job import QUEUES
from worker.contract.tls import redis_options
from worker.settings import Settings, load

LOADING_SECONDS = 300.0


def make_app(settings: Settings) -> Celery:
    """An application whose limits follow from JOB_SECONDS."""
    app = Celery("pleura", broker=settings.redis_url, include=["worker.tasks"], set_as_current=True)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        result_backend=None,
        enable_utc=True,
        task_queues=[_queue(queue.value) for queue in QUEUES],
        task_create_missing_queues=False,
        # A message is acknowledged after the work. One whose process died is acknowledged too: the
        # portal's sweep alone sends a message again.
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_pool="prefork",
        worker_concurrency=1,
        # A process loads its model before it reports that it is up; Celery would kill it after 4 s
        # and start another, on a slow machine for ever.
        worker_proc_alive_timeout=LOADING_SECONDS,
        task_soft_time_limit=settings.soft_seconds,
        task_time_limit=settings.hard_seconds,
        broker_transport_options={"visibility_timeout": settings.visibility_seconds},
        # A worker survives a Redis that is away: it connects again within seconds.
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
