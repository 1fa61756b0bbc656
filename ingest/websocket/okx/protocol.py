"""What to say to OKX.

Source: OKX API v5, "Connect" and "Subscribe" of the websocket API: 480 requests an hour and connection, 64
KB a request, "ping" as text within 30 s of silence. Quotes are asked of ``bbo-tbt``, which comes with each
change (at most every 10 ms), not of ``tickers`` (both are read).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

CHANNELS = ("books", "trades", "bbo-tbt")
ARGS_A_REQUEST = 300  # of some 60 bytes each


class OkxProtocol:
    """Websocket API v5, public."""

    instruments_max = 150  # of the 400-level book, one connection
    ping = "ping"

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Book, trades and best levels of each instrument."""
        args = [{"channel": channel, "instId": symbol} for channel in CHANNELS for symbol in symbols]
        return [
            _request("subscribe", args[at : at + ARGS_A_REQUEST])
            for at in range(0, len(args), ARGS_A_REQUEST)
        ]

    def resubscribe(self, symbol: str) -> list[str]:
        """The book of one instrument."""
        args = [{"channel": "books", "instId": symbol}]
        return [_request(op, args) for op in ("unsubscribe", "subscribe")]


def _request(op: str, args: Sequence[dict[str, str]]) -> str:
    return msgspec.json.encode({"op": op, "args": args}).decode()
