"""What a session's lines did, as Prometheus is told: counts of a session become counters that only rise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ingest import metrics
from ingest.capture_format import ANSWERS
from ingest.udp.counts import LineCounter, LineCounts
from ingest.udp.watch import Silence, line_name
from tickloom.clock import NS_PER_S

_NOTHING = LineCounts(0, 0, 0, 0, 0, 0, 0)


class LineMetrics:
    """Of one session's lines.

    Parameters
    ----------
    venue : str
    lines : sequence of int
        The lines that are listened to, and ``ANSWERS`` where the venue can be asked.
    """

    def __init__(self, venue: str, lines: Sequence[int]) -> None:
        self._venue = venue
        self._told = dict.fromkeys(lines, _NOTHING)
        for line in lines:
            if line != ANSWERS:
                metrics.LINE_UP.labels(venue, line_name(line)).set(1)

    def update(self, lines: LineCounter) -> None:
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

    def changed(self, changes: Iterable[Silence], log: Any) -> None:
        """Lines fell silent, or are heard again: tell Prometheus and whoever reads the log."""
        for change in changes:
            name = line_name(change.line)
            metrics.LINE_UP.labels(self._venue, name).set(not change.silent)
            if change.silent:
                log.warning("line silent", line=name, advice="the others go on; see to it")
            else:
                log.info("line heard", line=name)
