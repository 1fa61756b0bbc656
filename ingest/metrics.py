"""What an ingester tells Prometheus: received, decoded, published, dropped, duplicate, gaps, lag."""

from __future__ import annotations

from collections import Counter as Tally

from prometheus_client import Counter, Gauge

RECEIVED = Counter("tickloom_ingest_received", "Datagrams or messages captured", ["venue"])
RECEIVED_BYTES = Counter("tickloom_ingest_received_bytes", "Payload bytes captured", ["venue"])
REFUSED = Counter("tickloom_ingest_refused", "Datagrams that were not captured", ["venue", "reason"])
GAPS = Counter("tickloom_ingest_gaps", "Sequence gaps seen on the wire", ["venue", "outcome"])
LINE_PACKETS = Counter("tickloom_ingest_line_packets", "Datagrams of the session by line", ["venue", "line"])
LINE_MESSAGES = Counter(
    "tickloom_ingest_line_messages",
    "Messages by line: first (nothing had brought them), late (another line had), repeated (it had)",
    ["venue", "line", "outcome"],
)
LINE_LOST = Gauge(
    "tickloom_ingest_line_lost", "Messages of the session that a line has not brought", ["venue", "line"]
)
LINE_LED = Counter(
    "tickloom_ingest_line_led", "Messages that a line brought before another did", ["venue", "line"]
)
LINE_LEAD_SECONDS = Counter(
    "tickloom_ingest_line_lead_seconds", "By how much it did, in sum", ["venue", "line"]
)
LINE_UP = Gauge("tickloom_ingest_line_up", "0 while a line is silent and another is not", ["venue", "line"])
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

TRUST = Gauge(
    "tickloom_ingest_trust", "Instruments that are trusted, stale or broken", ["venue", "sink", "state"]
)


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
