"""Prices and sizes: int64 in units of 1e-9 inside the code, doubles where SQL looks at them.

Every multiple of 1e-9 below 2**22 = 4,194,304 survives the way to a double and back: there the
spacing of doubles is at most 2**-31, so division is off by at most 0.24 units of 1e-9, multiplication
by at most 0.25 more, and rounding finds the integer again. Above, coarser values (whole shares, ticks
of 0.01) still survive and others do not, so the rule is the way itself: a value that comes back
changed is refused. A price that changes on its way to a database is worse than none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tickloom.errors import PriceRangeError

NANOS = 1_000_000_000
NANOS_MAX = 2**63 - 1
NO_PRICE = np.iinfo(np.int64).min  # "no price on that side"; NaN as a double


def parse_nanos(text: str | bytes) -> int:
    """Decimal text such as ``b"61602.01"`` as int64 nanos, exactly.

    Raises
    ------
    PriceRangeError
        More than nine decimals that are not zero, or a value that a double would change.
    ValueError
        Not a plain decimal number.
    """
    raw = text.decode() if isinstance(text, bytes) else text
    negative = raw.startswith("-")
    whole, _, fraction = raw.removeprefix("-").partition(".")
    if not (whole + fraction).isdigit() or not (whole + fraction).isascii():
        raise ValueError(f"{raw!r} is no decimal number")
    if len(fraction) > 9:
        if fraction[9:].strip("0"):
            raise PriceRangeError(f"{raw} has more than nine decimals; it would be rounded")
        fraction = fraction[:9]
    value = int(whole or "0") * NANOS + int(fraction.ljust(9, "0") or "0")
    if value >= NANOS_MAX:
        raise PriceRangeError(f"{raw} is too large for 64 bits of 1e-9 units")
    if round(value / NANOS * NANOS) != value:
        raise PriceRangeError(f"{raw} does not survive as a double; it would be stored changed")
    return -value if negative else value


def survives(nanos: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True where a value (or NO_PRICE) is the same after a double has carried it."""
    same: NDArray[np.bool_] = to_nanos(to_double(nanos)) == nanos
    return same


def check_nanos(nanos: NDArray[np.int64]) -> None:
    """Raise PriceRangeError if any value would not survive as a double."""
    same = survives(nanos)
    if not same.all():
        value = int(nanos[~same][0])
        raise PriceRangeError(
            f"{format_nanos(value)} does not survive as a double; it would be stored changed"
        )


def to_double(nanos: NDArray[np.int64]) -> NDArray[np.float64]:
    """Nanos as doubles; NO_PRICE becomes NaN."""
    out: NDArray[np.float64] = nanos / np.float64(NANOS)
    out[nanos == NO_PRICE] = np.nan
    return out


def to_nanos(doubles: NDArray[np.float64]) -> NDArray[np.int64]:
    """Doubles back as nanos; NaN becomes NO_PRICE."""
    missing = np.isnan(doubles)
    out: NDArray[np.int64] = np.rint(np.where(missing, 0.0, doubles) * NANOS).astype(np.int64)
    out[missing] = NO_PRICE
    return out


def format_nanos(nanos: int, decimals: int = 9) -> str:
    """Exact decimal text, trailing zeros dropped."""
    if nanos == NO_PRICE:
        return "none"
    sign = "-" if nanos < 0 else ""
    whole, fraction = divmod(abs(nanos), NANOS)
    text = f"{fraction:09d}"[:decimals].rstrip("0")
    return f"{sign}{whole}.{text}" if text else f"{sign}{whole}"


def nanos_of(value: Any) -> int:
    """One number (float, int or decimal text) as nanos, for the edges."""
    if isinstance(value, str | bytes):
        return parse_nanos(value)
    if value != value:  # NaN
        return int(NO_PRICE)
    return round(float(value) * NANOS)
