"""The Faust agent: the signals topic in, one call a message. Thin; the service does the work.

What was learnt about faust-streaming 0.15.3, and what is done about it:

- It may commit past a message in flight when it works concurrently, and loses its place in other ways
  after rebalances: concurrency is 1, and the journal's offsets, not Faust's, say where to go on.
- After a broker's restart a worker may run on and deliver nothing: the service watches for that and ends
  the process, and whoever supervises it starts it again.
- It sets up logging of its own: switched off, its records go through the process's structlog.
- A killed worker's seat in the group is taken only after the session timeout: a fixed group instance id
  (static membership) gives it to the successor at once.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

import faust
import structlog

from execution.service import ExecutionService
from tickloom import topics
from tickloom.clock import NS_PER_S, Clock, SystemClock
from tickloom.errors import TickloomError
from tickloom.settings import ExecutionSettings, KafkaSettings
from tickloom.telemetry import start_metrics

APP_ID = "tickloom-agent"
EXIT_FAILED = 70  # EX_SOFTWARE: restart me
SESSION_TIMEOUT_S = 6.0  # the least that a broker with default settings takes
HEARTBEAT_S = 1.5
COMMIT_S = 1.0
SKIP_TIMEOUT_S = 5.0
QUIET_NS = 5 * NS_PER_S
#: Each statement on the journal lets go of the interpreter; behind the outbox's threads, which encode facts,
#: it came back after the 5 ms that are Python's default: eight statements a signal.
SWITCH_INTERVAL_S = 0.000_1

_log = structlog.get_logger("agent")


def build_app(
    settings: ExecutionSettings, kafka: KafkaSettings, data_dir: Path, service: ExecutionService
) -> Any:
    """The Faust app with its one agent."""
    app = faust.App(
        APP_ID,
        broker=f"kafka://{kafka.bootstrap}",
        datadir=str(data_dir / "execution" / "faust"),
        store="memory://",
        loop=asyncio.get_event_loop(),
        value_serializer="raw",
        key_serializer="raw",
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=APP_ID,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_commit_interval=COMMIT_S,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=settings.web_port != 0,
        web_bind="127.0.0.1",
        web_host="127.0.0.1",
        web_port=settings.web_port or 6066,
    )
    service.intake.delivery = delivery = FaustDelivery(app)
    channel = app.topic(topics.SIGNALS, value_serializer="raw", key_serializer="raw")

    @app.agent(channel, concurrency=1)  # type: ignore[untyped-decorator]
    async def signals(stream: Any) -> None:
        async for event in stream.events():
            try:
                place, behind = event.message, delivery.behind(event.message)
                await service.intake.accept(event.value or b"", place.partition, place.offset, behind)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # Faust would go on to the next message
                service.fail(error)
                raise

    @app.task()  # type: ignore[untyped-decorator]
    async def ready() -> None:
        start_metrics(settings.metrics_port)
        _log.info("agent_ready", enabled=settings.enabled, venues=list(settings.venues))

    return app


class FaustDelivery:
    """Tells Faust's consumer to wait while the signals are read from the log; see
    :class:`execution.intake.Delivery`. Its seat in the group, and what it commits, go on meanwhile."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def _of(self, partitions: Iterable[int]) -> set[Any]:
        wanted, all_of_them = set(partitions), self._app.consumer.assignment()
        return {tp for tp in all_of_them if tp.topic == topics.SIGNALS and tp.partition in wanted}

    def pause(self, partitions: Iterable[int]) -> None:
        self._app.consumer.pause_partitions(self._of(partitions))

    async def skip_to(self, offsets: Mapping[int, int]) -> None:
        """Commits them and goes there: after a seek alone Faust would wait for what is missing before, and
        never commit again. Where it cannot, it delivers what was taken, which is skipped."""
        consumer = self._app.consumer
        try:
            async with asyncio.timeout(SKIP_TIMEOUT_S):
                await consumer._commit({tp: offsets[tp.partition] for tp in self._of(offsets)})
                await consumer.perform_seek()
        except Exception as error:  # of which aiokafka has many, while a broker is away or the group changes
            _log.warning("consumer_not_moved", error=str(error) or type(error).__name__)

    def behind(self, message: Any) -> int:
        """How many more messages the partition had when the last ones were fetched."""
        try:
            high = self._app.consumer.highwater(message.tp)
        except Exception:  # the partition is not ours at the moment
            return 0
        return int(high or 0) - int(message.offset) - 1

    def resume(self, partitions: Iterable[int]) -> None:
        self._app.consumer.resume_partitions(self._of(partitions))


class _Worker(faust.Worker):  # type: ignore[misc]
    """Closes the service when Faust has stopped, before the loop is torn down."""

    service: ExecutionService

    def on_worker_shutdown(self) -> None:
        self.loop.run_until_complete(self.service.close())


def run(
    make_service: Callable[[], ExecutionService],
    settings: ExecutionSettings,
    kafka: KafkaSettings,
    data_dir: Path,
    feeds: tuple[str, ...],
) -> None:
    """Run until SIGTERM (exit code 0), or until something fails (nonzero). Does not return.

    Parameters
    ----------
    feeds : tuple of str
        The venues whose ticks it follows.

    Raises
    ------
    TickloomError
        The service cannot start.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    service = loop.run_until_complete(_started(make_service, feeds, kafka))
    service.failed.add_done_callback(_end)
    gc.freeze()  # what is there stays; looking through it again and again takes the loop's time
    for name in ("faust", "mode", "aiokafka"):
        logging.getLogger(name).setLevel(
            logging.WARNING
        )  # each of their many services says hello and goodbye
    app = build_app(settings, kafka, data_dir, service)
    worker = _Worker(app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False)
    worker.service = service
    worker.execute_from_commandline()


def _quieten() -> None:
    """Faust's many services say hello and goodbye; without a broker aiokafka logs 100 lines/s."""
    for name in ("faust", "mode", "aiokafka"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_OncePerWhile(SystemClock()))


class _OncePerWhile(logging.Filter):
    """Passes one record a logger and level every few seconds of what aiokafka says."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._passed_ns: dict[tuple[str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("aiokafka"):
            return True
        now_ns, key = self._clock.monotonic_ns(), (record.name, record.levelno)
        if now_ns - self._passed_ns.get(key, -QUIET_NS) < QUIET_NS:
            return False
        self._passed_ns[key] = now_ns
        return True


def _started(
    make_service: Callable[[], ExecutionService], feeds: tuple[str, ...], kafka: KafkaSettings
) -> Coroutine[Any, Any, ExecutionService]:
    async def start() -> ExecutionService:
        names = [topics.SIGNALS, topics.ORDERS, topics.EXECUTIONS, topics.POSITIONS]
        names += [topic(venue) for venue in feeds for topic in (topics.ticks, topics.trust)]
        await asyncio.to_thread(topics.ensure_topics, names, kafka)
        service = make_service()
        await service.start()
        return service

    return start()


def _end(failed: asyncio.Future[None]) -> None:
    """End at once: a worker that is told to crash may hang, and the journal needs no goodbye."""
    error = failed.exception() if not failed.cancelled() else None
    if error is None:
        return
    if not isinstance(error, TickloomError):
        _log.critical("agent_failed", exc_info=error)
    _log.critical("agent_ends", error=str(error), exit_code=EXIT_FAILED)
    sys.stderr.flush()
    os._exit(EXIT_FAILED)
