"""Calibrations of pairs in, rows in QuestDB out, and back: what was found, and when, stays to be asked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from questdb import TimestampNanos

from storage.ilp import IlpSender
from storage.reader import QuestDbReader
from tickloom.errors import StorageError
from tickloom.events import Calibration
from tickloom.settings import QuestDbSettings

TABLE = "pair_calibrations"
_SYMBOLS = ("venue", "symbol", "leg_a", "leg_b", "method")
_TIMES = ("ts", "sample_from")
_FIELDS = {field.name: field.type for field in dataclasses.fields(Calibration)}


def write_calibrations(settings: QuestDbSettings, found: Sequence[Calibration]) -> None:
    """Return when all are acknowledged; the same calibration again takes the place of the one before.

    Raises
    ------
    ServiceError
        QuestDB is away.
    StorageError
        It refuses a row.
    """

    def fill(buffer: Any) -> None:
        for one in found:
            values = dataclasses.asdict(one)
            symbols = {name: values.pop(name) for name in _SYMBOLS}
            ts = values.pop("ts")
            values["sample_from"] = TimestampNanos(values["sample_from"])
            buffer.row(TABLE, symbols=symbols, columns=values, at=TimestampNanos(ts))

    if not found:
        return
    sender = IlpSender(settings)
    try:
        sender.send(TABLE, fill, len(found), retry=False)
    finally:
        sender.close()


def read_calibrations(reader: QuestDbReader, venue: str, ts: int | None = None) -> list[Calibration]:
    """The calibrations of a venue that end at ``ts`` (ns), or the latest there are; by symbol.

    Raises
    ------
    StorageError
        There are none.
    """
    if ts is None:
        sql = f"SELECT max(ts)::timestamp_ns::long FROM {TABLE} WHERE venue = %s"
        latest = next((last for (last,) in reader.fetch(sql, (venue,))), None)
        if latest is None:
            raise StorageError(
                f"no calibration of {venue} is stored. Make one: `tickloom pairs calibrate {venue}`, or "
                "materialize pair_calibrations in Dagster."
            )
        ts = int(latest)
    sql = f"SELECT {', '.join(_FIELDS)} FROM {TABLE} WHERE venue = %s AND ts = {ts} ORDER BY symbol"
    rows = reader.query(sql, (venue,)).to_pylist()
    if not rows:
        raise StorageError(f"no calibration of {venue} ends at {ts} ns; see `tickloom pairs list`")
    return [_calibration(row) for row in rows]


def _calibration(row: dict[str, Any]) -> Calibration:
    values: dict[str, Any] = {}
    for name, kind in _FIELDS.items():
        value = row[name]
        if name in _TIMES:
            value = value.value
        elif value is None:
            value = math.nan if kind == "float" else ""
        values[name] = value
    return Calibration(**values)
