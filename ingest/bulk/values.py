"""Columns of text or numbers in, exact nanos, times and codes out; each value that is none with its reason.

A whole column is tried at once, and only where that fails each value by itself: bad rows are few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tickloom.clock import NS_PER_S
from tickloom.errors import PriceRangeError, SettingsError
from tickloom.events import Side
from tickloom.prices import NANOS, NO_PRICE, parse_nanos, survives

#: Row (from 0) to why its value is none.
Bad = dict[int, str]
UNITS = {"s": NS_PER_S, "ms": 1_000_000, "us": 1_000, "ns": 1}
TIME_MAX = 4_102_444_800_000_000_000  # 2100-01-01, ns
_NANOS_TYPE = pa.decimal128(38, 9)
#: Whole numbers below these are seconds, milliseconds, microseconds since 1970: each ends in the year 5138.
_AUTO_UNITS = ((10**11, "s"), (10**14, "ms"), (10**17, "us"))
_SIDES = {
    **dict.fromkeys(("", "n", "none", "unknown"), int(Side.NONE)),
    **dict.fromkeys(("b", "buy", "bid", "1"), int(Side.BUY)),
    **dict.fromkeys(("s", "sell", "a", "ask", "2"), int(Side.SELL)),
}


def nanos(column: pa.Array, *, optional: bool = False) -> tuple[NDArray[np.int64], Bad]:
    """Prices or sizes as int64 in 1e-9, never rounded.

    Parameters
    ----------
    column : pa.Array
        Text, integers, decimals; or doubles, which are taken for the decimal number of nine places that they
        are nearest to, and refused where they are none.
    optional : bool
        Empty and NULL are NO_PRICE; else they are bad.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        found, bad = _of_doubles(column.cast(pa.float64()), optional)
    else:
        found, bad = _each(column, optional) if column.null_count else _of_texts(column, optional)
    present = found != NO_PRICE
    for row in np.flatnonzero(present & ~survives(found)):
        if int(row) not in bad:
            bad[int(row)] = "does not survive as a double; it would be stored changed"
    return found, bad


def _of_texts(column: pa.Array, optional: bool) -> tuple[NDArray[np.int64], Bad]:
    try:
        decimals = column.cast(_NANOS_TYPE)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _each(column, optional)
    words = np.frombuffer(decimals.buffers()[1], dtype=np.int64).reshape(-1, 2)
    words = words[decimals.offset : decimals.offset + len(decimals)]
    low, high = words[:, 0].copy(), words[:, 1]
    wide = np.flatnonzero((high != low >> 63) | (low == NO_PRICE))
    return low, dict.fromkeys(wide.tolist(), "is too large for 64 bits of 1e-9 units")


def _each(column: pa.Array, optional: bool) -> tuple[NDArray[np.int64], Bad]:
    out = np.zeros(len(column), dtype=np.int64)
    bad: Bad = {}
    for row, value in enumerate(column.to_pylist()):
        text = "" if value is None else str(value).strip()
        if not text:
            if optional:
                out[row] = NO_PRICE
            else:
                bad[row] = "is empty"
            continue
        try:
            out[row] = parse_nanos(text.removeprefix("+"))
        except PriceRangeError as error:
            bad[row] = str(error)
        except ValueError:
            bad[row] = "is no decimal number"
    return out, bad


def _of_doubles(column: pa.Array, optional: bool) -> tuple[NDArray[np.int64], Bad]:
    values = column.to_numpy(zero_copy_only=False)
    missing = ~np.isfinite(values) | (np.abs(values) > 9e9)
    scaled = np.where(missing, 0.0, values)
    out = np.rint(scaled * NANOS).astype(np.int64)
    inexact = ~missing & (out / NANOS != values)
    bad: Bad = dict.fromkeys(
        np.flatnonzero(inexact).tolist(), "has more than nine decimals; it would be rounded"
    )
    empty = np.isnan(values)
    if optional:
        out[empty] = NO_PRICE
    for row in np.flatnonzero(missing & ~(empty & optional)):
        bad[int(row)] = "is empty" if empty[row] else "is too large"
    return out, bad


