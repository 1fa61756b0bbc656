"""What to say to Kraken.

Source: Kraken "Spot WebSockets API v1" and "Spot WebSocket v2": subscribe, unsubscribe, ping; book depths 10,
25, 100, 500, 1000. The venue sends a heartbeat each second in which nothing else comes, and answers pings.

Quotes are asked of v1's ``spread``, which comes with each change and has a time (``ticker`` comes with trades
only and has none), and of v2's ``ticker`` with ``event_trigger`` bbo, which comes with each change of the
best levels. v2 is not asked for trades of before the subscription: after a reconnect they would be there
twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ingest.websocket.kraken.symbols import v1_name, v2_name

BOOK_DEPTHS = (10, 25, 100, 500, 1_000)
BOOK_DEPTH = 100
PAIRS_A_REQUEST = 50  # a request is one frame, and the answers come one a pair
INSTRUMENTS_MAX = 200  # no limit is documented; the books of so many are what one connection carries

_BOOK_V1: Mapping[str, str | int] = {"name": "book", "depth": BOOK_DEPTH}


class KrakenV1:
    """Websocket API v1."""

    instruments_max = INSTRUMENTS_MAX
    ping = '{"event":"ping"}'

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Book, trades and spread of each pair."""
        channels: list[Mapping[str, str | int]] = [_BOOK_V1, {"name": "trade"}, {"name": "spread"}]
        return [_v1("subscribe", some, channel) for channel in channels for some in _shares(symbols)]

    def resubscribe(self, symbol: str) -> list[str]:
        """The book of one pair."""
        return [_v1(event, [symbol], _BOOK_V1) for event in ("unsubscribe", "subscribe")]


class KrakenV2:
    """Websocket API v2."""

    instruments_max = INSTRUMENTS_MAX
    ping = '{"method":"ping"}'

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Trades, best levels and book of each pair."""
        requests = []
        for some in _shares(symbols):
            requests += [
                _v2("subscribe", "trade", some, snapshot=False),
                _v2("subscribe", "ticker", some, event_trigger="bbo", snapshot=True),
                # last: the snapshots are long, and what is asked behind them waits for them
                _v2("subscribe", "book", some, depth=BOOK_DEPTH, snapshot=True),
            ]
        return requests

    def resubscribe(self, symbol: str) -> list[str]:
        """The book of one pair."""
        return [
            _v2("unsubscribe", "book", [symbol], depth=BOOK_DEPTH),
            _v2("subscribe", "book", [symbol], depth=BOOK_DEPTH, snapshot=True),
        ]


def _shares(symbols: Sequence[str]) -> list[Sequence[str]]:
    return [symbols[at : at + PAIRS_A_REQUEST] for at in range(0, len(symbols), PAIRS_A_REQUEST)]


def _v1(event: str, symbols: Sequence[str], channel: Mapping[str, str | int]) -> str:
    request = {"event": event, "pair": [v1_name(pair) for pair in symbols], "subscription": channel}
    return msgspec.json.encode(request).decode()


def _v2(method: str, channel: str, symbols: Sequence[str], **more: str | int) -> str:
    params = {"channel": channel, "symbol": [v2_name(pair) for pair in symbols], **more}
    return msgspec.json.encode({"method": method, "params": params}).decode()
