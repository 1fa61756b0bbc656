"""What to say to Coinbase.

Source: Coinbase Exchange "WebSocket Feed": overview, channels, rate limits (100 requests a second at first,
8 of them subscriptions). ``level2_batch`` is ``level2`` every 50 ms, and needs no login. The heartbeat
comes each second and product, so nothing is pinged.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

BOOK_CHANNEL = "level2_batch"


class CoinbaseProtocol:
    """The websocket feed, without login."""

    instruments_max = 100  # of level 2, one connection
    ping = ""

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Book, trades, tickers and heartbeat of each product."""
        return [_request("subscribe", symbols, [BOOK_CHANNEL, "ticker", "matches", "heartbeat"])]

    def resubscribe(self, symbol: str) -> list[str]:
        """The book of one product."""
        return [_request(type_, [symbol], [BOOK_CHANNEL]) for type_ in ("unsubscribe", "subscribe")]


def _request(type_: str, symbols: Sequence[str], channels: Sequence[str]) -> str:
    return msgspec.json.encode({"type": type_, "product_ids": symbols, "channels": channels}).decode()
