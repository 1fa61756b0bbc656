"""A session over several connections: each has its share, and what befalls one leaves the others alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingest.capture import CaptureReader, session_path
from ingest.feeds import decoder_for
from tests.ingest.websocket.venues.local_venue import LocalVenue, Visit
from tests.ingest.websocket.venues.test_session import (
    ASKS,
    BIDS,
    Kept,
    index_of,
    running,
    settings,
    wait_for,
    wire,
)
from tests.ingest.websocket.venues.wires import Request, Wire
from tickloom.events import GapReason, StatusCode

__all__ = ["settings", "wire"]
SYNCED, LOST, END = StatusCode.BOOK_SYNCED, StatusCode.BOOK_LOST, StatusCode.SESSION_END


async def own_symbol(visit: Visit) -> str:
    """Of the first book that the connection asks for."""
    while True:
        request = await visit.asked.get()
        if request.op == "subscribe" and request.channel == visit.wire.book_channel:
            return request.symbol


def test_what_befalls_one_connection_leaves_the_other_alone(
    wire: Wire, settings: Any, tmp_path: Path
) -> None:
    """Two instruments over two connections. The first's book is spoilt and asked for anew over its own; then
    its connection is cut: a gap and a lost book of that one alone. The session is over when both have ended,
    and the capture gives the same again."""
    one, two = wire.symbols
    asked: list[Request] = []

    async def script(visit: Visit) -> None:
        symbol = await own_symbol(visit)
        await visit.send(wire.snapshot(symbol, BIDS, ASKS), wire.update(symbol, [("99.75", "1")], [], at=1))
        await visit.pause()
        if symbol == one and visit.number < 2:
            await visit.send(wire.spoilt(one, at=4))
            asked.extend(await visit.next_book())
            await visit.send(wire.snapshot(one, BIDS, ASKS, at=6), wire.update(one, [("98", "6")], [], at=7))
            await visit.pause()
            await visit.cut()
        else:
            while symbol == two and LOST not in sink.codes(index_of(wire, one))[2:]:
                await visit.pause()
            await visit.end()

    sink = Kept()
    with LocalVenue(wire, script) as venue, running(settings(wire, venue.url, connections=2), sink):
        first, second = index_of(wire, one), index_of(wire, two)
        wait_for(lambda: END in sink.codes(0))
        assert venue.visits == 3
        assert sink.codes(first) == [SYNCED, LOST, SYNCED, LOST, SYNCED]
        assert sink.codes(second) == [SYNCED]
        assert {int(gap["symbol"]) for gap in sink.of("gaps")} == {first}
        assert sink.of("gaps")[-1]["reason"] == GapReason.DISCONNECT
    assert asked == [Request(op, wire.book_channel, one) for op in ("unsubscribe", "subscribe")]
    again = Kept()
    decoder = decoder_for(wire.venue, "20210417")
    with CaptureReader(session_path(tmp_path, wire.venue, "20210417")) as reader:
        for batch in reader.batches():
            again.write(decoder.decode(batch), 0, 0)
    assert again.codes(first) == sink.codes(first)
    assert [tuple(row) for row in again.of("book_deltas")] == [tuple(row) for row in sink.of("book_deltas")]
    with running(settings(wire, venue.url, connections=2), Kept()):
        pass  # it has ended: nobody connects
    assert venue.visits == 3
