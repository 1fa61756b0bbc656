"""Stored signals back as the facts that they were."""

from __future__ import annotations

from typing import Any

from storage.reader import QuestDbReader
from tickloom.events import Signal

_COLUMNS = (
    "signal_id, rule, version, symbol, side, strength, ref_price, first_seq, last_seq, venue, "
    "ts::timestamp_ns::long AS ts_event, ts_signal::timestamp_ns::long AS ts_signal"
)


def read_signals(
    reader: QuestDbReader, venue: str, from_ns: int, to_ns: int, rule: str | None = None
) -> list[Signal]:
    """Signals of a venue with from_ns <= ts_event < to_ns, of one rule or all, in order of ts_event."""
    condition, params = "", [venue]
    if rule is not None:
        condition, params = " AND rule = %s", [venue, rule]
    rows: list[dict[str, Any]] = reader.query(
        f"SELECT {_COLUMNS} FROM signals WHERE venue = %s{condition} "
        f"AND ts >= {int(from_ns)} AND ts < {int(to_ns)} ORDER BY ts, signal_id",
        params,
    ).to_pylist()
    return [Signal(**row) for row in rows]
