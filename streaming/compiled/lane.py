"""One set of a rule's parameters over batches of columns: event time, the kernel's buffers, its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.compiled import runtime
from streaming.compiled.columns import EVENT_TIME, Texts
from streaming.compiled.kernel import (
    RESULT_FLAGS,
    RESULT_FLOATS,
    RESULT_INTS,
    parameter_places,
    prelude_inputs,
    prelude_outputs,
)
from streaming.compiled.plan import CompiledRule, Plan
from streaming.compiled.slots import Slots
from streaming.compiled.tree import Column, Kind
from streaming.parameters import interval_ms
from streaming.waiting import Waiting
from tickloom.errors import RuleError

Array = NDArray[Any]
#: Partial matches of one key, and ended matches that wait for them; beyond it the rule is wrong.
PARTIAL_MATCHES_MAX = 1 << 22
_WORK_ROWS = 256
_BEGINNING = -(1 << 62)  # before all times, in ms
_DTYPES = {Kind.DOUBLE: np.float64, Kind.BIGINT: np.int64, Kind.TIME: np.int64, Kind.STRING: np.int32}


class Results(NamedTuple):
    """Rows of the kernel's results: int64 (n, RESULT_INTS), float64 (n, RESULT_FLOATS), as in ``kernel``."""

    ints: Array
    floats: Array


NOTHING = Results(np.zeros((0, RESULT_INTS), np.int64), np.zeros((0, RESULT_FLOATS)))


