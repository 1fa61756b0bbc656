"""Stories in, batches on the topic ``news`` out: sharded by symbol, in order, each once, as ticks are."""

from __future__ import annotations

from typing import Any

from ingest import metrics
from ingest.kafka_sink import KafkaSink
from tickloom import news_codec, topics
from tickloom.clock import Clock
from tickloom.events import EventBlock
from tickloom.settings import IngestSettings, KafkaSettings

_TABLES = ("news",)


class NewsKafkaSink(KafkaSink):
    """The sink of a news feed: one topic, whatever the instruments' venues."""

    encode = staticmethod(news_codec.encode)

    def __init__(
        self, kafka: KafkaSettings, settings: IngestSettings, venue: str, clock: Clock | None = None
    ) -> None:
        super().__init__(kafka, settings, venue, clock)
        self._tick_topic, self._book_topic = topics.NEWS, ""
        self._routes: Any = ((topics.NEWS, _TABLES),)
        self._dropped = {topics.NEWS: metrics.DROPPED.labels(venue, topics.NEWS)}
        self._published = {topics.NEWS: metrics.PUBLISHED.labels(venue, topics.NEWS)}

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        """Publish a block, and heartbeats, as :meth:`KafkaSink.write` does."""
        before, watermark = self._watermark, max(self._watermark, watermark_ns)
        if len(block):
            self._publish_all(topics.NEWS, _TABLES, block, before, watermark)
        self._watermark = watermark
        self._heartbeats(block, watermark, last_seq)
        self._producer.poll(0)
        self._check()
