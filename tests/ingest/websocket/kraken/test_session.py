"""A session with Kraken's websocket v2 over a real socket: what is asked, answered, lost and asked again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from ingest.capture import CaptureReader, session_path
from ingest.feeds import decoder_for
from ingest.websocket.decoder import StreamDecoder
from tests.ingest.websocket.venues.local_venue import LocalVenue, Visit
from tests.ingest.websocket.venues.test_session import Kept, index_of, running, settings, wait_for
from tests.ingest.websocket.venues.wires import KrakenV2, Request
from tickloom.events import Side, StatusCode
from tickloom.prices import nanos_of

__all__ = ["settings"]
SYNCED, LOST = StatusCode.BOOK_SYNCED, StatusCode.BOOK_LOST
BIDS = [(f"{99 - at}", "1") for at in range(10)]
ASKS = [(f"{101 + at}", "1") for at in range(10)]
HEARTBEAT = b'{"channel":"heartbeat"}'


def test_session_of_v2(settings: Any, tmp_path: Path) -> None:
    """Ten levels are accepted, so the eleventh goes. A checksum that differs costs one book, which is asked
    for again by itself; heartbeats alone keep the connection; the capture gives the same events again."""
    wire = KrakenV2()
    wire.depth = 10
    one, two = wire.symbols
    asked: list[Request] = []

    async def script(visit: Visit) -> None:
        visit.answers_pings = False
        await visit.subscribed()
        await visit.send(wire.snapshot(one, BIDS, ASKS), wire.snapshot(two, BIDS, ASKS))
        await visit.send(
            wire.update(one, [("99.5", "2")], [], at=1), wire.update(two, [("99.5", "2")], [], at=1)
        )
        await visit.pause()
        await visit.send(wire.spoilt(one, at=2))
        asked.extend(await visit.next_book())
        await visit.send(wire.update(two, [], [("100.5", "3")], at=3))
        await visit.send(wire.snapshot(one, BIDS, ASKS, at=4), wire.update(one, [("98", "6")], [], at=5))
        for _ in range(8):  # longer than silence_ms_max
            await visit.send(HEARTBEAT)
            await asyncio.sleep(0.1)
        await visit.send(wire.trade(one, 77, "100.0", "1", "buy", at=6))
        await visit.end()

    sink = Kept()
    with LocalVenue(wire, script) as venue, running(settings(wire, venue.url, silence_ms_max=500), sink):
        wait_for(lambda: StatusCode.SESSION_END in sink.codes(0))
        assert venue.visits == 1
        assert {one.op for one in venue.requests} == {"subscribe", "unsubscribe", "ping"}
        assert {(one.channel, one.symbol) for one in venue.requests if one.op == "subscribe"} == {
            (channel, symbol) for channel in ("book", "trade", "ticker") for symbol in wire.symbols
        }
    assert asked == [Request(op, "book", one) for op in ("unsubscribe", "subscribe")]
    assert sink.codes(index_of(wire, one)) == [SYNCED, LOST, SYNCED]
    assert sink.codes(index_of(wire, two)) == [SYNCED]
    assert [int(trade["venue_id"]) for trade in sink.of("trades")] == [77]

    again, decoder = Kept(), decoder_for("KRAKEN", "20210417")
    assert isinstance(decoder, StreamDecoder)
    with CaptureReader(session_path(tmp_path, "KRAKEN", "20210417")) as reader:
        for batch in reader.batches():
            again.write(decoder.decode(batch), 0, 0)
    for table in ("trades", "book_deltas", "statuses", "gaps"):
        assert [tuple(row) for row in again.of(table)] == [tuple(row) for row in sink.of(table)], table
    assert decoder.counters["accepted"] == 3
    assert [price for price, _ in decoder.book_levels(two, Side.BUY)][::9] == [
        nanos_of("99.5"),
        nanos_of("91"),
    ]
    assert len(decoder.book_levels(two, Side.SELL)) == 10
