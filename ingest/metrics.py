"""What an ingester tells Prometheus: received, decoded, published, dropped, duplicate, gaps, lag."""

from __future__ import annotations

from collections import Counter as Tally

from prometheus_client import Counter, Gauge

RECEIVED = Counter("tickloom_ingest_received", "Datagrams or messages captured", ["venue"])
RECEIVED_BYTES = Counter("tickloom_ingest_received_bytes", "Payload bytes captured", ["venue"])
REFUSED = Counter("tickloom_ingest_refused", "Datagrams that were not captured", ["venue", "reason"])
GAPS = Counter("tickloom_ingest_gaps", "Sequence gaps seen on the wire", ["venue", "outcome"])
DECODED = Counter("tickloom_ingest_decoded", "Messages decoded", ["venue", "sink"])
HANDED_ON = Counter("tickloom_ingest_handed_on", "Events given to a sink", ["venue", "sink", "table"])
PUBLISHED = Counter("tickloom_ingest_published", "Events that Kafka was sent", ["venue", "topic"])
DROPPED = Counter(
    "tickloom_ingest_dropped",
    "Events not sent to Kafka because an earlier run had sent them",
    ["venue", "topic"],
)
ODDITIES = Gauge(
    "tickloom_ingest_oddities",
    "Input that is not as it should be, by kind, since the session's start",
    ["venue", "sink", "kind"],
)
LAG_SECONDS = Gauge(
    "tickloom_ingest_lag_seconds", "Age of the last captured record when a sink took it", ["venue", "sink"]
)
WATERMARK_SECONDS = Gauge(
    "tickloom_ingest_watermark_seconds", "Event time up to which a sink has all, seconds since 1970",
    ["venue", "sink"],
)  # fmt: skip


class DecoderMetrics:
    """Copies one decoder's counters; each sink decodes on its own, so each has a label."""

    def __init__(self, venue: str, sink: str) -> None:
        self._labels = {"venue": venue, "sink": sink}
        self._decoded = 0

    def update(self, counters: Tally[str]) -> None:
        decoded = counters["decoded"]
        if decoded > self._decoded:
            DECODED.labels(**self._labels).inc(decoded - self._decoded)
            self._decoded = decoded
        for kind, count in counters.items():
            if kind != "decoded":
                ODDITIES.labels(**self._labels, kind=kind).set(count)
