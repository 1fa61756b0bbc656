"""Texts of a venue's usual messages, with places for the values, in; a program for :mod:`.template_scan` out.

A template is a message as the venue sends it, literally, with ``<name>`` where a value stands:

===================  ======================================================================================
``<symbol>``         the venue's name of the instrument, up to the next quote
``<same>``           the same text once more
``<id>``             integer: number of the message; ``<next_id>``: and the one before must have been one less
``<previous>``       integer, may be negative: number that the message before must have had
``<checksum>``       integer, may be negative: checksum of the book
``<depth>``          integer: levels that are kept of a side
``<bid> <bid_size>   decimals of a ticker
<ask> <ask_size>``
``<price> <size>``   decimals of an entry; ``<trade_id>``: integer
``<side> <maker>``   side of an entry; maker: of the resting order, so the aggressor's is the other
``<time_ms> <time_us>  time of the message, the latest where there are several, and of the entry: integers,
<time_s> <time_iso>``  decimal seconds, 2021-04-17T16:43:37.075687Z
``<at_ms>``          time of the message, whatever came before
``<n> <s> <any>``    not used: integer; text up to the next quote; text, integer, true or false
``<each>``           a JSON array, of which one element follows, up to ``<end>``; ``<each buy>``, ``<each sell>``
                     give the entries their side; each element is an entry
``<entry>``          what was read since the last one is an entry (where there is no array)
``<if TEXT>``        up to ``<fi>``: is there only where TEXT is
===================  ======================================================================================

A ``~`` behind an integer's or decimal's name says that the venue quotes it sometimes: ``<id~>``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ingest.websocket.message import (
    CHECKSUM,
    DEPTH,
    FINAL_ID,
    PREVIOUS_ID,
    VALUE,
    Kind,
)
from tickloom.events import Side


class Op(IntEnum):
    """What the program does next. Each has two arguments."""

    LITERAL = 0  # position in the pool, length
    SYMBOL = 1
    SAME = 2
    INTEGER = 3  # column; 1: may be negative, 2: may be quoted (added)
    DECIMAL = 4  # column; 2: may be quoted
    PRICE = 5  # -; 2: may be quoted
    SIZE = 6
    TRADE_ID = 7
    SIDE = 8  # 1: the maker's
    TIME = 9  # ns a unit; 1: of the message, whatever came before; 2: may be quoted
    TIME_S = 10
    TIME_ISO = 11
    SKIP_TEXT = 12
    SKIP_ANY = 13
    EACH = 14  # where to go on behind the array; side
    END = 15  # where an element begins
    ENTRY = 16
    IF = 17  # where to go on without it; the literal follows as an op of its own
    MATCHED = 18


_INTEGERS = {"id": FINAL_ID, "previous": PREVIOUS_ID, "checksum": CHECKSUM, "depth": DEPTH}
_DECIMALS = {"bid": VALUE, "bid_size": VALUE + 1, "ask": VALUE + 2, "ask_size": VALUE + 3}
_PLAIN = {
    "symbol": Op.SYMBOL,
    "same": Op.SAME,
    "price": Op.PRICE,
    "size": Op.SIZE,
    "trade_id": Op.TRADE_ID,
    "side": Op.SIDE,
    "time_s": Op.TIME_S,
    "time_iso": Op.TIME_ISO,
    "s": Op.SKIP_TEXT,
    "any": Op.SKIP_ANY,
    "entry": Op.ENTRY,
}
_SIDES = {"": Side.NONE, "buy": Side.BUY, "sell": Side.SELL}
NEXT_ID = -2  # column of an integer that is the id, and one more than the previous one
NO_COLUMN = -1
SIGNED, QUOTED, ABSOLUTE = 1, 2, 1
_TOKEN = re.compile(r"<([^<>]*)>")


@dataclass(frozen=True, slots=True)
class Program:
    """Templates as numbers. ops: int64, shape (ops, 3); pool: uint8, all literals; starts, kinds: int64."""

    ops: NDArray[np.int64]
    pool: NDArray[np.uint8]
    starts: NDArray[np.int64]
    kinds: NDArray[np.int64]


class _Compiler:
    def __init__(self) -> None:
        self.ops: list[list[int]] = []
        self.pool = bytearray()
        self._open: list[int] = []

    def add(self, text: str) -> None:
        """One template, behind those before."""
        at = 0
        for token in _TOKEN.finditer(text):
            self._literal(text[at : token.start()])
            self._token(token[1])
            at = token.end()
        self._literal(text[at:])
        if self._open:
            raise ValueError(f"template {text!r}: an array or a condition has no end")
        self._op(Op.MATCHED)

    def _op(self, op: Op, first: int = 0, second: int = 0) -> None:
        self.ops.append([op, first, second])

    def _literal(self, text: str) -> None:
        if text:
            self._op(Op.LITERAL, len(self.pool), len(text))
            self.pool += text.encode("ascii")

    def _token(self, token: str) -> None:
        name, _, more = token.partition(" ")
        quoted = QUOTED if name.endswith("~") else 0
        name = name.removesuffix("~")
        if name == "each":
            self._open.append(len(self.ops))
            self._op(Op.EACH, 0, _SIDES[more])
        elif name == "end":
            begin = self._open.pop()
            self._op(Op.END, begin + 1)
            self.ops[begin][1] = len(self.ops)
        elif name == "if":
            self._open.append(len(self.ops))
            self._op(Op.IF)
            self._literal(more)
        elif name == "fi":
            self.ops[self._open.pop()][1] = len(self.ops)
        elif name in _INTEGERS:
            signed = SIGNED if name in ("previous", "checksum") else 0
            self._op(Op.INTEGER, _INTEGERS[name], signed | quoted)
        elif name in ("next_id", "n"):
            self._op(Op.INTEGER, NEXT_ID if name == "next_id" else NO_COLUMN, quoted)
        elif name in _DECIMALS:
            self._op(Op.DECIMAL, _DECIMALS[name], quoted)
        elif name == "maker":
            self._op(Op.SIDE, 1)
        elif name in ("time_ms", "time_us", "at_ms"):
            unit = 1_000 if name == "time_us" else 1_000_000
            self._op(Op.TIME, unit, quoted | (ABSOLUTE if name == "at_ms" else 0))
        else:
            self._op(_PLAIN[name], 0, quoted)


def compile_templates(templates: Sequence[tuple[Kind, str]]) -> Program:
    """A program that tries the templates in their order.

    Raises
    ------
    ValueError, KeyError
        A template that does not follow the rules above.
    """
    compiler = _Compiler()
    starts = []
    for _, text in templates:
        starts.append(len(compiler.ops))
        compiler.add(text)
    return Program(
        np.array(compiler.ops, dtype=np.int64),
        np.frombuffer(bytes(compiler.pool), dtype=np.uint8).copy(),
        np.array(starts, dtype=np.int64),
        np.array([kind for kind, _ in templates], dtype=np.int64),
    )
