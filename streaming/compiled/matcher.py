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

from streaming.compiled import modules, runtime
from streaming.compiled.columns import EVENT_TIME, Texts, extract
from streaming.compiled.kernel import (
    OUTPUTS,
    RESULT_FLOATS,
    RESULT_INTS,
    Writer,
    parameter_places,
    prelude_inputs,
    prelude_outputs,
)
from streaming.compiled.plan import CompiledRule, Plan
from streaming.compiled.tree import Column, Kind
from streaming.parameters import interval_ms
from streaming.rules import Rule
from tickloom.clock import NS_PER_MS
from tickloom.codec import ColumnBlock
from tickloom.errors import RuleError
from tickloom.events import EventBlock, Signal, SymbolTable

Array = NDArray[Any]
#: Partial matches of one key, and ended matches that wait for them; beyond it the rule is wrong.
PARTIAL_MATCHES_MAX = 1 << 22
_WORK_ROWS = 256
_BEGINNING = -(1 << 62)
_END = 1 << 62
_DTYPES = {Kind.DOUBLE: np.float64, Kind.BIGINT: np.int64, Kind.TIME: np.int64, Kind.STRING: np.int32}


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
        self._constants = len(self.texts)
        self._lanes = [
            _Lane(self, self._module, writer.slots.ints, writer.slots.floats, values)
            for values in compiled.values.values()
        ]
        self._symbols: dict[int, tuple[SymbolTable, Array]] = {}
        self._heads: dict[int, Any] = {}

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
        for number, branch in enumerate(self.plan.branches):
            if len(getattr(block, branch.view, ())):
                wanted = [column.name for column in prelude_inputs(self.plan, number)]
                known = inputs.setdefault(branch.view, {})
                missing = [name for name in {*wanted, EVENT_TIME} if name not in known]
                known.update(extract(branch.view, block, missing, symbols, self.texts))
        return self.push_columns(inputs, watermark_ns // NS_PER_MS - 1, block.venue)

    def push_columns(
        self, inputs: Mapping[str, Mapping[str, Array]], watermark_ms: int, venue: str
    ) -> list[Signal]:
        """As :meth:`push`, from columns by view as ``columns.extract`` gives them.

        watermark_ms: Flink's watermark, up to and with which nothing more will come.
        """
        signals: list[Signal] = []
        for lane in self._lanes:
            signals += lane.push(inputs, watermark_ms, venue)
        return signals

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
            lane.load(saved)

    def signal(self, ints: list[int], floats: list[float], venue: str) -> Signal:
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


class _Lane:
    """The state of one set of parameters."""

    def __init__(
        self, matcher: Matcher, module: Any, ints: int, floats: int, values: Mapping[str, str]
    ) -> None:
        self.matcher = matcher
        self.plan: Plan = matcher.plan
        self._module = module
        self._floats, self._ints = _parameters(matcher.compiled.rule, self.plan, values, matcher.texts)
        self.late_rows = 0
        self.passed_ms = _BEGINNING
        self.pending: dict[str, Array] = {}
        self.keys: dict[tuple[int, ...], int] = {}
        self.seen = np.zeros(0, np.int64)
        self.pm_off, self.dq_off = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self.pm_i, self.pm_f = np.zeros((0, ints), np.int64), np.zeros((0, floats))
        self.dq_i, self.dq_f = np.zeros((0, RESULT_INTS), np.int64), np.zeros((0, RESULT_FLOATS))
        self._work: dict[str, int] = {"partial": _WORK_ROWS, "queue": _WORK_ROWS, "out": _WORK_ROWS}
        self._buffers: tuple[Array, ...] = ()

    # -- rows

    def push(self, inputs: Mapping[str, Mapping[str, Array]], watermark_ms: int, venue: str) -> list[Signal]:
        rows = self._rows(inputs)
        if rows:
            rows = self._drop_late(rows)
        if self.pending:
            old, self.pending = self.pending, {}
            rows = {name: np.concatenate((old[name], rows[name])) for name in old} if rows else old
        if watermark_ms > self.passed_ms:
            self.passed_ms = watermark_ms
        rows = self._ready(rows)
        if not rows and not len(self.dq_i):
            return []
        return self._match(rows, venue)

    def _rows(self, inputs: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
        """The pattern's rows: each branch's prelude over its view's columns."""
        parts = []
        for number, branch in enumerate(self.plan.branches):
            given = inputs.get(branch.view)
            if not given:
                continue
            part = self._plain(number, given)
            parts.append(part if part is not None else self._computed(number, given))
        if len(parts) < 2:
            return parts[0] if parts else {}
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _plain(self, number: int, given: Mapping[str, Array]) -> dict[str, Array] | None:
        """The view's own columns, where nothing is computed and no row left out."""
        branch = self.plan.branches[number]
        if branch.where is not None:
            return None
        found: dict[str, Array] = {}
        for name, column in prelude_outputs(self.plan).items():
            tree = branch.columns[name]
            if not isinstance(tree, Column) or tree.nullable != column.nullable:
                return None
            found[name] = given[tree.name]
            if column.nullable:
                found[f"{name}?"] = given[f"{tree.name}?"]
        return found

    def _computed(self, number: int, given: Mapping[str, Array]) -> dict[str, Array]:
        needed = prelude_inputs(self.plan, number)
        count = len(next(iter(given.values())))
        arguments = [given[one.name] for one in needed]
        arguments += [given[f"{one.name}?"] for one in needed if one.nullable]
        found: dict[str, Array] = {}
        for name, column in prelude_outputs(self.plan).items():
            found[name] = np.zeros(count, _DTYPES[column.kind])
            if column.nullable:
                found[f"{name}?"] = np.zeros(count, np.bool_)
        function = getattr(self._module, f"prelude_{number}")
        kept = self._guarded(function, count, self._floats, self._ints, *arguments, *found.values())
        return {name: values[:kept] for name, values in found.items()}

    def _drop_late(self, rows: dict[str, Array]) -> dict[str, Array]:
        times = rows[EVENT_TIME]
        if not len(times):
            return {}
        if times.min() > self.passed_ms:
            return rows
        fresh = times > self.passed_ms
        self.late_rows += int(len(times) - fresh.sum())
        return {name: values[fresh] for name, values in rows.items()} if fresh.any() else {}

    def _ready(self, rows: dict[str, Array]) -> dict[str, Array]:
        """Rows that the watermark has passed, in order; the others wait."""
        if not rows:
            return {}
        rows = self._sorted(rows)
        count = int(np.searchsorted(rows[EVENT_TIME], self.passed_ms, side="right"))
        if count < len(rows[EVENT_TIME]):
            self.pending = {name: values[count:].copy() for name, values in rows.items()}
        return {name: values[:count] for name, values in rows.items()} if count else {}

    def _sorted(self, rows: dict[str, Array]) -> dict[str, Array]:
        times, keys = rows[EVENT_TIME], [rows[name] for name in self.plan.order]
        if len(keys) < 2 and runtime.in_order(times, keys[0] if keys else times):
            return rows
        order = np.lexsort((*reversed(keys), times))
        return {name: values[order] for name, values in rows.items()}

    # -- the kernel

    def _match(self, rows: dict[str, Array], venue: str) -> list[Signal]:
        partitions, size = self._partitions(rows)
        self._grow(size)
        order, starts = runtime.group(partitions, size)
        columns = self._column_arguments(rows)
        times = rows[EVENT_TIME] if rows else np.zeros(0, np.int64)
        while True:
            work = self._workspace()
            work_i, work_f, queue_i, queue_f, out_i, out_f = work
            new_rows = len(self.pm_i) + max(len(times), _WORK_ROWS) * self._work.get("grown", 1)
            new_i = np.empty((new_rows, self.pm_i.shape[1]), np.int64)
            new_f = np.empty((new_rows, self.pm_f.shape[1]))
            new_dq = len(self.dq_i) + max(len(times), _WORK_ROWS) * self._work.get("queued", 1)
            new_dq_i, new_dq_f = np.empty((new_dq, RESULT_INTS), np.int64), np.empty((new_dq, RESULT_FLOATS))
            seen, pm_off, dq_off = (
                np.empty_like(self.seen),
                np.empty_like(self.pm_off),
                np.empty_like(self.dq_off),
            )
            status, n_new, n_dq, n_out = self._guarded(
                self._module.run, order, starts, times, self.passed_ms, self._floats, self._ints, *columns,
                self.seen, self.pm_off, self.pm_i, self.pm_f, self.dq_off, self.dq_i, self.dq_f,
                work_i, work_f, queue_i, queue_f,
                seen, pm_off, new_i, new_f, dq_off, new_dq_i, new_dq_f, out_i, out_f,
            )  # fmt: skip
            if status == 0:
                break
            self._enlarge(status)
        self.seen, self.pm_off, self.dq_off = seen, pm_off, dq_off
        self.pm_i, self.pm_f = new_i[:n_new].copy(), new_f[:n_new].copy()
        self.dq_i, self.dq_f = new_dq_i[:n_dq].copy(), new_dq_f[:n_dq].copy()
        ints, floats = out_i[:n_out].tolist(), out_f[:n_out].tolist()
        return [
            self.matcher.signal(whole, real, venue)
            for whole, real in zip(ints, floats, strict=True)
            if whole[2] & 1
        ]

    def _partitions(self, rows: dict[str, Array]) -> tuple[Array, int]:
        """Number of each row's partition: the text's code where it is one, else in the order of coming."""
        keys = self.plan.partition
        if len(keys) == 1 and self.plan.row_columns[keys[0]].kind is Kind.STRING:
            return (rows[keys[0]] if rows else np.zeros(0, np.int32)), len(self.matcher.texts)
        if rows:
            values = np.stack([rows[name].astype(np.int64) for name in keys], axis=1)
            distinct, where = np.unique(values, axis=0, return_inverse=True)
            for key in map(tuple, distinct.tolist()):
                self.keys.setdefault(key, len(self.keys))
            numbers = np.array([self.keys[tuple(key)] for key in distinct.tolist()], np.int32)
            return numbers[where.reshape(-1)], len(self.keys)
        return np.zeros(0, np.int32), len(self.keys)

    def _column_arguments(self, rows: dict[str, Array]) -> list[Array]:
        columns = self.plan.row_columns.values()
        if not rows:
            return [np.zeros(0, _DTYPES[one.kind]) for one in columns] + [
                np.zeros(0, np.bool_) for one in columns if one.nullable
            ]
        found = [rows[one.name] for one in columns] + [
            rows[f"{one.name}?"] for one in columns if one.nullable
        ]
        return [np.ascontiguousarray(values) for values in found]

    def _grow(self, size: int) -> None:
        """Make room for partitions that are new."""
        more = size - len(self.seen)
        if more > 0:
            self.seen = np.concatenate((self.seen, np.zeros(more, np.int64)))
            self.pm_off = np.concatenate((self.pm_off, np.full(more, self.pm_off[-1])))
            self.dq_off = np.concatenate((self.dq_off, np.full(more, self.dq_off[-1])))

    def _workspace(self) -> tuple[Array, ...]:
        if not self._buffers:
            partial, queue, out = self._work["partial"], self._work["queue"], self._work["out"]
            ints, floats = self.pm_i.shape[1], self.pm_f.shape[1]
            self._buffers = (
                np.zeros((2 * partial + 1, ints), np.int64),  # the last record stays empty
                np.zeros((2 * partial + 1, floats)),
                np.empty((queue, RESULT_INTS), np.int64),
                np.empty((queue, RESULT_FLOATS)),
                np.empty((out, RESULT_INTS), np.int64),
                np.empty((out, RESULT_FLOATS)),
            )
        return self._buffers

    def _enlarge(self, status: int) -> None:
        name = {1: "partial", 2: "grown", 3: "queue", 4: "out", 5: "queued"}[status]
        self._work[name] = self._work.get(name, 1) * 4
        self._buffers = ()
        if name in ("partial", "queue") and self._work[name] > PARTIAL_MATCHES_MAX:
            raise RuleError(
                self.matcher.compiled.rule.file,
                0,
                f"more than {PARTIAL_MATCHES_MAX // 4:,} partial matches of one key are open",
                "make the first variable rarer, or WITHIN shorter",
            )

    def _guarded(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ZeroDivisionError as error:
            raise RuleError(
                self.matcher.compiled.rule.file, 0, str(error), "test the divisor first, in a CASE"
            ) from None

    # -- state

    def state(self) -> dict[str, Any]:
        """Plain values and arrays' bytes."""
        arrays = {
            name: getattr(self, name) for name in ("seen", "pm_off", "dq_off", "pm_i", "pm_f", "dq_i", "dq_f")
        }
        return {
            "late_rows": self.late_rows,
            "passed_ms": self.passed_ms,
            "keys": list(self.keys),
            "arrays": {name: _packed(values) for name, values in arrays.items()},
            "pending": {name: _packed(values) for name, values in self.pending.items()},
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take over a :meth:`state`."""
        self.late_rows, self.passed_ms = saved["late_rows"], saved["passed_ms"]
        self.keys = {tuple(key): number for number, key in enumerate(saved["keys"])}
        for name, packed in saved["arrays"].items():
            setattr(self, name, _unpacked(packed))
        self.pending = {name: _unpacked(packed) for name, packed in saved["pending"].items()}


def _packed(values: Array) -> tuple[str, tuple[int, ...], bytes]:
    return values.dtype.str, values.shape, values.tobytes()


def _unpacked(packed: tuple[str, list[int], bytes]) -> Array:
    kind, shape, raw = packed
    return np.frombuffer(raw, np.dtype(kind)).reshape(shape).copy()


def _parameters(rule: Rule, plan: Plan, values: Mapping[str, str], texts: Texts) -> tuple[Array, Array]:
    """Values of the parameters as the kernel takes them: doubles, and whole numbers, ms and text codes."""
    floats, ints = [], []
    for name, place in parameter_places(plan).items():
        given, kind = values[name], plan.parameters[name]
        if place.startswith("PF"):
            floats.append(float(given))
        elif kind is Kind.STRING:
            ints.append(texts.code(given))
        elif kind is Kind.INTERVAL:
            ints.append(interval_ms(given))
        else:
            ints.append(int(given))
    return np.array(floats, np.float64), np.array(ints, np.int64)
