"""The tape of stored events, without a server: any mixture of ties, sessions and step sizes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.columns import LAYOUTS, to_frame
from storage.replay import replay
from tickloom.events import SymbolTable

KINDS = ("trades", "gaps")
SYMBOLS = SymbolTable(["ALFA"])
Row = tuple[int, int, str]
ROWS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 30), st.sampled_from(["A", "B"])), max_size=40, unique=True
)


def as_stored(kind: str, rows: list[Row]) -> pa.Table:
    """(ts, seq, session) as QuestDB gives them: by ts, and in no order where ts is equal."""
    rows = sorted(rows, key=lambda row: (row[0], -row[1]))
    layout = LAYOUTS[kind]
    records = np.zeros(len(rows) + 1, dtype=layout.dtype)  # one more, so that types are known; cut below
    records["symbol"] = 1
    records["ts_event"][:-1] = [row[0] for row in rows]
    records["seq"][:-1] = [row[1] for row in rows]
    frame = to_frame(layout, records, "V", "", SYMBOLS).astype({"symbol": str})
    frame["session"] = [*(row[2] for row in rows), "none"]
    return pa.Table.from_pandas(frame, preserve_index=False).slice(0, len(rows))


@settings(deadline=None, max_examples=200)  # the machine may be busy; the claim is not about time
@given(trades=ROWS, gaps=ROWS, steps=st.integers(1, 9), until=st.integers(0, 13))
def test_replay_is_the_sorted_tape(trades: list[Row], gaps: list[Row], steps: int, until: int) -> None:
    """Whatever the ties and the step, all rows before ``until`` come once, in (ts, seq) order over blocks,
    under their session."""
    stored = {"trades": as_stored("trades", trades), "gaps": as_stored("gaps", gaps)}

    def load(kind: str, since_ns: int, limit: int) -> pa.Table:
        table = stored[kind]
        ts = table["ts"].cast(pa.int64()).to_numpy()
        return table.filter(pa.array((ts >= since_ns) & (ts < until))).slice(0, limit)

    played: dict[str, list[Row]] = {kind: [] for kind in KINDS}
    latest = (0, 0)
    for block in replay(load, "V", 0, until, KINDS, steps):
        keys = []
        for kind in KINDS:
            for record in block.kinds()[kind]:
                row = (int(record["ts_event"]), int(record["seq"]), block.session)
                played[kind].append(row)
                keys.append(row[:2])
        assert min(keys) >= latest
        latest = max(keys)
    for kind, rows in (("trades", trades), ("gaps", gaps)):
        assert [row[:2] for row in played[kind]] == sorted(row[:2] for row in rows if row[0] < until)
        assert sorted(played[kind]) == sorted(row for row in rows if row[0] < until)
