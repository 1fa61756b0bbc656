"""Differences and the day's stored events in, the cause of each difference out.

Differences of a symbol whose rows overlap share a window, from the first row of their matches to the
time of the last: one row too many or too few moves every match behind it until the two runs meet again.
One pass over the events, in the order of time, collects each window's rows and gaps, and finds which
rows came late: behind a row of the same session that was captured before (a smaller ``seq``) and is so
much later in event time that the venue's watermark had passed.

What cannot be told from stored events: how the ingester cut them into batches. A row behind the
watermark by a few ms may have been in the same batch, and so in time; it is evidence, not proof. Nor is
the watermark known that the clock moved while the venue was silent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.live.runs import Run
from streaming.stored.parity import Cause, Difference
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.events import GAP_TEXTS, EventBlock, Records, SymbolTable
from tickloom.rows import picked

ROWS_MAX = 5_000  # of a window; what is beyond is not looked at
SHOWN_MAX = 3  # rows that an explanation names
_ALL = "*"


@dataclass(frozen=True, slots=True)
class Row:
    """An event inside a window. behind_ms: how far behind the watermark it came, 0: in time."""

    kind: str
    symbol: str
    session: str
    seq: int
    ts_event: int
    ts_recv: int

    @property
    def ms(self) -> int:
        return self.ts_event // NS_PER_MS


@dataclass(slots=True)
class Window:
    """Where differences of a symbol lie. begin_ns: -1 until the first row of one of their matches came."""

    symbols: frozenset[str]
    differences: list[Difference]
    first_seqs: set[int]
    end_ms: int
    begin_ns: int = -1
    rows: list[Row] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    behind_ms: dict[int, int] = field(default_factory=dict)  # place of a late row: how late


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of the rule beside the events.

    Attributes
    ----------
    version : str
        That the replay had.
    kinds : tuple of str
        Tables that the rule's rows come from.
    lateness_ns : int
        How far the venue's watermark stays behind its latest event.
    runs : sequence of Run
        When the rule ran live; empty: not known.
    """

    version: str
    kinds: tuple[str, ...]
    lateness_ns: int = 0
    runs: Sequence[Run] = ()


def explain(differences: Sequence[Difference], blocks: Iterable[EventBlock], context: Context) -> None:
    """Set cause and evidence of every difference.

    Parameters
    ----------
    blocks : iterable of EventBlock
        Trades, quotes, statuses and gaps of the venue, in the order of time, as they were replayed. Not
        read where versions explain everything.
    """
    open_questions = [one for one in differences if not _of_identity(one, context.version)]
    windows = _windows(open_questions)
    if windows:
        _Scan(windows, context).run(blocks)
    for window in windows:
        for difference in window.differences:
            difference.cause, difference.evidence = _of_events(difference, window, context)


def _of_identity(difference: Difference, version: str) -> bool:
    """Whether the reference is of another version or other parameters than the replay."""
    reference = difference.reference
    if reference is None or reference.version == version:
        return False
    other, ours = reference.version.partition("+"), version.partition("+")
    if other[0] != ours[0]:
        difference.cause = Cause.OTHER_VERSION
        difference.evidence = f"raised by version {other[0]}, replayed with {ours[0]}"
    else:
        difference.cause = Cause.OTHER_PARAMETERS
        difference.evidence = f"raised by {reference.version}, replayed with {version}"
    return True


