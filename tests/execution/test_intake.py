"""How signals are taken when many come: from the log, each once, and back to the consumer. On a broker."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from execution.agent import APP_ID
from execution.intake import BATCH_MAX, FOLLOW_FROM, SignalIntake
from execution.signal_log import Message, SignalFollower, SignalLog
from tests.execution.rig import Rig, make_signal, trading_rig
from tickloom import topics
from tickloom.clock import SystemClock
from tickloom.errors import ServiceError
from tickloom.settings import KafkaSettings
from tickloom.stack.ports import free_ports

WAIT_S = 30.0
PARTITIONS = (0, 1)
COUNT = 5 * FOLLOW_FROM
_names = itertools.count()


@dataclass
class Consumer:
    """Stands for the one that delivers: what it was told."""

    told: list[tuple[str, object]] = field(default_factory=list)

    def pause(self, partitions: Iterable[int]) -> None:
        self.told.append(("pause", sorted(partitions)))

    async def skip_to(self, offsets: Mapping[int, int]) -> None:
        self.told.append(("skip_to", dict(offsets)))

    def resume(self, partitions: Iterable[int]) -> None:
        self.told.append(("resume", sorted(partitions)))


class World:
    """An intake on a topic of its own, and what it took."""

    def __init__(self, kafka: KafkaSettings, follows: KafkaSettings | None = None) -> None:
        self.topic = f"intake{next(_names)}"
        topics.ensure_topics([self.topic], kafka)
        self.producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        self.log = SignalLog(kafka, self.topic)
        self.consumer = Consumer()
        self.taken: list[Message] = []
        self.batches: list[int] = []
        self.fails_after = sys.maxsize
        self.intake = SignalIntake(
            self.log, lambda: SignalFollower(follows or kafka, self.topic), self.take, SystemClock()
        )
        self.intake.delivery = self.consumer

    async def take(self, batch: list[Message]) -> None:
        if len(self.taken) > self.fails_after:
            raise ServiceError("the journal is away")
        self.taken += batch
        self.batches.append(len(batch))
        batch.clear()

    def publish(self, numbers: Iterable[int]) -> None:
        for number, partition in itertools.product(numbers, PARTITIONS):
            self.producer.produce(self.topic, str(number), partition=partition)
        assert self.producer.flush(WAIT_S) == 0

    @asynccontextmanager
    async def taking(self) -> AsyncIterator[None]:
        """Takes what is delivered. No client of Kafka outlives it: other tests fork, which none survives."""
        for partition in PARTITIONS:
            await self.intake.begin(partition, 0, 0)
        task = asyncio.create_task(self.intake.take_waiting())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.get_running_loop().shutdown_default_executor()  # a look at the log under way
            self.log.close()
            del self.producer

    async def until(self, what: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while what not in [name for name, _ in self.consumer.told]:
                await asyncio.sleep(0.01)

    async def until_taken(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.taken) < count:
                await asyncio.sleep(0.01)

    def assert_each_once(self, count: int) -> None:
        for partition in PARTITIONS:
            found = [(value, offset) for value, at, offset in self.taken if at == partition]
            assert found == [(str(number).encode(), number) for number in range(count)]


def test_many_are_read_from_the_log_and_the_consumer_goes_on_behind_them(kafka: KafkaSettings) -> None:
    """One delivered message that has many behind it: all are taken in batches, each once and in the order of
    its partition; the consumer is told to wait, then where to go on. What it delivers again is skipped."""

    async def run() -> None:
        world = World(kafka)
        world.publish(range(COUNT))
        async with world.taking():
            await world.intake.accept(b"0", 0, 0, behind=COUNT - 1)
            await world.until("resume")
            world.assert_each_once(COUNT)
            assert max(world.batches) == BATCH_MAX
            assert len(world.batches) < len(world.taken) / 4
            assert world.consumer.told == [
                ("pause", [0, 1]),
                ("skip_to", {0: COUNT, 1: COUNT}),
                ("resume", [0, 1]),
            ]
            world.publish([COUNT])
            for partition, offset in itertools.product(PARTITIONS, (COUNT - 1, COUNT)):
                await world.intake.accept(str(offset).encode(), partition, offset)
            await world.until_taken(2 * (COUNT + 1))
            world.assert_each_once(COUNT + 1)

    asyncio.run(run())


def test_what_comes_before_the_consumer_delivers_again_is_taken(kafka: KafkaSettings) -> None:
    """Between the end of following and its first message the log is looked at all the same."""

    async def run() -> None:
        world = World(kafka)
        world.publish(range(FOLLOW_FROM))
        async with world.taking():
            await world.intake.accept(b"0", 0, 0, behind=FOLLOW_FROM)
            await world.until("resume")
            world.publish([FOLLOW_FROM])
            await world.until_taken(2 * (FOLLOW_FROM + 1))
            world.assert_each_once(FOLLOW_FROM + 1)

    asyncio.run(run())


def test_a_log_that_cannot_be_followed_leaves_it_to_the_consumer(kafka: KafkaSettings) -> None:
    """The follower reaches no broker: after a while the consumer goes on, and nothing was passed over."""

    async def run() -> None:
        world = World(kafka, follows=kafka.model_copy(update={"port": free_ports(1)[0]}))
        world.publish(range(FOLLOW_FROM))
        async with world.taking():
            await world.intake.accept(b"0", 0, 0, behind=FOLLOW_FROM)
            await world.until("resume")
            assert world.consumer.told[1:] == [("skip_to", {0: 1, 1: 0}), ("resume", [0, 1])]
            for partition, offset in itertools.product(PARTITIONS, range(FOLLOW_FROM)):
                await world.intake.accept(str(offset).encode(), partition, offset)
            await world.until_taken(2 * FOLLOW_FROM)
            world.assert_each_once(FOLLOW_FROM)

    asyncio.run(run())


def test_a_decision_that_fails_while_the_log_is_followed_ends_the_intake(kafka: KafkaSettings) -> None:
    """It is no trouble of the log's: its signals are not passed over, the successor begins with them."""

    async def run() -> None:
        world = World(kafka)
        world.publish(range(COUNT))
        for partition in PARTITIONS:
            await world.intake.begin(partition, 0, 0)
        await world.intake.accept(b"0", 0, 0, behind=COUNT - 1)
        world.fails_after = 3 * BATCH_MAX
        try:
            async with asyncio.timeout(WAIT_S):
                with pytest.raises(ServiceError, match="the journal is away"):
                    await world.intake.take_waiting()
        finally:
            world.log.close()
            del world.producer
        assert world.consumer.told[0] == ("pause", [0, 1])  # a read may be slow: then the consumer goes on
        assert len(world.taken) < 2 * COUNT

    asyncio.run(run())


