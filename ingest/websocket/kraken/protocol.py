"""What to say to Kraken.

Source: Kraken "Spot WebSockets API v1", subscribe, unsubscribe, ping; book depths 10, 25, 100, 500, 1000.
The venue sends a heartbeat each second in which nothing else comes, and answers pings. Quotes are asked of
``spread``, which comes with each change and has a time; ``ticker`` comes with trades only and has none
(both are read).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

BOOK_DEPTH = 100
PAIRS_A_REQUEST = 50  # a request is one frame, and the answers come one a pair


class KrakenProtocol:
    """Websocket API v1."""

    instruments_max = 200  # no limit is documented; the books of so many are what one connection carries
    ping = '{"event":"ping"}'

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Book, trades and spread of each pair."""
        channels: list[dict[str, str | int]] = [
            {"name": "book", "depth": BOOK_DEPTH},
            {"name": "trade"},
            {"name": "spread"},
        ]
        return [
            _request("subscribe", symbols[at : at + PAIRS_A_REQUEST], channel)
            for channel in channels
            for at in range(0, len(symbols), PAIRS_A_REQUEST)
        ]

    def resubscribe(self, symbol: str) -> list[str]:
        """The book of one pair."""
        channel: dict[str, str | int] = {"name": "book", "depth": BOOK_DEPTH}
        return [_request(event, [symbol], channel) for event in ("unsubscribe", "subscribe")]


def _request(event: str, symbols: Sequence[str], channel: dict[str, str | int]) -> str:
    return msgspec.json.encode({"event": event, "pair": list(symbols), "subscription": channel}).decode()