def _windows(differences: Sequence[Difference]) -> list[Window]:
    """One window for each run of differences of a symbol whose rows overlap."""
    by_symbol: dict[str, list[Difference]] = defaultdict(list)
    for difference in differences:
        by_symbol[difference.symbol].append(difference)
    windows = []
    for symbol, own in by_symbol.items():
        own.sort(key=lambda one: min(signal.first_seq for signal in one.signals))
        reach = -1
        for difference in own:
            signals = difference.signals
            if min(signal.first_seq for signal in signals) > reach:
                windows.append(Window(frozenset((symbol,)), [], set(), 0))
            window = windows[-1]
            reach = max(reach, *(signal.last_seq for signal in signals))
            window.differences.append(difference)
            window.first_seqs |= {signal.first_seq for signal in signals}
            window.end_ms = max(window.end_ms, *(signal.ts_event // NS_PER_MS for signal in signals))
    return windows


def _of_events(difference: Difference, window: Window, context: Context) -> tuple[Cause, str]:
    """The cause that the events around a difference speak for, the most certain first."""
    stored = {row.seq for row in window.rows}
    for signal in difference.signals:
        away = sorted({signal.first_seq, signal.last_seq} - stored)
        if away and len(window.rows) < ROWS_MAX:
            whose = "live" if signal is difference.reference else "replayed"
            return Cause.NOT_STORED, f"the {whose} match has seq {away[0]}, which is not stored there"
    idle = _not_running(difference, window, context.runs)
    if idle:
        return Cause.NOT_RUNNING, idle
    if window.behind_ms:
        texts = [
            f"seq {row.seq} of {row.symbol} came {behind} ms behind the watermark"
            for place, behind in list(window.behind_ms.items())[:SHOWN_MAX]
            for row in [window.rows[place]]
        ]
        return Cause.LATE_TICK, "; ".join(texts)
    if window.gaps:
        return Cause.GAP, "; ".join(window.gaps[:SHOWN_MAX])
    tie = _tie(difference, window)
    if tie:
        return Cause.TIE, tie
    return Cause.UNEXPLAINED, f"nothing unusual in the {len(window.rows):,} rows around it"


def _not_running(difference: Difference, window: Window, runs: Sequence[Run]) -> str:
    """Why the rule could not see the match live; "" where it could."""
    if difference.reference is not None or difference.replay is None or not runs:
        return ""
    last = next((row for row in window.rows if row.seq == difference.replay.last_seq), None)
    if last is None:
        return ""
    for run in runs:
        began = run.complete or run.from_ns <= last.ts_recv
        if began and (not run.to_ns or last.ts_recv < run.to_ns):
            return ""
    nearest = min(runs, key=lambda run: abs(run.from_ns - last.ts_recv))
    before = last.ts_recv < nearest.from_ns
    verb, at_ns = ("submitted", nearest.from_ns) if before else ("stopped", nearest.to_ns)
    seconds = abs(at_ns - last.ts_recv) / NS_PER_S
    return f"the rule was {verb} {seconds:,.1f} s {'after' if before else 'before'} the last row came"


def _tie(difference: Difference, window: Window) -> str:
    """Rows of the millisecond in which a match begins or ends, beside its own."""
    ends = {seq for signal in difference.signals for seq in (signal.first_seq, signal.last_seq)}
    at = {row.ms: row.seq for row in window.rows if row.seq in ends}
    for row in window.rows:
        own = at.get(row.ms)
        if own is not None and row.seq != own:
            return f"seq {min(own, row.seq)} and {max(own, row.seq)} have the same millisecond"
    return ""


class _Scan:
    """The pass over a day's events."""

    def __init__(self, windows: Sequence[Window], context: Context) -> None:
        self._context = context
        self._windows = windows
        self._waiting: dict[int, list[Window]] = defaultdict(list)
        for window in windows:
            for seq in window.first_seqs:
                self._waiting[seq].append(window)
        self._open: list[Window] = []
        self._places: list[tuple[Window, int]] = []  # of the rows below
        self._ms = np.zeros(0, np.int64)
        self._seq = np.zeros(0, np.int64)
        self._session = ""
        self._index: dict[str, int] = {}  # of the block's symbols

    def run(self, blocks: Iterable[EventBlock]) -> None:
        end_ms = max(window.end_ms for window in self._windows)
        for block in blocks:
            kinds = {name: records for name, records in block.kinds().items() if len(records)}
            if not kinds:
                continue
            begin_ms = min(int(records["ts_event"][0]) for records in kinds.values()) // NS_PER_MS
            if begin_ms <= end_ms:
                self._index = {name: index for index, name in enumerate(block.symbols.names)}
                for kind in self._context.kinds:
                    if kind in kinds:
                        self._begin(kinds[kind], block.symbols)
                self._open = [window for window in self._open if window.end_ms >= begin_ms]
                for window in self._open:
                    self._collect(window, kinds, block)
            self._late(kinds, block.session)

    def _begin(self, records: Records, symbols: SymbolTable) -> None:
        """Open the windows whose first row is here."""
        if not self._waiting:
            return
        wanted = np.fromiter(self._waiting, np.int64, len(self._waiting))
        for place in np.flatnonzero(np.isin(records["seq"], wanted)):
            seq, ts = int(records["seq"][place]), int(records["ts_event"][place])
            for window in self._waiting.pop(seq, ()):
                window.symbols = _instruments(window.symbols, symbols)
                if window.begin_ns < 0:
                    window.begin_ns = ts
                    self._open.append(window)

    def _collect(self, window: Window, kinds: dict[str, Records], block: EventBlock) -> None:
        """Rows and gaps of a window in a block."""
        names = block.symbols.names
        if _ALL in window.symbols:
            wanted = list(range(len(names)))
        else:
            wanted = [self._index[name] for name in window.symbols if name in self._index]
        for kind in (*self._context.kinds, "gaps"):
            records = kinds.get(kind)
            if records is None:
                continue
            ts = records["ts_event"]
            inside = slice(
                int(np.searchsorted(ts, window.begin_ns)),
                int(np.searchsorted(ts, (window.end_ms + 1) * NS_PER_MS)),
            )
            records = records[inside]
            if kind == "gaps":
                own = np.isin(records["symbol"], [0, *wanted])
                window.gaps += [_gap(record, names) for record in records[own]]
            if kind in self._context.kinds:
                own = np.isin(records["symbol"], wanted)
                self._add(window, kind, picked(records, own), block)

    def _add(self, window: Window, kind: str, records: Records, block: EventBlock) -> None:
        room = ROWS_MAX - len(window.rows)
        records = records[:room]
        if not len(records):
            return
        if block.session != self._session:  # seqs of two sessions say nothing about each other
            self._session, self._places = block.session, []
            self._ms, self._seq = np.zeros(0, np.int64), np.zeros(0, np.int64)
        names = block.symbols.names
        for record in records:
            self._places.append((window, len(window.rows)))
            window.rows.append(
                Row(
                    kind,
                    names[record["symbol"]],
                    block.session,
                    int(record["seq"]),
                    int(record["ts_event"]),
                    int(record["ts_recv"]),
                )
            )
        self._ms = np.concatenate((self._ms, records["ts_event"] // NS_PER_MS))
        self._seq = np.concatenate((self._seq, records["seq"]))

    def _late(self, kinds: dict[str, Records], session: str) -> None:
        """Which of the rows so far came behind the watermark that this block's events had set."""
        if not self._places or session != self._session:
            return
        ts = np.concatenate([records["ts_event"] for records in kinds.values()])
        seqs = np.concatenate([records["seq"] for records in kinds.values()])
        order = np.argsort(ts, kind="stable")
        passed_ms = (ts[order] - self._context.lateness_ns) // NS_PER_MS
        seqs = seqs[order]
        least_behind = np.minimum.accumulate(seqs[::-1])[::-1]
        place = np.searchsorted(passed_ms, self._ms, side="right")
        reached = place < len(seqs)
        late = np.zeros(len(self._ms), np.bool_)
        late[reached] = least_behind[place[reached]] < self._seq[reached]
        for number in np.flatnonzero(late):
            window, row = self._places[number]
            before: NDArray[Any] = passed_ms[seqs < self._seq[number]]
            behind = int(before.max() - self._ms[number])
            window.behind_ms[row] = max(window.behind_ms.get(row, 0), behind)


def _instruments(symbols: frozenset[str], known: SymbolTable) -> frozenset[str]:
    """Whose events a symbol of a rule is made of: itself, the legs of ``A~B``, or all there are."""
    names = set(known.names)
    parts = {part for symbol in symbols for part in (symbol, *symbol.split("~")) if part in names}
    return frozenset(parts or {_ALL})


def _gap(record: Any, names: Sequence[str]) -> str:
    reason = int(record["reason"])
    text = GAP_TEXTS[reason] if reason < len(GAP_TEXTS) else str(reason)
    symbol = names[record["symbol"]]
    return f"messages {record['first_missing']} to {record['last_missing']} never came" + (
        f" ({text}, {symbol})" if symbol else f" ({text})"
    )
