"""Each venue's messages, made by hand as its documentation shows them, and what its requests mean.

Prices and sizes are text; checksums are computed here with zlib, from the texts.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

Levels = Sequence[tuple[str, str]]
MS = 1_618_677_800_000  # a venue time


class Request(NamedTuple):
    """One thing that a client asked for: op is subscribe, unsubscribe or ping."""

    op: str
    channel: str
    symbol: str


def compact(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def iso(ms: int) -> str:
    seconds = 43_400 + ms // 1_000  # 2021-04-17T12:03:20 is 43,400 s into its day
    return (
        f"2021-04-17T{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}.{ms % 1000:03d}000Z"
    )


class Wire:
    """A venue. ``symbols``: two of its names; ``other``: text that breaks a book is told by ``spoilt``."""

    venue: str
    symbols: tuple[str, str]
    book_channel: str
    pong: bytes | None = None
    path = ""  # of its address

    def __init__(self) -> None:
        self.books: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        self.numbers: dict[str, int] = {}

    def apply(self, symbol: str, bids: Levels, asks: Levels, *, fresh: bool = False) -> int:
        """Keep the venue's own book; the number of the message."""
        if fresh or symbol not in self.books:
            self.books[symbol] = ({}, {})
        for side, levels in zip(self.books[symbol], (bids, asks), strict=True):
            for price, size in levels:
                side[price] = size
                if not float(size):
                    del side[price]
        self.numbers[symbol] = self.numbers.get(symbol, 100) + 1
        return self.numbers[symbol]

    def sides(self, symbol: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Bids and asks of the venue's own book, best first."""
        bids, asks = self.books[symbol]
        return (
            sorted(bids.items(), key=lambda level: -float(level[0])),
            sorted(asks.items(), key=lambda level: float(level[0])),
        )

    def snapshot(self, symbol: str, bids: Levels, asks: Levels, *, at: int = 0) -> bytes:
        raise NotImplementedError

    def update(self, symbol: str, bids: Levels, asks: Levels, *, at: int = 0) -> bytes:
        raise NotImplementedError

    def spoilt(self, symbol: str, *, at: int = 0) -> bytes:
        """An update that a book must not survive."""
        raise NotImplementedError

    def trade(self, symbol: str, trade_id: int, price: str, size: str, side: str, *, at: int = 0) -> bytes:
        raise NotImplementedError

    def declined(self, request: Request) -> bytes:
        raise NotImplementedError

    def accepted(self, request: Request) -> bytes | None:
        """The answer to a subscription, where it says more than yes."""
        return None

    def requests(self, text: str) -> list[Request]:
        """What a client's message asks for."""
        raise NotImplementedError


class Kraken(Wire):
    venue, symbols, book_channel = "KRAKEN", ("ETH/CHF", "XBT/CHF"), "book"
    pong = b'{"event":"pong"}'
    depth = 100

    def _levels(self, levels: Levels, at: int) -> list[list[str]]:
        seconds = f"{(MS + at) / 1_000:.6f}"
        return [[f"{float(price):.5f}", f"{float(size):.8f}", seconds] for price, size in levels]

    def _checksum(self, symbol: str) -> str:
        bids, asks = self.sides(symbol)
        text = ""
        for levels in (asks[:10], bids[:10]):
            for price, size, _ in self._levels(levels, 0):
                text += price.replace(".", "").lstrip("0") + size.replace(".", "").lstrip("0")
        return str(zlib.crc32(text.encode()))

    def snapshot(self, symbol: str, bids: Levels, asks: Levels, *, at: int = 0) -> bytes:
        self.apply(symbol, bids, asks, fresh=True)
        body = {"as": self._levels(asks, at), "bs": self._levels(bids, at)}
        return compact([1, body, "book-100", symbol])

    def update(self, symbol: str, bids: Levels, asks: Levels, *, at: int = 0) -> bytes:
        self.apply(symbol, bids, asks)
        return self._update(symbol, bids, asks, at, self._checksum(symbol))

    def _update(self, symbol: str, bids: Levels, asks: Levels, at: int, checksum: str) -> bytes:
        parts: list[dict[str, Any]] = []
        if asks:
            parts.append({"a": self._levels(asks, at)})
        if bids or not asks:
            parts.append({"b": self._levels(bids, at)})
        parts[-1]["c"] = checksum
        return compact([1, *parts, "book-100", symbol])

    def spoilt(self, symbol: str, *, at: int = 0) -> bytes:
        return self._update(symbol, [("1.5", "1")], [], at, "12345")

    def trade(self, symbol: str, trade_id: int, price: str, size: str, side: str, *, at: int = 0) -> bytes:
        seconds = f"{(MS + at) / 1_000:.6f}"
        return compact([2, [[price, size, seconds, side[0], "l", ""]], "trade", symbol])

    def declined(self, request: Request) -> bytes:
        error = {"errorMessage": "Currency pair not supported", "event": "subscriptionStatus"}
        return compact({**error, "pair": request.symbol, "status": "error"})

    def requests(self, text: str) -> list[Request]:
        asked = json.loads(text)
        if asked["event"] == "ping":
            return [Request("ping", "", "")]
        return [Request(asked["event"], asked["subscription"]["name"], pair) for pair in asked["pair"]]


class KrakenV2(Kraken):
    """The books of ``Kraken``. ``symbols`` are the registry's, which are v1's; v2's are on the wire."""

    path = "/v2"
    pong = b'{"method":"pong","time_in":"2026-04-28T09:30:59.1Z","time_out":"2026-04-28T09:30:59.2Z"}'

    def _data(self, channel: str, kind: str, symbol: str, after: str) -> bytes:
        """Numbers stand in ``after`` as text: json would print them otherwise than the venue."""
        named = symbol.replace("XBT", "BTC")
        return f'{{"channel":"{channel}","type":"{kind}","data":[{{"symbol":"{named}",{after}}}]}}'.encode()

    def _sides(self, bids: Levels, asks: Levels) -> str:
        texts = [
            ",".join(f'{{"price":{price},"qty":{size}}}' for price, size, _ in self._levels(levels, 0))
            for levels in (bids, asks)
        ]
        return f'"bids":[{texts[0]}],"asks":[{texts[1]}]'

    def _timestamp(self, at: int) -> str:
        moment = datetime.fromtimestamp((MS + at) // 1_000, UTC)
        return f'"timestamp":"{moment:%Y-%m-%dT%H:%M:%S}.{(MS + at) % 1_000:03d}000Z"'

    def snapshot(self, symbol: str, bids: Levels, asks: Levels, *, at: int = 0) -> bytes:
        self.apply(symbol, bids, asks, fresh=True)
        after = f'{self._sides(bids, asks)},"checksum":{self._checksum(symbol)},{self._timestamp(at)}'
        return self._data("book", "snapshot", symbol, after)

    def _update(self, symbol: str, bids: Levels, asks: Levels, at: int, checksum: str) -> bytes:
        after = f'{self._sides(bids, asks)},"checksum":{checksum},{self._timestamp(at)}'
        return self._data("book", "update", symbol, after)

    def trade(self, symbol: str, trade_id: int, price: str, size: str, side: str, *, at: int = 0) -> bytes:
        after = f'"side":"{side}","price":{price},"qty":{size},"ord_type":"limit","trade_id":{trade_id}'
        return self._data("trade", "update", symbol, f"{after},{self._timestamp(at)}")

    def accepted(self, request: Request) -> bytes | None:
        result: dict[str, Any] = {"channel": request.channel}
        if request.channel == "book":
            result["depth"] = self.depth
        result |= {"snapshot": True, "symbol": request.symbol.replace("XBT", "BTC")}
        return compact({"method": request.op, "result": result, "success": True})

    def declined(self, request: Request) -> bytes:
        named = request.symbol.replace("XBT", "BTC")
        error = {"error": f"Currency pair not supported {named}", "method": "subscribe", "success": False}
        return compact({**error, "symbol": named})

    def requests(self, text: str) -> list[Request]:
        asked = json.loads(text)
        if asked["method"] == "ping":
            return [Request("ping", "", "")]
        params = asked["params"]
        named = [symbol.replace("BTC", "XBT") for symbol in params["symbol"]]
        return [Request(asked["method"], params["channel"], symbol) for symbol in named]


class Okx(Wire):
    venue, symbols, book_channel = "OKX", ("BTC-USDT", "UNI-USD-SWAP"), "books"
    pong = b"pong"

    def _book(self, symbol: str, action: str, bids: Levels, asks: Levels, at: int, previous: int) -> bytes:
        sides = [[[price, size, "0", "1"] for price, size in levels] for levels in (asks, bids)]
        data = {"asks": sides[0], "bids": sides[1], "ts": str(MS + at), "checksum": self._checksum(symbol)}
        data |= {"seqId": self.numbers[symbol], "prevSeqId": previous}
        return compact({"arg": {"channel": "books", "instId": symbol}, "action": action, "data": [data]})

    def _checksum(self, symbol: str) -> int:
        texts = []
        bids, asks = self.sides(symbol)
        for at in range(25):
            for levels in (bids, asks):
                texts += levels[at] if at < len(levels) else ()
        found = zlib.crc32(":".join(texts).encode())
        return found - (1 << 32) if found >= 1 << 31 else found

    def snapshot(self, symbol: str, bids: Levels, asks: Levels, *, at: int = 0) -> bytes:
        self.apply(symbol, bids, asks, fresh=True)
        return self._book(symbol, "snapshot", bids, asks, at, -1)

    def update(self, symbol: str, bids: Levels, asks: Levels, *, at: int = 0) -> bytes:
        previous = self.numbers[symbol]
        self.apply(symbol, bids, asks)
        return self._book(symbol, "update", bids, asks, at, previous)

    def spoilt(self, symbol: str, *, at: int = 0) -> bytes:
        self.numbers[symbol] += 5
        return self.update(symbol, [], [], at=at)

    def trade(self, symbol: str, trade_id: int, price: str, size: str, side: str, *, at: int = 0) -> bytes:
        data = {"instId": symbol, "tradeId": str(trade_id), "px": price, "sz": size, "side": side}
        arg = {"channel": "trades", "instId": symbol}
        return compact({"arg": arg, "data": [{**data, "ts": str(MS + at)}]})

    def declined(self, request: Request) -> bytes:
        says = f"channel:{request.channel},instId:{request.symbol} doesn't exist"
        return compact({"event": "error", "msg": says, "code": "60018", "connId": "a4d3ae55"})

    def requests(self, text: str) -> list[Request]:
        if text == "ping":
            return [Request("ping", "", "")]
        asked = json.loads(text)
        return [Request(asked["op"], arg["channel"], arg["instId"]) for arg in asked["args"]]


class Coinbase(Wire):
    venue, symbols, book_channel = "COINBASE", ("CRV-EUR", "SKL-USD"), "level2_batch"

    def snapshot(self, symbol: str, bids: Levels, asks: Levels, *, at: int = 0) -> bytes:
        self.apply(symbol, bids, asks, fresh=True)
        return compact({"type": "snapshot", "product_id": symbol, "asks": asks, "bids": bids})

    def update(self, symbol: str, bids: Levels, asks: Levels, *, at: int = 0) -> bytes:
        self.apply(symbol, bids, asks)
        changes = [("buy", *level) for level in bids] + [("sell", *level) for level in asks]
        return compact({"type": "l2update", "product_id": symbol, "changes": changes, "time": iso(at)})

    def spoilt(self, symbol: str, *, at: int = 0) -> bytes:
        """There is neither number nor checksum: a book that is crossed."""
        changes = [("buy", "9999", "1")]
        return compact({"type": "l2update", "product_id": symbol, "changes": changes, "time": iso(at)})

    def trade(self, symbol: str, trade_id: int, price: str, size: str, side: str, *, at: int = 0) -> bytes:
        maker = {"buy": "sell", "sell": "buy"}[side]
        head = {"type": "match", "trade_id": trade_id, "maker_order_id": "m", "taker_order_id": "t"}
        body = {"side": maker, "size": size, "price": price, "product_id": symbol, "sequence": 7}
        return compact({**head, **body, "time": iso(at)})

    def declined(self, request: Request) -> bytes:
        reason = f"{request.symbol} is not a valid product"
        return compact({"type": "error", "message": "Failed to subscribe", "reason": reason})

    def requests(self, text: str) -> list[Request]:
        asked = json.loads(text)
        return [
            Request(asked["type"], channel, symbol)
            for channel in asked["channels"]
            for symbol in asked["product_ids"]
        ]


class Bybit(Wire):
    venue, symbols, book_channel = "BYBIT", ("ETHUSDT", "LTCUSDT"), "orderbook.200"
    pong = b'{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}'

    def _book(self, symbol: str, type_: str, bids: Levels, asks: Levels, at: int) -> bytes:
        data = {"s": symbol, "b": bids, "a": asks, "u": self.numbers[symbol], "seq": 9}
        head = {"topic": f"orderbook.200.{symbol}", "type": type_, "ts": MS + at + 2}
        return compact({**head, "data": data, "cts": MS + at})

    def snapshot(self, symbol: str, bids: Levels, asks: Levels, *, at: int = 0) -> bytes:
        self.apply(symbol, bids, asks, fresh=True)
        return self._book(symbol, "snapshot", bids, asks, at)

    def update(self, symbol: str, bids: Levels, asks: Levels, *, at: int = 0) -> bytes:
        self.apply(symbol, bids, asks)
        return self._book(symbol, "delta", bids, asks, at)

    def spoilt(self, symbol: str, *, at: int = 0) -> bytes:
        self.numbers[symbol] += 5
        return self.update(symbol, [], [], at=at)

    def trade(self, symbol: str, trade_id: int, price: str, size: str, side: str, *, at: int = 0) -> bytes:
        data = {"T": MS + at, "s": symbol, "S": side.capitalize(), "v": size, "p": price, "L": "PlusTick"}
        head = {"topic": f"publicTrade.{symbol}", "type": "snapshot", "ts": MS + at + 1}
        return compact({**head, "data": [{**data, "i": f"uuid-{trade_id}", "BT": False}]})

    def declined(self, request: Request) -> bytes:
        says = f"error:handler not found,topic:{request.channel}.{request.symbol}"
        return compact({"success": False, "ret_msg": says, "conn_id": "c", "op": "subscribe"})

    def requests(self, text: str) -> list[Request]:
        asked = json.loads(text)
        if asked["op"] == "ping":
            return [Request("ping", "", "")]
        return [Request(asked["op"], *arg.rsplit(".", 1)) for arg in asked["args"]]


WIRES: list[type[Wire]] = [Kraken, KrakenV2, Okx, Coinbase, Bybit]
