"""Stored events in, the signals that a rule gives over them out, on either engine: those of the live run.

On Flink the events go through a Kafka topic of their own, encoded and sharded as the ingesters do it, so
the job differs from the live one only in that it ends. The compiled engine runs in this process and needs
no server. What rules read of computed views (``streaming.derived``) is computed from the same events.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import tee

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec import structs

from streaming import derived, engines, rules
from streaming.authoring import linter
from streaming.engines import RuleMatcher
from streaming.live import client
from streaming.live.client import JobOptions
from streaming.live.cluster import ENDED, Cluster
from streaming.live.origin import Engine
from streaming.rules import Rule
from streaming.stored.replay import KAFKA_TIMEOUT_S, in_order, publish, publish_all
from tickloom import topics
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from tickloom.errors import RuleError, ServiceError, ServiceTimeout
from tickloom.events import EventBlock, Signal
from tickloom.settings import FlinkSettings, KafkaSettings

__all__ = [
    "Metered",
    "distinct",
    "publish",
    "read_signals",
    "run",
    "run_compiled",
    "run_on",
    "signal_from_json",
]

WATERMARK_INTERVAL_MS = 50
RESTARTS_MAX = 3
TIMEOUT_S = 3_600.0
_NULL = re.compile(r"EnforcerException: Column '(\w+)' is NOT NULL")
STATE_POLL_S = 0.1
PROGRESS_POLL_S = 1.0

OnTime = Callable[[int], None]
"""Is told the event time that was reached, ns."""


class Metered:
    """Blocks on their way through, counted.

    Attributes
    ----------
    events : int
        So far; without book deltas, which rules do not read.
    reached_ns : int
        Event time of the last one.
    """

    def __init__(self, blocks: Iterable[EventBlock], on_time: OnTime | None = None) -> None:
        self.events = self.reached_ns = 0
        self._blocks, self._on_time = blocks, on_time

    def __iter__(self) -> Iterator[EventBlock]:
        for block in self._blocks:
            yield block  # whoever takes the next one is done with this one
            kinds = [records for name, records in block.every_kind().items() if name != "book_deltas"]
            self.events += sum(len(records) for records in kinds)
            self.reached_ns = max(
                self.reached_ns, *(int(records["ts_event"][-1]) for records in kinds if len(records)), 0
            )
            if self._on_time is not None:
                self._on_time(self.reached_ns)


def run_on(
    engine: Engine,
    rule: Rule,
    blocks: Iterable[EventBlock],
    flink: FlinkSettings,
    kafka: KafkaSettings,
    *,
    overrides: Mapping[str, str] | None = None,
    on_time: OnTime | None = None,
) -> list[Signal]:
    """Signals of one rule over ``blocks`` on that engine; see :func:`run` and :func:`run_compiled`."""
    if engine == "compiled":
        return run_compiled([rule], blocks, overrides=overrides)[rule.name]
    return run([rule], blocks, flink, kafka, overrides=overrides, on_time=on_time)[rule.name]


def run_compiled(
    wanted: Sequence[Rule],
    blocks: Iterable[EventBlock],
    *,
    overrides: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> dict[str, list[Signal]]:
    """Signals of each rule over ``blocks`` by the compiled engine, in this process.

    Parameters
    ----------
    blocks : iterable of EventBlock
        As for :func:`run`.
    clock : Clock, optional
        Stamps the signals.

    Raises
    ------
    RuleError
        The linter or the compiled engine refuses a rule.
    FeedError
        The blocks go back in time, or are of another venue than a rule.
    """
    wanted = _checked(wanted, overrides)
    clock = clock or SystemClock()
    groups: dict[str, list[tuple[RuleMatcher, list[Signal]]]] = {}
    views: dict[str, tuple[str, ...]] = {}
    found: dict[str, list[Signal]] = {}
    for rule in wanted:
        read = tuple(engines.views_read(rule))
        source = derived.source_name(read)
        views[source], found[rule.name] = read, []
        groups.setdefault(source, []).append((engines.make_matcher(rule), found[rule.name]))
    venues = {rule.venue for rule in wanted}
    copies = tee(blocks, len(groups)) if len(groups) > 1 else [blocks]
    running = [
        _matching(in_order(copy, venues, views[source]), group, clock)
        for copy, (source, group) in zip(copies, groups.items(), strict=True)
    ]
    while running:  # in step, so that a copy has little to remember
        running = [one for one in running if next(one, None) is not None]
    return {name: distinct(signals) for name, signals in found.items()}


def _matching(
    blocks: Iterator[tuple[EventBlock, int]],
    group: Sequence[tuple[RuleMatcher, list[Signal]]],
    clock: Clock,
) -> Iterator[int]:
    """Push block by block through the matchers of rules that read the same; yields each watermark."""
    for block, watermark in blocks:
        for matcher, found in group:
            found += _stamped(matcher.push(block, watermark), clock)
        yield watermark
    for matcher, found in group:
        found += _stamped(matcher.finish(), clock)


def _stamped(signals: list[Signal], clock: Clock) -> list[Signal]:
    now_ns = clock.now_ns() if signals else 0
    return [structs.replace(signal, ts_signal=now_ns) for signal in signals]


def run(
    wanted: Sequence[Rule],
    blocks: Iterable[EventBlock],
    flink: FlinkSettings,
    kafka: KafkaSettings,
    *,
    overrides: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
    on_time: OnTime | None = None,
) -> dict[str, list[Signal]]:
    """Signals of each rule over ``blocks`` by Flink, in the order of ts_event, symbol, last_seq.

    Parameters
    ----------
    blocks : iterable of EventBlock
        Of one venue, none of whose events is older than those of an earlier block.
    on_time : callable, optional
        Is told now and then how far in event time the jobs are.

    Raises
    ------
    RuleError
        The linter or Flink refuses a rule.
    FeedError
        The blocks go back in time, or are of another venue than a rule.
    ServiceError
        A server does not answer, or a job fails.
    """
    wanted = _checked(wanted, overrides)
    replay_id = uuid.uuid4().hex[:12]
    signals = f"replay.{replay_id}.signals"
    views = {rule.name: tuple(engines.views_read(rule)) for rule in wanted}
    sources = {name: f"replay.{replay_id}.{derived.source_name(read)}" for name, read in views.items()}
    news = f"replay.{replay_id}.{derived.NEWS}"
    read = {topic: views[name] for name, topic in sources.items()}
    if any(map(derived.news_beside, views.values())):
        read[news] = (derived.NEWS,)
    # A partition that is read ahead of the others fills MATCH_RECOGNIZE with rows that wait for the
    # watermark, and each timer of a key looks at all that wait: over four partitions a rule was seven
    # times slower than over one. So there is one for each subtask, and no more.
    narrow = kafka.model_copy(update={"tick_partitions": flink.parallelism})
    cluster = Cluster(flink)
    jobs: dict[str, str] = {}
    topics.ensure_topics([*read], narrow)  # no broker: said at once, there is nothing to tidy up
    try:
        topics.ensure_topics([signals], kafka)
        ends = publish_all(blocks, read, narrow, {rule.venue for rule in wanted})
        for rule in wanted:
            options = bounded_options(rule, sources[rule.name], signals, flink, news)
            jobs[rule.name] = client.submit(rule, options, flink, kafka)
        _wait(cluster, jobs, timeout_s, on_time)
        found = distinct(read_signals(signals, kafka))
    finally:
        _tidy(cluster, jobs, (*read, signals), kafka)
    return {
        rule.name: engines.proven(
            rule, [signal for signal in found if signal.rule == rule.name], ends.get(sources[rule.name], 0)
        )
        for rule in wanted
    }


def _checked(wanted: Sequence[Rule], overrides: Mapping[str, str] | None) -> list[Rule]:
    """The rules with their parameters built in, once the linter has nothing against them."""
    bound = [rules.bind(rule, overrides) for rule in wanted]
    for rule in bound:
        linter.check(rule)
    return bound


def _why(failure: str) -> str:
    """A job's failure as its user can act on it: Flink's own advice about a NULL is to drop the signal."""
    column = _NULL.search(failure)
    if column is None:
        return failure
    return f"a signal has no {column[1]}. Let the pattern or a WHERE behind it see to it that nothing is NULL"


def _wait(cluster: Cluster, jobs: Mapping[str, str], timeout_s: float, on_time: OnTime | None) -> None:
    """Return when all jobs have finished.

    Raises
    ------
    ServiceError
        One failed.
    """
    running, clock = dict(jobs), SystemClock()
    began = told = clock.monotonic_ns()
    while running:
        for name, job_id in list(running.items()):
            state = cluster.state(job_id)
            if state == "FINISHED":
                del running[name]
            elif state in ENDED:
                raise ServiceError(f"rule {name} over history is {state}: {_why(cluster.failure(job_id))}")
        now = clock.monotonic_ns()
        if now - began > timeout_s * NS_PER_S:
            raise ServiceTimeout(
                f"{', '.join(running)} over history still run after {timeout_s:.0f} s. Take a shorter time, "
                "or see `tickloom logs flink-taskmanager`."
            )
        if running and on_time is not None and now - told > PROGRESS_POLL_S * NS_PER_S:
            told = now
            on_time(min(cluster.event_time_ms(job_id) for job_id in running.values()) * NS_PER_MS)
        if running:
            time.sleep(STATE_POLL_S)


def read_signals(topic: str, kafka: KafkaSettings) -> list[Signal]:
    """Every signal that the topic holds now, duplicates included, partition by partition.

    Raises
    ------
    ServiceError
        The broker does not answer, or what is there is no signal.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": "tickloom-history",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    signals: list[Signal] = []
    try:
        for number in consumer.list_topics(topic, timeout=KAFKA_TIMEOUT_S).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=KAFKA_TIMEOUT_S)
            consumer.assign([TopicPartition(topic, number, low)])
            while low < high:
                message = consumer.poll(KAFKA_TIMEOUT_S)
                if message is None or message.error():
                    raise ServiceError(
                        f"Kafka at {kafka.bootstrap} stopped in {topic} at offset {low} of {high}"
                    )
                low = message.offset() + 1
                signals.append(signal_from_json(message.value()))
    except KafkaException as error:
        raise ServiceError(
            f"Kafka at {kafka.bootstrap} does not answer ({error}). See `tickloom status`."
        ) from error
    finally:
        consumer.close()
    return signals


