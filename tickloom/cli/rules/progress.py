"""How far a run over history is: percent of its time, ticks a second, time left."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tickloom.clock import NS_PER_S, Clock, SystemClock


class TimeProgress:
    """A bar on standard error, where standard output is a terminal; else nothing.

    Parameters
    ----------
    stages : sequence of str
        What is done, one after the other, each over the whole time.
    from_ns, to_ns : int
        The time range.
    """

    def __init__(
        self,
        stages: list[str],
        from_ns: int,
        to_ns: int,
        *,
        shown: bool | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._stages = stages
        self._from_ns, self._total_ns = from_ns, max(to_ns - from_ns, 1)
        self._clock = clock or SystemClock()
        self._began_ns = self._clock.monotonic_ns()
        self._passed_ns = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
            disable=not (sys.stdout.isatty() if shown is None else shown),
        )
        self._task = self._bar.add_task(stages[0], total=self._total_ns, rate="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def reached(self, at_ns: int, events: int) -> None:
        """The run is at that event time, after so many ticks; one that goes back begins the next stage."""
        passed_ns = min(max(at_ns - self._from_ns, 0), self._total_ns)
        now_ns = self._clock.monotonic_ns()
        if passed_ns < self._passed_ns and len(self._stages) > 1:
            self._stages = self._stages[1:]
            self._began_ns = now_ns
            self._bar.reset(self._task, total=self._total_ns, description=self._stages[0], rate="")
        self._passed_ns = passed_ns
        seconds = (now_ns - self._began_ns) / NS_PER_S
        rate = f"{events / seconds:,.0f} ticks/s" if seconds > 0 and events else ""
        self._bar.update(self._task, completed=passed_ns, rate=rate)


def figures(events: int, seconds: float) -> str:
    """Ticks, seconds and rate in words."""
    return f"{events:,} ticks in {seconds:.1f} s, {events / max(seconds, 1e-9):,.0f} a second"
