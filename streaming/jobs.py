"""Rules in, running jobs out: what `tickloom rules submit | stop | status | explain` do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streaming import client, linter, rules, tables
from streaming.client import JobOptions
from streaming.cluster import Cluster
from streaming.rules import Rule
from tickloom import topics
from tickloom.errors import ServiceError
from tickloom.settings import FlinkSettings, KafkaSettings

OFFSETS_TIMEOUT_S = 15.0
BUFFER_TIMEOUT_MS = 5  # Flink's 100 ms would be most of a signal's latency

Start = Literal["earliest", "latest"]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A rule that now runs. version: with its overrides (:func:`streaming.rules.version_of`)."""

    rule: str
    version: str
    job_id: str


def submit(
    wanted: Sequence[Rule],
    flink: FlinkSettings,
    kafka: KafkaSettings,
    *,
    start: Start = "latest",
    overrides: Mapping[str, str] | None = None,
    replace: bool = False,
    savepoint: str = "",
    signal_topic: str = topics.SIGNALS,
) -> Iterator[Submitted]:
    """Run each rule as a job of its own; yields each one when all its tasks run.

    Parameters
    ----------
    start : {"earliest", "latest"}
        Where in the topic to begin: with all that it still holds, or with what comes from now on.
    replace : bool
        Stop a job of the same rule first; else it is an error that one runs.
    savepoint : str
        Go on from this savepoint, which :func:`stop` gave; one rule only.

    Raises
    ------
    RuleError
        The linter or Flink refuses a rule. All rules pass the linter before the first is submitted.
    ServiceError
        A server does not answer, a rule already runs, or no slot is free.
    """
    wanted = [rules.bind(rule, overrides) for rule in wanted]
    for rule in wanted:
        linter.check(rule)
    cluster = Cluster(flink)
    for rule in wanted:
        running = cluster.running(rule.name)
        if running and not replace:
            raise ServiceError(
                f"rule {rule.name} already runs as job {running[0].job_id}. "
                f"Stop it (`tickloom rules stop {rule.name}`) or give --replace."
            )
        for job in running:
            cluster.cancel(job.job_id)
    _require_slots(cluster, flink, len(wanted))
    topics.ensure_topics([*{tables.tick_topic(rule.venue) for rule in wanted}, signal_topic], kafka)
    submitted = []
    for rule in wanted:
        options = live_options(rule, flink, kafka, start, signal_topic, savepoint)
        job_id = client.submit(rule, options, flink, kafka)
        submitted.append(Submitted(rule.name, rule.version, job_id))
    for one in submitted:
        cluster.wait_running(one.job_id)
        yield one


def explain(
    rule: Rule, flink: FlinkSettings, kafka: KafkaSettings, overrides: Mapping[str, str] | None = None
) -> str:
    """Flink's plan of a rule; needs no server.

    Raises
    ------
    RuleError
        The linter or Flink refuses it.
    """
    rule = rules.bind(rule, overrides)
    linter.check(rule)
    options = JobOptions(tables.tick_topic(rule.venue), topics.SIGNALS, _earliest(), _common(rule, flink))
    return client.explain(rule, options, flink, kafka)


def stop(name: str, flink: FlinkSettings, *, savepoint: bool = True) -> list[str]:
    """Stop every job of a rule. Returns the savepoints' paths; none without ``savepoint``.

    Raises
    ------
    ServiceError
        It does not run, or Flink does not stop it.
    """
    cluster = Cluster(flink)
    running = cluster.running(name)
    if not running:
        known = ", ".join(job.rule for job in cluster.rule_jobs()) or "none"
        raise ServiceError(f"rule {name} does not run. Running are: {known}.")
    paths = []
    for job in running:
        if savepoint and job.state == "RUNNING":
            paths.append(cluster.stop(job.job_id))
        else:
            cluster.cancel(job.job_id)
    return paths


def live_options(
    rule: Rule,
    flink: FlinkSettings,
    kafka: KafkaSettings,
    start: Start,
    signal_topic: str,
    savepoint: str = "",
) -> JobOptions:
    """A job over the live stream: checkpointed, without an end, with frequent watermarks."""
    topic = tables.tick_topic(rule.venue)
    source = _earliest() if start == "earliest" else _ends_now(topic, kafka)
    configuration = {
        **_common(rule, flink),
        "execution.checkpointing.interval": f"{flink.checkpoint_interval_ms} ms",
        "pipeline.auto-watermark-interval": f"{flink.watermark_interval_ms} ms",
        "execution.buffer-timeout.interval": f"{BUFFER_TIMEOUT_MS} ms",
    }
    if savepoint:
        configuration["execution.state-recovery.path"] = savepoint
    return JobOptions(topic, signal_topic, source, configuration)


def _common(rule: Rule, flink: FlinkSettings) -> dict[str, str]:
    return {
        "pipeline.name": rule.job_name,
        "parallelism.default": str(flink.parallelism),
        "pipeline.object-reuse": "true",  # else every row is copied between chained operators
        "table.local-time-zone": "UTC",
        "table.exec.sink.not-null-enforcer": "ERROR",
        "execution.attached": "false",
    }


def _earliest() -> dict[str, str]:
    return {"scan.startup.mode": "earliest-offset"}


def _ends_now(topic: str, kafka: KafkaSettings) -> dict[str, str]:
    """Begin behind what the topic holds at this moment.

    Flink's own latest-offset is looked up when the job starts, and again if it fails before its first
    checkpoint: what came in between would be skipped.
    """
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "tickloom-rules", "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=OFFSETS_TIMEOUT_S).topics[topic].partitions
        ends = {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=OFFSETS_TIMEOUT_S)[
                1
            ]
            for number in partitions
        }
    except KafkaException as error:
        raise ServiceError(
            f"Kafka at {kafka.bootstrap} does not answer ({error}). Is it up? See `tickloom status`."
        ) from error
    finally:
        consumer.close()
    offsets = ";".join(f"partition:{number},offset:{end}" for number, end in sorted(ends.items()))
    return {"scan.startup.mode": "specific-offsets", "scan.startup.specific-offsets": offsets}


def _require_slots(cluster: Cluster, flink: FlinkSettings, jobs: int) -> None:
    """A job without slots would wait minutes for one, and fail then."""
    free, needed = cluster.free_slots(), jobs * flink.parallelism
    if free < needed:
        raise ServiceError(
            f"Flink has {free} free slots; {jobs} rules of parallelism {flink.parallelism} need {needed}. "
            "Stop a rule, or raise flink.slots and start the stack again."
        )
