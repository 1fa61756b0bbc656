"""A client without a broker is given up only where a new one would get a connection."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from tickloom.broker_watch import BrokerWatch, answers
from tickloom.clock import NS_PER_S, ReplayClock
from tickloom.settings import KafkaSettings

ANSWERED = 200  # polls of 50 ms


class Asked(ReplayClock):
    """Counts how often somebody looked at it: whether statistics came."""

    looks = 0

    def monotonic_ns(self) -> int:
        self.looks += 1
        return super().monotonic_ns()


def watched(watch: BrokerWatch, bootstrap: str, done: Callable[[], bool]) -> None:
    """Poll a producer until ``done``."""
    settings = {"bootstrap.servers": bootstrap, "log_level": 0, **watch.configuration()}
    producer = Producer({**settings, "statistics.interval.ms": 50})
    for _ in range(ANSWERED):
        producer.poll(0.05)
        if done():
            return
    raise AssertionError("no statistics came")


@pytest.mark.parametrize("there", [True, False])
def test_a_client_without_a_broker(kafka: KafkaSettings, free_port: int, there: bool) -> None:
    """It is lost if the broker is there for others, not before the patience is over, and asked about once in
    each patience; if the broker is away, it is the broker that is waited for."""
    settings = kafka if there else KafkaSettings(port=free_port)
    clock = Asked(10**18)
    watch = BrokerWatch(settings, clock, patience_s=10.0)
    assert not watch.lost()
    watched(watch, f"127.0.0.1:{free_port}", lambda: clock.looks > 0)
    clock.advance_by(9 * NS_PER_S)
    assert not watch.lost()
    clock.advance_by(NS_PER_S)
    assert watch.lost() == there
    clock.advance_by(NS_PER_S)
    assert not watch.lost()


def test_a_client_with_a_broker(kafka: KafkaSettings) -> None:
    """It is never lost, however long nothing has been sent."""
    clock = ReplayClock(10**18)
    watch = BrokerWatch(kafka, clock, patience_s=0.0)
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, **watch.configuration(), "statistics.interval.ms": 50}
    )
    producer.list_topics(timeout=20)
    for _ in range(20):
        producer.poll(0.05)
    clock.advance_by(3_600 * NS_PER_S)
    assert not watch.lost()


def test_answers(kafka: KafkaSettings, free_port: int) -> None:
    """True of the broker that is there, False of a port where nobody listens."""
    assert answers(kafka, timeout_s=20)
    assert not answers(KafkaSettings(port=free_port), timeout_s=0.5)
