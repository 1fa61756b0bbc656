"""Event records in, table columns out, and the way back. Pure: no connection in here.

Codes become the texts that SQL users see, nanos become doubles, symbols become categoricals; on the
way back each is undone exactly. Both ways check what they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tickloom.errors import PriceRangeError, StorageError
from tickloom.events import (
    CONDITION_TEXTS,
    DELTA_DTYPE,
    GAP_DTYPE,
    GAP_TEXTS,
    QUOTE_DTYPE,
    SIDE_TEXTS,
    SPREAD_DTYPE,
    SPREAD_STATE_TEXTS,
    STATUS_DTYPE,
    STATUS_TEXTS,
    TRADE_DTYPE,
    TRUST_DTYPE,
    TRUST_REASON_TEXTS,
    TRUST_TEXTS,
    Records,
    SymbolTable,
)
from tickloom.prices import NO_PRICE, check_nanos, to_double, to_nanos

#: 2100-01-01 in ns: no event is later; one that claims so was decoded wrongly.
TS_MAX = 4_102_444_800_000_000_000


class Kind(Enum):
    """How a field is stored."""

    PRICE = "double"  # nanos
    PRICE_OR_NONE = "double or NULL"  # nanos, NO_PRICE allowed
    CODE = "symbol of a code"
    TEXT = "symbol of up to 8 bytes"
    LONG = "long"
    NUMBER = "double that was computed"  # NaN is NULL


@dataclass(frozen=True, slots=True)
class Column:
    """A field of the records and the column of that name."""

    name: str
    kind: Kind
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """An event table: its records' dtype and the columns behind ts, ts_recv, symbol and seq."""

    table: str
    dtype: np.dtype[np.void]
    columns: tuple[Column, ...]

    @property
    def symbol_columns(self) -> list[str]:
        """Columns of type SYMBOL, those of every event table first."""
        own = [column.name for column in self.columns if column.kind in (Kind.CODE, Kind.TEXT)]
        return ["venue", "session", "symbol", *own]

    @property
    def selected(self) -> list[str]:
        """Columns that make a record, in the order in which the reader asks for them."""
        return ["ts", "ts_recv", "seq", "symbol", *(column.name for column in self.columns)]


LAYOUTS: dict[str, Layout] = {
    layout.table: layout
    for layout in (
        Layout(
            "trades",
            TRADE_DTYPE,
            (
                Column("price", Kind.PRICE),
                Column("size", Kind.PRICE),
                Column("side", Kind.CODE, SIDE_TEXTS),
                Column("condition", Kind.CODE, CONDITION_TEXTS),
                Column("venue_id", Kind.LONG),
            ),
        ),
        Layout(
            "quotes",
            QUOTE_DTYPE,
            (
                Column("bid_price", Kind.PRICE_OR_NONE),
                Column("bid_size", Kind.PRICE),
                Column("ask_price", Kind.PRICE_OR_NONE),
                Column("ask_size", Kind.PRICE),
                Column("venue_id", Kind.LONG),
            ),
        ),
        Layout(
            "book_deltas",
            DELTA_DTYPE,
            (
                Column("side", Kind.CODE, SIDE_TEXTS),
                Column("price", Kind.PRICE),
                Column("size", Kind.PRICE),
                Column("venue_id", Kind.LONG),
            ),
        ),
        Layout(
            "statuses",
            STATUS_DTYPE,
            (Column("status", Kind.CODE, STATUS_TEXTS), Column("reason", Kind.TEXT)),
        ),
        Layout(
            "gaps",
            GAP_DTYPE,
            (
                Column("first_missing", Kind.LONG),
                Column("last_missing", Kind.LONG),
                Column("reason", Kind.CODE, GAP_TEXTS),
            ),
        ),
    )
}
#: Spreads of pairs: of no feed, so no sink of events writes them (:mod:`storage.spreads` does).
SPREADS = Layout(
    "spreads",
    SPREAD_DTYPE,
    (
        *(Column(name, Kind.NUMBER) for name in ("spread", "z", "z_rolling", "mid_a", "mid_b")),
        Column("age_ns", Kind.LONG),
        Column("calibration", Kind.LONG),
        Column("state", Kind.CODE, SPREAD_STATE_TEXTS),
    ),
)
#: Changes of trust: of no venue, but written with its events. ts and ts_recv are of the receive clock.
TRUST = Layout(
    "trust",
    TRUST_DTYPE,
    (
        Column("state", Kind.CODE, TRUST_TEXTS),
        Column("reason", Kind.CODE, TRUST_REASON_TEXTS),
        Column("first_missing", Kind.LONG),
        Column("last_missing", Kind.LONG),
        Column("at_seq", Kind.LONG),
    ),
)
#: What a sink of events writes.
WRITTEN: dict[str, Layout] = {**LAYOUTS, TRUST.table: TRUST}
#: All that can be read back as blocks, in the order of EventBlock's fields.
STORED: dict[str, Layout] = {**LAYOUTS, SPREADS.table: SPREADS, TRUST.table: TRUST}


