"""Generator against decoders: written apart from one another, they must tell the same story."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from ingest.capture import CaptureBatch, RecordKind
from ingest.itch.decoder import ItchDecoder
from ingest.synthetic.coins import SyntheticLines
from ingest.synthetic.datagrams import Datagrams, pack
from ingest.synthetic.itch_stream import itch_stream
from ingest.synthetic.market import Session, make_session
from ingest.synthetic.parameters import MarketParameters
from ingest.websocket.binance.decoder import BinanceDecoder
from ingest.websocket.binance.messages import snapshot_payload
from ingest.websocket.links import CONTROL_OPEN, control
from tickloom.events import EventBlock
from tickloom.prices import parse_nanos

PARAMETERS = MarketParameters(seed=3, duration_s=30.0)
TROUBLE = ("malformed", "unknown_type", "unknown_order", "overfill", "crossed", "locked", "gap_messages")


def per_symbol(blocks: list[EventBlock], kind: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for block in blocks:
        for symbol in block.kinds()[kind]["symbol"].tolist():
            counts[block.symbols.names[symbol]] += 1
    return dict(counts)


def packets(session: Session) -> Iterator[tuple[int, int, bytes]]:
    stream = itch_stream(session)
    datagrams, packing = Datagrams(stream), pack(stream, 8_000_000)
    first = packing.first.tolist()
    for index, due in enumerate(packing.due_ns.tolist()):
        yield RecordKind.DATA, due, datagrams.build(first[index], first[index + 1])
    yield RecordKind.DATA, session.truth.last_ts, datagrams.end_of_session()


@pytest.mark.parametrize("intensity", [1.0, 8.0])
def test_itch_decoder_tells_the_truth(intensity: float) -> None:
    """Trades, quotes, level changes and statuses are those of the truth, symbol by symbol, also when the
    market is eight times as busy; nothing is odd.
    """
    session = make_session(MarketParameters(seed=3, duration_s=10.0, intensity=intensity))
    decoder = ItchDecoder("XNAS", "20240808.TLSYN00001")
    blocks = [decoder.decode(CaptureBatch.of(list(packets(session))))]
    truth = session.truth
    assert decoder.message_types == truth.messages
    assert per_symbol(blocks, "trades") == truth.trades
    assert per_symbol(blocks, "quotes") == truth.quotes
    assert per_symbol(blocks, "book_deltas") == truth.book_deltas
    assert per_symbol(blocks, "statuses") == truth.statuses
    assert not [name for name in TROUBLE if decoder.counters[name]]
    assert decoder.ended


def test_itch_decoder_ends_with_the_truth_s_quotes() -> None:
    """The last quote of each stock is the final best bid and ask of the truth."""
    session = make_session(PARAMETERS)
    decoder = ItchDecoder("XNAS", "20240808.TLSYN00001")
    quotes = decoder.decode(CaptureBatch.of(list(packets(session)))).quotes
    for symbol, best in session.truth.best.items():
        last = quotes[quotes["symbol"] == decoder.symbols.index(symbol)][-1]
        found = [int(last[name]) for name in ("bid_price", "bid_size", "ask_price", "ask_size")]
        assert found == [round(value * 1e9) for value in best]


def test_itch_times_are_the_session_s() -> None:
    """Event times are between the first and the last message's, UTC, and never fall."""
    session = make_session(PARAMETERS)
    decoder = ItchDecoder("XNAS", "20240808.TLSYN00001")
    trades = decoder.decode(CaptureBatch.of(list(packets(session)))).trades
    assert session.truth.first_ts <= trades["ts_event"].min()
    assert trades["ts_event"].max() <= session.truth.last_ts
    assert (np.diff(trades["ts_event"]) >= 0).all()


def test_binance_decoder_tells_the_truth() -> None:
    """Trades are those of the truth, books bridge and end with its best, and no chain breaks."""
    lines = SyntheticLines(PARAMETERS)
    records = [(RecordKind.CONTROL, 0, control(CONTROL_OPEN))]
    for line in lines.lines():
        if line.snapshot_of:
            payload = snapshot_payload(line.snapshot_of, line.payload)
            records.append((RecordKind.SNAPSHOT, line.recv_ns, payload))
        else:
            records.append((RecordKind.DATA, line.recv_ns, line.payload))
    decoder = BinanceDecoder("BINANCE", "20240808")
    block = decoder.decode(CaptureBatch.of(records))
    assert per_symbol([block], "trades") == {name: truth.trade for name, truth in lines.truth.items()}
    assert len(block.gaps) == 0
    assert not [name for name in TROUBLE if decoder.counters[name]]
    for symbol, name in (("BTCUSDT", "BTC-USDT"), ("ETHUSDT", "ETH-USDT")):
        assert decoder.is_synced(symbol)
        assert decoder.best(symbol) == tuple(parse_nanos(text) for text in lines.truth[name].best)
        assert decoder.last_update_id(symbol) == lines.truth[name].last_update_id