class Lane:
    """Rows that wait, partial matches and ended matches of one set of parameters, and the kernel over them.

    Parameters
    ----------
    texts : Texts
        Of the matcher; after a restore another one takes its place.
    """

    def __init__(
        self, compiled: CompiledRule, module: Any, slots: Slots, values: Mapping[str, str], texts: Texts
    ) -> None:
        self.plan: Plan = compiled.plan
        self.texts = texts
        self._file = compiled.rule.file
        self._module = module
        self._floats, self._ints = _parameters(self.plan, values, texts)
        self._outputs = prelude_outputs(self.plan)
        self._inputs = [prelude_inputs(self.plan, number) for number in range(len(self.plan.branches))]
        self.late_rows = 0
        self.passed_ms = _BEGINNING
        self._waiting = Waiting(EVENT_TIME)  # rows that the watermark has not passed
        self.keys: dict[tuple[int, ...], int] = {}
        self.seen = np.zeros(0, np.int64)
        self.pm_off, self.dq_off = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self.pm_i, self.pm_f = np.zeros((0, slots.ints), np.int64), np.zeros((0, slots.floats))
        self.dq_i, self.dq_f = np.zeros((0, RESULT_INTS), np.int64), np.zeros((0, RESULT_FLOATS))
        self._work: dict[str, int] = {"partial": _WORK_ROWS, "queue": _WORK_ROWS, "out": _WORK_ROWS}
        self._buffers: tuple[Array, ...] = ()
        self._held: tuple[Array, ...] = ()  # arrays that the state is a part of
        self._spare: tuple[Array, ...] = ()  # for the next one

    # -- rows

    def push(self, inputs: Mapping[str, Mapping[str, Array]], watermark_ms: int) -> Results:
        """Results of the kernel that pass the outer WHERE."""
        rows = self._rows(inputs)
        if rows:
            rows = self._drop_late(rows)
        if rows:
            self._waiting.put(rows)
        self.passed_ms = max(self.passed_ms, watermark_ms)
        # rows are put together only when some are due: a watermark may be rare
        rows = self._due() if self._waiting.first <= self.passed_ms else {}
        if not rows and not len(self.dq_i):
            return NOTHING
        return self._match(rows)

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
        for name, column in self._outputs.items():
            tree = branch.columns[name]
            if not isinstance(tree, Column) or tree.nullable != column.nullable:
                return None
            found[name] = given[tree.name]
            if column.nullable:
                found[f"{name}?"] = given[f"{tree.name}?"]
        return found

    def _computed(self, number: int, given: Mapping[str, Array]) -> dict[str, Array]:
        needed = self._inputs[number]
        count = len(next(iter(given.values())))
        arguments = [given[one.name] for one in needed]
        arguments += [given[f"{one.name}?"] for one in needed if one.nullable]
        found: dict[str, Array] = {}
        for name, column in self._outputs.items():
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

    def _due(self) -> dict[str, Array]:
        """Rows that the watermark has passed, in order; the others go on waiting."""
        return self._sorted(self._waiting.due(self.passed_ms))

    def _sorted(self, rows: dict[str, Array]) -> dict[str, Array]:
        times, keys = rows[EVENT_TIME], [rows[name] for name in self.plan.order]
        if len(keys) < 2 and runtime.in_order(times, keys[0] if keys else times):
            return rows
        order = np.lexsort((*reversed(keys), times))
        return {name: values[order] for name, values in rows.items()}

    # -- the kernel

    def _match(self, rows: dict[str, Array]) -> Results:
        partitions, size = self._partitions(rows)
        self._grow(size)
        order, starts = runtime.group(partitions, size)
        columns = self._column_arguments(rows)
        times = rows[EVENT_TIME] if rows else np.zeros(0, np.int64)
        while True:
            work = self._workspace()
            work_i, work_f, queue_i, queue_f, out_i, out_f = work
            room = self._room(max(len(times), _WORK_ROWS))
            seen, pm_off, dq_off, new_i, new_f, new_dq_i, new_dq_f = room
            status, n_new, n_dq, n_out = self._guarded(
                self._module.run, order, starts, times, self.passed_ms, self._floats, self._ints, *columns,
                self.seen, self.pm_off, self.pm_i, self.pm_f, self.dq_off, self.dq_i, self.dq_f,
                work_i, work_f, queue_i, queue_f,
                seen, pm_off, new_i, new_f, dq_off, new_dq_i, new_dq_f, out_i, out_f,
            )  # fmt: skip
            if status == 0:
                break
            self._enlarge(status)
        self._spare, self._held = self._held, room
        self.seen, self.pm_off, self.dq_off = seen, pm_off, dq_off
        self.pm_i, self.pm_f = new_i[:n_new], new_f[:n_new]
        self.dq_i, self.dq_f = new_dq_i[:n_dq], new_dq_f[:n_dq]
        kept = (out_i[:n_out, RESULT_FLAGS] & 1).astype(np.bool_)
        return Results(out_i[:n_out][kept], out_f[:n_out][kept])  # copies: the buffers are used again

    def _partitions(self, rows: dict[str, Array]) -> tuple[Array, int]:
        """Number of each row's partition: the text's code where it is one, else in the order of coming."""
        keys = self.plan.partition
        if len(keys) == 1 and self.plan.row_columns[keys[0]].kind is Kind.STRING:
            return (rows[keys[0]] if rows else np.zeros(0, np.int32)), len(self.texts)
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

    def _room(self, rows: int) -> tuple[Array, ...]:
        """Arrays for the state behind so many rows: those of the last state but one, if they are large
        enough. To make seven for each batch costs 3 microseconds, and forty where they are large."""
        partial = len(self.pm_i) + rows * self._work.get("grown", 1)
        queued = len(self.dq_i) + rows * self._work.get("queued", 1)
        if self._spare:
            seen, _, _, new_i, _, new_dq_i, _ = self._spare
            if len(seen) == len(self.seen) and len(new_i) >= partial and len(new_dq_i) >= queued:
                return self._spare
        return (
            np.empty_like(self.seen),
            np.empty_like(self.pm_off),
            np.empty_like(self.dq_off),
            np.empty((partial, self.pm_i.shape[1]), np.int64),
            np.empty((partial, self.pm_f.shape[1])),
            np.empty((queued, RESULT_INTS), np.int64),
            np.empty((queued, RESULT_FLOATS)),
        )

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
                self._file,
                0,
                f"more than {PARTIAL_MATCHES_MAX // 4:,} partial matches of one key are open",
                "make the first variable rarer, or WITHIN shorter",
            )

    def _guarded(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ZeroDivisionError as error:
            raise RuleError(self._file, 0, str(error), "test the divisor first, in a CASE") from None

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
            "waiting": {name: _packed(values) for name, values in self._waiting.all().items()},
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take over a :meth:`state`."""
        self.late_rows, self.passed_ms = saved["late_rows"], saved["passed_ms"]
        self.keys = {tuple(key): number for number, key in enumerate(saved["keys"])}
        for name, packed in saved["arrays"].items():
            setattr(self, name, _unpacked(packed))
        self._waiting.restore({name: _unpacked(packed) for name, packed in saved["waiting"].items()})


def _packed(values: Array) -> tuple[str, tuple[int, ...], bytes]:
    return values.dtype.str, values.shape, values.tobytes()


def _unpacked(packed: tuple[str, list[int], bytes]) -> Array:
    kind, shape, raw = packed
    return np.frombuffer(raw, np.dtype(kind)).reshape(shape).copy()


def _parameters(plan: Plan, values: Mapping[str, str], texts: Texts) -> tuple[Array, Array]:
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
