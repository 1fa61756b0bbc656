"""ITCH 5.0 messages that the exchange publishes of its own book, to bytes. Pure.

Source: Nasdaq TotalView-ITCH 5.0 specification, sections 1.1 to 1.5. All messages begin with type,
stock locate, tracking number (0) and ns since midnight in 48 bits.
"""

from __future__ import annotations

import struct

PRICE_UNIT = 100_000  # nanos in ITCH's 1e-4
SIZE_MAX = 2**32 - 1
PRICE_MAX = 2**32 - 1

_HEAD = struct.Struct(">cHHHI")
_ADD = struct.Struct(">QcI8sI")
_EXECUTED = struct.Struct(">QIQ")
_EXECUTED_AT = struct.Struct(">QIQcI")
_REDUCED = struct.Struct(">QI")
_DELETED = struct.Struct(">Q")
_TRADE = struct.Struct(">QcI8sIQ")
#: Market category Q, financial status N, round lot 100, not round lots only, common stock, sub-type Z,
#: authenticity T (test), short sale threshold N, IPO N, LULD tier 1, no ETP.
_DIRECTORY = struct.Struct(">8sccIcc2scccccIc")


def _head(kind: bytes, locate: int, ts: int) -> bytes:
    return _HEAD.pack(kind, locate, 0, ts >> 32, ts & 0xFFFF_FFFF)


def system_event(ts: int, code: str) -> bytes:
    """S: O start of messages, S system hours, Q market hours, M, E and C their ends."""
    return _head(b"S", 0, ts) + code.encode()


def directory(ts: int, locate: int, symbol: str) -> bytes:
    """R."""
    return _head(b"R", locate, ts) + _DIRECTORY.pack(
        _text(symbol), b"Q", b"N", 100, b"N", b"C", b"Z ", b"T", b"N", b"N", b"1", b"N", 0, b"N"
    )


def trading_action(ts: int, locate: int, symbol: str, state: str) -> bytes:
    """H: T trading, H halted."""
    return _head(b"H", locate, ts) + _text(symbol) + state.encode() + b" " + b" " * 4


def add(ts: int, locate: int, reference: int, side: str, shares: int, symbol: str, price: int) -> bytes:
    """A. side: B or S; price in 1e-4."""
    return _head(b"A", locate, ts) + _ADD.pack(reference, side.encode(), shares, _text(symbol), price)


def executed(ts: int, locate: int, reference: int, shares: int, match: int) -> bytes:
    """E: at the order's own price."""
    return _head(b"E", locate, ts) + _EXECUTED.pack(reference, shares, match)


def executed_at(ts: int, locate: int, reference: int, shares: int, match: int, price: int) -> bytes:
    """C: at another price; printable."""
    return _head(b"C", locate, ts) + _EXECUTED_AT.pack(reference, shares, match, b"Y", price)


def reduced(ts: int, locate: int, reference: int, shares: int) -> bytes:
    """X: so many less."""
    return _head(b"X", locate, ts) + _REDUCED.pack(reference, shares)


def deleted(ts: int, locate: int, reference: int) -> bytes:
    """D."""
    return _head(b"D", locate, ts) + _DELETED.pack(reference)


def trade(ts: int, locate: int, side: str, shares: int, symbol: str, price: int, match: int) -> bytes:
    """P: with an order that is not displayed."""
    return _head(b"P", locate, ts) + _TRADE.pack(0, side.encode(), shares, _text(symbol), price, match)


def _text(symbol: str) -> bytes:
    return symbol.encode("ascii").ljust(8)
