"""JSON of the websocket venues: each message's kind is counted, whatever was done to it."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ingest.capture import RecordKind
from ingest.synthetic.coins import SyntheticLines
from ingest.synthetic.parameters import MarketParameters
from ingest.websocket.binance.decoder import BinanceDecoder
from ingest.websocket.binance.messages import snapshot_payload
from ingest.websocket.bybit.decoder import BybitDecoder
from ingest.websocket.coinbase.decoder import CoinbaseDecoder
from ingest.websocket.cryptofeed_dump import CryptofeedDump
from ingest.websocket.kraken.decoder import KrakenDecoder
from ingest.websocket.links import control
from ingest.websocket.okx.decoder import OkxDecoder
from tests.fuzz.real import real
from tests.fuzz.target import Arena, Target, check_block, cut
from tests.ingest.websocket.conftest import Wire as BinanceWire
from tests.ingest.websocket.kraken.conversion import Conversion
from tests.ingest.websocket.venues import wires
from tickloom.instruments import Registry

MESSAGES = 1_500
_REGISTRY = Registry.load()
CONNECTION_MESSAGES = 400  # and then a new one is open
_STREAM_KINDS = (
    "snapshots", "updates", "tickers", "trade_messages", "ignored", "unknown_type", "malformed",
    "refused_price", "declined", "accepted",
)  # fmt: skip
_BINANCE_KINDS = (
    "depth", "tickers", "trades", "ignored", "unknown_type", "malformed", "refused_price", "snapshots",
)  # fmt: skip


def genuine(wire: wires.Wire, seed: int) -> list[bytes]:
    """Books, trades and what is declined, of two instruments; now and then a book is lost and comes again."""
    rng = random.Random(seed)
    out = []
    trade_id = 0
    for number in range(MESSAGES):
        symbol, at = rng.choice(wire.symbols), 10 * number
        kind = rng.random()
        prices = [(f"{100 - tick / 4:.2f}", rng.choice(["0", "1.5", "2"])) for tick in range(1, 6)]
        asks = [(f"{100 + tick / 4:.2f}", rng.choice(["0", "1.5", "2"])) for tick in range(1, 6)]
        if kind < 0.02 or symbol not in wire.books:
            full = [(price, "3") for price, _ in prices], [(price, "4") for price, _ in asks]
            out.append(wire.snapshot(symbol, *full, at=at))
        elif kind < 0.3:
            trade_id += 1
            out.append(wire.trade(symbol, trade_id, "100.25", "0.5", rng.choice(["buy", "sell"]), at=at))
        elif kind < 0.31:
            out.append(wire.spoilt(symbol, at=at))
            wire.books.pop(symbol, None)
        elif kind < 0.32:
            out.append(wire.declined(wires.Request("subscribe", wire.book_channel, symbol)))
        else:
            low = rng.randrange(4)
            out.append(wire.update(symbol, prices[low : low + 2], asks[low : low + 2], at=at))
    return out


class _Websocket(Target):
    """Messages of connections that are lost now and then, and answers of REST where the venue has them."""

    as_json = True
    batch_frames = 1_000
    kinds: tuple[str, ...] = ()
    snapshot_records = False

    def __init__(self) -> None:
        super().__init__()
        self._arena = Arena(16 << 20)

    def decoder(self) -> Any:
        raise NotImplementedError

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        decoder = self.decoder()
        records: list[tuple[int, int, bytes]] = []
        for at, frame in enumerate(frames):
            if at % CONNECTION_MESSAGES == 0:
                records.append((RecordKind.CONTROL, 1 + at, control("open")))
            snapshot = self.snapshot_records and frame.startswith(b'{"symbol":')
            records.append((RecordKind.SNAPSHOT if snapshot else RecordKind.DATA, 2 + at, frame))
        events = 0
        for low, high in cut(records):
            events += check_block(decoder.decode(self._arena.batch(records[low:high], 1 + low)))
        counted = sum(decoder.counters[name] for name in self.kinds)
        assert counted == len(frames), f"{len(frames)} frames, {counted} counted: {dict(decoder.counters)}"
        return decoder.counters + Counter(events=events)


class _Stream(_Websocket):
    kinds = _STREAM_KINDS
    wire: type[wires.Wire]
    make: Callable[..., Any]

    def seeds(self) -> list[list[bytes]]:
        tapes = [genuine(self.wire(), 1)]
        folder = real("cryptofeed")
        if folder:
            lines = [line.payload for line in CryptofeedDump(folder, self.wire.venue).lines()]
            tapes.append([line for line in lines[:4_000] if len(line) < 20_000])
        return tapes

    def decoder(self) -> Any:
        return type(self).make(self.wire.venue, "20210417", registry=_REGISTRY)


class Kraken(_Stream):
    """Both versions of the websocket API, which one decoder reads."""

    name, wire, make = "kraken", wires.Kraken, KrakenDecoder

    def seeds(self) -> list[list[bytes]]:
        v1 = super().seeds()
        records = [(int(RecordKind.DATA), 0, payload) for payload in v1[-1]] if len(v1) > 1 else []
        converted = [payload for _, _, payload in Conversion().records(records)]
        wire = wires.KrakenV2()
        answers = [wire.accepted(wires.Request("subscribe", "book", pair)) for pair in wire.symbols]
        v2 = [[*filter(None, answers), *genuine(wire, 2)], converted]
        return [*v1, *filter(None, v2)]


class Okx(_Stream):
    name, wire, make = "okx", wires.Okx, OkxDecoder


class Coinbase(_Stream):
    name, wire, make = "coinbase", wires.Coinbase, CoinbaseDecoder


class Bybit(_Stream):
    name, wire, make = "bybit", wires.Bybit, BybitDecoder


class Binance(_Websocket):
    """Spot: lines of the generator, and of real recordings."""

    name = "binance"
    kinds = _BINANCE_KINDS
    snapshot_records = True
    venue = "BINANCE"

    def seeds(self) -> list[list[bytes]]:
        lines = SyntheticLines(MarketParameters(seed=5, duration_s=60.0))
        tape = []
        for line in lines.lines():
            raw = line.payload
            tape.append(raw if b'"stream"' in raw[:10] else snapshot_payload(line.snapshot_of, raw))
        return [tape[:6_000], *self.recorded("spot_btcusdt_20240808.gz", "spot_ethusdt_20240808.gz")]

    def recorded(self, *names: str) -> list[list[bytes]]:
        tapes = []
        folder = real("binance_raw")
        for name in names if folder else ():
            tape = []
            assert folder is not None
            with gzip.open(folder / name) as file:
                for line in file:
                    payload = line.rstrip(b"\n").split(b" ", 1)[1]
                    if b'"stream"' in payload[:10]:
                        tape.append(payload)
                    elif len(payload) < 60_000:
                        tape.append(snapshot_payload(name.split("_")[1].upper(), payload))
                    if len(tape) == 4_000:
                        break
            tapes.append(tape)
        return tapes

    def decoder(self) -> Any:
        return BinanceDecoder(self.venue, "20240808", registry=_REGISTRY)


class BinanceUsdm(Binance):
    """USD-M futures, whose updates are chained by their ids."""

    name = "binance_usdm"
    venue = "BINANCEF"

    def seeds(self) -> list[list[bytes]]:
        rng = random.Random(3)
        wire = BinanceWire()
        tape = [wire.snapshot(100, [("99", "1")], [("101", "2")])[2]]
        last = 100
        for number in range(MESSAGES):
            at, kind = 10 * number, rng.random()
            final = last + rng.randrange(1, 9)
            levels = [(str(99 - rng.randrange(9)), rng.choice(["0", "1.5"])) for _ in range(3)]
            if kind < 0.4:
                record = wire.depth(last + 1, final, levels, [("101", "2")], at=at, previous=last)
                last = final
            elif kind < 0.7:
                record = wire.ticker(final, ("99", "1"), ("101", "2"), at=at)
            elif kind < 0.71:
                record = wire.snapshot(last, levels, [("101", "3")])
            else:
                record = wire.trade(number, "100", "0.5", at=at, X="MARKET")
            tape.append(record[2])
        return [tape, *self.recorded("usdm_btcusdt_20240808.gz")]
