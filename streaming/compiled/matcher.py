"""Batches of events in, signals out: the compiled matcher and its state.

Event time is Flink's: milliseconds, and a watermark behind which nothing comes. Rows wait until the
watermark has passed them, are taken in the order of time and ORDER BY, and are late, dropped and
counted if the watermark had passed them before they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from streaming.compiled import modules
from streaming.compiled.columns import EVENT_TIME, Texts, extract, source_fields
from streaming.compiled.kernel import (
    OUTPUTS,
    RESULT_FLAGS,
    RESULT_SYMBOL,
    RESULT_TIME,
    Writer,
    prelude_inputs,
)
from streaming.compiled.lane import Lane, Results
from streaming.compiled.outputs import Signals, pack_state, unpack_state
from streaming.compiled.plan import CompiledRule
from streaming.compiled.records import RecordWriter
from streaming.live.packing import Packed
from tickloom.clock import NS_PER_MS
from tickloom.codec import ColumnBlock
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
        self._signals = Signals(compiled.rule, compiled.version)
        self._writer = RecordWriter(compiled.rule, compiled.version)

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
        return self._signals_of(self.results(block, watermark_ns), block.venue)

    def results(self, block: EventBlock | ColumnBlock, watermark_ns: int) -> Results:
        """As :meth:`push`, but rows of results for :meth:`records`, which asks for less a signal."""
        symbols = self._symbol_codes(block.symbols)
        inputs: dict[str, dict[str, Array]] = {}
        for branch, wanted in zip(self.plan.branches, self._wanted, strict=True):
            if len(getattr(block, branch.view, ())):
                known = inputs.setdefault(branch.view, {})
                missing = [name for name in wanted if name not in known]
                known.update(extract(branch.view, block, missing, symbols, self.texts))
        return self._advance(inputs, watermark_ns // NS_PER_MS - 1)

    def records(self, results: Results, venue: str, ts_signal_ns: int) -> Packed:
        """Results as stamped records of the topic ``signals``, each keyed by its symbol."""
        return self._writer.write(*results, self.texts, venue, ts_signal_ns)

    def push_columns(
        self, inputs: Mapping[str, Mapping[str, Array]], watermark_ms: int, venue: str
    ) -> list[Signal]:
        """As :meth:`push`, from columns by view as ``columns.extract`` gives them.

        watermark_ms: Flink's watermark, up to and with which nothing more will come.
        """
        return self._signals_of(self._advance(inputs, watermark_ms), venue)

    def finish(self) -> list[Signal]:
        """Signals at the end of a bounded stream: nothing more will come at all."""
        return self.push_columns({}, _END, self.compiled.rule.venue)

    def snapshot(self) -> bytes:
        """All state, for :meth:`restore` of a matcher of the same rule, version and values."""
        return pack_state(self.compiled.key, self.texts.names, [lane.state() for lane in self._lanes])

    def restore(self, raw: bytes) -> None:
        """Go on where a snapshot was taken.

        Raises
        ------
        RuleError
            It is another rule's, or another version's, text's or parameters'.
        """
        state = unpack_state(raw, self.compiled.key, self.compiled.rule, "once WITHIN has passed")
        self.texts = Texts(state["texts"])
        self._symbols.clear()
        for lane, saved in zip(self._lanes, state["lanes"], strict=True):
            lane.texts = self.texts
            lane.load(saved)

    def _advance(self, inputs: Mapping[str, Mapping[str, Array]], watermark_ms: int) -> Results:
        """Results of all lanes, in which nothing is NULL."""
        found = [lane.push(inputs, watermark_ms) for lane in self._lanes]
        results = found[0] if len(found) == 1 else Results(*map(np.concatenate, zip(*found, strict=True)))
        missing = results.ints[:, RESULT_FLAGS] >> 1
        if missing.any():
            self._refuse(results.ints[np.flatnonzero(missing)[0]].tolist())
        return results

    def _refuse(self, ints: list[int]) -> NoReturn:
        """A result in which something is NULL."""
        symbol, at_ms, flags = self.texts.names[ints[RESULT_SYMBOL]], ints[RESULT_TIME], ints[RESULT_FLAGS]
        missing = [name for bit, name in enumerate(OUTPUTS, start=1) if flags >> bit & 1]
        fix = "let the pattern or a WHERE behind it see to it that nothing is NULL"
        raise self._signals.incomplete(symbol, at_ms, missing, fix)

    def _signals_of(self, results: Results, venue: str) -> list[Signal]:
        names, make = self.texts.names, self._signals.make
        return [
            make(names[symbol], names[side], (strength, price, first, last), venue, at_ms)
            for (_, _, _, symbol, side, first, last, at_ms), (strength, price) in zip(
                results.ints.tolist(), results.floats.tolist(), strict=True
            )
        ]

    def _symbol_codes(self, symbols: SymbolTable) -> Array:
        cached = self._symbols.get(id(symbols))
        if cached is not None and cached[0] is symbols and len(cached[1]) == len(symbols):
            return cached[1]
        codes = np.array([self.texts.code(name) for name in symbols.names], np.int32)
        if len(self._symbols) > 64:  # tables that are gone
            self._symbols.clear()
        self._symbols[id(symbols)] = (symbols, codes)
        return codes
