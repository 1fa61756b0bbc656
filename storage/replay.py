"""Stored rows in, event blocks out in (ts_event, seq) order: the tape that backtests and replays play.

Each table is read in steps of a limited number of rows, which QuestDB gives in ts order. A step may
end between two rows of the same ts, so those of its last ts are left for the next one; and a
block reaches no further than the kind that has been read least far. Memory is bounded by the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.columns import STORED, encoded, from_arrow
from tickloom.errors import StorageError
from tickloom.events import EventBlock, Records, SymbolTable, empty
from tickloom.rows import picked

CHUNK_ROWS = 200_000

Load = Callable[[str, int, int], pa.Table]
"""(kind, since_ns, limit) to the first ``limit`` rows with ts >= since_ns, in ts order."""


@dataclass(slots=True)
class _Tape:
    """One table's rows that were read and not yet played, in order; all it has before ``next_ns``."""

    kind: str
    next_ns: int
    records: Records
    sessions: NDArray[np.int64]  # of each record: its index in the list of sessions
    ended: bool = False


def replay(
    load: Load, venue: str, from_ns: int, to_ns: int, kinds: Sequence[str], chunk_rows: int
) -> Iterator[EventBlock]:
    """Blocks of all ``kinds``, each after the one before it in time; see QuestDbReader.read_events."""
    symbols, sessions = SymbolTable(), SymbolTable()
    tapes = [_Tape(kind, from_ns, *_nothing(kind)) for kind in kinds]
    while True:
        for tape in tapes:
            if not len(tape.records) and not tape.ended:
                _read_on(tape, load, to_ns, chunk_rows, symbols, sessions)
        if not any(len(tape.records) for tape in tapes):
            return
        # a tape that has ended holds nobody back
        until_ns = min((tape.next_ns for tape in tapes if not tape.ended), default=to_ns)
        played = {tape.kind: _take(tape, until_ns) for tape in tapes}
        for session, records in _by_session(played):
            yield _block(venue, sessions.names[session], symbols, records)


def _nothing(kind: str) -> tuple[Records, NDArray[np.int64]]:
    return np.empty(0, dtype=STORED[kind].dtype), np.empty(0, dtype=np.int64)


def _read_on(
    tape: _Tape, load: Load, to_ns: int, chunk_rows: int, symbols: SymbolTable, sessions: SymbolTable
) -> None:
    """Read the next step of an empty tape."""
    limit = chunk_rows
    while True:
        table = load(tape.kind, tape.next_ns, limit)
        records = from_arrow(STORED[tape.kind], table, symbols)
        indices, names = encoded(table, "session")
        codes = np.array([sessions.index(name) for name in names], dtype=np.int64)[indices]
        ts = records["ts_event"]
        if (ts[1:] < ts[:-1]).any():
            raise StorageError(f"QuestDB gave {tape.kind} out of ts order. This is a bug; report it.")
        count = len(records)
        if count < limit:
            tape.ended, tape.next_ns = True, to_ns
        else:
            last_ns = int(ts[-1])
            count = int(np.searchsorted(ts, last_ns))  # there may be more of the last ts: read it again
            if not count:
                limit *= 2  # all of one ts, such as a book snapshot
                continue
            tape.next_ns = last_ns
        order = np.lexsort((records["seq"][:count], ts[:count]))
        tape.records, tape.sessions = picked(records, order), codes[order]
        return


def _take(tape: _Tape, until_ns: int) -> tuple[Records, NDArray[np.int64]]:
    count = int(np.searchsorted(tape.records["ts_event"], until_ns))
    taken = tape.records[:count], tape.sessions[:count]
    tape.records, tape.sessions = tape.records[count:], tape.sessions[count:]
    return taken


def _by_session(
    played: dict[str, tuple[Records, NDArray[np.int64]]],
) -> Iterator[tuple[int, dict[str, Records]]]:
    """The rows in runs of one session each, over all kinds, in time."""
    kinds = [kind for kind, (records, _) in played.items() if len(records)]
    if not kinds:
        return
    session = np.concatenate([played[kind][1] for kind in kinds])
    if (session == session[0]).all():
        yield int(session[0]), {kind: played[kind][0] for kind in kinds}
        return
    ts = np.concatenate([played[kind][0]["ts_event"] for kind in kinds])
    seq = np.concatenate([played[kind][0]["seq"] for kind in kinds])
    order = np.lexsort((seq, ts))
    starts = np.flatnonzero(np.diff(session[order])) + 1
    run_of = np.empty(len(order), dtype=np.int64)
    run_of[order] = np.searchsorted(starts, np.arange(len(order)), side="right")
    ends = np.cumsum([len(played[kind][0]) for kind in kinds])
    runs = dict(zip(kinds, np.split(run_of, ends[:-1]), strict=True))
    for run, first in enumerate([0, *starts.tolist()]):
        yield int(session[order[first]]), {kind: picked(played[kind][0], runs[kind] == run) for kind in kinds}


def _block(venue: str, session: str, symbols: SymbolTable, records: dict[str, Records]) -> EventBlock:
    found = {kind: records.get(kind, empty(layout.dtype)) for kind, layout in STORED.items()}
    names = ("trades", "quotes", "book_deltas", "statuses", "gaps", "spreads")  # in the order of its fields
    block = EventBlock(venue, session, symbols, *(found[name] for name in names))
    block.trust = found["trust"]
    return block
