"""Signals that were consumed, what became of each, and where every partition of their topic goes on."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from execution.journal.outbox import OutboxTables
from tickloom.events import Signal


class SignalTables(OutboxTables):
    """Tables ``signals`` and ``offsets``."""

    def look_up_signals(self, signal_ids: Iterable[str]) -> None:
        """Ask about several at once what :meth:`has_signal` is going to ask in this transaction."""
        self._look_up("signals", ("signal_id",), ((signal_id,) for signal_id in signal_ids))

    def has_signal(self, signal_id: str) -> bool:
        if ("signals", signal_id) in self._absent:
            return False
        self._write_now()
        return self._one("SELECT 1 FROM signals WHERE signal_id = ?", signal_id) is not None

    def add_signal(self, signal: Signal, verdict: str, reason: str, ts: int) -> None:
        payload = msgspec.json.encode(signal).decode()
        self._absent.discard(("signals", signal.signal_id))
        self._write_later(
            "INSERT INTO signals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(signal.signal_id, ts, signal.ts_event, signal.rule, signal.venue, signal.symbol),
                *(signal.side, verdict, reason, payload),
            ),
        )
        self.add_fact(signal)

    def signal(self, signal_id: str) -> Signal | None:
        self._write_now()
        row = self._one("SELECT payload FROM signals WHERE signal_id = ?", signal_id)
        return msgspec.json.decode(row[0], type=Signal) if row else None

    def signals(self) -> list[tuple[str, str, str]]:
        """(signal_id, verdict, reason) of all, by id."""
        self._write_now()
        return self._db.execute("SELECT signal_id, verdict, reason FROM signals ORDER BY 1").fetchall()

    def next_offsets(self, topic: str) -> dict[int, int]:
        """Partition to the offset of the first message whose effect is not in here."""
        self._write_now()
        rows = self._db.execute("SELECT partition, next_offset FROM offsets WHERE topic = ?", (topic,))
        return dict(rows.fetchall())

    def set_next_offset(self, topic: str, partition: int, next_offset: int) -> None:
        self._write_later(
            "INSERT INTO offsets VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
            (topic, partition, next_offset),
            key=f"{topic}/{partition}",
        )
