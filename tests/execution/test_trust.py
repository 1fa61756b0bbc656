"""Trust end to end: a capture, its changes on Kafka each once, and an agent that starts and knows them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from execution.feed import FeedFollower
from execution.market import MarketState
from ingest.capture import CaptureBatch, CaptureWriter, RecordKind
from ingest.kafka_sink import KafkaSink
from ingest.pipeline import load_capture
from ingest.trusted import TrustedDecoder
from tests.ingest.test_trust import Record, data, limits, ms
from tests.ingest.toy_feed import ToyDecoder
from tickloom import codec, topics, trust_codec
from tickloom.events import TrustState
from tickloom.settings import ItchSettings, KafkaSettings

WAIT_S = 30.0
_venues = itertools.count(1)
#: A is stale in the end, B was broken and is not any more, C is broken.
RECORDS: list[Record] = [
    (int(RecordKind.CLOCK), ms(0), limits(instrument=100, C=0)),
    data(10, ("quote", "A"), ("quote", "B"), ("quote", "C")),
    data(20, ("gap", "", 7, 9, "sequence")),
    data(30, ("quote", "A"), ("trade", "C")),
    data(120, ("quote", "B")),
    (int(RecordKind.CLOCK), ms(160), b""),
]


class Venue:
    """A venue of the test's own."""

    def __init__(self, kafka: KafkaSettings, path: Path) -> None:
        self.name, self._kafka, self._path = f"TRUST{next(_venues)}", kafka, path

    def decoder(self, session: str = ToyDecoder.session) -> ToyDecoder:
        decoder = ToyDecoder()
        decoder.venue, decoder.session = self.name, session
        return decoder

    def load(self, records: list[Record], session: str = ToyDecoder.session) -> dict[str, TrustState]:
        """Capture some more, and publish it all with a new sink: what a restarted ingester does."""
        path = self._path / session
        with CaptureWriter(path) as writer:
            for kind, ts, payload in records:
                writer.append(kind, ts, payload)
        sink = KafkaSink(self._kafka, ItchSettings(), self.name)
        for _ in load_capture(path, self.decoder(session), [sink]):
            pass
        sink.close()
        trusted = TrustedDecoder(self.decoder(session))
        for _ in load_capture(path, trusted):
            pass
        return trusted.states()

    def published(self) -> list[tuple[bytes, str, int, int]]:
        """Key, symbol, number and state of each record of the topic, in order of the numbers."""
        consumer = Consumer({"bootstrap.servers": self._kafka.bootstrap, "group.id": "test"})
        topic, found = topics.trust(self.name), []
        for partition in range(self._kafka.tick_partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
            consumer.assign([TopicPartition(topic, partition, low)])
            for _ in range(high - low):
                message = consumer.poll(20)
                assert message is not None
                assert not message.error()
                batch = trust_codec.decode(message.value())
                (row,) = batch.block.trust
                symbol = batch.block.symbols.names[row["symbol"]]
                found.append((message.key(), symbol, int(row["seq"]), int(row["state"])))
        consumer.close()
        return sorted(found, key=lambda each: each[2])

    def agent(self) -> MarketState:
        """What an agent knows that starts now, and has seen a quote of each."""
        market = MarketState()
        quotes = self.decoder().decode(
            CaptureBatch.of([data(1, ("quote", "A"), ("quote", "B"), ("quote", "C"))])
        )
        market.apply(codec.TickBatch(0, 0, 0, 0, quotes), 1)

        def take(batches: list[tuple[codec.TickBatch, int]]) -> None:
            for batch, _ in batches:
                market.apply_trust(batch)

        follower = FeedFollower(
            self._kafka,
            [topics.trust(self.name)],
            None,
            take,
            decode=trust_codec.decode,
        )
        follower.start()
        assert follower.caught_up.wait(WAIT_S)
        follower.close()
        assert follower.failure is None
        return market

    def why(self, market: MarketState) -> dict[str, str]:
        views = {name: market.view(self.name, name) for name in ("A", "B", "C")}
        return {name: view.untrusted.partition(" ")[0] for name, view in views.items() if view is not None}


@pytest.fixture
def venue(kafka: KafkaSettings, tmp_path: Path) -> Venue:
    return Venue(kafka, tmp_path)


def test_an_agent_that_starts_knows_what_is_not_trusted(venue: Venue) -> None:
    """Each change is published once however often the ingester restarts, under its instrument's key; an agent
    knows the states at once; a day that is loaded again changes nothing."""
    states = venue.load(RECORDS)
    assert states == {
        "": TrustState.TRUSTED,
        "A": TrustState.STALE,
        "B": TrustState.TRUSTED,
        "C": TrustState.BROKEN,
    }
    first = venue.published()
    assert [seq for _, _, seq, _ in first] == list(range(first[0][2], first[0][2] + len(first)))
    assert {(key, symbol) for key, symbol, _, _ in first} == {
        (f"{venue.name} {symbol}".encode(), symbol) for symbol in states
    }
    assert venue.why(venue.agent()) == {"A": "stale", "B": "", "C": "broken"}
    states = venue.load([data(170, ("quote", "A"), ("quote", "C"))])
    assert set(states.values()) == {TrustState.TRUSTED}
    again = venue.published()
    assert again[: len(first)] == first
    assert [row[1] for row in again[len(first) :]] == ["A", "C"]
    assert venue.why(venue.agent()) == {"A": "", "B": "", "C": ""}
    venue.load(RECORDS, session="20261120")
    assert venue.published() == again
