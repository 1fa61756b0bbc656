"""Waiting for a stage to have done its part: each asks the stage itself, none sleeps and hopes."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tickloom.clock import NS_PER_S, SystemClock
from tickloom.errors import ServiceTimeout
from tickloom.settings import FlinkSettings, KafkaSettings

POLL_S = 0.25


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


def session_over_ns(session_date: str) -> int:
    """A watermark beyond this says that the session of that day has ended: an ingester moves it on by
    a day then. Noon UTC of the day after lies behind every event and before every such end."""
    day = datetime.fromisoformat(session_date).replace(tzinfo=UTC)
    return int((day + timedelta(hours=36)).timestamp()) * NS_PER_S


def published(venue: str, session: str, over_ns: int) -> bool:
    """Every partition of the venue's ticks carries the end of the session."""
    from ingest.kafka_tail import read_tails
    from tickloom import topics

    kafka = KafkaSettings.load()
    tails = read_tails([topics.ticks(venue)], session, kafka)
    return len(tails) == kafka.tick_partitions and all(tail.watermark >= over_ns for tail in tails.values())


def scrape(port: int, family: str) -> dict[tuple[str, ...], float]:
    """One metric of a process on loopback: label values, in the order of their names, to value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found: dict[tuple[str, ...], float] = {}
    for metric in text_string_to_metric_families(text):
        if metric.name == family:
            for sample in metric.samples:
                if not sample.name.endswith("_created"):
                    found[tuple(sample.labels[name] for name in sorted(sample.labels))] = sample.value
    return found


def sinks_level(port: int) -> bool:
    """Both sinks of an ingester were handed the same events (those of a resumed run aside)."""
    totals: dict[str, float] = {}
    for (sink, _, _), value in scrape(port, "tickloom_ingest_published").items():
        totals[sink] = totals.get(sink, 0.0) + value
    return len(totals) == 2 and len(set(totals.values())) == 1


def jobs_done(over_ns: int) -> bool:
    """Every running Flink job has processed event time up to the end of the session."""
    base = FlinkSettings.load().rest_url
    with httpx.Client(base_url=base, timeout=10.0, trust_env=False) as client:
        jobs = [job["id"] for job in client.get("/jobs").json()["jobs"] if job["status"] == "RUNNING"]
        if not jobs:
            return False
        for job in jobs:
            for vertex in client.get(f"/jobs/{job}").json()["vertices"]:
                marks = client.get(f"/jobs/{job}/vertices/{vertex['id']}/watermarks").json()
                if not all(int(mark["value"]) >= over_ns // 1_000_000 for mark in marks):
                    return False
    return True


def agent_quiet() -> bool:
    """The agent's journal has the effect of every signal on Kafka, no order is open, all facts are out."""
    from execution.journal import Journal
    from execution.service import journal_path
    from execution.signal_log import SignalLog
    from tickloom import topics
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
