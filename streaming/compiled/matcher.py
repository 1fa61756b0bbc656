"""Batches of events in, signals out: the compiled matcher and its state.

Event time is Flink's: milliseconds, and a watermark behind which nothing comes. Rows wait until the
watermark has passed them, are taken in the order of time and ORDER BY, and are late, dropped and
counted if the watermark had passed them before they came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streaming.compiled import modules
from streaming.compiled.columns import EVENT_TIME, Texts, extract, source_fields
from streaming.compiled.kernel import OUTPUTS, Writer, prelude_inputs
from streaming.compiled.lane import Lane
from streaming.compiled.plan import CompiledRule
from tickloom.clock import NS_PER_MS
from tickloom.codec import ColumnBlock
from tickloom.errors import RuleError
from tickloom.events import EventBlock, Signal, SymbolTable

Array = NDArray[Any]
_END = 1 << 62  # a watermark in ms that nothing can be behind


class Matcher:
    """A rule over a stream of blocks.

    Blocks of one venue; nothing in a block may be older than the watermark of an earlier one, or it is
    late. One matcher is one shard, or everything.
    """

    def __init__(self, compiled: CompiledRule) -> None:
        self.compiled = compiled
        self.plan = compiled.plan
        self.texts = Texts()
        writer = Writer(self.plan, self.texts)
        self._module = modules.load(writer.source())
        self._lanes = [
            Lane(compiled, self._module, writer.slots, values, self.texts)
            for values in compiled.values.values()
        ]
        self._wanted = [
            [*{EVENT_TIME, *(column.name for column in prelude_inputs(self.plan, number))}]
            for number in range(len(self.plan.branches))
        ]
        self._symbols: dict[int, tuple[SymbolTable, Array]] = {}
        self._heads: dict[int, Any] = {}

    @property
    def fields(self) -> dict[str, set[str]]:
        """Fields of each kind of event that :meth:`push` looks at."""
        found: dict[str, set[str]] = {}
        for branch, wanted in zip(self.plan.branches, self._wanted, strict=True):
            for name in wanted:
                found.setdefault(branch.view, set()).update(source_fields(name))
        return found

    @property
    def late_rows(self) -> int:
        """Rows that came behind the watermark and were not looked at."""
        return sum(lane.late_rows for lane in self._lanes)

    @property
    def partial_matches(self) -> int:
        """Partial matches that are open now."""
        return sum(len(lane.pm_i) for lane in self._lanes)

    def push(self, block: EventBlock | ColumnBlock, watermark_ns: int) -> list[Signal]:
        """Signals of all matches that are certain once nothing older than the watermark will come.

        Raises
        ------
        RuleError
            A match without a side, price or the like; a whole number divided by zero; too many partial
            matches of one key.
        """
        symbols = self._symbol_codes(block.symbols)
        inputs: dict[str, dict[str, Array]] = {}
        for branch, wanted in zip(self.plan.branches, self._wanted, strict=True):
            if len(getattr(block, branch.view, ())):
                known = inputs.setdefault(branch.view, {})
                missing = [name for name in wanted if name not in known]
                known.update(extract(branch.view, block, missing, symbols, self.texts))
        return self.push_columns(inputs, watermark_ns // NS_PER_MS - 1, block.venue)

    def push_columns(
        self, inputs: Mapping[str, Mapping[str, Array]], watermark_ms: int, venue: str
    ) -> list[Signal]:
        """As :meth:`push`, from columns by view as ``columns.extract`` gives them.

        watermark_ms: Flink's watermark, up to and with which nothing more will come.
        """
        return [
            self._signal(ints, floats, venue)
            for lane in self._lanes
            for ints, floats in lane.push(inputs, watermark_ms)
        ]

    def finish(self) -> list[Signal]:
        """Signals at the end of a bounded stream: nothing more will come at all."""
        return self.push_columns({}, _END, self.compiled.rule.venue)

    def snapshot(self) -> bytes:
        """All state, for :meth:`restore` of a matcher of the same rule, version and values."""
        state = {
            "key": self.compiled.key,
            "texts": self.texts.names,
            "lanes": [lane.state() for lane in self._lanes],
        }
        return msgspec.msgpack.encode(state)

    def restore(self, raw: bytes) -> None:
        """Go on where a snapshot was taken.

        Raises
        ------
        RuleError
            It is another rule's, or another version's, text's or parameters'.
        """
        state = msgspec.msgpack.decode(raw)
        if state["key"] != self.compiled.key:
            raise RuleError(
                self.compiled.rule.file,
                0,
                "the saved state is of another version, text or parameters of the rule",
                "start it without the old state: it is right once WITHIN has passed",
            )
        self.texts = Texts(state["texts"])
        self._symbols.clear()
        self._heads.clear()
        for lane, saved in zip(self._lanes, state["lanes"], strict=True):
            lane.texts = self.texts
            lane.load(saved)

    def _signal(self, ints: list[int], floats: list[float], venue: str) -> Signal:
        """A row of the kernel's results as a signal; ts_signal is 0."""
        rule, names = self.compiled.rule, self.texts.names
        _, _, flags, symbol_code, side, first, last, at_ms = ints
        symbol = names[symbol_code]
        if flags >> 1:
            missing = [name for bit, name in enumerate(OUTPUTS, start=1) if flags >> bit & 1]
            raise RuleError(
                rule.file,
                0,
                f"a signal of {symbol} at {at_ms} ms has no {', '.join(missing)}",
                "let the pattern or a WHERE behind it see to it that nothing is NULL",
            )
        head = self._heads.get(symbol_code)
        if head is None:  # signals are many: the part of tickloom.events.signal_id that they share
            text = f"{rule.name}|{self.compiled.version}|{symbol}|"
            head = self._heads[symbol_code] = hashlib.sha256(text.encode())
        identity = head.copy()
        identity.update(b"%d|%d" % (first, last))
        return Signal(
            identity.hexdigest(),
            rule.name,
            self.compiled.version,
            symbol,
            names[side],
            floats[0],
            floats[1],
            first,
            last,
            venue,
            at_ms * NS_PER_MS,
            0,
        )

    def _symbol_codes(self, symbols: SymbolTable) -> Array:
        cached = self._symbols.get(id(symbols))
        if cached is not None and cached[0] is symbols and len(cached[1]) == len(symbols):
            return cached[1]
        codes = np.array([self.texts.code(name) for name in symbols.names], np.int32)
        if len(self._symbols) > 64:  # tables that are gone
            self._symbols.clear()
        self._symbols[id(symbols)] = (symbols, codes)
        return codes