def signal_from_json(raw: bytes) -> Signal:
    """A record of the topic ``signals`` as a Signal."""
    values = json.loads(raw)
    for name in ("strength", "ref_price"):
        if isinstance(values.get(name), str):  # Infinity, NaN
            values[name] = float(values[name])
    try:
        return Signal(**{name: values[name] for name in Signal.__struct_fields__})
    except KeyError as error:
        raise ServiceError(f"a record of the signals topic has no {error}; who else writes to it?") from None


def distinct(signals: Iterable[Signal]) -> list[Signal]:
    """Each signal once (delivery is at least once), in the order of ts_event, symbol, last_seq."""
    first: dict[str, Signal] = {}
    for signal in signals:
        first.setdefault(signal.signal_id, signal)
    return sorted(first.values(), key=lambda one: (one.ts_event, one.symbol, one.last_seq, one.rule))


def bounded_options(
    rule: Rule, ticks: str, signals: str, flink: FlinkSettings, news: str = topics.NEWS
) -> JobOptions:
    """A job over topics of stored events, which ends with them."""
    source = {
        "scan.startup.mode": "earliest-offset",
        "scan.bounded.mode": "latest-offset",
        # with the batch that carries it, not later: what comes in between would wait for the next one
        "scan.watermark.emit.strategy": "on-event",
    }
    return JobOptions(
        ticks,
        signals,
        source,
        {
            "pipeline.name": f"history of {rule.job_name}",
            "parallelism.default": str(flink.parallelism),
            "pipeline.auto-watermark-interval": f"{WATERMARK_INTERVAL_MS} ms",
            "pipeline.object-reuse": "true",
            "table.local-time-zone": "UTC",
            "table.exec.sink.not-null-enforcer": "ERROR",
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": str(RESTARTS_MAX),
            "execution.attached": "false",
        },
        news_topic=news,
        news_source=source,
    )


def _tidy(cluster: Cluster, jobs: Mapping[str, str], used: Sequence[str], kafka: KafkaSettings) -> None:
    """Leave neither jobs nor topics behind; what prevents that must not hide the error that led here."""
    try:
        for job_id in jobs.values():
            cluster.cancel(job_id)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        for future in admin.delete_topics(list(used), operation_timeout=KAFKA_TIMEOUT_S).values():
            future.exception(timeout=KAFKA_TIMEOUT_S)
    except (ServiceError, KafkaException, RuleError, TimeoutError):  # no broker: a future waits in vain
        pass
