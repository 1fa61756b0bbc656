"""Binance's addresses: the combined streams of the instruments, and their REST order books.

Source: Binance "WebSocket Streams" (spot; combined streams at /stream?streams=) and "Websocket Market
Streams" (USD-M futures); REST "Order book": /api/v3/depth and /fapi/v1/depth.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingest.websocket.binance.messages import Market
from ingest.websocket.connection import END_CODE, END_REASON, Backoff, SilenceWatch, SnapshotPlanner, is_end

__all__ = [
    "END_CODE",
    "END_REASON",
    "INSTRUMENTS_MAX",
    "SNAPSHOT_LEVELS",
    "SNAPSHOT_PATH",
    "Backoff",
    "SilenceWatch",
    "SnapshotPlanner",
    "is_end",
    "snapshot_url",
    "stream_url",
]

SNAPSHOT_PATH = {"spot": "/api/v3/depth", "usdm": "/fapi/v1/depth"}
SNAPSHOT_LEVELS = {"spot": 5000, "usdm": 1000}  # the most that the venue gives
INSTRUMENTS_MAX = 300  # a connection may follow 1,024 streams, and each has three
_STREAMS = ("depth@100ms", "bookTicker", "trade")


def stream_url(base: str, symbols: Sequence[str]) -> str:
    """Combined-stream address of depth, bookTicker and trade of each instrument (venue's names)."""
    names = "/".join(f"{symbol.lower()}@{stream}" for symbol in symbols for stream in _STREAMS)
    return f"{base.rstrip('/')}/stream?streams={names}"


def snapshot_url(base: str, market: Market, symbol: str) -> str:
    """Address of the REST order book of an instrument (venue's name)."""
    return f"{base.rstrip('/')}{SNAPSHOT_PATH[market]}?symbol={symbol}&limit={SNAPSHOT_LEVELS[market]}"
