"""The follower of tick topics: where it begins, and that a lost client costs no batch and doubles none."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from confluent_kafka import Producer

from execution.feed import FeedFollower
from tickloom import topics
from tickloom.broker_watch import BrokerWatch
from tickloom.codec import TickBatch, encode
from tickloom.events import QUOTE_DTYPE, EventBlock, SymbolTable
from tickloom.settings import KafkaSettings

WAIT_S = 30.0
_venues = itertools.count()


@pytest.fixture
def topic(kafka: KafkaSettings) -> str:
    """A tick topic of the test's own, with a hundred batches a partition."""
    name = topics.ticks(f"FEED{next(_venues)}")
    topics.ensure_topics([name], kafka)
    publish(kafka, name, range(1, 101))
    return name


def publish(kafka: KafkaSettings, topic: str, numbers: range) -> None:
    """A quote with each seq, on every partition."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for seq, shard in itertools.product(numbers, range(kafka.tick_partitions)):
        quotes = np.zeros(1, QUOTE_DTYPE)
        quotes["seq"] = seq
        block = EventBlock("FEED", "20261121", SymbolTable(["A"]), quotes=quotes)
        producer.produce(topic, encode(TickBatch(shard, seq, seq, seq, block)), partition=shard)
    assert producer.flush(WAIT_S) == 0


class Taken:
    """What a follower handed over, by partition."""

    def __init__(self, partitions: int) -> None:
        self.seqs: list[list[int]] = [[] for _ in range(partitions)]

    def __call__(self, batches: list[tuple[TickBatch, int]]) -> None:
        for batch, _ in batches:
            self.seqs[batch.shard].append(batch.first_seq)

    def wait(self, last: int) -> None:
        for _ in range(int(WAIT_S * 100)):
            if all(seqs and seqs[-1] >= last for seqs in self.seqs):
                return
            threading.Event().wait(0.01)
        raise AssertionError(f"{last} did not come: {self.seqs}")


class Losing(BrokerWatch):
    """Says at some looks that the client is lost."""

    looks = itertools.count(1)
    made = 0

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__(settings)
        type(self).made += 1

    def lost(self) -> bool:
        return next(self.looks) in (2, 3, 5, 8)


def test_a_lost_client(kafka: KafkaSettings, topic: str) -> None:
    """New clients go on behind what was handed over: nothing is missing, nothing comes twice."""
    taken = Taken(kafka.tick_partitions)
    follower = FeedFollower(kafka, [topic], None, taken, watch=Losing)
    follower.start()
    assert follower.caught_up.wait(WAIT_S)
    publish(kafka, topic, range(101, 151))
    taken.wait(150)
    follower.close()
    assert follower.failure is None
    assert Losing.made > 1
    assert taken.seqs == [list(range(1, 151))] * kafka.tick_partitions


def test_begins_so_many_records_back(kafka: KafkaSettings, topic: str) -> None:
    """Of each partition the last ones, then what comes."""
    taken = Taken(kafka.tick_partitions)
    follower = FeedFollower(kafka, [topic], 10, taken)
    follower.start()
    taken.wait(100)
    publish(kafka, topic, range(101, 103))
    taken.wait(102)
    follower.close()
    assert taken.seqs == [list(range(91, 103))] * kafka.tick_partitions