class Times:
    """Times of a column as ns since 1970.

    Parameters
    ----------
    unit : str
        ``s``, ``ms``, ``us``, ``ns``; or ``auto``: whole numbers by their size, else ISO 8601.
    zone : str
        Of times that do not say theirs.
    """

    def __init__(self, unit: str, zone: str) -> None:
        if unit != "auto" and unit not in UNITS:
            raise SettingsError(f"--time-unit {unit!r}: give one of auto, {', '.join(UNITS)}")
        try:
            self._zone = ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise SettingsError(
                f"--timezone {zone!r} is no time zone; give one such as America/New_York"
            ) from None
        self._unit, self._zone_name = unit, zone

    def read(self, column: pa.Array) -> tuple[NDArray[np.int64], Bad]:
        """Times, and the rows that have none between 1970 and 2100."""
        found, bad = self._read(column)
        for row in np.flatnonzero((found <= 0) | (found >= TIME_MAX)):
            bad.setdefault(int(row), "is not between 1970 and 2100")
        return found, bad

    def _read(self, column: pa.Array) -> tuple[NDArray[np.int64], Bad]:
        kind = column.type
        if column.null_count == 0:
            for way in (self._whole, self._stamps):
                try:
                    return way(column), {}
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
                    continue
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.string())
        out = np.zeros(len(column), dtype=np.int64)
        bad: Bad = {}
        for row, value in enumerate(column.to_pylist()):
            try:
                out[row] = self._one("" if value is None else str(value).strip())
            except (ValueError, OverflowError, pa.ArrowInvalid):
                bad[row] = "is empty" if value in (None, "") else "is no time"
        return out, bad

    def _whole(self, column: pa.Array) -> NDArray[np.int64]:
        if pa.types.is_timestamp(column.type) or pa.types.is_floating(column.type):
            raise pa.ArrowInvalid("no whole numbers")
        values = column.cast(pa.int64()).to_numpy()
        if self._unit != "auto":
            factors: Any = UNITS[self._unit]
        else:
            size = np.abs(values)
            factors = np.select(
                [size < limit for limit, _ in _AUTO_UNITS], [UNITS[u] for _, u in _AUTO_UNITS], 1
            )
        if (np.abs(values) > TIME_MAX // factors).any():
            raise pa.ArrowInvalid("out of range")
        times: NDArray[np.int64] = values * factors
        return times

    def _stamps(self, column: pa.Array) -> NDArray[np.int64]:
        if pa.types.is_timestamp(column.type):
            if column.type.tz is None:
                column = pc.assume_timezone(column.cast(pa.timestamp("ns")), self._zone_name)
            times: NDArray[np.int64] = column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_numpy()
            return times
        try:
            found = column.cast(pa.timestamp("ns", "UTC"))
        except pa.ArrowInvalid:
            found = pc.assume_timezone(column.cast(pa.timestamp("ns")), self._zone_name)
        stamps: NDArray[np.int64] = found.cast(pa.int64()).to_numpy()
        return stamps

    def _one(self, text: str) -> int:
        if text.replace(".", "", 1).isdigit() and text.isascii():
            whole, _, fraction = text.partition(".")
            unit = UNITS.get(self._unit) or next(
                (UNITS[u] for limit, u in _AUTO_UNITS if int(whole) < limit), 1
            )
            part = int(fraction) * unit // 10 ** len(fraction) if fraction else 0
            return int(whole) * unit + part
        if not text:
            raise ValueError(text)
        return int(self._stamps(pa.array([text]))[0])


def sides(column: pa.Array) -> tuple[NDArray[np.int8], Bad]:
    """Sides of aggressors: buy, sell, or nothing, in any of the usual spellings."""
    return _coded(column, lambda text: _SIDES.get(text.lower()), np.int8, "is no side")


def whole_numbers(column: pa.Array) -> tuple[NDArray[np.int64], Bad]:
    """Identifiers; empty is 0."""

    def number(text: str) -> int | None:
        if not text:
            return 0
        return int(text) if text.isdigit() and int(text) < 2**63 else None

    try:
        if column.null_count == 0:
            return column.cast(pa.int64()).to_numpy().copy(), {}
    except pa.ArrowInvalid:
        pass
    return _coded(column, number, np.int64, "is no whole number below 2**63")


def _coded(
    column: pa.Array, code: Callable[[str], int | None], dtype: Any, reason: str
) -> tuple[NDArray[Any], Bad]:
    encoded = column.cast(pa.string()).fill_null("").dictionary_encode()
    codes = [code(text.strip()) for text in encoded.dictionary.to_pylist()]
    table = np.array([0 if one is None else one for one in codes], dtype=dtype)
    unknown = np.array([one is None for one in codes], dtype=bool)
    indices = encoded.indices.to_numpy()
    bad = np.flatnonzero(unknown[indices]) if len(indices) else indices
    return (table[indices] if len(indices) else table[:0]), dict.fromkeys(bad.tolist(), reason)