def check(layout: Layout, records: Records, symbol_count: int, seq_before: int, ts_min: int) -> None:
    """Refuse records that the table would not keep as they are.

    Parameters
    ----------
    symbol_count : int
        Length of the records' symbol table.
    seq_before : int
        The seq that the first record may not be below.
    ts_min : int
        Earliest ts_event (ns) that the table's TTL keeps.

    Raises
    ------
    StorageError
        Out of seq order, a time outside [ts_min, 2100), an unknown code or symbol index.
    PriceRangeError
        A price or size that a double would change.
    """
    if not len(records):
        return
    seqs = records["seq"]
    if int(seqs[0]) < seq_before or (seqs[1:] < seqs[:-1]).any():
        raise StorageError(
            f"{layout.table}: events out of seq order near seq {int(seqs[0])} (last taken: {seq_before}). "
            "A sink takes each session once, in the order of its capture; is another writer using this sink?"
        )
    ts = records["ts_event"]
    wrong = (ts < ts_min) | (ts >= TS_MAX)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise StorageError(
            f"{layout.table}: seq {int(seqs[at])} has ts_event {int(ts[at])} ns "
            f"({format_ts(int(ts[at]))}), outside of what the table keeps ({format_ts(ts_min)} to 2100). If "
            "that time is right, lengthen the table's TTL: "
            f"`tickloom sql 'ALTER TABLE {layout.table} SET TTL 50 YEARS'`."
        )
    _check_codes(layout.table, "symbol", records["symbol"], symbol_count)
    for column in layout.columns:
        values = records[column.name]
        if column.kind is Kind.CODE:
            _check_codes(layout.table, column.name, values, len(column.texts))
        elif column.kind in (Kind.PRICE, Kind.PRICE_OR_NONE):
            check_nanos(values)
            if column.kind is Kind.PRICE and (values == NO_PRICE).any():
                raise PriceRangeError(f"{layout.table}.{column.name}: an event without it is no event")


def to_frame(
    layout: Layout, records: Records, venue: str, session: str, symbols: SymbolTable
) -> pd.DataFrame:
    """Checked records as a frame in the table's columns, ready for ILP."""
    count = len(records)
    columns: dict[str, object] = {
        "venue": _constant(venue, count),
        "session": _constant(session, count),
        "symbol": _categorical(records["symbol"], symbols.names),
        "ts_recv": _timestamps(records["ts_recv"]),
        "seq": np.ascontiguousarray(records["seq"]),
    }
    for column in layout.columns:
        values = records[column.name]
        if column.kind in (Kind.PRICE, Kind.PRICE_OR_NONE):
            columns[column.name] = to_double(values)
        elif column.kind is Kind.NUMBER:
            columns[column.name] = np.ascontiguousarray(values)
        elif column.kind is Kind.CODE:
            columns[column.name] = _categorical(values, column.texts)
        elif column.kind is Kind.TEXT:
            texts, codes = np.unique(values, return_inverse=True)
            names = [text.decode("ascii", "backslashreplace") for text in texts.tolist()]
            columns[column.name] = _categorical(codes, names)
        else:
            columns[column.name] = np.ascontiguousarray(values)
    columns["ts"] = _timestamps(records["ts_event"])
    return pd.DataFrame(columns, copy=False)


def from_arrow(layout: Layout, table: pa.Table, symbols: SymbolTable) -> Records:
    """Rows as the reader gets them back as records, in the order of the rows.

    Raises
    ------
    StorageError
        A text that is no code of ours: somebody else wrote that row.
    """
    records = np.empty(table.num_rows, dtype=layout.dtype)
    if not table.num_rows:
        return records
    records["ts_event"] = _longs(table, "ts")
    records["ts_recv"] = _longs(table, "ts_recv")
    records["seq"] = _longs(table, "seq")
    indices, names = encoded(table, "symbol")
    records["symbol"] = np.array([symbols.index(name) for name in names], dtype=np.int32)[indices]
    for column in layout.columns:
        if column.kind in (Kind.PRICE, Kind.PRICE_OR_NONE):
            doubles = table[column.name].fill_null(np.nan).to_numpy()
            records[column.name] = to_nanos(doubles)
        elif column.kind is Kind.NUMBER:
            records[column.name] = table[column.name].fill_null(np.nan).to_numpy()
        elif column.kind is Kind.LONG:
            records[column.name] = _longs(table, column.name)
        else:
            indices, names = encoded(table, column.name)
            if column.kind is Kind.TEXT:
                values = np.array([name.encode() for name in names], dtype="S8")
            else:
                values = np.array([_code(layout.table, column, name) for name in names], dtype=np.int8)
            records[column.name] = values[indices]
    return records


def encoded(table: pa.Table, name: str) -> tuple[NDArray[np.int32], list[str]]:
    """Indices and the texts that they point to; NULL is the empty text."""
    column = table[name].fill_null("").combine_chunks().dictionary_encode()
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not len(column):
        return np.empty(0, dtype=np.int32), [""]
    return column.indices.to_numpy(), column.dictionary.to_pylist()


def format_ts(ts_ns: int) -> str:
    """ISO 8601 with nanoseconds, UTC."""
    return f"{np.datetime64(ts_ns, 'ns')}Z"


def _check_codes(table: str, name: str, values: NDArray[np.int8], count: int) -> None:
    if int(values.min()) < 0 or int(values.max()) >= count:
        raise StorageError(f"{table}.{name}: code {int(values.max())} is not one of the {count} known")


def _categorical(codes: NDArray[Any], texts: Sequence[str]) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, categories=pd.Index(texts))  # type: ignore[arg-type]


def _constant(text: str, count: int) -> pd.Categorical:
    return _categorical(np.zeros(count, dtype=np.int8), [text])


def _timestamps(values: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return np.ascontiguousarray(values).view("M8[ns]")


def _longs(table: pa.Table, name: str) -> NDArray[np.int64]:
    values: NDArray[np.int64] = table[name].cast(pa.int64()).to_numpy()
    return values


def _code(table: str, column: Column, text: str) -> int:
    try:
        return column.texts.index(text)
    except ValueError:
        raise StorageError(
            f"{table}.{column.name} holds {text!r}, which is none of {', '.join(column.texts)}. That row was "
            "not written by Tickloom; correct or drop it."
        ) from None
