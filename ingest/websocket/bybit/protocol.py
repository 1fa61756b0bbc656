"""What to say to Bybit.

Source: Bybit API v5, "WebSocket Stream / Connect": ping every 20 s, at most 21,000 characters of args a
connection and, on spot, 10 args a request; Orderbook, Trade. Quotes are asked of ``orderbook.1``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

BOOK_DEPTH = 200
ARGS_A_REQUEST = 10


class BybitProtocol:
    """Websocket API v5, public; spot, linear and inverse have an address each."""

    instruments_max = 250  # three topics of at most 25 characters each
    ping = '{"op":"ping"}'

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Book, trades and best levels of each instrument."""
        topics = (f"orderbook.{BOOK_DEPTH}", "publicTrade", "orderbook.1")
        args = [f"{topic}.{symbol}" for topic in topics for symbol in symbols]
        return [
            _request("subscribe", args[at : at + ARGS_A_REQUEST])
            for at in range(0, len(args), ARGS_A_REQUEST)
        ]

    def resubscribe(self, symbol: str) -> list[str]:
        """The book of one instrument."""
        return [_request(op, [f"orderbook.{BOOK_DEPTH}.{symbol}"]) for op in ("unsubscribe", "subscribe")]


def _request(op: str, args: Sequence[str]) -> str:
    return msgspec.json.encode({"op": op, "args": args}).decode()
