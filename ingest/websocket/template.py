"""Texts of a venue's usual messages, with places for the values, in; a program for :mod:`.template_scan` out.

A template is a message as the venue sends it, literally, with ``<name>`` where a value stands:

- ``<symbol>``: the venue's name of the instrument, up to the next quote (in an array, of all its elements);
  ``<same>``: the same text once more;
- ``<id>``: integer, number of the message; ``<next_id>``: and the one before must have been one less;
  ``<previous>``: integer, may be negative, number that the message before must have had;
- ``<checksum>``: integer, of the book; ``<signed_checksum>``: and may be negative;
- ``<depth>``: integer, levels that are kept of a side;
- ``<bid>``, ``<bid_size>``, ``<ask>``, ``<ask_size>``: decimals of a ticker;
- ``<price>``, ``<size>``: decimals of an entry; ``<trade_id>``: integer; ``<side>``: buy or sell;
  ``<maker>``: of the resting order, so the aggressor's is the other;
- ``<time_ms>``, ``<time_us>`` (integers), ``<time_s>`` (decimal seconds), ``<time_iso>`` (ISO 8601 with Z):
  of the entry, and of the message, the latest where there are several; ``<at_ms>``: of the message, for sure;
- ``<n>``, ``<d>``, ``<s>``, ``<any>``: not used: integer; decimal, that may be negative; text up to the next
  quote; text, integer, true or false;
- ``<each>``: a JSON array, of which one element follows, up to ``<end>``; each element is an entry, whose
  side ``<each buy>`` and ``<each sell>`` give;
- ``<entry>``: what was read so far is an entry (where there is no array);
- ``<if TEXT>``: what follows up to ``<fi>`` is there only where TEXT is.

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
    """What the program does next. Each has two arguments, and the literal that follows it, if any."""

    LITERAL = 0  # nothing but the literal
    SYMBOL = 1
    SAME = 2
    SIDE = 3  # 1: the maker's
    SKIP_TEXT = 4
    SKIP_ANY = 5
    EACH = 6  # where to go on behind the array; side
    END = 7  # where an element begins
    ENTRY = 8
    IF = 9  # where to go on without the literal
    MATCHED = 10
    # numbers, from here on; second argument: QUOTED where they may be
    DECIMAL = 11  # column
    PRICE = 12
    SIZE = 13
    INTEGER = 14  # column; SIGNED: may be negative
    TRADE_ID = 15
    TIME = 16  # ns a unit; ABSOLUTE: of the message, whatever came before
    TIME_S = 17
    TIME_ISO = 18
    SKIP_DECIMAL = 19


_INTEGERS = {
    "id": FINAL_ID,
    "previous": PREVIOUS_ID,
    "checksum": CHECKSUM,
    "signed_checksum": CHECKSUM,
    "depth": DEPTH,
}
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
    "d": Op.SKIP_DECIMAL,
    "s": Op.SKIP_TEXT,
    "any": Op.SKIP_ANY,
    "entry": Op.ENTRY,
}
_ALONE = {Op.LITERAL, Op.EACH, Op.END, Op.IF, Op.MATCHED}
_SIDES = {"": Side.NONE, "buy": Side.BUY, "sell": Side.SELL}
NEXT_ID = -2  # column of an integer that is the id, and one more than the previous one
NO_COLUMN = -1
LITERAL_PADDING = 8  # they are compared a word at a time
SIGNED, QUOTED, ABSOLUTE = 1, 2, 1
_TOKEN = re.compile(r"<([^<>]*)>")


@dataclass(frozen=True, slots=True)
class Program:
    """Templates as numbers.

    ops: int64, shape (ops, 5): op, its two arguments, position and length of the literal; pool: uint8, all
    literals and LITERAL_PADDING bytes more; starts, kinds: int64, of each template.
    """

    ops: NDArray[np.int64]
    pool: NDArray[np.uint8]
    starts: NDArray[np.int64]
    kinds: NDArray[np.int64]


class _Compiler:
    def __init__(self) -> None:
        self.ops: list[list[int]] = []
        self.pool = bytearray()
        self._open: list[int] = []
        self._jumped_to = -1  # the op that comes next is reached from elsewhere, too

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
        self.ops.append([op, first, second, 0, 0])

    def _literal(self, text: str) -> None:
        """Goes with the op before it where that always comes first, and does not jump."""
        if not text:
            return
        alone = not self.ops or self.ops[-1][0] in _ALONE or self._jumped_to == len(self.ops)
        if alone:
            self._op(Op.LITERAL)
        self.ops[-1][3:] = len(self.pool), len(text)
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
            self.ops[-1][3:] = len(self.pool), len(more)
            self.pool += more.encode("ascii")
        elif name == "fi":
            self._jumped_to = self.ops[self._open.pop()][1] = len(self.ops)
        elif name in _INTEGERS:
            signed = SIGNED if name in ("previous", "signed_checksum") else 0
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
        np.frombuffer(bytes(compiler.pool) + bytes(LITERAL_PADDING), dtype=np.uint8).copy(),
        np.array(starts, dtype=np.int64),
        np.array([kind for kind, _ in templates], dtype=np.int64),
    )
