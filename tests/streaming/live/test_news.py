"""A rule over news and prices, live on Flink: two topics, one event time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streaming import derived, rules
from streaming.authoring import cases
from streaming.live import jobs
from streaming.rules import Rule
from streaming.stored import history, replay
from streaming.tape import Tape
from tickloom import topics
from tickloom.clock import NS_PER_DAY
from tickloom.codec import TickBatch
from tickloom.errors import RuleError
from tickloom.events import EventBlock, Signal
from tickloom.settings import FlinkSettings, KafkaSettings

pytestmark = pytest.mark.slow


@pytest.fixture
def news_drop(tmp_path: Path) -> Rule:
    """The shipped rule, on a venue of its own."""
    text = rules.find("news_drop").path.read_text().replace("XNAS", f"NEWS{uuid.uuid4().hex[:6]}")
    path = tmp_path / "news_drop.sql"
    path.write_text(text)
    return rules.load(path)


def test_story_and_fall_meet_whichever_topic_is_first(
    news_drop: Rule, flink: FlinkSettings, kafka: KafkaSettings
) -> None:
    """Prices alone give nothing, since a story may still come; once the news topic's time has passed they
    give what history and the compiled engine give. Stories of other venues' instruments are not looked at."""
    signals = f"{news_drop.venue}.signals"
    topics.ensure_topics([signals], kafka)
    with pytest.raises(RuleError, match="runs live on Flink only"):
        list(jobs.submit([news_drop], flink, kafka, engine="compiled", signal_topic=signals))
    (job,) = jobs.submit([news_drop], flink, kafka, signal_topic=signals)
    assert job.engine == "flink"
    tape = Tape(venue=news_drop.venue)
    for symbol in ("ALFA", "BRVO"):
        tape.quote(symbol, 0, "99.99", "100.01")
    tape.news("ALFA", 1_000, -0.75, headline="ALFA issues profit warning")
    tape.news("BRVO", 1_000, -0.75)
    for symbol in ("ALFA", "BRVO"):
        tape.quote(symbol, 2_000, "98.99", "99.01")
    block = tape.block()
    block.news["venue"][1] = b"ELSEWHERE"
    publish(block, ["quotes"], kafka)
    time.sleep(1.0)  # for a signal that must not be: it would be there within milliseconds
    assert history.read_signals(signals, kafka) == []
    publish(block, ["news"], kafka)
    found = wait_for_signals(signals, kafka)
    assert [(one.symbol, one.side, one.strength) for one in found] == [("ALFA", "sell", 100.0)]
    ours = block.select({name: records["seq"] >= 0 for name, records in block.every_kind().items()})
    ours.news = block.news[:1]
    for engine in (cases.compiled, cases.on_flink(flink, kafka)):
        assert [one.signal_id for one in run(engine, news_drop, ours)] == [found[0].signal_id]


def run(engine: Callable[[Rule, EventBlock], list[Signal]], rule: Rule, block: EventBlock) -> list[Signal]:
    return engine(rules.bind(rule), block)


def publish(block: EventBlock, views: list[str], kafka: KafkaSettings) -> None:
    """What a topic has of a block, and a heartbeat of a day later, as an ingester's would come."""
    topic = derived.source_topic(block.venue, views)
    replay.publish([block], topic, kafka, {block.venue}, views)
    nothing = EventBlock(block.venue, block.session, block.symbols)
    seq, watermark = int(block.quotes["seq"].max()), int(block.quotes["ts_event"].max()) + NS_PER_DAY
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    encode = derived.encoder(views)
    for shard in range(kafka.tick_partitions):
        producer.produce(topic, encode(TickBatch(shard, seq, seq, watermark, nothing)), partition=shard)
    assert producer.flush(30) == 0


def wait_for_signals(topic: str, kafka: KafkaSettings) -> list[Signal]:
    """The topic's signals, once there are any (or a minute has passed)."""
    for _ in range(600):
        found = history.distinct(history.read_signals(topic, kafka))
        if found:
            break
        time.sleep(0.1)
    return found
