"""Products and ratios of int64 nanos for the gate's kernels: no floats, no silent overflow.

A product of two nanos needs 128 bits. Limits are whole nanos, though, and for a whole limit L and any
real x, ``x <= L`` is the same as ``ceil(x) <= L``: so every value that is compared with a limit is rounded
*up* to its unit, and the comparison is exact in 64 bits. Nested rounding is harmless too, since
``ceil(ceil(x) / n) == ceil(x / n)``. What does not fit saturates at :data:`SATURATED`, which is past every
limit (``limits.tables.AMOUNT_MAX`` is the largest a file may hold).

All functions take and give int64.
"""

from __future__ import annotations

from numba import njit

NANOS = 1_000_000_000
#: Past every limit. Twice 4.5 billion of currency, because products with a mid are of twice the mid.
SATURATED = 9_000_000_000_000_000_000
#: No limit is set: no value is past it.
UNLIMITED = 2**63 - 1
#: Ratios are in units of 1e-8: ten thousandths of a basis point.
RATIO = 100_000_000
RATIO_PER_BPS = RATIO // 10_000
BPS = 10_000

_OVERFLOW = (
    9.1e27  # as float64, which is off by 1e-16 of it at most; between 9.0 and 9.1 the exact way decides
)
SPLIT_BITS = 30
_SPLIT_MASK = 2**SPLIT_BITS - 1
_HIGH_MAX = 2**32


@njit(cache=True)
def product(a, b):  # type: ignore[no-untyped-def]  # int64 >= 0, int64 >= 0 -> (int64, int64)
    """``a * b`` of nanos as whole nanos and what is left, in units of 1e-18 (0 to 999,999,999)."""
    if float(a) * float(b) >= _OVERFLOW:
        return SATURATED, 0
    a_whole, a_rest = a // NANOS, a % NANOS
    b_whole, b_rest = b // NANOS, b % NANOS
    low = a_rest * b_rest
    whole = a_whole * b_whole * NANOS + a_whole * b_rest + a_rest * b_whole + low // NANOS
    if whole >= SATURATED:
        return SATURATED, 0
    return whole, low % NANOS


@njit(cache=True)
def product_up(a, b):  # type: ignore[no-untyped-def]  # int64 >= 0, int64 >= 0 -> int64
    """``a * b`` of nanos, rounded up to whole nanos."""
    whole, rest = product(a, b)
    return whole + 1 if rest else whole


@njit(cache=True)
def value_up(quantity, both):  # type: ignore[no-untyped-def]  # int64, int64 >= 0 -> int64
    """A signed quantity at a mid that is given doubled (bid + ask), in nanos, rounded up."""
    if quantity >= 0:
        whole = product_up(quantity, both)
        return SATURATED if whole >= SATURATED else (whole + 1) // 2
    whole = product(-quantity, both)[0]
    return -SATURATED if whole >= SATURATED else -(whole // 2)


@njit(cache=True)
def ratio_up(part, whole):  # type: ignore[no-untyped-def]  # int64 >= 0, int64 -> int64
    """``part / whole`` in units of 1e-8, rounded up; saturated where ``whole`` is not above 0."""
    if whole <= 0:
        return SATURATED
    found, rest = part // whole, part % whole
    if found >= SATURATED // RATIO:
        return SATURATED
    if whole <= 90_000_000_000:  # rest * 1e8 fits
        rest *= RATIO
        found, rest = found * RATIO + rest // whole, rest % whole
    elif whole <= 900_000_000_000_000:
        for _ in range(2):
            rest *= 10_000
            found, rest = found * 10_000 + rest // whole, rest % whole
    else:
        for _ in range(8):  # a decimal digit at a time, by addition: nothing overflows below 2**62
            digit, total = 0, 0
            for _ in range(10):
                total += rest
                if total >= whole:
                    total -= whole
                    digit += 1
            found, rest = found * 10 + digit, total
    return found + 1 if rest else found


@njit(cache=True)
def share_up(value, bps):  # type: ignore[no-untyped-def]  # int64 >= 0, int64 0..10,000 -> int64
    """``value * bps / 10,000``, rounded up."""
    return value // BPS * bps + (value % BPS * bps + BPS - 1) // BPS


@njit(cache=True)
def add_split(totals, high, value, sign):  # type: ignore[no-untyped-def]  # int64 (k,), place, int64, +-1
    """Add to (or take from) a sum that is kept as two columns, so that saturated parts can leave again."""
    totals[high] += sign * (value >> SPLIT_BITS)
    totals[high + 1] += sign * (value & _SPLIT_MASK)


@njit(cache=True)
def split_sum(high, low):  # type: ignore[no-untyped-def]  # int64, int64 -> int64
    """Such a sum as one number, saturated."""
    high += low >> SPLIT_BITS
    if high >= _HIGH_MAX:
        return SATURATED
    if high <= -_HIGH_MAX:
        return -SATURATED
    return (high << SPLIT_BITS) + (low & _SPLIT_MASK)
