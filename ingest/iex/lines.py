"""IEX-TP segments and what they say of themselves in, what the session has to know of them out. Pure."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ingest.capture_batch import CaptureBatch
from ingest.capture_format import RecordKind
from ingest.feeds import session_date
from ingest.iex.decoder import IexDecoder
from ingest.iex.iextp import (
    COUNT_AT,
    HEAD_BYTES,
    PROTOCOL_AT,
    PROTOCOLS,
    SEND_AT,
    SEQUENCE_AT,
    VERSION,
    VERSION_AT,
    parse,
)
from ingest.udp.counts import LineCounter, fields
from ingest.udp.feed import NEVER_NS, LineFeed
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.events import SEQ_PER_DAY
from tickloom.instruments import Registry
from tickloom.settings import IexSettings


class IexLines(LineCounter):
    """Counts segments by line. Of a segment that is cut off, all messages that its head claims count."""

    def heads(self, batch: CaptureBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        fits = (batch.kinds == RecordKind.DATA) & (np.diff(batch.offsets) >= HEAD_BYTES)
        which = np.flatnonzero(fits)
        at = batch.offsets[which]
        known = np.isin(fields(batch, at + PROTOCOL_AT, "<u2"), list(PROTOCOLS))
        known &= batch.data[at + VERSION_AT] == VERSION
        sequences = fields(batch, at + SEQUENCE_AT, "<i8")
        known &= (sequences >= 1) & (sequences < SEQ_PER_DAY)
        starts, messages = np.zeros((2, len(batch)), dtype=np.int64)
        starts[which[known]] = sequences[known]
        messages[which] = fields(batch, at + COUNT_AT, "<u2")
        return starts, messages


class IexFeed(LineFeed):
    """DEEP 1.0 or TOPS 1.6, as the lines bring it."""

    settings: IexSettings

    def __init__(self, settings: IexSettings, registry: Registry) -> None:
        super().__init__(settings)
        known = registry.venues.get(settings.venue)
        self._registry = registry
        self._zone = ZoneInfo(known.timezone if known else "America/New_York")

    def session_of(self, raw: bytes) -> str | None:
        """``YYYYMMDD.DEEP10``: the day, in the venue's time zone, on which a whole segment was sent."""
        segment = parse(raw)
        if segment is None or segment.payload_bytes != len(raw) - HEAD_BYTES or segment.send_ns <= 0:
            return None
        day = self.set_day or self._day(segment.send_ns)
        return f"{day:%Y%m%d}.{PROTOCOLS[segment.protocol]}"

    def sent_ns(self, raw: bytes) -> int:
        return int.from_bytes(raw[SEND_AT : SEND_AT + 8], "little", signed=True)

    def end_ns(self, session: str) -> int:
        """Midnight of the venue, or never where the settings say the day."""
        if self.set_day:
            return NEVER_NS
        midnight = datetime.combine(session_date(session) + timedelta(days=1), time(), self._zone)
        return int(midnight.timestamp()) * NS_PER_S

    def resumes(self, session: str, now_ns: int) -> bool:
        day, _, protocol = session.partition(".")
        return day == f"{self.set_day or self._day(now_ns):%Y%m%d}" and protocol in PROTOCOLS.values()

    def decoder(self, session: str) -> IexDecoder:
        settings = self.settings
        return IexDecoder(settings.venue, session, self._registry, settings.lateness_ms * NS_PER_MS)

    def counter(self) -> IexLines:
        return IexLines()

    def _day(self, ns: int) -> date:
        return datetime.fromtimestamp(ns / NS_PER_S, self._zone).date()
