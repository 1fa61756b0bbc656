"""Waiting for a stage to have done its part: each asks the stage itself, none sleeps and hopes."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
from confluent_kafka import Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from tickloom import topics
from tickloom.clock import NS_PER_S, SystemClock
from tickloom.codec import TickBatch, decode
from tickloom.errors import ServiceTimeout
from tickloom.settings import FlinkSettings, KafkaSettings

POLL_S = 0.25
KAFKA_TIMEOUT_S = 10.0
OVER_BATCHES = "(compiled)"  # how the names of jobs over whole batches end


def until(what: str, done: Callable[[], bool], timeout_s: float, advice: str) -> None:
    """Poll ``done`` until it is true.

    Raises
    ------
    ServiceTimeout
        Saying what did not happen and what to look at.
    """
    clock = SystemClock()
    deadline_ns = clock.monotonic_ns() + int(timeout_s * NS_PER_S)
    while not done():
        if clock.monotonic_ns() > deadline_ns:
            raise ServiceTimeout(f"{what} did not happen within {timeout_s:.0f} s; {advice}")
        threading.Event().wait(POLL_S)


def session_over_ns(last_date: str) -> int:
    """A watermark beyond this says that a session that ends in that day has ended: an ingester moves it on to
    the end of the day then. A minute before midnight UTC is behind every event and before every such end."""
    day = datetime.fromisoformat(last_date).replace(tzinfo=UTC)
    return int((day + timedelta(days=1, minutes=-1)).timestamp()) * NS_PER_S


def published(topic: str, over_ns: int, read: Callable[[bytes], TickBatch] = decode) -> bool:
    """Every partition of a topic of batches ends with the end of the session."""
    kafka = KafkaSettings.load()
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": "tickloom-demo", "enable.auto.commit": False}
    )
    try:
        partitions = [TopicPartition(topic, number) for number in range(kafka.tick_partitions)]
        for partition in partitions:
            _, partition.offset = consumer.get_watermark_offsets(partition, timeout=KAFKA_TIMEOUT_S)
            partition.offset -= 1
        if any(partition.offset < 0 for partition in partitions):
            return False
        for partition in partitions:
            consumer.assign([partition])
            message = consumer.poll(KAFKA_TIMEOUT_S)
            if message is None or message.error() or read(message.value()).watermark < over_ns:
                return False
        return True
    finally:
        consumer.close()


def sinks_level(port: int) -> bool:
    """Both sinks of the ingester behind that metrics port were given the same number of events."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    given: dict[str, float] = {}
    for family in families:
        if family.name == "tickloom_ingest_handed_on":
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    sink = sample.labels["sink"]
                    given[sink] = given.get(sink, 0.0) + sample.value
    return len(given) == 2 and len(set(given.values())) == 1


def jobs_done(over_ns: int) -> bool:
    """Every running Flink job has processed event time up to the end of the session."""
    base = FlinkSettings.load().rest_url
    with httpx.Client(base_url=base, timeout=10.0, trust_env=False) as client:
        running = [job for job in client.get("/jobs/overview").json()["jobs"] if job["state"] == "RUNNING"]
        # a job over whole batches leaves event time to its program: what it writes tells how far it is
        jobs = [job["jid"] for job in running if not job["name"].endswith(OVER_BATCHES)]
        if not jobs:
            return False
        for job in jobs:
            for vertex in client.get(f"/jobs/{job}").json()["vertices"]:
                marks = client.get(f"/jobs/{job}/vertices/{vertex['id']}/watermarks").json()
                if not all(int(mark["value"]) >= over_ns // 1_000_000 for mark in marks):
                    return False
    return True


def spreads_stored(venue: str) -> bool:
    """The recorder has committed all that the venue's topic of spreads holds."""
    from storage.spreads import GROUP

    kafka = KafkaSettings.load()
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": GROUP, "enable.auto.commit": False}
    )
    try:
        places = [TopicPartition(topics.spreads(venue), number) for number in range(kafka.tick_partitions)]
        return all(
            place.offset >= consumer.get_watermark_offsets(place, timeout=KAFKA_TIMEOUT_S)[1]
            for place in consumer.committed(places, timeout=KAFKA_TIMEOUT_S)
        )
    finally:
        consumer.close()


def agent_quiet() -> bool:
    """The agent's journal has the effect of every signal on Kafka, no order is open, all facts are out."""
    from execution.journal import Journal
    from execution.service import journal_path
    from execution.signal_log import SignalLog
    from tickloom.settings import StackSettings

    log = SignalLog(KafkaSettings.load(), topics.SIGNALS)
    try:
        ends = {partition: end for partition, (_, end) in log.ranges().items() if end}
    finally:
        log.close()
    journal = Journal(journal_path(StackSettings.load().data_dir), read_only=True)
    try:
        taken = journal.next_offsets(topics.SIGNALS)
        if any(taken.get(partition, 0) < end for partition, end in ends.items()) or journal.open_orders():
            return False
        return not journal.facts_after(journal.outbox_cursor("questdb"), 1)
    finally:
        journal.close()
