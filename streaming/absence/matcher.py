"""Batches of events in, signals of an absence rule out: rows made ready for the kernel, and its state.

Event time, watermark and lateness are those of ``streaming.compiled.matcher``: rows wait until the
watermark has passed them, and are late, dropped and counted if it had before they came. A silence fires
when the watermark has passed the time at which it is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.absence import code, kernel
from streaming.absence.plan import CompiledAbsence, Limits, Plan, Role
from streaming.compiled import modules
from streaming.compiled.columns import EVENT_TIME, Texts, extract
from streaming.compiled.outputs import Signals, pack_state, unpack_state
from streaming.compiled.tree import Kind
from streaming.parameters import interval_ms
from streaming.rules import OUTPUT_COLUMNS
from streaming.waiting import Waiting
from tickloom.clock import NS_PER_MS
from tickloom.errors import RuleError
from tickloom.events import EventBlock, Signal, SymbolTable

Array = NDArray[Any]
FIRED_MAX = 1_024  # silences that the kernel writes before it is called again
_BEGINNING = -(1 << 62)
_ROWS = ("keys", "times", "seqs", "roles", "ints", "floats", "nulls")


class AbsenceMatcher:
    """An absence rule over a stream of blocks of one venue; one for a shard, or one for everything.

    Same use as ``streaming.compiled.Matcher``. The end of a stream proves no silence: :meth:`finish`
    fires only what is due at or before the last event, or watermark, that was pushed.
    """

    def __init__(self, compiled: CompiledAbsence) -> None:
        self.compiled = compiled
        self.plan = compiled.plan
        self.texts = Texts()
        self._module = modules.load(code.source(self.plan, self.texts))
        self._lanes = [
            _Lane(self, self._module, compiled.values[name], compiled.limits[name])
            for name in compiled.values
        ]
        self._maker = Signals(compiled.rule, compiled.version)
        self._symbols: tuple[SymbolTable, Array] | None = None
        self._last_ms = _BEGINNING

    @property
    def late_rows(self) -> int:
        """Rows that came behind the watermark and were not looked at."""
        return sum(lane.late_rows for lane in self._lanes)

    def push(self, block: EventBlock, watermark_ns: int) -> list[Signal]:
        """Signals that are certain once nothing older than the watermark will come, in event time's order.

        Raises
        ------
        RuleError
            A signal without a side, price or the like; a whole number divided by zero.
        """
        codes = self._codes(block.symbols)
        inputs: dict[str, dict[str, Array]] = {}
        for role in self.plan.roles:
            for number, branch in enumerate(role.branches):
                if len(getattr(block, branch.view)):
                    known = inputs.setdefault(branch.view, {})
                    wanted = [column.name for column in code.inputs(role, number)]
                    missing = [name for name in (*wanted, EVENT_TIME) if name not in known]
                    known.update(extract(branch.view, block, missing, codes, self.texts))
        for records in block.every_kind().values():
            if len(records):
                self._last_ms = max(self._last_ms, int(records["ts_event"].max()) // NS_PER_MS)
        return self._signals(inputs, watermark_ns // NS_PER_MS - 1)

    def finish(self) -> list[Signal]:
        """Signals at the end of a bounded stream, of what its own events prove."""
        return self._signals({}, self._last_ms)

    def _signals(self, inputs: Mapping[str, Mapping[str, Array]], watermark_ms: int) -> list[Signal]:
        found = [
            signal for lane in self._lanes for signal in self._named(lane.push(inputs, watermark_ms), lane)
        ]
        return sorted(found, key=lambda one: (one.ts_event, one.symbol, one.last_seq))

    def _named(self, fired: list[tuple[Array, ...]], lane: _Lane) -> list[Signal]:
        found = []
        for given in fired:
            out_i, out_f = lane.outputs(given)
            for ints, floats, at_ms in zip(out_i, out_f, given[1], strict=True):
                if ints[code.OUT_FLAGS] & 1:
                    found.append(self._signal(ints, floats, int(at_ms)))
        return found

    def _signal(self, ints: Array, floats: Array, at_ms: int) -> Signal:
        names = self.texts.names
        symbol = names[ints[code.OUT_SYMBOL]]
        flags = int(ints[code.OUT_FLAGS]) >> 1
        if flags:
            missing = [name for bit, name in enumerate(OUTPUT_COLUMNS) if flags >> bit & 1]
            fix = "let a WHERE behind ABSENCE see to it that nothing is NULL"
            raise self._maker.incomplete(symbol, at_ms, missing, fix)
        numbers = (
            float(floats[code.OUT_STRENGTH]),
            float(floats[code.OUT_PRICE]),
            int(ints[code.OUT_FIRST]),
            int(ints[code.OUT_LAST]),
        )
        side = names[ints[code.OUT_SIDE]]
        return self._maker.make(symbol, side, numbers, self.compiled.rule.venue, at_ms)

    def snapshot(self) -> bytes:
        """All state, for :meth:`restore` of a matcher of the same rule, version and values."""
        lanes = [lane.state() for lane in self._lanes]
        return pack_state(self.compiled.key, self.texts.names, lanes, self._last_ms)

    def restore(self, raw: bytes) -> None:
        """Go on where a snapshot was taken.

        Raises
        ------
        RuleError
            It is another rule's, or another version's, text's or parameters'.
        """
        right_when = "with each symbol's next expected event"
        state = unpack_state(raw, self.compiled.key, self.compiled.rule, right_when)
        self.texts, self._symbols = Texts(state["texts"]), None
        self._last_ms = state["last_ms"]
        for lane, saved in zip(self._lanes, state["lanes"], strict=True):
            lane.load(saved)

    def _codes(self, symbols: SymbolTable) -> Array:
        known = self._symbols
        if known is None or known[0] is not symbols or len(known[1]) != len(symbols):
            codes = np.array([self.texts.code(name) for name in symbols.names], np.int32)
            known = self._symbols = (symbols, codes)
        return known[1]


class _Lane:
    """The state of one set of parameters."""

    def __init__(
        self, matcher: AbsenceMatcher, module: Any, values: Mapping[str, str], limits: Limits
    ) -> None:
        plan = matcher.plan
        self._plan: Plan = plan
        self._file = matcher.compiled.rule.file
        self._module = module
        self._limits = limits
        self._floats, self._ints = _parameters(plan, values, matcher.texts)
        self._functions = np.array([kernel.FUNCTIONS[one] for one, _, _ in plan.facts], np.int64)
        self._places = np.array([place for _, place, _ in plan.facts], np.int64)
        self._width = max(len(role.values) for role in plan.roles)
        self._keys: dict[tuple[int, ...], int] = {}
        self._lookup = np.zeros(0, np.int32)  # of a plain text key: code to number of key, or -1
        self._state = self._arrays(0)
        self._waiting = Waiting("times")  # rows that the watermark has not passed
        self._passed_ms = _BEGINNING
        self.late_rows = 0

    def push(self, inputs: Mapping[str, Mapping[str, Array]], watermark_ms: int) -> list[tuple[Array, ...]]:
        """What fires up to the watermark, Flink's: up to and with it, nothing more will come."""
        for role in self._plan.roles:
            for number, branch in enumerate(role.branches):
                if branch.view in inputs and (rows := self._rows(role, number, inputs[branch.view])):
                    self._waiting.put(rows)
        self._passed_ms = max(self._passed_ms, watermark_ms)
        return self._advance(self._waiting.due(self._passed_ms))

    def _rows(self, role: Role, number: int, given: Mapping[str, Array]) -> dict[str, Array]:
        """A branch's rows that are not late."""
        needed = code.inputs(role, number)
        count = len(given[EVENT_TIME])
        rows: dict[str, Array] = {
            "keys": np.empty((count, len(self._plan.partition)), np.int64),
            "times": np.empty(count, np.int64),
            "seqs": np.empty(count, np.int64),
            "ints": np.zeros((count, self._width), np.int64),
            "floats": np.zeros((count, self._width)),
            "nulls": np.zeros((count, self._width), np.bool_),
        }
        arguments = [given[one.name] for one in needed]
        arguments += [given[f"{one.name}?"] for one in needed if one.nullable]
        function = getattr(self._module, f"rows_{role.number}_{number}")
        kept = self._guarded(function, count, self._floats, self._ints, *rows.values(), *arguments)
        fresh = rows["times"][:kept] > self._passed_ms
        late = kept - int(fresh.sum())
        self.late_rows += late
        found = {name: values[:kept][fresh] if late else values[:kept] for name, values in rows.items()}
        if not len(found["times"]):
            return {}
        found["roles"] = np.full(len(found["times"]), role.number, np.int8)
        found["keys"] = self._numbered(found["keys"])
        return found

    def _numbered(self, keys: Array) -> Array:
        """Number of each row's key; new keys get a state."""
        if keys.shape[1] == 1 and self._plan.partition[0].kind is Kind.STRING:
            codes = keys[:, 0]
            if len(self._lookup) <= codes.max():
                more = np.full(int(codes.max()) + 1, -1, np.int32)
                more[: len(self._lookup)] = self._lookup
                self._lookup = more
            found: Array = self._lookup[codes]
            if found.min() < 0:
                for new in np.unique(codes[found < 0]):
                    self._lookup[new] = self._number((int(new),))
                found = self._lookup[codes]
            return found
        unique, where = np.unique(keys, axis=0, return_inverse=True)
        numbers = np.array([self._number(tuple(map(int, key))) for key in unique], np.int32)
        numbered: Array = numbers[where.reshape(-1)]
        return numbered

    def _number(self, key: tuple[int, ...]) -> int:
        found = self._keys.setdefault(key, len(self._keys))
        if found == len(self._state[0]):
            more = self._arrays(max(64, found))
            self._state = tuple(np.concatenate(pair) for pair in zip(self._state, more, strict=True))
        return found

    def _arrays(self, count: int) -> tuple[Array, ...]:
        """State of ``count`` keys that have seen nothing; see ``kernel``."""
        expected, facts = (count, len(self._plan.expected)), (count, len(self._plan.facts))
        return (
            np.zeros(count, np.int64),
            np.zeros(count, np.int8),
            np.zeros(count, np.int64),
            *(np.zeros(expected, np.int64), np.zeros(expected), np.zeros(expected, np.bool_)),
            *(np.zeros(facts, np.int64), np.zeros(facts), np.zeros(facts, np.int64)),
        )

    # -- the kernel

    def _advance(self, rows: dict[str, Array]) -> list[tuple[Array, ...]]:
        fired: list[tuple[Array, ...]] = []
        silence_ms, least = self._limits.silence_ms, self._limits.least
        if rows:
            order = _order(rows)
            given = [rows[name] for name in _ROWS if name != "seqs"]
            done = 0
            while done < len(order):
                out = self._out()
                done, count = kernel.advance(
                    *(done, order, *given, self._functions, self._places),
                    *(silence_ms, least, self._limits.until_ms, self._state, out),
                )
                fired.append(tuple(values[:count] for values in out))
        done = 0
        while done < len(self._state[0]):
            out = self._out()
            done, count = kernel.expire(done, self._passed_ms, silence_ms, least, self._state, out)
            fired.append(tuple(values[:count] for values in out))
        return [out for out in fired if len(out[0])]

    def _out(self) -> tuple[Array, ...]:
        """Room for silences: key, time, the expected row's values, facts."""
        since, _, _, *remembered = self._arrays(FIRED_MAX)
        return (np.zeros(len(since), np.int64), since, *remembered)

    def outputs(self, fired: tuple[Array, ...]) -> tuple[Array, Array]:
        """Output columns of silences that fired."""
        numbers, _, *remembered = fired
        table = np.array(list(self._keys), np.int64).reshape(-1, len(self._plan.partition))
        out_i = np.zeros((len(numbers), code.OUT_INTS), np.int64)
        out_f = np.zeros((len(numbers), code.OUT_FLOATS))
        arguments = (table[numbers], *remembered, out_i, out_f)
        self._guarded(self._module.outputs, len(numbers), self._floats, self._ints, *arguments)
        return out_i, out_f

    def _guarded(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ZeroDivisionError as error:
            raise RuleError(self._file, 0, str(error), "test the divisor first, in a CASE") from None

    # -- state

    def state(self) -> dict[str, Any]:
        """Plain values and arrays' bytes."""
        count = len(self._keys)
        return {
            "keys": list(self._keys),
            "arrays": [_packed(values[:count]) for values in self._state],
            "pending": {name: _packed(values) for name, values in self._waiting.all().items()},
            "passed_ms": self._passed_ms,
            "late_rows": self.late_rows,
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take over a :meth:`state`."""
        self._keys = {tuple(key): number for number, key in enumerate(saved["keys"])}
        self._lookup = np.zeros(0, np.int32)
        if len(self._plan.partition) == 1 and self._plan.partition[0].kind is Kind.STRING:
            self._lookup = np.full(max((key[0] for key in self._keys), default=-1) + 1, -1, np.int32)
            for (text,), number in self._keys.items():
                self._lookup[text] = number
        self._state = tuple(_unpacked(packed) for packed in saved["arrays"])
        self._waiting.restore({name: _unpacked(packed) for name, packed in saved["pending"].items()})
        self._passed_ms, self.late_rows = saved["passed_ms"], saved["late_rows"]


def _order(rows: Mapping[str, Array]) -> Array:
    """Row numbers by time, seq and role."""
    order: Array = np.lexsort((rows["roles"], rows["seqs"], rows["times"]))
    return order


def _parameters(plan: Plan, values: Mapping[str, str], texts: Texts) -> tuple[Array, Array]:
    """Values of the parameters in the places that ``code`` gave them."""
    floats, ints = [], []
    for name, place in code.parameter_places(plan).items():
        given, kind = values[name], plan.parameters[name]
        if place.startswith("PF"):
            floats.append(float(given))
        elif kind is Kind.STRING:
            ints.append(texts.code(given))
        else:
            ints.append(interval_ms(given) if kind is Kind.INTERVAL else int(given))
    return np.array(floats, np.float64), np.array(ints, np.int64)


def _packed(values: Array) -> tuple[str, tuple[int, ...], bytes]:
    return values.dtype.str, values.shape, values.tobytes()


def _unpacked(packed: tuple[str, list[int], bytes]) -> Array:
    kind, shape, raw = packed
    return np.frombuffer(raw, np.dtype(kind)).reshape(shape).copy()