@pytest.mark.parametrize("rate", [1, FOLLOW_FROM - 1])
def test_few_are_taken_as_they_are_delivered(kafka: KafkaSettings, rate: int) -> None:
    """Fewer than the consumer can deliver: it is left alone."""

    async def run() -> None:
        world = World(kafka)
        async with world.taking():
            for offset in range(rate):
                await world.intake.accept(str(offset).encode(), 0, offset)
            await world.until_taken(rate)
            assert world.consumer.told == []

    asyncio.run(run())


@pytest.mark.slow
def test_faust_waits_during_a_burst_and_goes_on_behind_it(tmp_path: Path) -> None:
    """The agent itself: of many signals most are read from the log; each is an order once, a later one
    too, and Faust's group is where the journal is."""
    with trading_rig(tmp_path) as rig:
        burst = [make_signal(number, "BRVO", "buy" if number % 2 else "sell") for number in range(1, COUNT)]
        rig.publish(burst)
        rig.wait_settled(len(burst))
        log = next(path for path in tmp_path.rglob("agent.log") if path.is_file())
        assert "follows_the_log" in log.read_text()
        rig.wait_for("the consumer", lambda _: "follows_the_consumer" in log.read_text())
        rig.publish([make_signal(COUNT, "BRVO")])
        rig.wait_settled(COUNT)
        rig.assert_consistent()
        with rig.journal() as journal:
            wanted = journal.next_offsets(topics.SIGNALS)
        rig.wait_for("Faust's commit", lambda _: committed(rig, wanted) == wanted)


def committed(rig: Rig, partitions: Iterable[int]) -> dict[int, int]:
    """What Faust's group has committed, by partition of the signals topic."""
    client = AdminClient({"bootstrap.servers": rig.kafka.bootstrap})
    places = [TopicPartition(topics.SIGNALS, partition) for partition in partitions]
    asked = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(APP_ID, places)])
    return {place.partition: place.offset for place in asked[APP_ID].result().topic_partitions}
