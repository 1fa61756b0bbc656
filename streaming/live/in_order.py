"""Rows as they arrive in, rows in the order of event time and seq out: the base of a job's functions.

A Python function of the DataStream API sees rows in the order in which Flink read them, which is not the
same live and over history. What extends :class:`InOrder` sees them as a MATCH_RECOGNIZE does: once the
watermark has passed them, ordered by ``ts_event`` (its milliseconds) and ``seq``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, ValueStateDescriptor

from tickloom.clock import NS_PER_MS

LATE_METRIC = "numLateRecordsDropped"  # as Flink calls it in MATCH_RECOGNIZE; `rules status` shows it


class InOrder(KeyedProcessFunction):  # type: ignore[misc]
    """A keyed process function whose rows come in order. Extend it and write :meth:`row`.

    Rows at or behind the watermark that has passed are late: dropped and counted.
    """

    def row(self, row: Row, memory: Any) -> tuple[Any, Iterable[Row]]:
        """Look at one row of a key.

        Parameters
        ----------
        row : Row
            With ``ts_event`` and ``seq`` among its fields.
        memory : object
            What the key's last row left behind; None before its first one.

        Returns
        -------
        memory : object
            For the key's next row. It goes into Flink's state, which outlives this code: plain values,
            tuples and dicts of them, no class of the job's own; small, and bounded.
        rows : iterable of Row
            What goes out.
        """
        raise NotImplementedError

    def open(self, runtime_context: RuntimeContext) -> None:
        kind = Types.PICKLED_BYTE_ARRAY()
        self._waiting = runtime_context.get_list_state(ListStateDescriptor("waiting", kind))
        self._memory = runtime_context.get_state(ValueStateDescriptor("memory", kind))
        self._late = runtime_context.get_metrics_group().counter(LATE_METRIC)

    def process_element(self, value: Row, ctx: Any) -> Iterator[Row]:
        time_ms = value["ts_event"] // NS_PER_MS
        if time_ms <= ctx.timer_service().current_watermark():
            self._late.inc()
        else:
            self._waiting.add(value)
            ctx.timer_service().register_event_time_timer(time_ms)
        yield from ()

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Row]:
        # one watermark passes many timers: the first takes every row up to it, the others find nothing
        watermark = ctx.timer_service().current_watermark()
        passed: list[tuple[int, int, int, Row]] = []
        waiting: list[Row] = []
        for number, row in enumerate(self._waiting.get() or ()):
            time_ms = row["ts_event"] // NS_PER_MS
            if time_ms <= watermark:
                passed.append((time_ms, row["seq"], number, row))
            else:
                waiting.append(row)
        if not passed:
            return
        self._waiting.update(waiting)
        memory = self._memory.value()
        for *_, row in sorted(passed, key=lambda one: one[:3]):
            memory, rows = self.row(row, memory)
            yield from rows
        self._memory.update(memory)
