"""What a session's lines did, as Prometheus is told: counts of a session become counters that only rise."""

from __future__ import annotations

from ingest import metrics
from ingest.capture_format import ANSWERS
from ingest.itch.lines import LineCounts, Lines, line_name
from tickloom.clock import NS_PER_S

_NOTHING = LineCounts(0, 0, 0, 0, 0, 0, 0)


class LineMetrics:
    """Of one session's lines, the answers to requests among them."""

    def __init__(self, venue: str, count: int) -> None:
        self._venue = venue
        self._told = dict.fromkeys([*range(count), ANSWERS], _NOTHING)
        for line in range(count):
            metrics.LINE_UP.labels(venue, line_name(line)).set(1)

    def update(self, lines: Lines) -> None:
        for line, told in self._told.items():
            now = self._told[line] = lines.counts(line)
            labels = (self._venue, line_name(line))
            metrics.LINE_PACKETS.labels(*labels).inc(now.packets - told.packets)
            for outcome in ("first", "late", "repeated"):
                risen = getattr(now, outcome) - getattr(told, outcome)
                metrics.LINE_MESSAGES.labels(*labels, outcome).inc(risen)
            if line != ANSWERS:
                metrics.LINE_LOST.labels(*labels).set(now.lost)
                metrics.LINE_LED.labels(*labels).inc(now.led - told.led)
                metrics.LINE_LEAD_SECONDS.labels(*labels).inc((now.lead_ns - told.lead_ns) / NS_PER_S)
