"""Events in, plain columns out: what the views' columns are inside a block, as the kernels take them.

Doubles and whole numbers are contiguous numpy arrays; texts are indices into :class:`Texts`. The values
are those of ``streaming.tables``' views over the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streaming import tables
from streaming.compiled.tree import Kind
from tickloom import events, prices
from tickloom.codec import ColumnBlock
from tickloom.events import EventBlock, Records
from tickloom.wire import EventColumns

Array = NDArray[Any]
_KINDS = {"BIGINT": Kind.BIGINT, "DOUBLE": Kind.DOUBLE, "STRING": Kind.STRING}
EVENT_TIME = "event_time"
_PRICES = ("price", "size", "bid_price", "bid_size", "ask_price", "ask_size")
_NULLABLE = {
    ("quotes", "bid_price"),
    ("quotes", "ask_price"),
    ("quotes", "mid"),
    ("spreads", "z_rolling"),
    ("news", "score"),
}
#: Columns whose texts stand for codes.
_CODES: dict[tuple[str, str], tuple[str, ...]] = {
    ("trades", "side"): events.SIDE_TEXTS,
    ("trades", "condition"): events.CONDITION_TEXTS,
    ("statuses", "status"): events.STATUS_TEXTS,
    ("gaps", "reason"): events.GAP_TEXTS,
}
if hasattr(events, "SPREAD_STATE_TEXTS"):
    _CODES["spreads", "state"] = events.SPREAD_STATE_TEXTS


class ViewColumn(NamedTuple):
    """A column of a view."""

    kind: Kind
    nullable: bool


def views() -> dict[str, dict[str, ViewColumn]]:
    """Each view that the compiled engine reads, and its columns."""
    found: dict[str, dict[str, ViewColumn]] = {}
    for view, (_, columns) in tables.EVENT_VIEWS.items():
        found[view] = {name: ViewColumn(_KINDS[kind], (view, name) in _NULLABLE) for name, kind, _ in columns}
        found[view][EVENT_TIME] = ViewColumn(Kind.TIME, False)
    return found


class Texts:
    """Texts and their codes. The fixed texts of all views come first, so their codes are constants."""

    def __init__(self, names: list[str] | None = None) -> None:
        self.names: list[str] = []
        self._codes: dict[str, int] = {}
        for texts in _CODES.values():
            for text in texts:
                self.code(text)
        for text in names or []:
            self.code(text)

    def code(self, text: str) -> int:
        """Code of ``text``, which is added where it is new."""
        found = self._codes.get(text)
        if found is None:
            found = self._codes[text] = len(self.names)
            self.names.append(text)
        return found

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, text: str) -> int:
        return self._codes[text]


@njit(cache=True)
def to_ms(times):  # type: ignore[no-untyped-def]  # int64 (n,) ns -> int64 (n,) ms
    """Event time as Flink has it: milliseconds, cut."""
    found = np.empty(len(times), np.int64)
    for row in range(len(times)):
        found[row] = times[row] // 1_000_000
    return found


def extract(
    view: str, block: EventBlock | ColumnBlock, wanted: list[str], symbols: Array, texts: Texts
) -> dict[str, Array]:
    """Columns ``wanted`` of a view over a block.

    Parameters
    ----------
    symbols : ndarray of int32
        Code of each name of ``block.symbols``.

    Returns
    -------
    dict
        Contiguous arrays; with ``name?`` beside each nullable one, true where it is NULL.
    """
    records: Records | EventColumns = getattr(block, view)
    found: dict[str, Array] = {}
    for name in wanted:
        if name == EVENT_TIME:
            found[name] = to_ms(np.ascontiguousarray(records["ts_event"]))
        elif name == "symbol":
            found[name] = symbols[records["symbol"]]
        elif (view, name) in _CODES:
            found[name] = _codes(_CODES[view, name], records[name], texts)
        elif (view, name) in _DERIVED:
            found[name] = _DERIVED[view, name](records)
        elif name in _PRICES:
            found[name] = _doubles(records[name])
        else:
            values = records[name]
            if values.dtype.kind == "S":
                found[name] = _reasons(values, texts)
            else:
                found[name] = np.ascontiguousarray(values).astype(_dtype(values.dtype), copy=False)
        if (view, name) in _NULLABLE:
            found[f"{name}?"] = np.isnan(found[name])
    return found


def source_fields(column: str) -> tuple[str, ...]:
    """Fields of an event that a view's column is made of."""
    return {EVENT_TIME: ("ts_event",), "mid": ("bid_price", "ask_price")}.get(column, (column,))


def _dtype(given: np.dtype[Any]) -> type:
    return np.float64 if given.kind == "f" else np.int64


def _codes(known: tuple[str, ...], values: Array, texts: Texts) -> Array:
    lookup = np.array([texts.code(text) for text in known], np.int32)
    if len(values) and int(values.max(initial=0)) >= len(known):
        # a code that this version does not know reads as its number, as in the SQL view
        codes = np.unique(values)
        lookup = np.array(
            [
                texts.code(known[code] if code < len(known) else str(code))
                for code in range(int(codes.max()) + 1)
            ],
            np.int32,
        )
    return lookup[values]


def _reasons(values: Array, texts: Texts) -> Array:
    names, where = np.unique(values, return_inverse=True)
    return np.array([texts.code(name.decode("utf-8", "replace")) for name in names], np.int32)[where]


def _doubles(values: Array) -> Array:
    """Prices and sizes; those off the wire are doubles already."""
    return np.ascontiguousarray(values) if values.dtype.kind == "f" else prices.to_double(values)


def _mid(records: Records | EventColumns) -> Array:
    found: Array = (_doubles(records["bid_price"]) + _doubles(records["ask_price"])) / 2
    return found


_DERIVED: Mapping[tuple[str, str], Callable[[Records | EventColumns], Array]] = {("quotes", "mid"): _mid}
