"""Recorded messages of Kraken's websocket API v1 in, the same in the words of v2 out.

The texts of prices and sizes stay as they are, and so do the checksums of updates, whose rule is the same.
What v1 does not have is made here: checksums of snapshots, with zlib, and numbers of trades.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from ingest.capture import RecordKind

Record = tuple[int, int, bytes]
Side = dict[Decimal, tuple[str, str]]  # texts of price and size


def iso(seconds: str) -> str:
    """``1618678132.136369`` as RFC 3339."""
    whole, _, part = seconds.partition(".")
    return f"{datetime.fromtimestamp(int(whole), UTC):%Y-%m-%dT%H:%M:%S}.{part}Z"


def digits(text: str) -> str:
    return text.replace(".", "").lstrip("0")


class Change(NamedTuple):
    """A book message: texts of price and size, by side."""

    pair: str
    snapshot: bool
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    checksum: int
    time: str


class Book:
    """A venue's own, in texts."""

    def __init__(self) -> None:
        self.bids: Side = {}
        self.asks: Side = {}

    def apply(self, change: Change) -> None:
        if change.snapshot:
            self.bids, self.asks = {}, {}
        for side, levels in ((self.bids, change.bids), (self.asks, change.asks)):
            for price, size in levels:
                side[Decimal(price)] = price, size
                if not Decimal(size):
                    del side[Decimal(price)]

    def top(self, depth: int) -> tuple[Side, Side]:
        """The best levels of bids and asks, best first."""
        bids, asks = sorted(self.bids, reverse=True)[:depth], sorted(self.asks)[:depth]
        return {key: self.bids[key] for key in bids}, {key: self.asks[key] for key in asks}

    def checksum(self) -> int:
        bids, asks = self.top(10)
        texts = [digits(text) for side in (asks, bids) for level in side.values() for text in level]
        return zlib.crc32("".join(texts).encode())


class Conversion:
    """A stream of v1, message by message.

    Parameters
    ----------
    depth : int
        0: as recorded. Else what a subscriber to so many levels would have had: changes of the best levels
        only, levels that come up from behind, and never a word of those that fall behind.
    """

    def __init__(self, depth: int = 0) -> None:
        self.books: dict[str, Book] = {}
        self.book_messages = 0
        self._depth = depth
        self._trades = 0

    def records(self, recorded: Iterable[Record]) -> list[Record]:
        """A capture of v2 from one of v1; messages that its subscriber would not have had are left out."""
        made = []
        for kind, ts_recv, payload in recorded:
            converted = self.message(payload) if kind == RecordKind.DATA else payload
            if converted:
                made.append((kind, ts_recv, converted))
        return made

    def message(self, payload: bytes) -> bytes:
        """One message; nothing where v2 would not have sent any."""
        message: Any = json.loads(payload)
        if isinstance(message, dict):
            return self._event(message)
        name, pair = message[-2], message[-1].replace("XBT", "BTC")
        if name.startswith("book"):
            return self._book(message[1:-2], pair)
        if name == "trade":
            return self._trade(message[1], pair)
        assert name == "ticker"
        return self._ticker(message[1], pair)

    def _event(self, message: dict[str, Any]) -> bytes:
        if message["event"] == "heartbeat":
            return b'{"channel":"heartbeat"}'
        if message["event"] == "systemStatus":
            status = '{"version":"2.0.10","system":"online","connection_id":15113583034416118705}'
            return f'{{"channel":"status","type":"update","data":[{status}]}}'.encode()
        asked = message["subscription"]
        result = {"channel": asked["name"], "snapshot": True, "symbol": message["pair"].replace("XBT", "BTC")}
        if "depth" in asked:
            result["depth"] = self._depth or asked["depth"]
        answer = {"method": "subscribe", "result": result, "success": True, "time_in": "", "time_out": ""}
        return json.dumps(answer, separators=(",", ":")).encode()

    def _book(self, parts: list[dict[str, Any]], pair: str) -> bytes:
        sides: dict[str, list[list[str]]] = {"a": [], "b": []}
        checksum = 0
        for part in parts:
            for key, found in part.items():
                if key == "c":
                    checksum = int(found)
                else:
                    sides[key[0]] += found
        bids, asks = ([(level[0], level[1]) for level in sides[key]] for key in "ba")
        time = max(level[2] for levels in sides.values() for level in levels)
        change = Change(pair, "as" in parts[0], bids, asks, checksum, time)
        book = self.books.setdefault(pair, Book())
        before = book.top(self._depth)
        book.apply(change)
        if not checksum:
            change = change._replace(checksum=book.checksum())
        if self._depth:
            bids, asks = self._heard(before, book, change.snapshot)
            if not bids and not asks:
                return b""
            change = change._replace(bids=bids, asks=asks)
        self.book_messages += 1
        return book_message(change)

    def _heard(self, before: tuple[Side, Side], book: Book, snapshot: bool) -> list[list[tuple[str, str]]]:
        after = book.top(self._depth)
        if snapshot:
            return [list(side.values()) for side in after]
        return [_heard(*sides) for sides in zip(before, after, (book.bids, book.asks), strict=True)]

    def _trade(self, trades: list[list[str]], pair: str) -> bytes:
        made = []
        for price, size, seconds, side, order_type, _ in trades:
            self._trades += 1
            words = {"b": "buy", "s": "sell", "l": "limit", "m": "market"}
            made.append(
                f'{{"symbol":"{pair}","side":"{words[side]}","price":{price},"qty":{size},'
                f'"ord_type":"{words[order_type]}","trade_id":{self._trades},"timestamp":"{iso(seconds)}"}}'
            )
        return f'{{"channel":"trade","type":"update","data":[{",".join(made)}]}}'.encode()

    def _ticker(self, said: dict[str, Any], pair: str) -> bytes:
        change = Decimal(said["c"][0]) - Decimal(said["o"][1])
        return (
            f'{{"channel":"ticker","type":"update","data":[{{"symbol":"{pair}","bid":{said["b"][0]},'
            f'"bid_qty":{said["b"][2]},"ask":{said["a"][0]},"ask_qty":{said["a"][2]},"last":{said["c"][0]},'
            f'"volume":{said["v"][1]},"vwap":{said["p"][1]},"low":{said["l"][1]},"high":{said["h"][1]},'
            f'"change":{change:f},"change_pct":{change / Decimal(said["o"][1]) * 100:.2f}}}]}}'
        ).encode()


def _heard(before: Side, after: Side, whole: Side) -> list[tuple[str, str]]:
    """What a subscriber hears of a side; of a level that fell behind, and is still there, nothing."""
    gone = [(price, "0") for key, (price, _) in before.items() if key not in whole]
    return gone + [level for key, level in after.items() if before.get(key) != level]


def book_message(change: Change) -> bytes:
    """As v2 writes it."""
    texts = [
        ",".join(f'{{"price":{price},"qty":{size}}}' for price, size in levels)
        for levels in (change.bids, change.asks)
    ]
    return (
        f'{{"channel":"book","type":"{"snapshot" if change.snapshot else "update"}","data":[{{'
        f'"symbol":"{change.pair}","bids":[{texts[0]}],"asks":[{texts[1]}],'
        f'"checksum":{change.checksum},"timestamp":"{iso(change.time)}"}}]}}'
    ).encode()
