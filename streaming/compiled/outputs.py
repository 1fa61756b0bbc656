"""What every matcher gives and keeps: rows of a kernel's results as signals, and state as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from streaming.rules import Rule
from tickloom.clock import NS_PER_MS
from tickloom.errors import RuleError
from tickloom.events import Signal

#: What a row is made of, in the order of :meth:`Signals.make`.
Numbers = tuple[float, float, int, int]


class Signals:
    """Makes the signals of a bound rule; ts_signal is 0."""

    def __init__(self, rule: Rule, version: str) -> None:
        self._rule, self._version = rule, version
        self._heads: dict[str, Any] = {}

    def make(self, symbol: str, side: str, numbers: Numbers, venue: str, at_ms: int) -> Signal:
        """One signal. numbers: strength, ref_price, first_seq and last_seq; at_ms: its event time."""
        strength, ref_price, first, last = numbers
        head = self._heads.get(symbol)
        if head is None:  # signals are many: the part of tickloom.events.signal_id that they share
            text = f"{self._rule.name}|{self._version}|{symbol}|"
            head = self._heads[symbol] = hashlib.sha256(text.encode())
        identity = head.copy()
        identity.update(b"%d|%d" % (first, last))
        return Signal(
            identity.hexdigest(),
            self._rule.name,
            self._version,
            symbol,
            side,
            strength,
            ref_price,
            first,
            last,
            venue,
            at_ms * NS_PER_MS,
            0,
        )

    def incomplete(self, symbol: str, at_ms: int, missing: Iterable[str], fix: str) -> RuleError:
        """The error of a signal in which something is NULL."""
        reason = f"a signal of {symbol} at {at_ms} ms has no {', '.join(missing)}"
        return RuleError(self._rule.file, 0, reason, fix)


def pack_state(key: str, texts: Sequence[str], lanes: Sequence[Any], last_ms: int = 0) -> bytes:
    """State of a matcher with ``key``: its texts, what its lanes hold, and the last event's time."""
    return msgspec.msgpack.encode({"key": key, "texts": texts, "lanes": lanes, "last_ms": last_ms})


def unpack_state(raw: bytes, key: str, rule: Rule, right_when: str) -> dict[str, Any]:
    """What was packed, for the matcher with ``key``.

    Raises
    ------
    RuleError
        It is another rule's, or another version's, text's or parameters'.
    """
    state: dict[str, Any] = msgspec.msgpack.decode(raw)
    if state["key"] != key:
        raise RuleError(
            rule.file,
            0,
            "the saved state is of another version, text or parameters of the rule",
            f"start it without the old state: it is right {right_when}",
        )
    return state
