"""Messages as Binance sends them, made by hand, and a decoder to feed them to."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ingest.capture import CaptureBatch, RecordKind
from ingest.websocket.binance.decoder import BinanceDecoder
from ingest.websocket.binance.messages import snapshot_payload
from ingest.websocket.links import control
from tickloom.events import EventBlock

Record = tuple[int, int, bytes]
Levels = list[tuple[str, str]]
MS = 1_723_161_255_000  # a venue time, ms


class Wire:
    """Records of a capture, in Binance's compact JSON. Times in ms after ``MS``."""

    ms = MS

    def depth(
        self, first: int, final: int, bids: Levels, asks: Levels, *, at: int = 0, symbol: str = "BTCUSDT",
        previous: int | None = None,
    ) -> Record:  # fmt: skip
        data: dict[str, Any] = {"e": "depthUpdate", "E": MS + at, "s": symbol, "U": first, "u": final}
        if previous is not None:
            data |= {"T": MS + at, "pu": previous}
        return self.message(symbol, "depth@100ms", data | {"b": bids, "a": asks})

    def ticker(
        self, update_id: int, bid: tuple[str, str], ask: tuple[str, str], *, at: int | None = None,
        symbol: str = "BTCUSDT",
    ) -> Record:  # fmt: skip
        data: dict[str, Any] = {
            "u": update_id, "s": symbol, "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1],
        }  # fmt: skip
        if at is not None:
            data = {"e": "bookTicker", **data, "T": MS + at, "E": MS + at + 1}
        return self.message(symbol, "bookTicker", data)

    def trade(
        self, trade_id: int, price: str, size: str, *, at: int = 0, buyer_is_maker: bool = False,
        symbol: str = "BTCUSDT", **more: Any,
    ) -> Record:  # fmt: skip
        data = {"e": "trade", "E": MS + at + 1, "s": symbol, "t": trade_id, "p": price, "q": size}
        return self.message(symbol, "trade", {**data, "T": MS + at, "m": buyer_is_maker, **more})

    @staticmethod
    def message(symbol: str, stream: str, data: dict[str, Any]) -> Record:
        envelope = {"stream": f"{symbol.lower()}@{stream}", "data": data}
        return RecordKind.DATA, MS, json.dumps(envelope, separators=(",", ":")).encode()

    @staticmethod
    def raw(payload: bytes) -> Record:
        return RecordKind.DATA, MS, payload

    @staticmethod
    def snapshot(last_id: int, bids: Levels, asks: Levels, symbol: str = "BTCUSDT") -> Record:
        answer = json.dumps({"lastUpdateId": last_id, "bids": bids, "asks": asks})
        return RecordKind.SNAPSHOT, MS, snapshot_payload(symbol, answer.encode())

    @staticmethod
    def control(event: str) -> Record:
        return RecordKind.CONTROL, MS, control(event)


@pytest.fixture(scope="session")
def wire() -> Wire:
    """Builds records."""
    return Wire()


Decode = Callable[..., tuple[BinanceDecoder, EventBlock]]


@pytest.fixture(scope="session")
def decode() -> Decode:
    """``decode(records, venue="BINANCE")``: the decoder after an open connection and these, their events.

    The first of ``records`` has number 2."""

    def run(records: Iterable[Record], venue: str = "BINANCE") -> tuple[BinanceDecoder, EventBlock]:
        decoder = BinanceDecoder(venue, "20240808")
        return decoder, decoder.decode(CaptureBatch.of([Wire.control("open"), *records]))

    return run


@pytest.fixture(scope="session")
def recorded(shared_data: Callable[[str], Path]) -> Callable[[str, list[str]], list[Record]]:
    """``recorded(symbol, files)``: recorded lines as an ingester would have captured them."""

    def load(symbol: str, files: list[str]) -> list[Record]:
        records: list[Record] = [Wire.control("open")]
        for name in files:
            with gzip.open(shared_data(f"binance_raw/{name}.gz")) as lines:
                for line in lines:
                    time, payload = line.rstrip(b"\n").split(b" ", 1)
                    if b'"stream"' in payload[:10]:
                        records.append((RecordKind.DATA, int(time), payload))
                    else:
                        records.append((RecordKind.SNAPSHOT, int(time), snapshot_payload(symbol, payload)))
        return records

    return load


@pytest.fixture(scope="session")
def expected(shared_data: Callable[[str], Path]) -> dict[str, Any]:
    """What an independent reader got out of the recordings."""
    found: dict[str, Any] = json.loads(shared_data("binance_raw/EXPECTED.json").read_text())
    return found
