"""From a server's document to Kafka and QuestDB, over a restart: each story once, and the same in both."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition

from ingest.news.session import run
from storage import schema, wait_applied
from storage.connection import Connection
from storage.news import with_news
from storage.reader import QuestDbReader
from tests.ingest.news.feed_server import rss, send, serving
from tickloom import topics
from tickloom.cli.ingest import sinks_factory
from tickloom.codec import TickBatch
from tickloom.events import QUOTE_DTYPE, EventBlock, SymbolTable
from tickloom.news_codec import decode
from tickloom.settings import KafkaSettings, NewsSettings, QuestDbSettings

PATIENCE_S = 60.0
DOCUMENTS = [
    rss("1|ALFA issues profit warning", "2|Bitcoin soars"),
    rss("3|BRVO beats estimates", "1|ALFA issues profit warning", "4|Weather"),
]


def read(kafka: KafkaSettings) -> dict[int, list[TickBatch]]:
    """The feed's records, a partition, in order; rules are tested with others on the same topic."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "test-news"})
    found: dict[int, list[TickBatch]] = {}
    for partition in range(kafka.tick_partitions):
        place = TopicPartition(topics.NEWS, partition)
        low, high = consumer.get_watermark_offsets(place, timeout=20)
        consumer.assign([TopicPartition(topics.NEWS, partition, low)])
        batches = found[partition] = []
        for _ in range(high - low):
            message = consumer.poll(20)
            assert message is not None
            assert not message.error()
            batch = decode(message.value())
            if batch.venue == "NEWS":
                batches.append(batch)
    consumer.close()
    return found


def stored(settings: QuestDbSettings) -> list[tuple[object, ...]]:
    sql = (
        "SELECT seq, venue, symbol, story, headline, score, words, model, source FROM news "
        "WHERE feed = 'NEWS' ORDER BY seq, venue, symbol"
    )
    with Connection(settings) as connection:
        return [tuple(row) for row in connection.fetch(sql)]


@pytest.mark.slow
def test_stories_on_kafka_and_in_questdb(
    tmp_path: Path, kafka: KafkaSettings, questdb: QuestDbSettings
) -> None:
    """Two runs of the ingester over two documents: rows and records agree, and nothing is there twice."""
    schema.apply(questdb)
    sources = tmp_path / "news.toml"
    numbers = iter([0, 1])
    current = [0]

    def run_until(count: int, url: str) -> None:
        sources.write_text(f'[[sources]]\nname = "wire"\nurl = "{url}/feed"\nkind = "rss"\npoll_s = 0.05\n')
        settings = NewsSettings.load(
            sources_file=sources, metrics_port=0, session_date="2026-11-22", heartbeat_ms=20
        )
        stop = threading.Event()
        thread = threading.Thread(target=run, args=(settings, sinks_factory(settings, "NEWS"), stop))
        thread.start()
        try:
            for _ in range(int(PATIENCE_S / 0.1)):
                if len(stored(questdb)) >= count or not thread.is_alive():
                    break
                threading.Event().wait(0.1)
        finally:
            stop.set()
            thread.join(PATIENCE_S)
        assert not thread.is_alive()

    with serving(feed=lambda http: send(http, DOCUMENTS[current[0]])) as server:
        for expected in (1 + btc_instruments(), 3 + btc_instruments()):
            current[0] = next(numbers)
            run_until(expected, server.url)
    wait_applied(questdb, ["news"])
    rows = stored(questdb)
    assert len(rows) == 3 + btc_instruments()
    by_headline = {str(row[4]): row for row in rows}
    assert set(by_headline) == {
        "ALFA issues profit warning",
        "Bitcoin soars",
        "BRVO beats estimates",
        "Weather",
    }
    assert by_headline["ALFA issues profit warning"][1:3] == ("XNAS", "ALFA")
    assert by_headline["ALFA issues profit warning"][5:] == (-0.75, 1, "lexicon/1", "wire")
    found = []
    for partition, batches in read(kafka).items():
        marks = [batch.watermark for batch in batches]
        assert marks == sorted(marks)
        assert marks[-1] > 0
        for batch in batches:
            names = batch.block.symbols.names
            for row in batch.block.news:
                symbol = names[row["symbol"]]
                assert topics.shard(symbol, kafka.tick_partitions) == partition
                assert row["ts_event"] <= batch.watermark
                found.append(
                    (
                        int(row["seq"]), row["venue"].decode(), symbol, row["story"].decode(),
                        row["headline"].decode(), float(row["score"]), int(row["words"]),
                        row["model"].decode(), row["source"].decode(),
                    )
                )  # fmt: skip
    assert sorted(found) == [(row[0], row[1] or "", row[2] or "", *row[3:]) for row in rows]
    assert_among_prices(rows, questdb)


def assert_among_prices(rows: list[tuple[object, ...]], questdb: QuestDbSettings) -> None:
    """Read back for a rule: those of its venue alone, each in the block whose time it is of."""
    ours = [row for row in rows if row[1] == "XNAS"]
    with QuestDbReader(questdb) as reader:
        (block,) = with_news([], reader, "XNAS", 0, 2**62)
        at = block.news["ts_event"].tolist()
        assert at == sorted(at)
        assert at[0] < at[1]  # of two runs
        parts = []
        for ts in (at[0] - 1, at[0] + 1):
            part = EventBlock("XNAS", "20261122", SymbolTable(), quotes=np.zeros(1, QUOTE_DTYPE))
            part.quotes["ts_event"] = ts
            parts.append(part)
        joined = list(with_news(parts, reader, "XNAS", 0, 2**62))
    assert block.news["story"].tolist() == [str(row[3]).encode() for row in ours]
    assert block.news["score"].tolist() == [row[5] for row in ours]
    assert [block.symbols.names[row["symbol"]] for row in block.news] == [row[2] for row in ours]
    assert [len(one.news) for one in joined] == [0, 1, 1]


def btc_instruments() -> int:
    """How many instruments one story about Bitcoin is of: each is an event."""
    from tickloom.instruments import Registry, ticker

    return sum(ticker(symbol) == "BTC" for _, symbol in Registry.load().instruments)
